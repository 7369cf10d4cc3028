//! A message head as its bytes plus edits, HTTP/1 framing rules as pure functions, and heads and trailers of HTTP/2.
//!
//! [`Head`] reads a head and writes it again; [`request_framing`] and [`response_framing`] say how the body
//! ends; [`Chunks`] decodes a chunked body. Nothing here waits, and no field has a meaning here beyond the
//! connection it came over. A request is read, checked and brought into the form in which it is forwarded
//! in this order:
//!
//! ```
//! use signpost::message::{Framing, Head, HeadLimits, request_framing};
//!
//! let limits = HeadLimits { line: 8192, fields_bytes: 65536, fields: 100 };
//! let input = b"POST http://WWW.Hello.World/a HTTP/1.1\r\nHost: b\r\nContent-Length: 2, 2\r\n\
//!     Connection: c\r\nC: d\r\n\r\nhi";
//! let mut head = Head::new();
//! assert_eq!(head.parse_request(input, &limits)?, Some(input.len() - 2));
//! assert_eq!(request_framing(&head)?, Framing::Length(2));
//! head.set_content_length(2);
//! head.normalise_target()?;
//! head.lower_host();
//! head.strip_hop_by_hop();
//! let mut out = Vec::new();
//! head.write(&mut out);
//! assert_eq!(out, b"POST /a HTTP/1.1\r\nContent-Length: 2\r\nHost: www.hello.world\r\n\r\n");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Where it is stricter than hyper
//!
//! A router stands between two readers of the same bytes. An attacker who finds bytes that the two read
//! differently can send requests that the router never saw. So this module refuses all forms that RFC 9110 and
//! 9112 let a recipient accept or refuse. hyper is the second opinion in `tests/it/framing.rs`: the two never read
//! different messages, and where one refuses and the other goes on, a row of a table there says why.
//!
//! | input | hyper | here | why |
//! |---|---|---|---|
//! | a line ends in LF without CR | accepted | refused | readers differ on whether that ends a line (RFC 9112 2.2) |
//! | more than four empty lines before a request | accepted | refused | old clients send one too many; no client sends more |
//! | an empty line before a response | accepted | refused | it is not part of any response |
//! | a request with `Content-Length` and `Transfer-Encoding` | the coding wins | refused, 400 | RFC 9112 6.3 allows it, and it is how requests are smuggled |
//! | repeated `chunked` | accepted | refused, 400 | RFC 9112 7.1 forbids to apply it twice |
//! | another coding before `chunked`, or an empty element | accepted | refused, 501 | the next hop would have to undo a coding that the router cannot check |
//! | a response with another last coding than `chunked` | read until the end | refused, 502 | as above |
//! | HTTP/1.1 without `Host`, two of them, or one that is no host | accepted | refused, 400 | RFC 9112 3.2 |
//! | `Content_Length`, `Transfer_Encoding` in a request | fields like others | refused, 400 | CGI gateways take them for the fields with hyphens |
//! | a length of 2^63 or more | accepted | refused | peers hold lengths in signed numbers |
//! | a target in a form that its method does not allow: `GET *`, `GET a:80`, `ftp://` | accepted | refused | RFC 9112 3.2 |
//! | user information in an absolute target | accepted | refused | RFC 9110 4.2.4 |
//! | a fragment in a target | dropped | refused | a reader that keeps it sees another path |
//! | more than 64 options in `Connection` | accepted | refused, 400 | every option is compared with every field |
//! | blanks behind a chunk's size, without an extension | accepted | refused | RFC 9112 7.1.1 has blanks only before `;` |
//! | a chunk size of more than 16 digits | accepted if zeros lead | refused | readers differ on how many they hold |
//! | control bytes in a chunk extension | accepted, but for CR and LF | refused | RFC 9112 7.1.1 |
//! | trailers that frame, route, authenticate or steer | kept | dropped | RFC 9110 6.5.1 |
//!
//! Both refuse folded fields, blanks before a colon, a bare CR, control bytes in names and values, differing
//! or malformed lengths, a transfer coding in HTTP/1.0, versions other than 1.0 and 1.1, and chunk lines
//! that do not end in CRLF.
//!
//! This module accepts two things that hyper's server refuses: a list of equal lengths, `3, 3`, which RFC 9112 6.3
//! lets count as one and which is forwarded as one; and targets with bytes that a client should have
//! percent-encoded (`"`, `<`, `{`), none of which frames anything.

mod chunks;
mod field;
mod framing;
mod head;

use self::chunks::may_trail;
pub use self::chunks::{
    CHUNK_END, ChunkError, ChunkEvent, Chunks, LAST_CHUNK, write_chunk_head, write_last_chunk,
};
pub use self::field::{Field, KnownField};
pub use self::framing::{Framing, FramingError, keeps_alive, request_framing, response_framing};
pub(crate) use self::head::is_token_byte;
pub use self::head::{
    Head, HeadError, HeadLimits, HopByHopFields, RequestConnection, ResponseConnection, ResponseEnd, Version,
    is_tunnel_protocol, strip_trailers, trailer_fields, trailer_lines, validate_host,
};
