//! The parts of a head that are about its own connection: hop-by-hop fields are removed from the message received (RFC
//! 9110 7.6.1), and the message sent gets those of the connection it is sent on.
//!
//! | direction | received | sent over HTTP/1 | sent over HTTP/2 |
//! |---|---|---|---|
//! | request, to an endpoint | [`Head::strip_hop_by_hop`] | [`Head::write_request`] | [`Head::to_http2_request`] |
//! | response, to a caller | [`Head::strip_hop_by_hop`] | [`Head::settle_response`] | [`Head::settle_response`] |

use super::{Head, Span, Version, is_token_byte};
use crate::message::{Field, Framing, KnownField};

/// How many connection options are looked at; the framing rules refuse a message with more.
///
/// Every option is compared with every field, and no honest message names more than a handful.
pub(in crate::message) const MAX_OPTIONS: usize = 64;

/// The facts that [`Head::strip_hop_by_hop`] found in the fields it removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HopByHopFields {
    /// The value of `Upgrade` when the message has an upgrade: `Connection` names it and the message is
    /// HTTP/1.1.
    ///
    /// The proxy adds it again, with `Connection: upgrade`, when it passes the upgrade on.
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

    /// Removes the fields that are about one connection only: those that `Connection` names and the known ones
    /// (RFC 9110 7.6.1, [`KnownField::is_hop_by_hop`]).
    ///
    /// `Connection` cannot remove the fields that decide where a message goes, where it ends and which caller it
    /// comes from: `Host`, all that steers (`l5d-*`, `dtab-local`), `baggage` and its like, `tracestate`, `Content-Length`,
    /// `Via`, `Max-Forwards`, `Forwarded` and `X-Forwarded-*` stay.
    /// Call it after the framing has been decided, before the version is changed, and before the router adds fields of its
    /// own, so that no peer can remove those either.
    pub fn strip_hop_by_hop(&mut self) -> HopByHopFields {
        self.strip_hop_by_hop_but(|_| false)
    }

    /// Removes the fields that are about one connection only, as [`strip_hop_by_hop`](Self::strip_hop_by_hop) does, but
    /// for those whose names `stays` accepts: `Connection` cannot remove them either.
    pub fn strip_hop_by_hop_but(&mut self, stays: impl Fn(&[u8]) -> bool) -> HopByHopFields {
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
            let is_removable = || !outlives_connection(field) && !stays(field.name);
            let is_gone = field.known.is_hop_by_hop() || (is_named() && is_removable());
            !is_gone
        });
        self.note_known();
        found
    }

    /// Returns the protocols of `Upgrade`, if the message may and does ask for one of them: RFC 9110 7.8 has the
    /// field ignored in HTTP/1.0, and without `Connection: upgrade` it was not meant for this hop. Of a 426 it is the
    /// message (15.5.22), which many servers send without that option.
    fn upgrade(&self) -> Option<Box<[u8]>> {
        let asks = self.version == Version::Http11
            && self.contains(KnownField::Upgrade)
            && (self.has_connection_option(b"upgrade") || self.status == 426);
        asks.then(|| self.get_all(KnownField::Upgrade).collect::<Vec<_>>().join(b", ".as_slice()).into())
    }

    /// Notes the fields that `Connection` names beside the usual options; returns the number of them.
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

/// The facts of a request that its head states for one connection to an HTTP/1 endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestConnection<'a> {
    /// The framing of the body as it is sent: [`Framing::Chunked`] is announced here, a length is in the head already.
    pub framing: Framing,
    /// The protocols that the request asks to switch to: see [`HopByHopFields::tunnel_protocols`].
    pub upgrade: Option<&'a [u8]>,
    /// Whether the caller takes trailers. A request that asks for an upgrade does not announce it: it has room for one
    /// `Connection` field.
    pub trailers: bool,
}

/// The connection to a caller on which a response is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseConnection<'a> {
    /// A connection of HTTP/1, for a final response.
    Http1 {
        /// The version of the request.
        version: Version,
        /// Whether the connection may stay open after the response, as far as the response does not decide it.
        keep: bool,
    },
    /// A stream of HTTP/2, for a final response: its frames end the body.
    Http2,
    /// A connection or stream that goes on to the final response: this one is interim (1xx).
    Interim,
    /// A connection of HTTP/1 that becomes a tunnel after the response.
    Tunnel {
        /// The protocols of the response's `Upgrade`: see [`HopByHopFields::upgrade`].
        protocols: Option<&'a [u8]>,
    },
}

