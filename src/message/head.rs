//! A message head: the bytes it came in, plus edits.

mod connection;
mod http2;
mod numbers;
mod parse;
mod reason;
mod replace;
mod target;

use self::parse::Scan;
use self::reason::usual_reason;
use super::{Field, KnownField};
use std::fmt;

pub(super) use self::connection::MAX_OPTIONS;
pub use self::connection::{
    HopByHopFields, RequestConnection, ResponseConnection, ResponseEnd, is_tunnel_protocol,
};
pub use self::http2::{strip_trailers, trailer_fields, trailer_lines};
pub use self::parse::{HeadError, HeadLimits};
pub use self::target::validate_host;

/// The most bytes a head may hold, whatever the limits say: offsets are 32 bits wide.
const MAX_BYTES: usize = 1 << 30;

/// The protocol version of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord, Default)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    #[default]
    Http11,
    /// HTTP/2; such a head was not read from HTTP/1 bytes.
    Http2,
}

/// A range of a head's bytes.
#[derive(Clone, Copy, Default)]
struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// Returns the range from `start` to `end`. Both are at most [`MAX_BYTES`], so nothing is lost.
    fn new(start: usize, end: usize) -> Self {
        Self { start: start as u32, end: end as u32 }
    }

    /// Returns the bytes of the range.
    fn of(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.start as usize..self.end as usize]
    }

    fn is_empty(self) -> bool {
        self.start == self.end
    }
}

/// A field line, as it came or as it was appended: `name: value CRLF`, all in the head's bytes.
#[derive(Clone, Copy)]
struct FieldLine {
    /// The start of the line and of its name.
    start: u32,
    name_end: u32,
    value: Span,
    /// The end of the line, behind its CRLF.
    end: u32,
    known: KnownField,
    /// Whether HTTP/2 may not put it into a compression table (RFC 7541 6.2.3).
    never_indexed: bool,
}

impl FieldLine {
    fn name(self) -> Span {
        Span { start: self.start, end: self.name_end }
    }

    fn field(self, bytes: &[u8]) -> Field<'_> {
        Field { name: self.name().of(bytes), value: self.value.of(bytes), known: self.known }
    }
}

/// A message head: the bytes it came in, plus edits.
///
/// The bytes are copied once, when the head is complete. Fields appended or replaced later go to the end of the
/// same buffer, and those removed are only forgotten. [`write`](Self::write) copies neighbouring
/// lines in one go, so a head that is forwarded as it came costs one copy. A head is reused from message to
/// message: [`clear`](Self::clear) keeps the memory, and a worker in a steady state allocates nothing.
///
/// `Debug` shows the head as text, credentials included.
#[derive(Clone, Default)]
pub struct Head {
    bytes: Vec<u8>,
    lines: Vec<FieldLine>,
    /// The bits of the known fields that the head has.
    known: u64,
    /// The first line as it came, with its CRLF; empty when it has to be written anew.
    first: Span,
    /// The method of a request; empty for a response.
    method: Span,
    /// The target of a request, the reason of a response.
    target: Span,
    /// The status of a response; 0 for a request.
    status: u16,
    version: Version,
    /// The progress of the scan of an incomplete head.
    scan: Scan,
}

impl Head {
    /// Returns an empty head, to be filled by a parse.
    pub fn new() -> Self {
        Self::default()
    }

    /// Empties the head and forgets how far an incomplete one was read; keeps the memory.
    pub fn clear(&mut self) {
        self.empty();
        self.scan = Scan::default();
    }

    /// Returns a new request head: HTTP/1.1, without fields.
    ///
    /// Bytes that may not stand in a method become `-`; those that may not stand in a target are
    /// percent-encoded.
    pub fn request(method: &[u8], target: &[u8]) -> Self {
        let mut head = Self::default();
        head.begin_request(method, target);
        head
    }

    /// Makes an empty head a request head.
    fn begin_request(&mut self, method: &[u8], target: &[u8]) {
        push_allowed(&mut self.bytes, method, is_token_byte, b'-');
        self.method = Span::new(0, self.bytes.len());
        self.set_target(target);
    }

