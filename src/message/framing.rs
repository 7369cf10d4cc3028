//! The framing of messages: where a body ends, by strict rules (RFC 9112 6.3).

use super::head::MAX_OPTIONS;
use super::{Head, KnownField, Version, validate_host};

/// The way in which the end of a body is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Framing {
    /// There is no body.
    None,
    /// The body has this many bytes.
    Length(u64),
    /// The body comes in chunks: see [`Chunks`](super::Chunks).
    Chunked,
    /// The body lasts until the connection ends. Responses only.
    Close,
    /// The connection is a tunnel from here on: after a 101, and after a 2xx to CONNECT.
    Tunnel,
}

/// The reason why the end of a message, or its host, cannot be known. The text is for the body of the response.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FramingError {
    /// A request has both fields that say where it ends.
    #[error("the request has both Content-Length and Transfer-Encoding")]
    LengthAndCoding,
    /// A request has `Content-Length` or `Transfer-Encoding` spelt with underscores, which some servers take
    /// for these fields.
    #[error("a field is spelt like Content-Length or Transfer-Encoding, but with an underscore")]
    Lookalike,
    /// A length is not a plain decimal number below 2^63.
    #[error("Content-Length is not a number")]
    LengthInvalid,
    /// There are several lengths, and they differ.
    #[error("there are several Content-Length values, and they differ")]
    LengthsDiffer,
    /// There is a transfer coding before the final `chunked`; the router decodes no other.
    #[error("Transfer-Encoding has a coding other than chunked")]
    CodingUnknown,
    /// `Transfer-Encoding` came in an HTTP/1.0 message, where it means nothing.
    #[error("Transfer-Encoding is not allowed in HTTP/1.0")]
    CodingInOldVersion,
    /// The last transfer coding is not `chunked`.
    #[error("the last coding of Transfer-Encoding is not chunked")]
    ChunkedNotLast,
    /// `chunked` was applied more than once.
    #[error("Transfer-Encoding has chunked more than once")]
    ChunkedTwice,
    /// An HTTP/1.1 request has no `Host`.
    #[error("the request has no Host")]
    HostMissing,
    /// A request has more than one `Host`.
    #[error("the request has more than one Host")]
    HostRepeated,
    /// `Host` is not a host with an optional port.
    #[error("Host is not a valid host name")]
    HostInvalid,
    /// `Connection` has more than 64 options.
    #[error("Connection has too many options")]
    TooManyOptions,
}

impl FramingError {
    /// Returns the status for a request with this error: 501 for an unknown coding, else 400. The connection
    /// is closed either way; an upstream's response with any of them is a 502.
    pub fn status(self) -> u16 {
        match self {
            Self::CodingUnknown => 501,
            _ => 400,
        }
    }
}

/// Returns how a request's body ends (RFC 9112 6.3), and checks its `Host` (3.2).
///
/// Equal repeated lengths count as one; [`Head::set_content_length`] makes them one in the head.
///
/// # Errors
///
/// Anything that two servers could read in two ways; see the table in [`message`](super).
pub fn request_framing(head: &Head) -> Result<Framing, FramingError> {
    check_host(head)?;
    check_options(head)?;
    if head.contains(KnownField::FramingLookalike) {
        return Err(FramingError::Lookalike);
    }
    match (head.contains(KnownField::TransferEncoding), head.contains(KnownField::ContentLength)) {
        (true, true) => Err(FramingError::LengthAndCoding),
        (true, false) => check_codings(head),
        (false, true) => length(head).map(Framing::Length),
        (false, false) => Ok(Framing::None),
    }
}

