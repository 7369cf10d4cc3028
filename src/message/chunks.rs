//! The chunked transfer coding (RFC 9112 7.1).

use super::field::is;
use super::head::{is_token_byte, is_value_byte};
use super::{Field, KnownField};
use std::io::Write as _;

/// The bytes that follow the data of every chunk.
pub const CHUNK_END: &[u8] = b"\r\n";

/// The last chunk of a body without trailers.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// The most digits of a chunk's size: those of a u64.
const SIZE_DIGITS: u8 = 16;

/// The most bytes of framing that a body may have beyond those that its data excuses; see [`Chunks`].
const EXCESS: u64 = 16 << 10;

/// The framing bytes that every chunk may have without being counted as excess.
const FREE_FRAMING: u64 = 16;

/// The most bytes of all trailer lines together.
const TRAILER_BYTES: usize = 8 << 10;

/// The most trailer lines.
const TRAILER_FIELDS: usize = 64;

/// A decoder of the chunked coding: a pure state machine that is fed with the bytes received.
///
/// It accepts the grammar of RFC 9112 7.1 and nothing else: a size of at most 16 hexadecimal digits below 2^63,
/// CRLF at the end of every line, extensions without control bytes. Extensions mean nothing here and are
/// dropped. A decoder [of a response](Self::of_response) also takes blanks behind a size.
///
/// Framing is bounded as in Go's `net/http`: each chunk excuses 16 bytes of size line and twice its data. The
/// framing beyond that adds up, and 16 KiB of it end the body. So neither long extensions nor many of them cost
/// more than the data they come with. Trailers are bounded by 8 KiB and 64 lines.
#[derive(Clone, Debug, Default)]
pub struct Chunks {
    state: ChunkState,
    /// Whether a size line may end in blanks.
    takes_blanks: bool,
    /// The digits of the size line that is being read.
    digits: u8,
    /// The size that is being read, then the number of data bytes still to come.
    size: u64,
    /// The bytes of the size line that is being read.
    line: u64,
    /// The framing that was not excused so far.
    excess: u64,
    /// The trailer lines that are kept, and the one that is being read.
    trailers: Vec<u8>,
    /// The start in `trailers` of the trailer line that is being read.
    trailer: usize,
    /// The bytes of all trailer lines so far, dropped ones too.
    trailer_bytes: usize,
    /// The trailer lines so far, dropped ones too.
    trailer_fields: usize,
    /// How many of the dropped trailers carry context.
    context_trailers: usize,
}

/// The part of the body that the next byte belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum ChunkState {
    /// The digits of a size.
    #[default]
    Size,
    /// Blanks between size and extension.
    Blank,
    /// A chunk extension.
    Extension,
    /// The LF of a size line.
    SizeLf,
    /// A chunk's data.
    Data,
    /// The CR behind a chunk's data.
    DataCr,
    /// The LF behind a chunk's data.
    DataLf,
    /// A trailer line, or the empty line at the end.
    Trailer,
    /// The LF of a trailer line.
    TrailerLf,
    /// The LF of the empty line at the end.
    EndLf,
    /// Nothing: the body is over.
    Over,
}

/// The part of a body that [`Chunks::decode`] found at the front of its input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ChunkEvent {
    /// All of the input was framing, and more input is needed.
    More {
        /// The bytes that were taken: the whole input.
        consumed: usize,
    },
    /// Framing, then data. The bytes behind them belong to the next call.
    Data {
        /// The bytes of framing in front.
        skip: usize,
        /// The bytes of body behind them; never 0.
        data: usize,
    },
    /// The end of the body and its trailers. The bytes behind it belong to the next message.
    End {
        /// The bytes that were taken.
        consumed: usize,
    },
}

/// The reason why bytes are not a chunked body. A response that has begun cannot be replaced by an error any
/// more: the connection is closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ChunkError {
    /// A chunk's size is not made of hexadecimal digits.
    #[error("a chunk's size is not a hexadecimal number")]
    Size,
    /// A chunk's size has more than 16 digits or is not below 2^63.
    #[error("a chunk's size is too large")]
    SizeTooLarge,
    /// A chunk extension has a byte that is not allowed.
    #[error("a chunk extension has a byte that is not allowed")]
    Extension,
    /// The chunks have much more framing than data.
    #[error("the chunks have too much framing for their data")]
    TooMuchFraming,
    /// A line or a chunk's data does not end in CRLF.
    #[error("a line of the chunked body does not end in CRLF")]
    Line,
    /// A trailer line is not a field line.
    #[error("a trailer is not a field line")]
    Trailer,
    /// The trailers are more than 64 or longer than 8 KiB.
    #[error("the trailers are too long or too many")]
    TrailersTooLong,
}

impl Chunks {
    /// Returns a decoder at the beginning of a body.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns a decoder at the beginning of a response's body. It takes blanks between a size and the end of its line, as
    /// curl, browsers and nginx do: some servers pad sizes with them.
    ///
    /// No one can be misled by it: the chunks are written anew for the caller. A request with them stays refused.
    pub fn of_response() -> Self {
        Self { takes_blanks: true, ..Self::default() }
    }

