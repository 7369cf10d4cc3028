//! What a client asks for.

use crate::process::Error;
use std::time::Duration;

/// A resource.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Resource {
    Services,
    Slices,
}

/// A list or a watch.
pub(super) struct Question {
    pub(super) resource: Resource,
    /// All if there is none.
    pub(super) namespace: Option<String>,
    pub(super) watch: bool,
    /// A list that is streamed, and then watched.
    pub(super) stream: bool,
    /// The version that a watch begins at.
    pub(super) version: u64,
    /// Where a list goes on, and how many objects it has at most.
    pub(super) page: (usize, usize),
    /// How long a watch lasts.
    pub(super) life: Duration,
}

impl Question {
    pub(super) fn of(target: &str) -> Result<Self, Error> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let value = |name: &str| {
            let mut fields = form_urlencoded::parse(query.as_bytes());
            fields.find_map(|(field, value)| (field == name).then(|| value.into_owned()))
        };
        let number = |name: &str| value(name).and_then(|value| value.parse::<u64>().ok());
        let is = |name: &str| value(name).is_some_and(|value| value == "true");
        let resource = match path.rsplit('/').next() {
            Some("services") => Resource::Services,
            Some("endpointslices") => Resource::Slices,
            _ => return Err(format!("an unexpected request: {target}").into()),
        };
        let namespace = path.split_once("/namespaces/").and_then(|(_, rest)| rest.split('/').next());
        Ok(Self {
            resource,
            namespace: namespace.map(str::to_owned),
            watch: is("watch"),
            stream: is("sendInitialEvents"),
            version: number("resourceVersion").unwrap_or(0),
            page: (
                number("continue").unwrap_or(0) as usize,
                number("limit").map_or(usize::MAX, |limit| limit as usize),
            ),
            life: Duration::from_secs(number("timeoutSeconds").unwrap_or(3600)),
        })
    }
}
