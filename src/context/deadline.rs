//! The deadline of a request.

use crate::message::{Head, KnownField};
use nom::Parser;
use nom::character::complete::{char, digit1};
use nom::combinator::{all_consuming, map_opt};
use nom::sequence::separated_pair;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The largest signed number.
const MOST: u64 = i64::MAX as u64;

/// A point of wall-clock time, in nanoseconds since 1970; a clock set to before that counts as 1970. It is at most `i64::MAX`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timestamp(u64);

impl Timestamp {
    /// Reads the clock.
    pub fn now() -> Self {
        SystemTime::now().into()
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        Self(nanos(time.duration_since(UNIX_EPOCH).unwrap_or_default()))
    }
}

/// The time at which the caller stops waiting, as in `l5d-ctx-deadline`: `<timestamp> <deadline>`.
///
/// Both are nanoseconds of wall-clock time since 1970, because they travel between machines: clocks that differ
/// shift a deadline by their difference. Neither exceeds `i64::MAX`, since Linkerd reads signed numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Deadline {
    /// The time at which the deadline was set.
    pub timestamp: u64,
    /// The time at which it passes.
    pub deadline: u64,
}

impl Deadline {
    /// Makes the deadline of a caller that waits until `timeout` after `now`.
    pub fn after(now: Timestamp, timeout: Duration) -> Self {
        Self { timestamp: now.0, deadline: now.0.saturating_add(nanos(timeout)).min(MOST) }
    }

    /// Reads one deadline: two decimal numbers and one blank between them, or nothing.
    pub fn decode(value: &[u8]) -> Option<Self> {
        let (_, (timestamp, deadline)) =
            all_consuming(separated_pair(number, char(' '), number)).parse(value).ok()?;
        Some(Self { timestamp, deadline })
    }

    /// Combines the deadlines of all lines of `l5d-ctx-deadline`; values that are not deadlines are left out.
    ///
    /// Lines that a proxy folded into one with commas mean the same as separate lines (RFC 9110 section 5.3).
    pub fn decode_all<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Option<Self> {
        lines
            .flat_map(|line| line.split(|&byte| byte == b','))
            .filter_map(|value| Self::decode(value.trim_ascii()))
            .reduce(Self::combined)
    }

    /// Adds it to a head, as `l5d-ctx-deadline`.
    pub fn append_to(&self, head: &mut Head) {
        head.append_numbers(KnownField::L5dCtxDeadline, [self.timestamp, self.deadline]);
    }

    /// Combines two deadlines as Finagle does: the later timestamp and the earlier deadline.
    #[must_use]
    pub fn combined(self, other: Self) -> Self {
        Self { timestamp: self.timestamp.max(other.timestamp), deadline: self.deadline.min(other.deadline) }
    }

    /// Returns the time left at `now`, or `None` when the deadline has passed.
    pub fn remaining(&self, now: Timestamp) -> Option<Duration> {
        let left = self.deadline.checked_sub(now.0)?;
        (left > 0).then(|| Duration::from_nanos(left))
    }
}

/// Reads a decimal number that fits a signed number of 64 bits.
fn number(input: &[u8]) -> nom::IResult<&[u8], u64> {
    map_opt(digit1, |digits| {
        let number: i64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
        u64::try_from(number).ok()
    })
    .parse(input)
}

/// Returns a time in nanoseconds, at most the largest signed number.
fn nanos(time: Duration) -> u64 {
    // `as_nanos` counts in 128 bits, which costs more.
    time.as_secs().saturating_mul(1_000_000_000).saturating_add(u64::from(time.subsec_nanos())).min(MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The timestamp and the deadline that a value is expected to have.
    type Expected = Option<(u64, u64)>;

    fn at(nanos: u64) -> Timestamp {
        (UNIX_EPOCH + Duration::from_nanos(nanos)).into()
    }

    #[test]
    fn decodes_two_numbers_and_nothing_else() {
        let table: [(&[u8], Expected); 17] = [
            (b"1 2", Some((1, 2))),
            (b"0 0", Some((0, 0))),
            (b"007 008", Some((7, 8))),
            (
                b"1500000000000000000 1500000010000000000",
                Some((1_500_000_000_000_000_000, 1_500_000_010_000_000_000)),
            ),
            (b"1 9223372036854775807", Some((1, i64::MAX as u64))),
            (b"1 9223372036854775808", None),
            (b"1 99999999999999999999999999999999", None),
            (b"", None),
            (b"1", None),
            (b"1 ", None),
            (b" 1 2", None),
            (b"1  2", None),
            (b"1 2 3", None),
            (b"-1 2", None),
            (b"1\t2", None),
            (b"a b", None),
            (b"\xff \x00", None),
        ];
        for (value, expected) in table {
            let expected = expected.map(|(timestamp, deadline)| Deadline { timestamp, deadline });
            assert_eq!(Deadline::decode(value), expected, "{}", value.escape_ascii());
        }
    }

    #[test]
    fn several_combine_to_the_latest_timestamp_and_the_earliest_deadline() {
        let table: [(&[&[u8]], Expected); 6] = [
            (&[], None),
            (&[b"nonsense"], None),
            (&[b"1 20", b"3 10"], Some((3, 10))),
            (&[b"3 20", b"x", b"1 10"], Some((3, 10))),
            (&[b"3 20, 1 10,,x"], Some((3, 10))),
            (&[b"5 6"], Some((5, 6))),
        ];
        for (lines, expected) in table {
            let expected = expected.map(|(timestamp, deadline)| Deadline { timestamp, deadline });
            assert_eq!(Deadline::decode_all(lines.iter().copied()), expected, "{lines:?}");
        }
    }

    #[test]
    fn encoding_and_decoding_give_the_same_deadline() {
        for deadline in [
            Deadline { timestamp: 0, deadline: 0 },
            Deadline { timestamp: 17, deadline: i64::MAX as u64 },
            Deadline::after(at(5), Duration::from_secs(3)),
            Deadline::after(at(5), Duration::MAX),
        ] {
            let mut head = Head::request(b"GET", b"/");
            deadline.append_to(&mut head);
            assert_eq!(head.get(KnownField::L5dCtxDeadline).and_then(Deadline::decode), Some(deadline));
        }
    }

    #[test]
    fn the_remaining_time_shrinks_to_nothing() {
        let deadline = Deadline::after(at(1_000), Duration::from_nanos(500));
        assert_eq!(deadline, Deadline { timestamp: 1_000, deadline: 1_500 });
        assert_eq!(deadline.remaining(at(1_000)), Some(Duration::from_nanos(500)));
        assert_eq!(deadline.remaining(at(1_499)), Some(Duration::from_nanos(1)));
        assert_eq!(deadline.remaining(at(1_500)), None);
        assert_eq!(deadline.remaining(at(9_000)), None);
        let before_1970 = UNIX_EPOCH - Duration::from_secs(9);
        assert_eq!(deadline.remaining(before_1970.into()), Some(Duration::from_nanos(1_500)));
    }
}