/// Returns how a response's body ends (RFC 9112 6.3); `method` is the request's.
///
/// `Transfer-Encoding` beats `Content-Length`, and equal repeated lengths count as one. For a response without a
/// body the fields are not looked at: the response to HEAD and a 304 may have a length, which is forwarded.
/// [`Head::settle_response`] removes the lengths that may not be forwarded.
///
/// # Errors
///
/// Lengths that differ or are no numbers, a transfer coding other than one `chunked`, any in HTTP/1.0.
pub fn response_framing(head: &Head, method: &[u8]) -> Result<Framing, FramingError> {
    check_options(head)?;
    let status = head.status();
    if status == 101 {
        return Ok(Framing::Tunnel);
    }
    if method == b"HEAD" || matches!(status, 100..=199 | 204 | 304) {
        return Ok(Framing::None);
    }
    if method == b"CONNECT" && (200..300).contains(&status) {
        return Ok(Framing::Tunnel);
    }
    if head.contains(KnownField::TransferEncoding) {
        return check_codings(head);
    }
    if head.contains(KnownField::ContentLength) {
        return length(head).map(Framing::Length);
    }
    Ok(Framing::Close)
}

/// Returns whether the sender of `head` keeps the connection open after this message (RFC 9112 9.3).
///
/// HTTP/1.1 does unless `Connection` has `close`; HTTP/1.0 only if it has `keep-alive`, and `close` wins.
pub fn keeps_alive(head: &Head) -> bool {
    if !head.contains(KnownField::Connection) {
        return head.version() != Version::Http10;
    }
    !head.has_connection_option(b"close")
        && (head.version() != Version::Http10 || head.has_connection_option(b"keep-alive"))
}

/// Checks that a request has one valid `Host`, or none before HTTP/1.1.
fn check_host(head: &Head) -> Result<(), FramingError> {
    let mut hosts = head.get_all(KnownField::Host);
    match (hosts.next(), hosts.next()) {
        (None, _) if head.version() == Version::Http11 => Err(FramingError::HostMissing),
        (None, _) => Ok(()),
        (Some(_), Some(_)) => Err(FramingError::HostRepeated),
        (Some(host), None) if validate_host(host).is_ok() => Ok(()),
        (Some(_), None) => Err(FramingError::HostInvalid),
    }
}

/// Checks that `Connection` has no more than [`MAX_OPTIONS`] options.
fn check_options(head: &Head) -> Result<(), FramingError> {
    let too_many = head.connection_options().nth(MAX_OPTIONS).is_some();
    if too_many { Err(FramingError::TooManyOptions) } else { Ok(()) }
}

/// Returns the one length that all `Content-Length` values agree on.
fn length(head: &Head) -> Result<u64, FramingError> {
    let mut agreed = None;
    for value in head.get_all(KnownField::ContentLength).flat_map(elements) {
        let length = number(value).ok_or(FramingError::LengthInvalid)?;
        match agreed {
            Some(other) if other != length => return Err(FramingError::LengthsDiffer),
            _ => agreed = Some(length),
        }
    }
    agreed.ok_or(FramingError::LengthInvalid)
}

/// Reads a number of digits and nothing else; below 2^63, since some peers hold a length in a signed number.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    let number = digits.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })?;
    i64::try_from(number).is_ok().then_some(number)
}

/// Accepts exactly one `chunked` and no other coding.
fn check_codings(head: &Head) -> Result<Framing, FramingError> {
    if head.version() == Version::Http10 {
        return Err(FramingError::CodingInOldVersion);
    }
    let is_chunked = |coding: &[u8]| coding.eq_ignore_ascii_case(b"chunked");
    let codings = || head.get_all(KnownField::TransferEncoding).flat_map(elements);
    if !codings().last().is_some_and(is_chunked) {
        return Err(FramingError::ChunkedNotLast);
    }
    if codings().filter(|coding| is_chunked(coding)).nth(1).is_some() {
        return Err(FramingError::ChunkedTwice);
    }
    if codings().nth(1).is_some() {
        return Err(FramingError::CodingUnknown);
    }
    Ok(Framing::Chunked)
}

/// Returns the elements of a list, empty ones too, so that those are refused.
fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii)
}

#[cfg(test)]
mod tests;
