//! The query of a request.

use std::borrow::Cow;

/// The parameters of a query. The first of several with one name counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Query<'a>(&'a str);

impl<'a> Query<'a> {
    /// Returns the parameters of a URI.
    pub(super) fn of(uri: &'a hyper::Uri) -> Self {
        Self(uri.query().unwrap_or_default())
    }

    /// Returns a parameter, decoded; bytes that are not UTF-8 become `\u{fffd}`.
    pub(super) fn get(self, name: &str) -> Option<Cow<'a, str>> {
        let mut parameters = form_urlencoded::parse(self.0.as_bytes());
        parameters.find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// Returns whether a parameter says yes, in one of the spellings that Linkerd took.
    pub(super) fn flag(self, name: &str) -> bool {
        self.get(name).is_some_and(|value| matches!(&*value, "1" | "t" | "true"))
    }
}