    /// Returns a new response head: HTTP/1.1, the status's usual reason, without fields.
    pub fn response(status: u16) -> Self {
        let mut head = Self::default();
        head.set_status(status);
        head
    }

    /// Returns the method of a request; empty for a response.
    pub fn method(&self) -> &[u8] {
        self.method.of(&self.bytes)
    }

    /// Returns the target of a request; empty for a response.
    pub fn target(&self) -> &[u8] {
        if self.status == 0 { self.target.of(&self.bytes) } else { b"" }
    }

    /// Replaces the target. Blanks and control bytes in it are percent-encoded, so that no target can end the
    /// line. Does nothing once the head holds a gigabyte.
    pub fn set_target(&mut self, target: &[u8]) {
        // Percent-encoding makes at most three bytes of one.
        if self.lacks_room(target.len().saturating_mul(3)) {
            return;
        }
        let start = self.bytes.len();
        for &byte in target {
            if byte > b' ' && byte != 0x7f {
                self.bytes.push(byte);
            } else {
                const HEX: &[u8; 16] = b"0123456789ABCDEF";
                let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
                self.bytes.extend_from_slice(&[b'%', high, low]);
            }
        }
        self.target = Span::new(start, self.bytes.len());
        self.first = Span::default();
    }

    /// Returns the version the message came in, or the one set since.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Sets the version that is written.
    pub fn set_version(&mut self, version: Version) {
        if self.version != version {
            self.version = version;
            self.first = Span::default();
        }
    }

    /// Returns the status of a response, 100 to 999; 0 for a request.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Sets the status and removes the reason that came with the old one; a number outside 100 to 999 becomes
    /// the nearest inside.
    pub fn set_status(&mut self, status: u16) {
        self.status = status.clamp(100, 999);
        self.target = Span::default();
        self.first = Span::default();
    }

