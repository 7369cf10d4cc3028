//! The parser of HTTP/1 heads: httparse finds the parts, and this module refuses the malformed ones it lets pass.

use super::{FieldLine, Head, MAX_BYTES, Span, Version};
use crate::message::KnownField;
use httparse::{Header, Status};
use std::mem::MaybeUninit;

/// How many fields are read without allocating: an array on the stack has room for them.
const FEW_FIELDS: usize = 128;

/// How many empty lines are skipped before a request line.
///
/// RFC 9112 2.2 wants at least one skipped, since old clients send one too many behind a body; more have no use.
const EMPTY_LINES: usize = 4;

/// The first line of the preface with which HTTP/2 begins (RFC 9113 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n";

const BARE_LF: HeadError = HeadError::Malformed("a line ends without CR");

/// The bounds on a head. A peer cannot make a reader hold more than `line + fields_bytes` and a few bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// The most bytes of the first line, without its CRLF.
    pub line: usize,
    /// The most bytes of all field lines together, with their CRLFs.
    pub fields_bytes: usize,
    /// The most fields.
    pub fields: usize,
}

/// The reason why bytes are not a head, or not one that the router accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// The first line is longer than [`HeadLimits::line`]: a 414.
    #[error("the first line is too long")]
    LineTooLong,
    /// The field lines are longer than [`HeadLimits::fields_bytes`]: a 431.
    #[error("the header fields are too long")]
    FieldsTooLong,
    /// There are more than [`HeadLimits::fields`] fields: a 431.
    #[error("there are too many header fields")]
    TooManyFields,
    /// An HTTP/2 connection begins here, not an HTTP/1 request.
    #[error("this is the preface of HTTP/2")]
    Http2Preface,
    /// The bytes break HTTP's grammar: a 400, or a 502 for a response. The text names the fault.
    #[error("{0}")]
    Malformed(&'static str),
}

/// The progress of the scan of an incomplete head, so that a head that comes byte by byte is not read from its start
/// each time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Scan {
    /// The number of bytes in which every line end has been seen.
    pub(super) seen: usize,
    /// The start of the current line.
    line: usize,
    /// The start of the field lines, once the first line is complete.
    fields: usize,
    /// The number of complete lines so far.
    lines: usize,
}

impl Scan {
    /// Returns whether the head's end is in `input`, which begins with the bytes of the calls before.
    fn finds_end(&mut self, input: &[u8], limits: &HeadLimits) -> Result<bool, HeadError> {
        if self.seen > input.len() {
            // Another head, without a call of `clear` before it.
            *self = Self::default();
        }
        let from = self.seen;
        for lf in memchr::memchr_iter(b'\n', &input[from..]).map(|at| from + at) {
            if lf == 0 || input[lf - 1] != b'\r' {
                return Err(BARE_LF);
            }
            let length = (lf - 1).saturating_sub(self.line);
            match self.lines {
                0 if length > limits.line => return Err(HeadError::LineTooLong),
                0 => self.fields = lf + 1,
                _ if length == 0 => return Ok(true),
                fields if fields > limits.fields => return Err(HeadError::TooManyFields),
                _ => {}
            }
            self.lines += 1;
            self.line = lf + 1;
            self.seen = lf + 1;
        }
        self.seen = input.len();
        // The last byte may be the CR of a line end that still fits.
        if self.lines == 0 && input.len() > limits.line.saturating_add(1) {
            return Err(HeadError::LineTooLong);
        }
        if self.lines > 0 && input.len() - self.fields > limits.fields_bytes.saturating_add(1) {
            return Err(HeadError::FieldsTooLong);
        }
        Ok(false)
    }
}

/// The kind of head that is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum HeadKind {
    Request,
    Response,
}

/// The parts of a head as httparse found them; all but the version are slices of the input.
struct ParsedHead<'h, 'b> {
    /// A request's method and target.
    method: &'b str,
    target: &'b str,
    /// A response's status.
    status: u16,
    version: Version,
    fields: &'h [Header<'b>],
    /// The bytes of the head.
    length: usize,
}

impl Head {
    /// Reads a request head from the front of `input`; returns the number of bytes it took, `None` when more are
    /// needed.
    ///
    /// When more bytes have come, call it again with the same bytes and the new ones behind them: the head
    /// remembers how far it was scanned, so that bytes which come singly are not read again each time. Call
    /// [`clear`](Self::clear) before another head is read in place of an incomplete one. The old contents of the
    /// head are replaced when a whole one has come.
    ///
    /// # Errors
    ///
    /// Bytes that are not a request head, as soon as that is certain; a head beyond `limits`, also while it is
    /// incomplete. The [module](crate::message) lists the forms that are refused although other servers accept
    /// them.
    pub fn parse_request(&mut self, input: &[u8], limits: &HeadLimits) -> Result<Option<usize>, HeadError> {
        if input.starts_with(PREFACE) {
            return Err(HeadError::Http2Preface);
        }
        if PREFACE.starts_with(input) {
            return Ok(None);
        }
        let Some(skipped) = empty_lines(input)? else { return Ok(None) };
        let taken = self.parse(HeadKind::Request, &input[skipped..], limits)?;
        Ok(taken.map(|length| skipped + length))
    }