/// The end of a response on its caller's connection, as [`Head::settle_response`] announced it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseEnd {
    /// The framing of the body as it is sent. With [`Framing::Close`], only the end of the connection ends it.
    pub framing: Framing,
    /// Whether the connection stays open for another request.
    pub keep: bool,
}

impl HopByHopFields {
    /// Returns the protocols that a request's upgrade may switch to; `None` without an upgrade, or without such a
    /// protocol.
    ///
    /// Protocols that carry HTTP themselves (`http`, `h2`, `h2c`, `tls`, in any case and version) are left out: their
    /// requests would pass through the tunnel without a policy. RFC 9113 3.1 has retired `h2c` in `Upgrade` anyway. So is
    /// what is no protocol (RFC 9110 7.8): another server could read one of those in it.
    pub fn tunnel_protocols(&self) -> Option<Box<[u8]>> {
        let protocols: Vec<&[u8]> =
            list(self.upgrade.as_deref()?).filter(|protocol| is_tunnel_protocol(protocol)).collect();
        (!protocols.is_empty()).then(|| protocols.join(b", ".as_slice()).into())
    }
}

impl Head {
    /// Writes a request head for an HTTP/1 endpoint to the end of `out`, from the first line to the empty one.
    ///
    /// Call it after [`strip_hop_by_hop`](Self::strip_hop_by_hop) and after every field of the router's own; for an
    /// HTTP/2 endpoint, [`to_http2_request`](Self::to_http2_request) is the counterpart. The head becomes one of
    /// HTTP/1.1: the version is the sender's own (RFC 9112 2.3), a missing `Host` is added without a value (3.2), and
    /// `Expect` of an HTTP/1.0 request is dropped (RFC 9110 10.1.1). Behind its fields come, where they apply,
    ///
    /// 1. `transfer-encoding: chunked`,
    /// 2. `connection: upgrade` and `upgrade`, or else `connection: te` and `te: trailers`.
    ///
    /// These lines go to `out` alone, so a request that is sent again does not have them twice. Nothing is allocated
    /// when `out` has room, except for the `Host` of a head whose buffer is full.
    pub fn write_request(&mut self, connection: RequestConnection<'_>, out: &mut Vec<u8>) {
        self.become_http11_request();
        self.write_open(out);
        if connection.framing == Framing::Chunked {
            out.extend_from_slice(b"transfer-encoding: chunked\r\n");
        }
        match connection.upgrade {
            Some(protocols) => {
                out.extend_from_slice(b"connection: upgrade\r\nupgrade: ");
                out.extend_from_slice(protocols);
                out.extend_from_slice(b"\r\n");
            }
            None if connection.trailers => {
                out.extend_from_slice(b"connection: te\r\nte: trailers\r\n");
            }
            None => {}
        }
        out.extend_from_slice(b"\r\n");
    }

    /// Makes a request head that came in another version one of HTTP/1.1.
    fn become_http11_request(&mut self) {
        if self.version == Version::Http11 {
            return;
        }
        if self.version == Version::Http10 {
            self.remove(KnownField::Expect);
        }
        self.set_version(Version::Http11);
        if !self.contains(KnownField::Host) {
            self.append_known(KnownField::Host, b"");
        }
    }