    /// Returns the fields: those that came, in order, then the appended ones. Values come without the blanks
    /// around them.
    pub fn fields(&self) -> impl Iterator<Item = Field<'_>> {
        self.lines.iter().map(|line| line.field(&self.bytes))
    }

    /// Returns the first value of a known field. An absent field costs one test of a bit.
    pub fn get(&self, known: KnownField) -> Option<&[u8]> {
        self.get_all(known).next()
    }

    /// Returns the values of a known field in order. An absent field costs one test of a bit.
    pub fn get_all(&self, known: KnownField) -> impl Iterator<Item = &[u8]> {
        let lines = if self.contains(known) { self.lines.as_slice() } else { &[] };
        lines.iter().filter(move |line| line.known == known).map(|line| line.value.of(&self.bytes))
    }

    /// Returns whether the head has a known field.
    pub fn contains(&self, known: KnownField) -> bool {
        self.known & known.bit() != 0
    }

    /// Returns the first value of the field called `name`, whatever its case.
    pub fn find(&self, name: &[u8]) -> Option<&[u8]> {
        self.fields().find(|field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
    }

    /// Removes every field for which `gone` is true; returns the number of them.
    pub fn remove_where(&mut self, mut gone: impl FnMut(Field<'_>) -> bool) -> usize {
        let before = self.lines.len();
        let bytes = &self.bytes;
        self.lines.retain(|line| !gone(line.field(bytes)));
        let removed = before - self.lines.len();
        if removed > 0 {
            self.note_known();
        }
        removed
    }

    /// Removes every field that is `known`; returns the number of them.
    pub fn remove(&mut self, known: KnownField) -> usize {
        if !self.contains(known) {
            return 0;
        }
        self.remove_where(|field| field.known == known)
    }

    /// Adds a field at the end.
    ///
    /// Name and value are the program's: a byte that may not stand in a name becomes `-`, a control byte in a
    /// value (CR, LF and NUL above all) a blank. An empty name adds nothing, and neither does a field for
    /// which a head of a gigabyte has no room.
    pub fn append(&mut self, name: &[u8], value: &[u8]) {
        if name.iter().all(|&byte| is_token_byte(byte)) {
            return self.append_line(KnownField::of(name), name, value);
        }
        let name: Vec<_> = name.iter().map(|&byte| if is_token_byte(byte) { byte } else { b'-' }).collect();
        self.append_line(KnownField::of(&name), &name, value);
    }

    /// Adds a known field at the end, under the name that the router writes.
    ///
    /// The value is treated as by [`append`](Self::append). A variant that stands for several names adds nothing.
    pub fn append_known(&mut self, known: KnownField, value: &[u8]) {
        self.append_line(known, known.name().as_bytes(), value);
    }

    /// Adds an element to a field that is a list: behind the value of its last line, or in a line of its own.
    ///
    /// A field that grows at every hop stays one line, so that it does not reach the bound on the number of fields. The
    /// element is treated as a value is by [`append`](Self::append).
    pub fn append_element(&mut self, known: KnownField, element: &[u8]) {
        const SEPARATORS: usize = ", \r\n".len();
        let last = if self.contains(known) {
            self.lines.iter().rposition(|line| line.known == known && !line.value.is_empty())
        } else {
            None
        };
        let Some(at) = last else { return self.append_known(known, element) };
        let line = self.lines[at];
        let copied = line.start as usize..line.value.end as usize;
        if self.lacks_room((copied.len() + SEPARATORS).saturating_add(element.len())) {
            return;
        }
        let start = self.bytes.len();
        let moved = |offset: u32| start as u32 + (offset - line.start);
        self.bytes.extend_from_within(copied);
        self.bytes.extend_from_slice(b", ");
        push_allowed(&mut self.bytes, trim_invisible(element), is_value_byte, b' ');
        let value = Span { start: moved(line.value.start), end: self.bytes.len() as u32 };
        self.bytes.extend_from_slice(b"\r\n");
        self.lines[at] = FieldLine {
            start: start as u32,
            name_end: moved(line.name_end),
            value,
            end: self.bytes.len() as u32,
            ..line
        };
    }

    /// Adds a line; its name must be a token.
    fn append_line(&mut self, known: KnownField, name: &[u8], value: &[u8]) {
        const SEPARATORS: usize = ": \r\n".len();
        if name.is_empty() || self.lacks_room(name.len().saturating_add(value.len()) + SEPARATORS) {
            return;
        }
        let start = self.bytes.len();
        self.bytes.extend_from_slice(name);
        let line = self.end_line(start, known, value);
        self.push_line(line);
    }

    /// Adds a line whose bytes are here.
    fn push_line(&mut self, line: FieldLine) {
        self.known |= line.known.bit();
        self.lines.push(line);
    }

    /// Ends the line whose name stands at the end of the bytes, from `start`, with a value.
    fn end_line(&mut self, start: usize, known: KnownField, value: &[u8]) -> FieldLine {
        let name_end = self.bytes.len();
        self.bytes.extend_from_slice(b": ");
        let value_start = self.bytes.len();
        push_allowed(&mut self.bytes, trim_invisible(value), is_value_byte, b' ');
        let value_end = self.bytes.len();
        self.bytes.extend_from_slice(b"\r\n");
        FieldLine {
            start: start as u32,
            name_end: name_end as u32,
            value: Span::new(value_start, value_end),
            end: self.bytes.len() as u32,
            known,
            never_indexed: false,
        }
    }

    /// Removes every field called `name`, whatever its case, and appends one.
    pub fn set(&mut self, name: &[u8], value: &[u8]) {
        match KnownField::of(name) {
            // The steering spellings share one variant, as all unknown names do: there the name itself
            // decides.
            KnownField::Other
            | KnownField::L5dOther
            | KnownField::DtabLocal
            | KnownField::BaggageItem
            | KnownField::BaggageAlias
            | KnownField::XForwarded => self.remove_where(|field| field.name.eq_ignore_ascii_case(name)),
            known => self.remove(known),
        };
        self.append(name, value);
    }

    /// Writes the head as HTTP/1 to the end of `out`, from the first line to the empty one.
    ///
    /// The first line has HTTP/1.0 when that is the [`version`](Self::version), else HTTP/1.1.
    pub fn write(&self, out: &mut Vec<u8>) {
        self.write_open(out);
        out.extend_from_slice(b"\r\n");
    }

    /// Writes the head as [`write`](Self::write) does, but for the empty line: lines about the connection may follow.
    pub(super) fn write_open(&self, out: &mut Vec<u8>) {
        out.reserve(self.bytes.len() + 64);
        let mut run = self.first;
        if run.is_empty() {
            self.write_first_line(out);
        }
        for line in &self.lines {
            if line.start == run.end {
                run.end = line.end;
            } else {
                out.extend_from_slice(run.of(&self.bytes));
                run = Span { start: line.start, end: line.end };
            }
        }
        out.extend_from_slice(run.of(&self.bytes));
    }

    /// Writes the request line or the status line.
    fn write_first_line(&self, out: &mut Vec<u8>) {
        let version: &[u8] = if self.version == Version::Http10 { b"HTTP/1.0" } else { b"HTTP/1.1" };
        if self.status == 0 {
            out.extend_from_slice(self.method());
            out.push(b' ');
            out.extend_from_slice(self.target());
            out.push(b' ');
            out.extend_from_slice(version);
        } else {
            let digit = |ten: u16| b'0' + (self.status / ten % 10) as u8;
            out.extend_from_slice(version);
            out.extend_from_slice(&[b' ', digit(100), digit(10), digit(1), b' ']);
            let reason = self.target.of(&self.bytes);
            out.extend_from_slice(if reason.is_empty() {
                usual_reason(self.status).as_bytes()
            } else {
                reason
            });
        }
        out.extend_from_slice(b"\r\n");
    }

    /// Empties everything but the scan of the head that is being read.
    fn empty(&mut self) {
        let Self { bytes, lines, known, first, method, target, status, version, scan: _ } = self;
        bytes.clear();
        lines.clear();
        *known = 0;
        *first = Span::default();
        *method = Span::default();
        *target = Span::default();
        *status = 0;
        *version = Version::default();
    }

    /// Notes again which known fields the head has, after lines were removed.
    fn note_known(&mut self) {
        self.known = self.lines.iter().fold(0, |known, line| known | line.known.bit());
    }

    /// Returns whether the head has no room for so many more bytes.
    fn lacks_room(&self, more: usize) -> bool {
        self.bytes.len().saturating_add(more) > MAX_BYTES
    }
}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::new();
        self.write(&mut text);
        write!(f, "Head(\"{}\")", text.trim_ascii_end().escape_ascii())
    }
}