    /// Reads a response head from the front of `input`, as [`parse_request`](Self::parse_request) reads a
    /// request.
    ///
    /// # Errors
    ///
    /// As for a request; here no empty line is skipped, since a server has no reason to send one.
    pub fn parse_response(&mut self, input: &[u8], limits: &HeadLimits) -> Result<Option<usize>, HeadError> {
        match input.first() {
            None => Ok(None),
            Some(b'\r' | b'\n') => Err(HeadError::Malformed("the response begins with an empty line")),
            Some(_) => self.parse(HeadKind::Response, input, limits),
        }
    }

    /// Reads a head, and begins a new scan after an error.
    fn parse(
        &mut self,
        kind: HeadKind,
        input: &[u8],
        limits: &HeadLimits,
    ) -> Result<Option<usize>, HeadError> {
        let taken = self.parse_on(kind, input, limits);
        if taken.is_err() {
            self.scan = Scan::default();
        }
        taken
    }

    /// Reads a head, unless the scan of an incomplete one shows that its end has not come.
    fn parse_on(
        &mut self,
        kind: HeadKind,
        input: &[u8],
        limits: &HeadLimits,
    ) -> Result<Option<usize>, HeadError> {
        // A head mostly comes in one piece, and then looking for its end first would be work for nothing.
        if self.scan.seen > 0 {
            let had_first_line = self.scan.lines > 0;
            let complete = self.scan.finds_end(input, limits)?;
            // A head with a bad first line is refused as soon as that line is there.
            let first_line_came = self.scan.lines > 0 && !had_first_line;
            if !complete && !first_line_came {
                return Ok(None);
            }
        }
        let mut few = [const { MaybeUninit::uninit() }; FEW_FIELDS];
        let room = limits.fields.min(FEW_FIELDS);
        let parts = match read(kind, input, &mut few[..room]) {
            Ok(Some(parts)) => parts,
            Ok(None) => return self.wait(input, limits),
            Err(httparse::Error::TooManyHeaders) if limits.fields > FEW_FIELDS => {
                return self.parse_many(kind, input, limits);
            }
            Err(error) => return Err(explain(error, input)),
        };
        self.fill(input, &parts, limits)?;
        Ok(Some(parts.length))
    }

    /// Reads a head with more fields than the stack has room for.
    #[cold]
    fn parse_many(
        &mut self,
        kind: HeadKind,
        input: &[u8],
        limits: &HeadLimits,
    ) -> Result<Option<usize>, HeadError> {
        let lines = memchr::memchr_iter(b'\n', input).count();
        let mut many = vec![MaybeUninit::uninit(); lines.min(limits.fields)];
        match read(kind, input, &mut many) {
            Ok(Some(parts)) => {
                self.fill(input, &parts, limits)?;
                Ok(Some(parts.length))
            }
            Ok(None) => self.wait(input, limits),
            Err(error) => Err(explain(error, input)),
        }
    }

    /// Remembers how far an incomplete head was scanned.
    fn wait(&mut self, input: &[u8], limits: &HeadLimits) -> Result<Option<usize>, HeadError> {
        if self.scan.finds_end(input, limits)? {
            // httparse ends a head at an empty line, so this cannot happen; a reader must not wait for ever.
            return Err(HeadError::Malformed("the head ends before its fields do"));
        }
        Ok(None)
    }

