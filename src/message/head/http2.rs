//! Heads and trailers of HTTP/2: read from a list of fields, and made into one (RFC 9113 8.2 and 8.3).

use super::{Head, HeadError, HeadLimits, Span, Version, validate_host};
use crate::message::{Field, KnownField, may_trail};
use bytes::Bytes;
use http::header::{COOKIE, HOST, HeaderMap, HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use http::{Method, StatusCode, request, response};

/// The bytes that every field counts beside its name and its value: the colon, the blank and the line end it has in
/// HTTP/1.
const SEPARATORS: usize = ": \r\n".len();

/// The most bytes of a head that its fields share when they become HTTP/2's. A peer's compression table keeps fields,
/// and with each the bytes that it shares: of a larger head, each has a copy of its own.
const MOST_SHARED: usize = 2 * 1024;

impl Head {
    /// Replaces the head by that of an HTTP/2 request, in the form in which it is routed.
    ///
    /// `:authority` becomes `Host`, which comes first; the parts of a cookie become one (RFC 9113 8.2.3). The library
    /// that decoded the list has refused malformed lists: names in upper case, pseudo-fields that are missing, repeated
    /// or late, fields about the connection.
    ///
    /// # Errors
    ///
    /// A list beyond `limits`; a host that is invalid, or that differs from `:authority` (8.3.1); a target that its
    /// method does not allow.
    pub fn take_http2_request(
        &mut self,
        parts: &request::Parts,
        limits: &HeadLimits,
    ) -> Result<(), HeadError> {
        self.clear();
        let is_connect = parts.method == Method::CONNECT;
        let target = match parts.uri.authority() {
            // It has no path (8.5).
            Some(authority) if is_connect => authority.as_str(),
            _ => parts.uri.path_and_query().map_or("/", PathAndQuery::as_str),
        };
        if target.len() > limits.line {
            return Err(HeadError::LineTooLong);
        }
        self.begin_request(parts.method.as_str().as_bytes(), target.as_bytes());
        self.version = Version::Http2;
        if let Some(host) = host(parts)? {
            validate_host(host)?;
            self.append_known(KnownField::Host, host);
        }
        self.take_fields(&parts.headers, limits)?;
        if is_connect {
            return self.take_authority();
        }
        self.normalise_target()?;
        self.lower_host();
        Ok(())
    }

    /// Replaces the head by that of an HTTP/2 response.
    ///
    /// # Errors
    ///
    /// A list beyond `limits`.
    pub fn take_http2_response(
        &mut self,
        parts: &response::Parts,
        limits: &HeadLimits,
    ) -> Result<(), HeadError> {
        self.clear();
        self.set_status(parts.status.as_u16());
        self.version = Version::Http2;
        self.take_fields(&parts.headers, limits)
    }

    /// Appends the fields of a list, the parts of a cookie as one.
    fn take_fields(&mut self, fields: &HeaderMap, limits: &HeadLimits) -> Result<(), HeadError> {
        if fields.len() > limits.fields {
            return Err(HeadError::TooManyFields);
        }
        let mut left = limits.fields_bytes;
        for (name, value) in fields {
            let bytes = name.as_str().len() + value.len() + SEPARATORS;
            left = left.checked_sub(bytes).ok_or(HeadError::FieldsTooLong)?;
            if *name != HOST && *name != COOKIE {
                self.append(name.as_str().as_bytes(), value.as_bytes());
                self.note_never_indexed(value);
            }
        }
        if let Some(first) = fields.get(COOKIE) {
            let parts: Vec<_> = fields.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
            self.append(COOKIE.as_str().as_bytes(), &parts.join(b"; ".as_slice()));
            self.note_never_indexed(first);
        }
        Ok(())
    }

    /// Notes whether the last field may be put into a compression table.
    fn note_never_indexed(&mut self, value: &HeaderValue) {
        if let Some(line) = self.lines.last_mut() {
            line.never_indexed = value.is_sensitive();
        }
    }

    /// Returns the request as HTTP/2 has it: `Host` as `:authority`, the scheme of the connection as `:scheme`, names in
    /// lower case. Endpoints refuse a scheme that is not that of their connection.
    ///
    /// Hop-by-hop fields are left out; `te: trailers` is added when `trailers` is true: it is the one such field that
    /// HTTP/2 has (RFC 9113 8.2.2).
    ///
    /// # Errors
    ///
    /// A target, a host or a name that HTTP/2 cannot carry although HTTP/1 can.
    pub fn to_http2_request(&self, trailers: bool, is_secure: bool) -> Result<http::Request<()>, HeadError> {
        const UNFIT: HeadError = HeadError::Malformed("the request target cannot be carried over HTTP/2");
        let mut request = http::Request::new(());
        let bytes = SharedBytes::new(&self.bytes);
        let target = PathAndQuery::from_maybe_shared(bytes.get(self.target));
        let mut uri = http::uri::Parts::default();
        uri.path_and_query =
            Some(target.or_else(|_| PathAndQuery::try_from(encoded(self.target()))).map_err(|_| UNFIT)?);
        match self.lines.iter().find(|line| line.known == KnownField::Host) {
            Some(host) if !host.value.is_empty() => {
                uri.authority = Some(
                    Authority::from_maybe_shared(bytes.get(host.value))
                        .map_err(|_| HeadError::Malformed("the host cannot be carried over HTTP/2"))?,
                );
                uri.scheme = Some(if is_secure { Scheme::HTTPS } else { Scheme::HTTP });
                *request.version_mut() = http::Version::HTTP_2;
            }
            // A request without a host goes without `:authority`, as one that came over HTTP/1 may (8.3.1).
            _ => *request.version_mut() = http::Version::HTTP_11,
        }
        *request.uri_mut() = Uri::from_parts(uri).map_err(|_| UNFIT)?;
        *request.method_mut() = Method::from_bytes(self.method())
            .map_err(|_| HeadError::Malformed("the method cannot be carried over HTTP/2"))?;
        *request.headers_mut() = self.to_fields(&bytes)?;
        if trailers {
            request.headers_mut().insert(http::header::TE, HeaderValue::from_static("trailers"));
        }
        Ok(request)
    }

    /// Returns the response as HTTP/2 has it: names in lower case, without hop-by-hop fields.
    ///
    /// # Errors
    ///
    /// A status or a field that HTTP/2 cannot carry although HTTP/1 can.
    pub fn to_http2_response(&self) -> Result<http::Response<()>, HeadError> {
        let mut response = http::Response::new(());
        *response.status_mut() = StatusCode::from_u16(self.status())
            .map_err(|_| HeadError::Malformed("the status cannot be carried over HTTP/2"))?;
        *response.headers_mut() = self.to_fields(&SharedBytes::new(&self.bytes))?;
        Ok(response)
    }

    /// Returns the fields that HTTP/2 has.
    fn to_fields(&self, bytes: &SharedBytes<'_>) -> Result<HeaderMap, HeadError> {
        let mut fields = HeaderMap::with_capacity(self.lines.len());
        for line in &self.lines {
            let known = line.known;
            if known == KnownField::Host || known.is_hop_by_hop() {
                continue;
            }
            let name = own_name(known).map_or_else(|| to_name(line.name().of(&self.bytes)), Ok)?;
            let mut value = HeaderValue::from_maybe_shared(bytes.get(line.value)).map_err(|_| UNFIT_FIELD)?;
            value.set_sensitive(line.never_indexed || is_never_repeated(known));
            fields.try_append(name, value).map_err(|_| HeadError::TooManyFields)?;
        }
        Ok(fields)
    }
}

/// The bytes of a head, shared by values that outlive it.
struct SharedBytes<'a> {
    head: &'a [u8],
    /// The copy that is shared; `None` when the head is larger than [`MOST_SHARED`].
    bytes: Option<Bytes>,
}

