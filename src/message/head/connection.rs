//! What a message says of the connection it came over (RFC 9110 7.6.1).

use super::{Head, Span, Version};
use crate::message::{Field, KnownField};

/// The connection options that are heeded; a message with more is refused by the framing rules.
///
/// Every option is compared with every field, and no honest message names more than a handful.
pub(in crate::message) const MAX_OPTIONS: usize = 64;

/// What [`Head::strip_hop_by_hop`] found and removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HopByHopFields {
    /// The value of `Upgrade` when an upgrade was asked for: `Connection` names it and the message is
    /// HTTP/1.1.
    ///
    /// Who carries the upgrade on appends it again, with `Connection: upgrade`.
    pub upgrade: Option<Box<[u8]>>,
    /// Whether `TE` says that the sender takes trailers.
    pub trailers: bool,
}

impl Head {
    /// Returns the options of all `Connection` fields, without blanks and empty ones, in the case they were
    /// sent in.
    pub fn connection_options(&self) -> impl Iterator<Item = &[u8]> {
        self.get_all(KnownField::Connection).flat_map(list)
    }

    /// Returns whether `Connection` has the option, whatever its case.
    pub fn has_connection_option(&self, option: &[u8]) -> bool {
        self.connection_options().any(|named| named.eq_ignore_ascii_case(option))
    }

    /// Returns whether `TE` says that the sender takes trailers (RFC 9110 10.1.4).
    pub fn takes_trailers(&self) -> bool {
        self.get_all(KnownField::Te).flat_map(list).any(|te| te.eq_ignore_ascii_case(b"trailers"))
    }

    /// Removes what speaks of one connection only: the fields that `Connection` names and the known ones (RFC
    /// 9110 7.6.1, [`KnownField::is_hop_by_hop`]).
    ///
    /// `Connection` cannot name away what decides where a message goes and where it ends, nor whom it comes
    /// from: `Host`, `Content-Length`, `Via`, `Max-Forwards`, `Forwarded` and `X-Forwarded-*` stay. Call it
    /// before the router adds fields of its own, so that no caller can name those away either, after the
    /// framing has been decided and before the version is changed.
    pub fn strip_hop_by_hop(&mut self) -> HopByHopFields {
        if self.known & KnownField::HOP_BY_HOP == 0 {
            return HopByHopFields::default();
        }
        let found = HopByHopFields { upgrade: self.upgrade(), trailers: self.takes_trailers() };
        let mut named = [Span::default(); MAX_OPTIONS];
        let count = self.named_fields(&mut named);
        let named = &named[..count];
        let bytes = self.bytes.as_slice();
        self.lines.retain(|line| {
            let field = line.field(bytes);
            let is_named = || named.iter().any(|option| option.of(bytes).eq_ignore_ascii_case(field.name));
            !(field.known.is_hop_by_hop() || (is_named() && !outlives_connection(field)))
        });
        self.note_known();
        found
    }

    /// The protocols of `Upgrade`, if the message may and does ask for one of them: RFC 9110 7.8 has it
    /// ignored in HTTP/1.0, and without `Connection: upgrade` it was not meant for this hop.
    fn upgrade(&self) -> Option<Box<[u8]>> {
        let asks = self.version == Version::Http11
            && self.contains(KnownField::Upgrade)
            && self.has_connection_option(b"upgrade");
        asks.then(|| self.get_all(KnownField::Upgrade).collect::<Vec<_>>().join(b", ".as_slice()).into())
    }

    /// Notes which fields `Connection` names beside the usual options; returns how many.
    fn named_fields(&self, named: &mut [Span; MAX_OPTIONS]) -> usize {
        let start = self.bytes.as_ptr() as usize;
        let options = self.connection_options().filter(|option| !is_usual(option));
        let mut count = 0;
        for (place, option) in named.iter_mut().zip(options) {
            // The option is a slice of the head's bytes.
            let offset = option.as_ptr() as usize - start;
            *place = Span::new(offset, offset + option.len());
            count += 1;
        }
        count
    }
}

/// Returns the elements of a comma-separated list, without blanks around them and without empty ones.
fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).filter(|element| !element.is_empty())
}

/// Whether an option is one of those almost every message has, none of which names a field that could stay.
fn is_usual(option: &[u8]) -> bool {
    [b"keep-alive".as_slice(), b"close", b"upgrade", b"te"]
        .iter()
        .any(|usual| option.eq_ignore_ascii_case(usual))
}