/// Appends `text`, with `instead` in place of each byte that is not allowed.
#[inline]
fn push_allowed(bytes: &mut Vec<u8>, text: &[u8], is_allowed: impl Fn(u8) -> bool, instead: u8) {
    let start = bytes.len();
    bytes.extend_from_slice(text);
    // Nearly always all are allowed. Without a stop at the first that is not, many bytes are checked in one step.
    if !text.iter().fold(true, |all, &byte| all & is_allowed(byte)) {
        bytes[start..].iter_mut().filter(|byte| !is_allowed(**byte)).for_each(|byte| *byte = instead);
    }
}

/// The bytes of tokens.
const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    while byte < 0x7f {
        table[byte as usize] = byte.is_ascii_alphanumeric()
            || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~');
        byte += 1;
    }
    table
};

/// Returns whether a byte may stand in a token: a method or a field name (RFC 9110 5.6.2).
pub(crate) fn is_token_byte(byte: u8) -> bool {
    TOKEN[usize::from(byte)]
}

/// Returns whether a byte may stand in a field value: visible, blank, tab or beyond ASCII (RFC 9110 5.5).
pub(super) fn is_value_byte(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

/// Trims the bytes that would be blanks at either end of a value.
fn trim_invisible(mut value: &[u8]) -> &[u8] {
    let is_visible = |byte: u8| byte > b' ' && byte != 0x7f;
    while let [first, rest @ ..] = value
        && !is_visible(*first)
    {
        value = rest;
    }
    while let [rest @ .., last] = value
        && !is_visible(*last)
    {
        value = rest;
    }
    value
}

#[cfg(test)]
mod tests;