    /// Makes a response head state how its body ends on the caller's connection, and whether that stays open.
    ///
    /// `framing` is how the body ends as it comes from the endpoint, or as it was made here. Call it once, after
    /// [`strip_hop_by_hop`](Self::strip_hop_by_hop), after the version received was noted (in `Via`), and as the last
    /// edit of a final response; then [`write`](Self::write) or [`to_http2_response`](Self::to_http2_response). The
    /// version becomes HTTP/1.1, the router's own (RFC 9112 2.3). For a final response,
    ///
    /// * `Content-Length` stays only where it is true. A body with a length has exactly one (over HTTP/1 it is added
    ///   when it is missing); a body without a length (RFC 9112 6.2) and a 204 (RFC 9110 8.6) have none; with
    ///   [`Framing::None`], as for HEAD, a 304 or a body made here, the field is left alone;
    /// * over HTTP/1, a body without a length is announced as `transfer-encoding: chunked`; a caller of HTTP/1.0 gets
    ///   it until the connection closes;
    /// * over HTTP/1, `connection: close` announces that the connection closes, and `connection: keep-alive` to a caller
    ///   of HTTP/1.0 that it stays.
    ///
    /// An interim response loses its `Content-Length` (RFC 9110 8.6). The response that opens a tunnel gets
    /// `connection: upgrade` and `upgrade`, and is otherwise left alone.
    ///
    /// A response that comes with the fields it needs, to a caller of HTTP/1.1 that may go on, costs no allocation.
    pub fn settle_response(&mut self, framing: Framing, connection: ResponseConnection<'_>) -> ResponseEnd {
        self.set_version(Version::Http11);
        match connection {
            ResponseConnection::Http1 { version, keep } => self.settle_http1_response(framing, version, keep),
            ResponseConnection::Http2 => {
                if !matches!(framing, Framing::Length(_)) || self.contains(KnownField::ContentLength) {
                    self.settle_content_length(framing);
                }
                ResponseEnd { framing, keep: true }
            }
            ResponseConnection::Interim => {
                self.remove(KnownField::ContentLength);
                ResponseEnd { framing: Framing::None, keep: true }
            }
            ResponseConnection::Tunnel { protocols } => {
                if let Some(protocols) = protocols {
                    self.append(b"connection", b"upgrade");
                    self.append(b"upgrade", protocols);
                }
                ResponseEnd { framing: Framing::Tunnel, keep: false }
            }
        }
    }

    /// Settles a final response over HTTP/1.
    fn settle_http1_response(&mut self, framing: Framing, version: Version, keep: bool) -> ResponseEnd {
        self.settle_content_length(framing);
        let framing = match framing {
            Framing::Chunked | Framing::Close if version == Version::Http11 => Framing::Chunked,
            Framing::Chunked | Framing::Close => Framing::Close,
            other => other,
        };
        if framing == Framing::Chunked {
            self.append(b"transfer-encoding", b"chunked");
        }
        let keep = keep && !matches!(framing, Framing::Close | Framing::Tunnel);
        match (keep, version) {
            (false, _) => self.append(b"connection", b"close"),
            (true, Version::Http10) => self.append(b"connection", b"keep-alive"),
            (true, _) => {}
        }
        ResponseEnd { framing, keep }
    }

    /// Leaves `Content-Length` only where it is true of a final response.
    fn settle_content_length(&mut self, framing: Framing) {
        match framing {
            Framing::Length(length) => self.set_content_length(length),
            Framing::None if self.status != 204 => {}
            _ => _ = self.remove(KnownField::ContentLength),
        }
    }
}

/// Returns whether a protocol is `token ["/" token]`, and none that carries HTTP.
pub fn is_tunnel_protocol(protocol: &[u8]) -> bool {
    let is_token = |text: &[u8]| !text.is_empty() && text.iter().all(|&byte| is_token_byte(byte));
    let (name, version) = match memchr::memchr(b'/', protocol) {
        Some(slash) => (&protocol[..slash], Some(&protocol[slash + 1..])),
        None => (protocol, None),
    };
    let carries_http = [b"http".as_slice(), b"h2", b"tls"].iter().any(|carrier| {
        name.get(..carrier.len()).is_some_and(|beginning| beginning.eq_ignore_ascii_case(carrier))
    });
    is_token(name) && version.is_none_or(is_token) && !carries_http
}

/// Returns the elements of a comma-separated list, without blanks around them and without empty ones.
fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).filter(|element| !element.is_empty())
}

/// Returns whether an option is one of the usual ones, none of which names a field that could stay.
fn is_usual(option: &[u8]) -> bool {
    [b"keep-alive".as_slice(), b"close", b"upgrade", b"te"]
        .iter()
        .any(|usual| option.eq_ignore_ascii_case(usual))
}

/// Returns whether `Connection` cannot remove a field.
fn outlives_connection(field: Field<'_>) -> bool {
    field.known.is_steering()
        || matches!(
            field.known,
            KnownField::Host
                | KnownField::Baggage
                | KnownField::BaggageItem
                | KnownField::BaggageAlias
                | KnownField::Tracestate
                | KnownField::ContentLength
                | KnownField::Via
                | KnownField::MaxForwards
                | KnownField::Forwarded
                | KnownField::XForwarded
        )
}

#[cfg(test)]
mod tests;
