//! The deadline of a request.

use nom::Parser;
use nom::character::complete::{char, digit1};
use nom::combinator::{all_consuming, map_opt};
use nom::sequence::separated_pair;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

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
    pub fn after(now: SystemTime, timeout: Duration) -> Self {
        let timestamp = nanos(since_epoch(now));
        Self { timestamp, deadline: nanos(since_epoch(now).saturating_add(timeout)) }
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

    /// Appends the value of `l5d-ctx-deadline` to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut digits = itoa::Buffer::new();
        out.extend_from_slice(digits.format(self.timestamp).as_bytes());
        out.push(b' ');
        out.extend_from_slice(digits.format(self.deadline).as_bytes());
    }

    /// Combines two deadlines as Finagle does: the later timestamp and the earlier deadline.
    #[must_use]
    pub fn combined(self, other: Self) -> Self {
        Self { timestamp: self.timestamp.max(other.timestamp), deadline: self.deadline.min(other.deadline) }
    }

    /// Returns the time left at `now`, or `None` when the deadline has passed.
    pub fn remaining(&self, now: SystemTime) -> Option<Duration> {
        let left = self.deadline.checked_sub(nanos(since_epoch(now)))?;
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

/// Returns the time since 1970; a clock set to before that counts as 1970.
fn since_epoch(now: SystemTime) -> Duration {
    now.duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Returns a time in nanoseconds, at most the largest signed number.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).min(i64::MAX as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The timestamp and the deadline that a value is expected to have.
    type Expected = Option<(u64, u64)>;

    fn at(nanos: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_nanos(nanos)
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
            let mut value = Vec::new();
            deadline.encode(&mut value);
            assert_eq!(Deadline::decode(&value), Some(deadline));
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
        assert_eq!(deadline.remaining(before_1970), Some(Duration::from_nanos(1_500)));
    }
}
