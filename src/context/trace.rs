//! The position of a request in its trace.

use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::{Engine as _, alphabet};
use nom::Parser;
use nom::combinator::{all_consuming, opt};
use nom::number::complete::be_u64;

/// The bytes of a trace with an id of 64 bits, and with one of 128.
const SHORT: usize = 32;
const LONG: usize = 40;
/// The bytes of a buffer for a long trace, encoded or decoded.
const ROOM: usize = 64;

/// The standard alphabet (RFC 4648 section 4). Padding may be left out, as Java's decoder allows.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The position of a request in a trace, as in `l5d-ctx-trace`.
///
/// The value is the base64 of 32 bytes: span, parent, root and flags, each big-endian; of 40 bytes when the id of
/// the trace has 128 bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Trace {
    /// The span of the request itself.
    pub span: u64,
    /// The span that caused it; the root has its own span here.
    pub parent: u64,
    /// The root span: the id of the whole trace, sent as `l5d-reqid`.
    pub root: u64,
    /// Bit 0 debug, bit 1 sampling known, bit 2 sampled.
    pub flags: u64,
    /// The high half of a trace id of 128 bits.
    pub root_high: Option<u64>,
}

impl Trace {
    /// Starts a trace: the request is its own root.
    pub fn begin() -> Self {
        let span = new_span();
        Self { span, parent: span, root: span, flags: 0, root_high: None }
    }

    /// Returns the position of a request that this one causes: the same trace, a new span.
    #[must_use]
    pub fn child(&self) -> Self {
        Self { span: new_span(), parent: self.span, ..*self }
    }

    /// Reads the value of `l5d-ctx-trace`; `None` when it is malformed.
    pub fn decode(value: &[u8]) -> Option<Self> {
        let mut buffer = [0; ROOM];
        let length = BASE64.decode_slice(value, &mut buffer).ok()?;
        let bytes = buffer.get(..length)?;
        let parts = (be_u64::<_, ()>, be_u64, be_u64, be_u64, opt(be_u64));
        let (_, (span, parent, root, flags, root_high)) = all_consuming(parts).parse(bytes).ok()?;
        Some(Self { span, parent, root, flags, root_high })
    }

    /// Appends the value of `l5d-ctx-trace` to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut bytes = [0; LONG];
        let parts = [self.span, self.parent, self.root, self.flags, self.root_high.unwrap_or_default()];
        for (place, part) in bytes.chunks_exact_mut(8).zip(parts) {
            place.copy_from_slice(&part.to_be_bytes());
        }
        let (short, _) = bytes.split_at(SHORT);
        let mut text = [0; ROOM];
        // A long trace has 56 digits.
        let digits = BASE64.encode_slice(if self.root_high.is_some() { &bytes } else { short }, &mut text);
        out.extend_from_slice(text.get(..digits.unwrap_or_default()).unwrap_or_default());
    }

    /// Appends the value of `l5d-reqid` to `out`: the root as 16 hexadecimal digits.
    pub fn encode_root(&self, out: &mut Vec<u8>) {
        let mut text = [[0; 2]; 8];
        for (pair, byte) in text.iter_mut().zip(self.root.to_be_bytes()) {
            *pair = [byte >> 4, byte & 0xf].map(|digit| digit + if digit < 10 { b'0' } else { b'a' - 10 });
        }
        out.extend_from_slice(text.as_flattened());
    }
}

/// Draws a span id. Zero stands for "no id" in Zipkin's formats and is not drawn.
fn new_span() -> u64 {
    fastrand::u64(1..)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHILD: Trace = Trace { span: 3, parent: 2, root: 1, flags: 6, root_high: None };

    fn encoded(trace: &Trace) -> Vec<u8> {
        let mut value = Vec::new();
        trace.encode(&mut value);
        value
    }

    #[test]
    fn decodes_the_values_of_linkerd() {
        let short = b"AAAAAAAAAAMAAAAAAAAAAgAAAAAAAAABAAAAAAAAAAY=";
        let long = b"AAAAAAAAAAMAAAAAAAAAAgAAAAAAAAABAAAAAAAAAAYAAAAAAAAACQ==";
        assert_eq!(Trace::decode(short), Some(CHILD));
        assert_eq!(Trace::decode(short.strip_suffix(b"=").unwrap()), Some(CHILD));
        assert_eq!(Trace::decode(long), Some(Trace { root_high: Some(9), ..CHILD }));
        assert_eq!(encoded(&CHILD), short);
        assert_eq!(encoded(&Trace { root_high: Some(9), ..CHILD }), long);
    }

    #[test]
    fn anything_else_is_no_trace() {
        let table: [&[u8]; 10] = [
            b"",
            b"=",
            b"====",
            b"nonsense",
            b"AAAAAAAAAAMAAAAAAAAAAgAAAAAAAAABAAAAAAAAAA=",
            b"AAAAAAAAAAMAAAAAAAAAAgAAAAAAAAABAAAAAAAAAAYA",
            b"AAAAAAAAAAMAAAAAAAAAAgAAAAAAAAABAAAAAAAAAAYAAAAAAAAA",
            b"AAAAAAAAAAMAAAAAAAAAAgAAAAAAAAABAAAAAAAAAAYAAAAAAAAACQAAAAAAAAAJ",
            b"AAAAAAAAAAM\xff\x00AAAAAAAgAAAAAAAAABAAAAAAAAAAY=",
            &[b'A'; 8000],
        ];
        for value in table {
            assert_eq!(Trace::decode(value), None, "{}", value.escape_ascii());
        }
    }

    #[test]
    fn a_child_stays_in_the_trace() {
        let root = Trace::begin();
        assert_eq!((root.parent, root.root), (root.span, root.span));
        let child = root.child();
        assert_eq!((child.parent, child.root, child.flags), (root.span, root.root, root.flags));
        assert_ne!(child.span, root.span);
        assert_eq!(Trace::decode(&encoded(&child)), Some(child));
    }

    #[test]
    fn the_root_has_sixteen_digits() {
        let mut value = Vec::new();
        Trace { root: 0xbeef, ..CHILD }.encode_root(&mut value);
        assert_eq!(value, b"000000000000beef");
    }
}
