//! Refuses requests that another site's page could make a browser send.
//!
//! A browser sends any request that a page asks for, to this machine as well. Such a request shows in one of two ways:
//! its `Origin` is another one; or, when the page's own host name was made to mean this machine's address (DNS
//! rebinding), its `Host` is a name that is not this machine's. A browser also says so itself, in `Sec-Fetch-Site`. A link
//! that is followed is no harm: the page that has it cannot read what it leads to.

use hyper::Request;
use hyper::header::{self, HeaderName};
use std::net::IpAddr;

/// Returns the reason to refuse a request, if there is one. `hosts` are names that this server may be called by, in lower
/// case.
pub(super) fn refusal<B>(request: &Request<B>, hosts: &[String]) -> Option<&'static str> {
    let Some(authority) = authority(request) else {
        return Some("the request has no Host");
    };
    let host = host(authority);
    if !is_plain(host) && !hosts.iter().any(|known| known.eq_ignore_ascii_case(host)) {
        return Some(
            "the Host is a name: use an IP address or localhost, so that no other site's page can send this request, or \
             add the name to `admin: {hosts: [..]}`",
        );
    }
    if is_of_another_site(request) {
        return Some("the request comes from a page of another origin");
    }
    match one(request, &header::ORIGIN) {
        Ok(None) => None,
        Ok(Some(origin)) if is_same(origin, authority) => None,
        _ => Some("the request comes from a page of another origin"),
    }
}

/// Returns whether a browser says that another site's page makes it send the request, and not by a link.
fn is_of_another_site<B>(request: &Request<B>) -> bool {
    let said = |name: &'static str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let is_other = said("sec-fetch-site").is_some_and(|site| !matches!(site, "same-origin" | "none"));
    is_other && said("sec-fetch-mode") != Some("navigate")
}

/// Returns the name that the request gives this server: the authority of its target, or else its one `Host`.
fn authority<B>(request: &Request<B>) -> Option<&str> {
    let host = one(request, &header::HOST).ok()?;
    request.uri().authority().map(|authority| authority.as_str()).or(host)
}

/// Returns the value of a field that may come once.
fn one<'a, B>(request: &'a Request<B>, name: &HeaderName) -> Result<Option<&'a str>, ()> {
    let mut values = request.headers().get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(drop),
        _ => Err(()),
    }
}

/// Returns an authority without its port.
fn host(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    }
}

/// Returns whether a host is an IP address or `localhost`: no DNS server decides where those lead.
fn is_plain(host: &str) -> bool {
    let inside = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let address = match inside {
        Some(inside) => inside.parse::<IpAddr>().is_ok_and(|address| address.is_ipv6()),
        None => host.parse::<IpAddr>().is_ok_and(|address| address.is_ipv4()),
    };
    address || host.eq_ignore_ascii_case("localhost")
}

/// Returns whether a page of this origin came from this server, or through a proxy that adds TLS and keeps the `Host`.
fn is_same(origin: &str, authority: &str) -> bool {
    let from = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    from.is_some_and(|from| from.eq_ignore_ascii_case(authority))
}

#[cfg(test)]
mod tests {
    use super::refusal;
    use hyper::Request;

    type Fields = &'static [(&'static str, &'static str)];

    #[test]
    fn requests_of_other_origins_are_refused() {
        let cases: &[(Fields, Option<&str>)] = &[
            (&[("host", "127.0.0.1:9990")], None),
            (&[("host", "LocalHost:9990")], None),
            (&[("host", "localhost")], None),
            (&[("host", "[::1]:9990")], None),
            (&[("host", "[::1]")], None),
            (&[("host", "10.1.2.3:9990"), ("origin", "http://10.1.2.3:9990")], None),
            (&[("host", "10.1.2.3"), ("origin", "https://10.1.2.3")], None),
            (&[("host", "Ops.Example:9990")], None),
            (&[("host", "ops.example"), ("origin", "https://ops.example")], None),
            (&[("host", "x.ops.example")], Some("is a name")),
            (&[("host", "localhost"), ("sec-fetch-site", "same-origin"), ("sec-fetch-mode", "cors")], None),
            (&[("host", "localhost"), ("sec-fetch-site", "none"), ("sec-fetch-mode", "navigate")], None),
            (
                &[("host", "localhost"), ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")],
                None,
            ),
            (
                &[("host", "localhost"), ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors")],
                Some("another origin"),
            ),
            (&[("host", "localhost"), ("sec-fetch-site", "same-site")], Some("another origin")),
            (&[], Some("no Host")),
            (&[("host", "evil.example:9990")], Some("is a name")),
            (&[("host", "127.0.0.1.evil.example")], Some("is a name")),
            (&[("host", "localhost.evil.example")], Some("is a name")),
            (&[("host", "[127.0.0.1]")], Some("is a name")),
            (&[("host", "")], Some("is a name")),
            (&[("host", "127.0.0.1"), ("host", "evil.example")], Some("no Host")),
            (&[("host", "localhost:9990"), ("origin", "http://evil.example")], Some("another origin")),
            (&[("host", "localhost:9990"), ("origin", "http://localhost:9991")], Some("another origin")),
            (&[("host", "localhost:9990"), ("origin", "http://localhost")], Some("another origin")),
            (&[("host", "localhost:9990"), ("origin", "null")], Some("another origin")),
            (&[("host", "localhost:9990"), ("origin", "")], Some("another origin")),
            (
                &[("host", "localhost"), ("origin", "http://localhost"), ("origin", "null")],
                Some("another origin"),
            ),
        ];
        for (fields, expected) in cases {
            let mut request = Request::post("/admin/shutdown");
            for (name, value) in *fields {
                request = request.header(*name, *value);
            }
            let refused = refusal(&request.body(()).unwrap(), &["ops.example".to_owned()]);
            let as_expected = match expected {
                None => refused.is_none(),
                Some(part) => refused.is_some_and(|text| text.contains(part)),
            };
            assert!(as_expected, "{fields:?}: {refused:?}");
        }
        let absolute = Request::post("http://evil.example/admin/shutdown").header("host", "localhost");
        assert!(refusal(&absolute.body(()).unwrap(), &[]).is_some());
    }
}
