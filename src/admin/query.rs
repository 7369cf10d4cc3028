//! The query of a request.

use std::borrow::Cow;

/// The parameters of a query; of several of one name, the first counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Query<'a>(&'a str);

impl<'a> Query<'a> {
    pub(super) fn of(uri: &'a hyper::Uri) -> Self {
        Self(uri.query().unwrap_or_default())
    }

    /// A parameter, decoded; what is not UTF-8 shows as `\u{fffd}`.
    pub(super) fn get(self, name: &str) -> Option<Cow<'a, str>> {
        let mut parameters = form_urlencoded::parse(self.0.as_bytes());
        parameters.find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// Whether a parameter says yes, in the ways Linkerd understood.
    pub(super) fn flag(self, name: &str) -> bool {
        self.get(name).is_some_and(|value| matches!(&*value, "1" | "t" | "true"))
    }
}
