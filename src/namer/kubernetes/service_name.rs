//! The paths that are names of services.

use crate::name::Path;
use std::sync::Arc;

/// A name of a service's endpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ServiceName {
    pub(super) namespace: Arc<str>,
    pub(super) port: Port,
    pub(super) service: Arc<str>,
    /// The value of the label, where the configuration names one.
    pub(super) value: Option<Arc<str>>,
    /// The elements of the path that it uses, in lower case.
    pub(super) elems: Path,
}

/// A port of a service, as written in a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Port {
    /// The name of the port, in lower case.
    Name(Arc<str>),
    /// The number of the port at the service, which its pods may number otherwise; never 0.
    Number(u16),
}

impl ServiceName {
    /// Reads a path as a name. None when the path is too short, or an element cannot be a name in Kubernetes.
    ///
    /// Case does not count: the names in Linkerd's configurations came from host names.
    pub(super) fn of(path: &Path, namespace: Option<&Arc<str>>, labelled: bool) -> Option<Self> {
        let mut elems = path.elems().map(text);
        let mut next = || elems.next().flatten();
        let namespace_elem = if namespace.is_none() { Some(next()?) } else { None };
        let (port, service) = (next()?, next()?);
        let value = if labelled { Some(next()?) } else { None };
        let taken = namespace_elem.iter().chain([&port, &service]).chain(&value);
        let elems = Path::from_elems(taken.map(|elem| elem.as_bytes()));
        let namespace = namespace_elem.map(Arc::from).or_else(|| namespace.cloned())?;
        let known = is_dns_name(&namespace) && is_dns_name(&service);
        let value = value.map(Arc::from);
        known.then_some(Self { namespace, port: Port::of(&port)?, service: service.into(), value, elems })
    }
}

impl Port {
    /// Reads an element as a port.
    fn of(text: &str) -> Option<Self> {
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            return text.parse().ok().filter(|&number| number > 0).map(Self::Number);
        }
        is_dns_name(text).then(|| Self::Name(text.into()))
    }
}

/// Returns an element as text in lower case.
fn text(elem: &[u8]) -> Option<String> {
    std::str::from_utf8(elem).ok().map(str::to_ascii_lowercase)
}

/// Returns whether a text can be a name in Kubernetes. Names become parts of its URLs, so other text must not pass.
pub(super) fn is_dns_name(text: &str) -> bool {
    let inside = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends = text.bytes().next().is_some_and(inside) && text.bytes().next_back().is_some_and(inside);
    ends && text.len() <= 63 && text.bytes().all(|byte| inside(byte) || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::{Port, ServiceName};
    use crate::name::Path;
    use std::sync::Arc;

    fn name(path: &str, namespace: Option<&str>, labelled: bool) -> Option<ServiceName> {
        let path: Path = path.parse().unwrap();
        ServiceName::of(&path, namespace.map(Arc::from).as_ref(), labelled)
    }

    #[test]
    fn names() {
        let web = name("/Default/HTTP/Web/Rest", None, false).unwrap();
        assert_eq!((&*web.namespace, &*web.service, web.value), ("default", "web", None));
        assert_eq!(web.port, Port::Name("http".into()));
        assert_eq!(web.elems.to_string(), "/default/http/web");
        let labelled = name("/default/8080/web/V2/rest", None, true).unwrap();
        assert_eq!((labelled.port, labelled.value.as_deref()), (Port::Number(8080), Some("v2")));
        assert_eq!(labelled.elems.to_string(), "/default/8080/web/v2");
        let fixed = name("/http/web/rest", Some("prod"), false).unwrap();
        assert_eq!((&*fixed.namespace, fixed.elems.to_string().as_str()), ("prod", "/http/web"));
    }

    #[test]
    fn what_is_no_name() {
        let long = format!("/default/http/{}", "a".repeat(64));
        for path in [
            "/",
            "/default",
            "/default/http",
            "/default/0/web",
            "/default/65536/web",
            "/de_fault/http/web",
            "/default/http/-web",
            "/default/http/web-",
            "/default/ht%2ftp/web",
            r"/\x2e\x2e/http/web",
            r"/default/http/\xff",
            r"/default/http/a\x2fb",
            r"/default/http/\x00",
            &long,
        ] {
            assert_eq!(name(path, None, false), None, "{path}");
        }
        assert_eq!(name("/default/http/web", None, true), None, "the label's value is missing");
        assert_eq!(name("/http", Some("prod"), false), None);
    }
}