impl<'a> SharedBytes<'a> {
    fn new(head: &'a [u8]) -> Self {
        Self { head, bytes: (head.len() <= MOST_SHARED).then(|| Bytes::copy_from_slice(head)) }
    }

    fn get(&self, span: Span) -> Bytes {
        match &self.bytes {
            Some(bytes) => bytes.slice(span.start as usize..span.end as usize),
            None => Bytes::copy_from_slice(span.of(self.head)),
        }
    }
}

/// Returns the name of a field that the router knows and the library does not: it need not be copied.
fn own_name(known: KnownField) -> Option<HeaderName> {
    let ours = known == KnownField::Baggage || (known.is_steering() && !known.name().is_empty());
    ours.then(|| HeaderName::from_static(known.name()))
}

/// Returns whether each request has a value of its own in a field: in a compression table, it would evict the values
/// that are repeated.
fn is_never_repeated(known: KnownField) -> bool {
    matches!(known, KnownField::L5dCtxTrace | KnownField::L5dReqid | KnownField::L5dCtxDeadline)
}

/// Returns a target in which the bytes that a client should have percent-encoded are so.
fn encoded(target: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(target.len() * 3);
    for &byte in target {
        if byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte) {
            out.push(byte);
        } else {
            out.extend_from_slice(format!("%{byte:02X}").as_bytes());
        }
    }
    out
}

