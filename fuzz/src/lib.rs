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
    let is_or_begins =
        |word: &str| plain.strip_prefix(word).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'));
    let steers = ["l5d", "x-dtab", "dtab-local"].into_iter().any(is_or_begins);
    assert!(!steers, "{plain} is still there");
}

/// Returns the members of one line of a list, without the blanks around them and without empty ones.
pub fn members(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).filter(|member| !member.is_empty())
}

/// Returns whether a member of an untrusted caller's baggage stays, by a rule of its own: it is well-formed, and its key
/// is none of those that steer.
pub fn stays(member: &[u8]) -> bool {
    let mut parts = member.split(|&byte| byte == b';').enumerate().map(|(at, part)| {
        let mut sides = part.splitn(2, |&byte| byte == b'=').map(<[u8]>::trim_ascii);
        let key = sides.next().unwrap_or_default();
        let is_token = |byte: &u8| byte.is_ascii_graphic() && !b"\"(),/:;<=>?@[\\]{}".contains(byte);
        let has_key = !key.is_empty() && key.iter().all(is_token);
        let is_value =
            |value: &[u8]| value.iter().all(|byte| byte.is_ascii_graphic() && !b"\"\\".contains(byte));
        has_key && sides.next().map_or(at > 0, is_value)
    });
    let key = member.split(|byte| matches!(byte, b'=' | b';')).next().unwrap_or_default().trim_ascii();
    parts.all(|is_well_formed| is_well_formed) && !is_steering_key(&read_laxly(key))
}

/// Returns whether a key that was read by [`read_laxly`] is one of those that steer by default.
pub fn is_steering_key(key: &str) -> bool {
    ["dtab", "sd-routing-key", "sd-sandbox", "okteto-divert", "mirrord-session"].contains(&key)
}

/// Reads a name as the laxest reader does: percent-decoded until nothing is left to decode, without case, without `+`
/// and bytes that are no visible ASCII.
pub fn read_laxly(name: &[u8]) -> String {
    let mut name = name.to_ascii_lowercase();
    while let Some(at) = name
        .windows(3)
        .position(|three| three[0] == b'%' && three[1].is_ascii_hexdigit() && three[2].is_ascii_hexdigit())
    {
        let digits = std::str::from_utf8(&name[at + 1..at + 3]).expect("they are digits");
        let byte = u8::from_str_radix(digits, 16).expect("they are hexadecimal");
        name.splice(at..at + 3, [byte.to_ascii_lowercase()]);
    }
    let name = String::from_utf8_lossy(&name).to_uppercase().to_lowercase();
    name.chars().filter(|letter| letter.is_ascii_graphic() && *letter != '+').collect()
}
