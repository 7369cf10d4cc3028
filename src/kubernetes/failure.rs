//! Failures of requests to the API server.

use super::backoff::Reachability;
use super::config::Error;
use kube::Resource;
use kube::core::Status;
use std::error::Error as _;
use std::time::Duration;

/// One failed request, or a watch that ended too early.
#[derive(Debug)]
pub(super) struct ApiFailure {
    pub(super) kind: FailureKind,
    /// The description for people.
    pub(super) text: String,
    /// How long the server asked not to be asked again, if it did.
    pub(super) retry_after: Option<Duration>,
}

/// The kinds of failure, by what the client does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FailureKind {
    /// No answer arrived, or it broke off.
    Unreached,
    /// The server does not accept the credentials, or they lack a right: 401 and 403. Waiting alone does not help.
    Forbidden,
    /// The server no longer has the version to go on from: 410. A new list helps at once.
    Expired,
    /// The server does not have the resource, because it is not defined: 404.
    NotDefined,
    /// The server does not understand the request: 400 and similar statuses.
    NotUnderstood,
    /// The server answered with any other error.
    Refused,
}

impl ApiFailure {
    pub(super) fn of(kind: FailureKind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into(), retry_after: None }
    }

    pub(super) fn unreached(text: impl Into<String>) -> Self {
        Self::of(FailureKind::Unreached, text)
    }

    pub(super) fn too_slow(what: &str, limit: Duration) -> Self {
        Self::unreached(format!("{what} for {} s", limit.as_secs()))
    }

    /// Returns the failure of credentials or files, before any request.
    pub(super) fn from_config_error(error: &Error) -> Self {
        Self::of(FailureKind::Forbidden, error.to_string())
    }

    /// Returns the failure of a list or watch of this resource.
    pub(super) fn from_error<K: Resource<DynamicType = ()>>(
        error: kube::Error,
        namespace: Option<&str>,
    ) -> Self {
        match error {
            kube::Error::Api(status) => Self::from_status::<K>(&status, namespace),
            kube::Error::SerdeError(error) => {
                Self::of(FailureKind::Refused, format!("an answer that cannot be read: {error}"))
            }
            kube::Error::Auth(error) => Self::of(FailureKind::Forbidden, format!("credentials: {error}")),
            error => Self::unreached(chain(&error)),
        }
    }

    /// Returns the failure of a status that the server answered with, or sent inside of a watch.
    pub(super) fn from_status<K: Resource<DynamicType = ()>>(
        status: &Status,
        namespace: Option<&str>,
    ) -> Self {
        let said = format!("{} {}: {}", status.code, status.reason, status.message);
        let (kind, advice) = match status.code {
            401 => (FailureKind::Forbidden, "; the credentials are read again".to_owned()),
            403 => (FailureKind::Forbidden, format!("; {}", missing_right::<K>(namespace))),
            404 => (FailureKind::NotDefined, unknown_resource::<K>()),
            410 => (FailureKind::Expired, String::new()),
            // Too many requests: the server asks for fewer.
            429 => (FailureKind::Refused, String::new()),
            400..=499 => (FailureKind::NotUnderstood, String::new()),
            _ => (FailureKind::Refused, String::new()),
        };
        let pause = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
        let retry_after =
            (matches!(status.code, 429 | 503) && pause > 0).then(|| Duration::from_secs(pause.into()));
        Self { kind, text: said + &advice, retry_after }
    }

    /// Returns whether the server had answered at all.
    pub(super) const fn reachability(&self) -> Reachability {
        match self.kind {
            FailureKind::Unreached => Reachability::Unreached,
            _ => Reachability::Reached,
        }
    }
}

/// Returns advice for a resource that the server does not know.
fn unknown_resource<K: Resource<DynamicType = ()>>() -> String {
    let (resource, group) = (K::plural(&()), K::group(&()));
    format!("; the server has no resource `{resource}` of apiGroup \"{group}\": is its definition applied?")
}

/// Returns the rights that RBAC has to grant.
fn missing_right<K: Resource<DynamicType = ()>>(namespace: Option<&str>) -> String {
    let (resource, group) = (K::plural(&()), K::group(&()));
    let place = match namespace {
        Some(namespace) => format!("in the namespace {namespace}"),
        None => "in all namespaces (a ClusterRole)".to_owned(),
    };
    format!("grant the verbs list and watch on resource `{resource}` of apiGroup \"{group}\" {place}")
}

/// Returns the text of an error with those of its causes: the outermost one seldom says what matters.
fn chain(error: &kube::Error) -> String {
    let mut text = match error {
        kube::Error::Service(error) => error.to_string(),
        kube::Error::ReadEvents(error) => error.to_string(),
        error => error.to_string(),
    };
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{ApiFailure, FailureKind};
    use k8s_openapi::api::core::v1::Service;
    use k8s_openapi::api::discovery::v1::EndpointSlice;
    use kube::core::Status;

    #[test]
    fn statuses() {
        let cases = [
            (400, FailureKind::NotUnderstood),
            (401, FailureKind::Forbidden),
            (403, FailureKind::Forbidden),
            (404, FailureKind::NotDefined),
            (410, FailureKind::Expired),
            (422, FailureKind::NotUnderstood),
            (429, FailureKind::Refused),
            (500, FailureKind::Refused),
            (503, FailureKind::Refused),
        ];
        for (code, kind) in cases {
            let status = Status::failure("said", "Reason").with_code(code);
            let failure = ApiFailure::from_status::<Service>(&status, None);
            assert_eq!(failure.kind, kind, "{code}");
            assert!(failure.text.starts_with(&format!("{code} Reason: said")), "{}", failure.text);
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let status = Status::failure("no", "Forbidden").with_code(403);
        let one = ApiFailure::from_status::<EndpointSlice>(&status, Some("prod")).text;
        assert!(one.ends_with("grant the verbs list and watch on resource `endpointslices` of apiGroup \"discovery.k8s.io\" in the namespace prod"), "{one}");
        let all = ApiFailure::from_status::<Service>(&status, None).text;
        assert!(
            all.ends_with("on resource `services` of apiGroup \"\" in all namespaces (a ClusterRole)"),
            "{all}"
        );
    }
}
