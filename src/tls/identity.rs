//! The identity in a certificate of a peer, and patterns of identities.

use super::certificate::{AlternativeNames, CertificateFacts};
use aws_lc_rs::digest;
use rustls::pki_types::CertificateDer;
use serde::{Serialize, Serializer};
use std::fmt::{self, Write as _};
use std::net::IpAddr;
use std::time::SystemTime;

/// The identity in a certificate that was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    names: AlternativeNames,
    subject: String,
    /// The value of `x-forwarded-client-cert`.
    forwarded: String,
}

impl Identity {
    /// Reads the identity in a certificate. One that is malformed, or has expired since its session began, has none.
    pub(super) fn read(certificate: &CertificateDer<'_>) -> Option<Self> {
        let facts = CertificateFacts::read(certificate).ok()?;
        facts.check_time(SystemTime::now()).ok()?;
        let (names, subject) = (facts.alternative_names(), facts.subject());
        let forwarded = forwarded_text(certificate, &names, &subject);
        Some(Self { names, subject, forwarded })
    }

    /// Returns the host names.
    pub fn dns(&self) -> &[String] {
        &self.names.dns
    }

    /// Returns the URIs, such as a SPIFFE id.
    pub fn uris(&self) -> &[String] {
        &self.names.uris
    }

    /// Returns the addresses.
    pub fn addresses(&self) -> &[IpAddr] {
        &self.names.addresses
    }

    /// Returns the addresses of mail.
    pub fn mail(&self) -> &[String] {
        &self.names.mail
    }

    /// Returns the subject, as RFC 4514 writes it.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Returns the value of `x-forwarded-client-cert`, in the form of Linkerd and Envoy.
    pub fn forwarded(&self) -> &str {
        &self.forwarded
    }
}

/// Returns the value of `x-forwarded-client-cert`: the digest of the certificate, its names, and its subject.
///
/// Text between quotes has no quote of its own, and no byte that ends a field: it is escaped, as Envoy does it.
fn forwarded_text(certificate: &CertificateDer<'_>, names: &AlternativeNames, subject: &str) -> String {
    let mut text = String::from("Hash=");
    for byte in digest::digest(&digest::SHA256, certificate).as_ref() {
        // Writing to memory does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    let mut add = |key: &str, value: &str| {
        let _ = write!(text, ";{key}=");
        push_value(value, &mut text);
    };
    names.uris.iter().for_each(|uri| add("SAN", uri));
    names.dns.iter().for_each(|name| add("DNS", name));
    text.push_str(";Subject=");
    push_quoted(subject, &mut text);
    text
}

/// Appends a value, between quotes where it has a byte that separates.
fn push_value(value: &str, text: &mut String) {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b',' | b';' | b'=' | b'"' | b'\\');
    if value.bytes().all(is_plain) { text.push_str(value) } else { push_quoted(value, text) }
}

fn push_quoted(value: &str, text: &mut String) {
    text.push('"');
    for letter in value.chars() {
        match letter {
            '"' | '\\' => text.extend(['\\', letter]),
            ' '..='~' => text.push(letter),
            // A field has visible ASCII.
            _ => {
                let mut bytes = [0; 4];
                for byte in letter.encode_utf8(&mut bytes).bytes() {
                    let _ = write!(text, "%{byte:02X}");
                }
            }
        }
    }
    text.push('"');
}

/// A pattern of an identity: a host name or a URI, in which `*` stands for one label, or for one element of the path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IdentityPattern {
    text: Box<str>,
    kind: PatternKind,
}

/// The names that a pattern is compared with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum PatternKind {
    Dns,
    Uri,
}

impl IdentityPattern {
    /// Reads a pattern; the error says what is expected.
    ///
    /// # Errors
    ///
    /// It is neither a host name nor a URI, or `*` stands elsewhere or alone.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        const EXPECTED: &str = "a host name such as `edge.mesh.example` or `*.mesh.example`, or a URI such as \
             `spiffe://mesh.example/ns/shop/sa/*`, with `*` for one whole label or element";
        let is_visible = text.bytes().all(|byte| byte.is_ascii_graphic());
        let (kind, parts, is_whole) = match text.split_once("://") {
            Some((scheme, rest)) => {
                let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
                let is_scheme = !scheme.is_empty()
                    && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'+');
                (PatternKind::Uri, path, is_scheme && !authority.is_empty() && !authority.contains('*'))
            }
            None => {
                (PatternKind::Dns, text, text.split('.').any(|label| label != "*") && !text.contains('/'))
            }
        };
        let separator = if kind == PatternKind::Uri { '/' } else { '.' };
        let mut parts = parts.split(separator);
        let are_whole = parts.all(|part| part == "*" || !part.contains('*'))
            && (kind == PatternKind::Uri || text.split('.').all(|label| !label.is_empty()));
        if text.is_empty() || !is_visible || !is_whole || !are_whole {
            return Err(EXPECTED);
        }
        Ok(Self { text: text.into(), kind })
    }

    /// Returns whether one of the names of an identity is of the pattern.
    pub fn includes(&self, identity: &Identity) -> bool {
        match self.kind {
            PatternKind::Dns => identity.dns().iter().any(|name| self.is_for_dns(name)),
            PatternKind::Uri => identity.uris().iter().any(|uri| self.is_for_uri(uri)),
        }
    }

    fn is_for_dns(&self, name: &str) -> bool {
        all_parts(self.text.split('.'), name.split('.'), str::eq_ignore_ascii_case)
    }

    fn is_for_uri(&self, uri: &str) -> bool {
        let (Some((scheme, rest)), Some((own_scheme, own_rest))) =
            (uri.split_once("://"), self.text.split_once("://"))
        else {
            return false;
        };
        let split = |rest: &'_ str| -> (String, Option<String>) {
            match rest.split_once('/') {
                Some((authority, path)) => (authority.to_owned(), Some(path.to_owned())),
                None => (rest.to_owned(), None),
            }
        };
        let ((authority, path), (own_authority, own_path)) = (split(rest), split(own_rest));
        let is_same = match (&own_path, &path) {
            (Some(own), Some(path)) => all_parts(own.split('/'), path.split('/'), |own, part| own == part),
            (None, None) => true,
            _ => false,
        };
        is_same && scheme.eq_ignore_ascii_case(own_scheme) && authority.eq_ignore_ascii_case(&own_authority)
    }
}

