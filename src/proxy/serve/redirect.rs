//! Sends requests in clear to TLS, where their host has a certificate.

use crate::context::{Peer, host_without_port};
use crate::identify::NamedBy;
use crate::message::{Head, KnownField};
use crate::tls::HostNames;

/// The port of `https`, which a URI need not write (RFC 9110 4.2.2).
const HTTPS: u16 = 443;

/// Returns where a request is sent over TLS, at this port; none if it is served as it came. It is sent if it came in clear,
/// also before a proxy in front that is believed, and its rule is of an Ingress with a certificate for its host.
pub(super) fn location(https_port: u16, named_by: NamedBy, peer: &Peer, head: &Head) -> Option<String> {
    if named_by != NamedBy::SecuredRule || peer.is_secure() || came_over_tls(head) {
        return None;
    }
    let host = std::str::from_utf8(host_without_port(head.get(KnownField::Host)?)).ok()?;
    let host = HostNames::parse_one(host)?;
    // Another form than that of a path has no place in a URI.
    let target = std::str::from_utf8(head.target()).ok().filter(|target| target.starts_with('/'))?;
    Some(match https_port {
        HTTPS => format!("https://{host}{target}"),
        port => format!("https://{host}:{port}{target}"),
    })
}

/// Returns whether a proxy in front says that the request came to it over TLS. What a peer says that is not believed is gone
/// by now.
fn came_over_tls(head: &Head) -> bool {
    let said = head.find(b"x-forwarded-proto").unwrap_or_default();
    let first = said.split(|byte| *byte == b',').next().unwrap_or_default();
    first.trim_ascii().eq_ignore_ascii_case(b"https")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::HeadLimits;

    const LIMITS: HeadLimits = HeadLimits { line: 8192, fields_bytes: 65536, fields: 200 };

    fn sent(https_port: u16, named_by: NamedBy, text: &str) -> Option<String> {
        let mut head = Head::new();
        assert_eq!(head.parse_request(text.as_bytes(), &LIMITS), Ok(Some(text.len())), "{text}");
        let peer = Peer::new(([192, 0, 2, 1], 8080).into(), ([192, 0, 2, 2], 80).into());
        location(https_port, named_by, &peer, &head)
    }

    #[test]
    fn a_request_in_clear_is_sent_to_its_own_host_and_target() {
        let request = |target: &str, lines: &str| format!("GET {target} HTTP/1.1\r\n{lines}\r\n");
        let web = "Host: web.test:8080\r\n";
        let by_rule = NamedBy::SecuredRule;
        let go = |port, target: &str, lines: &str| sent(port, by_rule, &request(target, lines));
        assert_eq!(go(443, "/a?b=c&d", web).as_deref(), Some("https://web.test/a?b=c&d"));
        assert_eq!(go(8443, "//else.test/", web).as_deref(), Some("https://web.test:8443//else.test/"));
        assert_eq!(go(443, "/", "Host: WEB.test.\r\n").as_deref(), Some("https://web.test/"));
        assert_eq!(
            go(443, "/", "Host: web.test\r\nX-Forwarded-Proto: http\r\n").as_deref(),
            Some("https://web.test/")
        );
        for (target, lines) in [
            ("*", web),
            ("/", "Host: a\"b.web.test\r\n"),
            ("/", "Host: [::1]\r\n"),
            ("/", ""),
            ("/", "Host: web.test\r\nX-Forwarded-Proto: HTTPS, http\r\n"),
        ] {
            assert_eq!(go(443, target, lines), None, "{target} {lines}");
        }
        for other in [NamedBy::Host, NamedBy::Other] {
            assert_eq!(sent(443, other, &request("/", web)), None);
        }
    }
}