    /// Returns to the beginning of a body; keeps the memory.
    pub fn clear(&mut self) {
        let mut trailers = std::mem::take(&mut self.trailers);
        trailers.clear();
        *self = Self { trailers, takes_blanks: self.takes_blanks, ..Self::default() };
    }

    /// Decodes the front of `input`: framing up to the first data, the end, or the end of the input.
    ///
    /// The caller drops the bytes that were taken and calls again with those behind them. Any split of a body's
    /// bytes gives the same data. After the end every call takes nothing and returns [`ChunkEvent::End`] again.
    ///
    /// # Errors
    ///
    /// Bytes that are not a chunked body, or exceed one of its bounds; the decoder is then of no further use.
    pub fn decode(&mut self, input: &[u8]) -> Result<ChunkEvent, ChunkError> {
        let mut at = 0;
        while self.state != ChunkState::Over {
            let Some(&byte) = input.get(at) else { return Ok(ChunkEvent::More { consumed: at }) };
            if self.state == ChunkState::Data {
                return Ok(self.take_data(at, input.len() - at));
            }
            self.state = self.step(byte)?;
            at += 1;
        }
        Ok(ChunkEvent::End { consumed: at })
    }

    /// Returns whether the body is over in `input`, without decoding it: the same bytes are still to be decoded.
    ///
    /// # Errors
    ///
    /// As of [`decode`](Self::decode), for all of `input`.
    pub fn check(&self, mut input: &[u8]) -> Result<bool, ChunkError> {
        let mut ahead = self.clone();
        loop {
            match ahead.decode(input)? {
                ChunkEvent::More { .. } => return Ok(false),
                ChunkEvent::End { .. } => return Ok(true),
                ChunkEvent::Data { skip, data } => input = &input[skip + data..],
            }
        }
    }

    /// Returns the trailer lines that may be forwarded, each as it came, with its CRLF.
    ///
    /// Those that frame, route, authenticate or modify a message have been dropped (RFC 9110 6.5.1), and so
    /// has every spelling of the fields that steer the router: a trailer comes too late for a trust policy.
    pub fn trailers(&self) -> &[u8] {
        if self.state == ChunkState::Over { &self.trailers } else { b"" }
    }

    /// Returns the number of dropped trailers that [carry context](KnownField::carries_context).
    pub fn context_trailers(&self) -> usize {
        self.context_trailers
    }

    /// Keeps only the trailers for which `keep` says so.
    pub fn retain_trailers(&mut self, mut keep: impl FnMut(Field<'_>) -> bool) {
        if self.state != ChunkState::Over {
            return;
        }
        let mut kept = Vec::new();
        for line in self.trailers.split_inclusive(|&byte| byte == b'\n') {
            if field(line.trim_ascii_end()).is_some_and(&mut keep) {
                kept.extend_from_slice(line);
            }
        }
        self.trailers = kept;
    }

    /// Takes data of the current chunk from the `available` bytes behind `skip` bytes of framing.
    fn take_data(&mut self, skip: usize, available: usize) -> ChunkEvent {
        // A size beyond a usize is more than there is in memory.
        let data = usize::try_from(self.size).map_or(available, |size| size.min(available));
        self.size -= data as u64;
        if self.size == 0 {
            self.state = ChunkState::DataCr;
        }
        ChunkEvent::Data { skip, data }
    }

    /// Takes one byte of framing; returns the state for the next byte.
    fn step(&mut self, byte: u8) -> Result<ChunkState, ChunkError> {
        match (self.state, byte) {
            (ChunkState::Size, _) if byte.is_ascii_hexdigit() => self.digit(byte),
            (ChunkState::Size, _) if self.digits == 0 => Err(ChunkError::Size),
            (ChunkState::Size | ChunkState::Blank, b' ' | b'\t') => self.count(ChunkState::Blank),
            (ChunkState::Size | ChunkState::Blank, b';') => self.count(ChunkState::Extension),
            (ChunkState::Size | ChunkState::Extension, b'\r') => Ok(ChunkState::SizeLf),
            (ChunkState::Blank, b'\r') if self.takes_blanks => Ok(ChunkState::SizeLf),
            (ChunkState::Size, b'\n') => Err(ChunkError::Line),
            (ChunkState::Size | ChunkState::Blank, _) => Err(ChunkError::Size),
            (ChunkState::Extension, _) if is_value_byte(byte) => self.count(ChunkState::Extension),
            (ChunkState::Extension, b'\n') => Err(ChunkError::Line),
            (ChunkState::Extension, _) => Err(ChunkError::Extension),
            (ChunkState::SizeLf, b'\n') => self.end_size(),
            (ChunkState::DataCr, b'\r') => Ok(ChunkState::DataLf),
            (ChunkState::DataLf, b'\n') => Ok(ChunkState::Size),
            (ChunkState::Trailer, b'\r') if self.trailers.len() == self.trailer => Ok(ChunkState::EndLf),
            (ChunkState::Trailer, b'\r') => Ok(ChunkState::TrailerLf),
            (ChunkState::Trailer, b'\n') => Err(ChunkError::Line),
            (ChunkState::Trailer, _) => self.trailer_byte(byte),
            (ChunkState::TrailerLf, b'\n') => self.end_trailer(),
            (ChunkState::EndLf, b'\n') => Ok(ChunkState::Over),
            (
                ChunkState::SizeLf
                | ChunkState::DataCr
                | ChunkState::DataLf
                | ChunkState::TrailerLf
                | ChunkState::EndLf,
                _,
            ) => Err(ChunkError::Line),
            // `decode` takes data and notices the end before it asks for a step.
            (ChunkState::Data | ChunkState::Over, _) => Ok(self.state),
        }
    }

    /// Takes one digit of a size.
    fn digit(&mut self, byte: u8) -> Result<ChunkState, ChunkError> {
        if self.digits == SIZE_DIGITS {
            return Err(ChunkError::SizeTooLarge);
        }
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            _ => byte.to_ascii_lowercase() - b'a' + 10,
        };
        self.digits += 1;
        self.size = self.size << 4 | u64::from(digit);
        self.count(ChunkState::Size)
    }