/// Returns whether the parts are those of a pattern, one by one.
fn all_parts<'a>(
    mut pattern: impl Iterator<Item = &'a str>,
    mut parts: impl Iterator<Item = &'a str>,
    is_same: impl Fn(&str, &str) -> bool,
) -> bool {
    loop {
        match (pattern.next(), parts.next()) {
            (None, None) => return true,
            (Some("*"), Some(part)) if !part.is_empty() => {}
            (Some(wanted), Some(part)) if wanted != "*" && is_same(wanted, part) => {}
            _ => return false,
        }
    }
}

impl fmt::Display for IdentityPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for IdentityPattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

#[cfg(test)]
impl Identity {
    /// Makes the identity of a certificate with these host names and URIs.
    pub(crate) fn named(dns: &[&str], uris: &[&str]) -> Self {
        let text = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let names = AlternativeNames { dns: text(dns), uris: text(uris), ..AlternativeNames::default() };
        let forwarded = forwarded_text(&CertificateDer::from(Vec::new()), &names, "CN=test");
        Self { names, subject: "CN=test".to_owned(), forwarded }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_for_whole_labels_and_elements() {
        for (pattern, inside, outside) in [
            ("edge.mesh.test", "Edge.mesh.TEST", "a.edge.mesh.test"),
            ("*.mesh.test", "a.mesh.test", "a.b.mesh.test"),
            ("*.mesh.test", "b.mesh.test", "mesh.test"),
            ("a.*.test", "a.mesh.test", "a.b.mesh.test"),
            (
                "spiffe://mesh.test/ns/shop/sa/*",
                "spiffe://mesh.test/ns/shop/sa/web",
                "spiffe://mesh.test/ns/shop/sa/web/x",
            ),
            (
                "spiffe://mesh.test/ns/*/sa/web",
                "SPIFFE://Mesh.test/ns/a/sa/web",
                "spiffe://mesh.test/ns//sa/web",
            ),
            (
                "spiffe://mesh.test/ns/*/sa/web",
                "spiffe://mesh.test/ns/b/sa/web",
                "spiffe://mesh.test/ns/b/sa/WEB",
            ),
            ("spiffe://mesh.test", "spiffe://mesh.test", "spiffe://mesh.test/"),
            ("spiffe://mesh.test/a", "spiffe://mesh.test/a", "spiffe://mesh.test.evil/a"),
        ] {
            let read = IdentityPattern::parse(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
            assert_eq!(read.to_string(), pattern);
            assert!(read.includes(&Identity::named(&[inside], &[inside])), "{pattern} has {inside}");
            assert!(!read.includes(&Identity::named(&[outside], &[outside])), "{pattern} has not {outside}");
            // A name of the other kind is another name.
            let (dns, uris) =
                if pattern.contains("://") { (&[inside][..], &[][..]) } else { (&[][..], &[inside][..]) };
            assert!(!read.includes(&Identity::named(dns, uris)), "{pattern}");
        }
        for wrong in [
            "",
            "*",
            "*.*",
            "a*.test",
            "spiffe://*/a",
            "spiffe://a/b*",
            "://a",
            "a b",
            "a/b",
            ".a",
            "a..b",
            "spiffe:///a",
        ] {
            assert!(IdentityPattern::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_forwarded_ends_no_field() {
        let identity = Identity::named(&["a.test"], &["spiffe://a/b;c", "x\r\ny: \"z\""]);
        let hash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let expected = format!(
            "Hash={hash};SAN=\"spiffe://a/b;c\";SAN=\"x%0D%0Ay: \\\"z\\\"\";DNS=a.test;Subject=\"CN=test\""
        );
        assert_eq!(identity.forwarded(), expected);
    }
}
