//! The parts that the fuzz targets share.

use signpost::message::{Head, HeadError, HeadLimits};
use signpost::name::ParseError;
use std::fmt::{Debug, Display};
use std::str::FromStr;

/// The bounds on heads, which libFuzzer's inputs reach: they seldom have more than 4 KiB.
pub const LIMITS: HeadLimits = HeadLimits { line: 200, fields_bytes: 1000, fields: 20 };

/// The bounds that a head never reaches when it was read within [`LIMITS`], edited and written.
const WIDE: HeadLimits = HeadLimits { line: 2000, fields_bytes: 20_000, fields: 40 };

/// A function that reads a head.
pub type Parse = fn(&mut Head, &[u8], &HeadLimits) -> Result<Option<usize>, HeadError>;

/// Writes a head and reads it as the next hop does, which must succeed.
pub fn next_hop(parse: Parse, head: &Head) -> Head {
    let mut bytes = Vec::new();
    head.write(&mut bytes);
    let mut again = Head::new();
    assert_eq!(parse(&mut again, &bytes, &WIDE), Ok(Some(bytes.len())), "{}", bytes.escape_ascii());
    again
}

/// Reads a value of the notation and asserts that its printed forms are read again: the exact form as the same value,
/// the canonical one as a value with the same canonical form from then on. (A weight of 0.999 is shown as `1.00`, and
/// read again as a weight that is not shown.)
///
/// A text that is not such a value must be refused with a place in the text and a caret.
pub fn read_back<T>(text: &str) -> Option<T>
where
    T: FromStr<Err = ParseError> + Display + Debug + PartialEq,
{
    match text.parse::<T>() {
        Ok(value) => {
            let exact = format!("{value:#}");
            assert_eq!(exact.parse().as_ref(), Ok(&value), "the exact form: {exact}");
            let canonical = value.to_string();
            // Finagle's word for a weight with too many digits, which the notation does not read.
            if !canonical.contains("Infinity") {
                let print = |text: &str| text.parse::<T>().map(|again| again.to_string());
                let again =
                    print(&canonical).unwrap_or_else(|error| panic!("{canonical} is read again: {error}"));
                assert_eq!(print(&again).as_ref(), Ok(&again), "the canonical form");
            }
            Some(value)
        }
        Err(error) => {
            let before = text.get(..error.offset).expect("the offset is that of a character or of the end");
            assert_eq!(error.line, before.matches('\n').count() + 1, "{error}");
            assert!(!error.expected.is_empty() && error.to_string().contains('^'), "{error}");
            None
        }
    }
}

/// Cuts the first byte off: it gives the place at which the rest is cut in two.
pub fn cut(input: &[u8]) -> Option<(&[u8], usize)> {
    let (&first, rest) = input.split_first()?;
    Some((rest, usize::from(first).min(rest.len())))
}

/// Asserts that a field's name is no spelling of one that steers the router, by a rule of its own: underscores and
/// capital letters make no difference.
pub fn assert_not_steering(name: &[u8]) {
    let plain = name.to_ascii_lowercase().escape_ascii().to_string().replace('_', "-");
    let steers = plain.starts_with("l5d-") || plain.starts_with("x-dtab-") || plain == "dtab-local";
    assert!(!steers, "{plain} is still there");
}