    /// Counts one byte of a size line, and bounds a line that does not end.
    fn count(&mut self, next: ChunkState) -> Result<ChunkState, ChunkError> {
        self.line += 1;
        if self.line > EXCESS { Err(ChunkError::TooMuchFraming) } else { Ok(next) }
    }

    /// Ends a size line, and checks the size and the bound on framing.
    fn end_size(&mut self) -> Result<ChunkState, ChunkError> {
        if i64::try_from(self.size).is_err() {
            return Err(ChunkError::SizeTooLarge);
        }
        let excused = self.size.saturating_mul(2).saturating_add(FREE_FRAMING);
        self.excess = (self.excess + self.line + 2).saturating_sub(excused);
        if self.excess > EXCESS {
            return Err(ChunkError::TooMuchFraming);
        }
        (self.digits, self.line) = (0, 0);
        Ok(if self.size == 0 { ChunkState::Trailer } else { ChunkState::Data })
    }

    /// Takes one byte of a trailer line.
    fn trailer_byte(&mut self, byte: u8) -> Result<ChunkState, ChunkError> {
        self.trailer_bytes += 1;
        if self.trailer_bytes > TRAILER_BYTES {
            return Err(ChunkError::TrailersTooLong);
        }
        self.trailers.push(byte);
        Ok(ChunkState::Trailer)
    }

    /// Ends a trailer line, and drops it when it may not be forwarded.
    fn end_trailer(&mut self) -> Result<ChunkState, ChunkError> {
        self.trailer_fields += 1;
        if self.trailer_fields > TRAILER_FIELDS {
            return Err(ChunkError::TrailersTooLong);
        }
        let field = field(&self.trailers[self.trailer..]).ok_or(ChunkError::Trailer)?;
        if may_trail(field) {
            self.trailers.extend_from_slice(b"\r\n");
        } else {
            self.context_trailers += usize::from(field.known.carries_context());
            self.trailers.truncate(self.trailer);
        }
        self.trailer = self.trailers.len();
        Ok(ChunkState::Trailer)
    }
}

/// Writes the size line of a chunk with `length` bytes; its data and [`CHUNK_END`] follow.
///
/// A `length` of 0 writes nothing: an empty chunk would end the body.
pub fn write_chunk_head(length: usize, out: &mut Vec<u8>) {
    if length > 0 {
        // A write to a vector cannot fail.
        let _ = write!(out, "{length:x}\r\n");
    }
}

/// Writes the end of a chunked body: the last chunk, `trailers` (whole lines, each with its CRLF), the empty
/// line.
pub fn write_last_chunk(trailers: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n");
    out.extend_from_slice(trailers);
    out.extend_from_slice(b"\r\n");
}

/// Reads one field line without its CRLF; `None` when it is not a field line.
fn field(line: &[u8]) -> Option<Field<'_>> {
    let colon = memchr::memchr(b':', line)?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    let well_formed =
        !name.is_empty() && name.iter().all(|&b| is_token_byte(b)) && value.iter().all(|&b| is_value_byte(b));
    well_formed.then(|| Field { name, value: value.trim_ascii(), known: KnownField::of_trailer(name) })
}

/// Returns whether a field may come behind a body (RFC 9110 6.5.1). None that the router knows by name may.
pub(super) fn may_trail(field: Field<'_>) -> bool {
    /// Fields that route, authenticate, modify a request, control a response, or say how to read the content.
    const NEVER: [&str; 24] = [
        "accept",
        "age",
        "authorization",
        "cache-control",
        "content-encoding",
        "content-location",
        "content-range",
        "content-type",
        "cookie",
        "expires",
        "if-match",
        "if-modified-since",
        "if-none-match",
        "if-range",
        "if-unmodified-since",
        "location",
        "pragma",
        "range",
        "retry-after",
        "set-cookie",
        "strict-transport-security",
        "traceparent",
        "vary",
        "www-authenticate",
    ];
    field.known == KnownField::Other && !NEVER.iter().any(|name| is(field.name, name))
}

#[cfg(test)]
mod tests;