    /// Takes over a complete head: checks its bounds and line ends, copies its bytes and notes the place of each part.
    fn fill(
        &mut self,
        input: &[u8],
        parts: &ParsedHead<'_, '_>,
        limits: &HeadLimits,
    ) -> Result<(), HeadError> {
        let head = &input[..parts.length];
        // Both are slices of one buffer, so the difference of their addresses is the offset.
        let offset = |part: &[u8]| part.as_ptr() as usize - head.as_ptr() as usize;
        let fields_end = parts.length.saturating_sub(2);
        let first_end = parts.fields.first().map_or(fields_end, |field| offset(field.name.as_bytes()));
        ends_with_crlf(head, parts.length)?;
        ends_with_crlf(head, first_end)?;
        if first_end - 2 > limits.line {
            return Err(HeadError::LineTooLong);
        }
        if fields_end - first_end > limits.fields_bytes || parts.length > MAX_BYTES {
            return Err(HeadError::FieldsTooLong);
        }
        self.clear();
        for (index, field) in parts.fields.iter().enumerate() {
            let next = parts.fields.get(index + 1);
            let end = next.map_or(fields_end, |next| offset(next.name.as_bytes()));
            ends_with_crlf(head, end)?;
            let (start, value) = (offset(field.name.as_bytes()), offset(field.value));
            let known = KnownField::of(field.name.as_bytes());
            self.known |= known.bit();
            self.lines.push(FieldLine {
                start: start as u32,
                name_end: (start + field.name.len()) as u32,
                value: Span::new(value, value + field.value.len()),
                end: end as u32,
                known,
                never_indexed: false,
            });
        }
        self.bytes.extend_from_slice(&head[..fields_end]);
        self.version = parts.version;
        self.status = parts.status;
        self.first = Span::new(0, first_end);
        if parts.status == 0 {
            let target = offset(parts.target.as_bytes());
            self.method = Span::new(0, parts.method.len());
            self.target = Span::new(target, target + parts.target.len());
        } else {
            self.note_reason(first_end);
        }
        Ok(())
    }

    /// Notes the place of a response's reason; a first line without the blank before it has to be written again.
    fn note_reason(&mut self, first_end: usize) {
        const CODE_END: usize = "HTTP/1.1 200".len();
        if self.bytes.get(CODE_END) == Some(&b' ') {
            self.target = Span::new(CODE_END + 1, first_end - 2);
        } else {
            self.first = Span::default();
        }
    }
}

/// Returns the bytes of the empty lines before a request line, `None` when more bytes are needed.
fn empty_lines(input: &[u8]) -> Result<Option<usize>, HeadError> {
    for index in 0..=EMPTY_LINES {
        match input.get(2 * index..).unwrap_or_default() {
            [] | [b'\r'] => return Ok(None),
            [b'\r', b'\n', ..] => {}
            [b'\n', ..] => return Err(BARE_LF),
            [_, ..] => return Ok(Some(2 * index)),
        }
    }
    Err(HeadError::Malformed("there are too many empty lines before the request"))
}

/// Lets httparse read; `Ok(None)` when the head is incomplete.
fn read<'h, 'b>(
    kind: HeadKind,
    input: &'b [u8],
    room: &'h mut [MaybeUninit<Header<'b>>],
) -> Result<Option<ParsedHead<'h, 'b>>, httparse::Error> {
    let parts = match kind {
        HeadKind::Request => {
            let mut request = httparse::Request::new(&mut []);
            let Status::Complete(length) = request.parse_with_uninit_headers(input, room)? else {
                return Ok(None);
            };
            ParsedHead {
                method: request.method.unwrap_or_default(),
                target: request.path.unwrap_or_default(),
                status: 0,
                version: version(request.version),
                fields: request.headers,
                length,
            }
        }
        HeadKind::Response => {
            let mut response = httparse::Response::new(&mut []);
            let config = httparse::ParserConfig::default();
            let read = config.parse_response_with_uninit_headers(&mut response, input, room)?;
            let Status::Complete(length) = read else { return Ok(None) };
            let status = response.code.unwrap_or_default();
            if status < 100 {
                return Err(httparse::Error::Status);
            }
            let version = version(response.version);
            ParsedHead { method: "", target: "", status, version, fields: response.headers, length }
        }
    };
    Ok(Some(parts))
}

/// Returns the version of HTTP/1 with this minor number.
fn version(minor: Option<u8>) -> Version {
    if minor == Some(0) { Version::Http10 } else { Version::Http11 }
}

/// Refuses a line that ends at `end` without CRLF: httparse lets a bare LF pass.
fn ends_with_crlf(head: &[u8], end: usize) -> Result<(), HeadError> {
    if head.get(..end).is_some_and(|lines| lines.ends_with(b"\r\n")) { Ok(()) } else { Err(BARE_LF) }
}

/// Returns an error with words for the fault that httparse found.
#[cold]
fn explain(error: httparse::Error, input: &[u8]) -> HeadError {
    use httparse::Error;
    HeadError::Malformed(match error {
        Error::TooManyHeaders => return HeadError::TooManyFields,
        Error::HeaderName if is_folded(input) => "a field is folded over several lines",
        Error::HeaderName => "a field name is empty, or has a byte that is not allowed before its colon",
        Error::HeaderValue => "a field value has a byte that is not allowed",
        Error::NewLine => "a line ends in something other than CRLF",
        Error::Status => "the status line is not well formed",
        Error::Token => "the request line is not well formed",
        Error::Version => "the version is neither HTTP/1.0 nor HTTP/1.1",
    })
}

/// Returns whether a line begins with a blank, which once continued the line before (RFC 9112 5.2).
fn is_folded(input: &[u8]) -> bool {
    input.windows(2).any(|pair| matches!(pair, b"\n " | b"\n\t"))
}