fn outlives_connection(field: Field<'_>) -> bool {
    const FORWARDED: &[u8] = b"x-forwarded-";
    match field.known {
        KnownField::Host
        | KnownField::ContentLength
        | KnownField::Via
        | KnownField::MaxForwards
        | KnownField::Forwarded => true,
        KnownField::Other => {
            field.name.get(..FORWARDED.len()).is_some_and(|name| name.eq_ignore_ascii_case(FORWARDED))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::HeadLimits;

    fn request(fields: &str) -> Head {
        let limits = HeadLimits { line: 1000, fields_bytes: 10_000, fields: 100 };
        let mut head = Head::new();
        let text = format!("GET / HTTP/1.1\r\n{fields}\r\n");
        assert_eq!(head.parse_request(text.as_bytes(), &limits), Ok(Some(text.len())), "{text:?}");
        head
    }

    #[test]
    fn options_of_all_lines() {
        let head = request("Connection: a, B ,,\tc\r\nX: y\r\nconnection:\r\nConnection: ,d\r\n");
        let options: Vec<_> =
            head.connection_options().map(|option| option.escape_ascii().to_string()).collect();
        assert_eq!(options, ["a", "B", "c", "d"]);
        assert!(head.has_connection_option(b"b") && !head.has_connection_option(b"y"));
    }

    #[test]
    fn hop_by_hop_fields_are_removed() {
        let table = [
            ("Host: a\r\nX: y\r\n", "Host: a\r\nX: y\r\n"),
            ("Host: a\r\nConnection: close\r\n", "Host: a\r\n"),
            ("Connection: X\r\nx: y\r\nZ: y\r\nX: z\r\n", "Z: y\r\n"),
            ("X: y\r\nConnection: z\r\nconnection: x\r\nZ: y\r\n", ""),
            ("Keep-Alive: timeout=5\r\nA: b\r\n", "A: b\r\n"),
            ("Proxy-Connection: keep-alive\r\nTE: gzip\r\nTrailer: a\r\nUpgrade: b\r\nA: b\r\n", "A: b\r\n"),
            (
                "Transfer-Encoding: chunked\r\nProxy-Authorization: a\r\nProxy-Authenticate: b\r\nA: b\r\n",
                "A: b\r\n",
            ),
            // What Connection may not name away.
            (
                "Connection: host, content-length, via, max-forwards, forwarded, x-forwarded-for\r\nHost: a\r\n\
                 Content-Length: 1\r\nVia: b\r\nMax-Forwards: 1\r\nForwarded: for=c\r\nX-Forwarded-For: c\r\n",
                "Host: a\r\nContent-Length: 1\r\nVia: b\r\nMax-Forwards: 1\r\nForwarded: for=c\r\n\
                 X-Forwarded-For: c\r\n",
            ),
            // A caller may take its own override away, and nobody else's.
            ("Connection: l5d-dtab, baggage\r\nl5d-dtab: a\r\nBaggage: b\r\n", ""),
            // An underscore is no hyphen.
            ("Keep_Alive: a\r\n", "Keep_Alive: a\r\n"),
        ];
        for (before, after) in table {
            let mut head = request(before);
            head.strip_hop_by_hop();
            let mut out = Vec::new();
            head.write(&mut out);
            assert_eq!(String::from_utf8_lossy(&out), format!("GET / HTTP/1.1\r\n{after}\r\n"), "{before:?}");
            assert!(!head.contains(KnownField::Connection) && !head.contains(KnownField::TransferEncoding));
        }
    }

    #[test]
    fn upgrades_and_trailers_are_noticed() {
        let table = [
            ("Connection: Upgrade\r\nUpgrade: websocket\r\n", Some("websocket"), false),
            ("Connection: keep-alive, upgrade\r\nUpgrade: a\r\nUpgrade: b/1\r\n", Some("a, b/1"), false),
            ("Upgrade: websocket\r\n", None, false),
            ("Connection: upgrade\r\n", None, false),
            ("Connection: te\r\nTE: gzip;q=1, Trailers\r\n", None, true),
            ("TE: trailers\r\n", None, true),
            ("TE: gzip\r\n", None, false),
        ];
        for (fields, upgrade, trailers) in table {
            let upgrade = upgrade.map(|upgrade| upgrade.as_bytes().into());
            assert_eq!(
                request(fields).strip_hop_by_hop(),
                HopByHopFields { upgrade, trailers },
                "{fields:?}"
            );
        }
        let mut old = request("Connection: upgrade\r\nUpgrade: websocket\r\n");
        old.set_version(Version::Http10);
        assert_eq!(old.strip_hop_by_hop(), HopByHopFields::default());
    }
}