/// Returns the host of a request: `:authority`, which a `Host` beside it must repeat.
fn host(parts: &request::Parts) -> Result<Option<&[u8]>, HeadError> {
    let mut fields = parts.headers.get_all(HOST).iter().map(HeaderValue::as_bytes);
    let authority = parts.uri.authority().map(|authority| authority.as_str().as_bytes());
    match (authority, fields.next(), fields.next()) {
        (_, _, Some(_)) => Err(HeadError::Malformed("the request has more than one Host")),
        (Some(authority), Some(host), None) if !authority.eq_ignore_ascii_case(host) => {
            Err(HeadError::Malformed("Host differs from :authority"))
        }
        (authority, host, None) => Ok(authority.or(host)),
    }
}

const UNFIT_FIELD: HeadError = HeadError::Malformed("a field cannot be carried over HTTP/2");

/// Returns a field name as HTTP/2 has it, in lower case.
fn to_name(name: &[u8]) -> Result<HeaderName, HeadError> {
    HeaderName::from_bytes(name).map_err(|_| UNFIT_FIELD)
}

/// Removes from the trailers of HTTP/2 the fields that may not come behind a body from one hop to the next: those that
/// carry context, for they come too late for a trust policy, those about the connection, and those that frame or route
/// (RFC 9110 6.5.1), in any spelling. Every other field passes.
///
/// Blanks around a value are removed, as they are over HTTP/1: a field with one is malformed (RFC 9113 8.2.1), and a peer
/// may end the whole connection because of it.
pub fn strip_trailers(trailers: &mut HeaderMap) {
    let passes = |known: KnownField| {
        let of_the_head = matches!(
            known,
            KnownField::Host
                | KnownField::ContentLength
                | KnownField::Expect
                | KnownField::MaxForwards
                | KnownField::FramingLookalike
        );
        !(of_the_head || known.is_hop_by_hop() || known.carries_context())
    };
    for value in trailers.values_mut() {
        trim(value);
    }
    let passes_by = |name: &HeaderName| passes(KnownField::of_trailer(name.as_str().as_bytes()));
    if trailers.keys().all(passes_by) {
        return;
    }
    let kept: HeaderMap = trailers
        .iter()
        .filter(|(name, _)| passes_by(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    *trailers = kept;
}

/// Removes the blanks around a value.
fn trim(value: &mut HeaderValue) {
    let trimmed = value.as_bytes().trim_ascii();
    if trimmed.len() < value.len()
        // A part of a value is one.
        && let Ok(mut trimmed) = HeaderValue::from_bytes(trimmed)
    {
        trimmed.set_sensitive(value.is_sensitive());
        *value = trimmed;
    }
}

/// Returns the trailers of an HTTP/2 message as lines of a chunked body: those that
/// [`Chunks`](crate::message::Chunks) would let pass.
pub fn trailer_lines(trailers: &HeaderMap) -> Vec<u8> {
    let mut lines = Vec::new();
    for (name, value) in trailers {
        let (name, value) = (name.as_str().as_bytes(), value.as_bytes());
        if may_trail(Field { name, value, known: KnownField::of_trailer(name) }) {
            lines.extend_from_slice(&[name, b": ", value, b"\r\n"].concat());
        }
    }
    lines
}

/// Returns the trailer lines of a chunked body as HTTP/2 has them.
pub fn trailer_fields(lines: &[u8]) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for line in lines.split(|&byte| byte == b'\n') {
        let Some(colon) = memchr::memchr(b':', line) else { continue };
        let (name, value) = line.split_at(colon);
        if let (Ok(name), Ok(value)) = (to_name(name), HeaderValue::from_bytes(value[1..].trim_ascii())) {
            // The lines are bounded: their number is far below the capacity of a map.
            let _ = fields.try_append(name, value);
        }
    }
    fields
}

#[cfg(test)]
mod tests;
