//! The policy by which the file of a log is moved aside.

use jiff::civil::{DateTime, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use serde::{Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// The policy by which the file of a log is moved aside and a new one begun. Times are UTC.
///
/// It is written as in Linkerd 1, whatever the case: `never`, `hourly`, `daily`, `weekly(n)` with the day of the week
/// from 1, which is Sunday, to 7; or a size in powers of 1024, such as `10.megabytes`. `sighup` is `never`: every log
/// is opened again on that signal.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum RollPolicy {
    /// Never, unless the process is told to.
    #[default]
    Never,
    /// At the beginning of each hour.
    Hourly,
    /// At midnight.
    Daily,
    /// At the beginning of this day of the week.
    Weekly(Weekday),
    /// Before it would exceed this many bytes. A single line that is longer gets a file of its own.
    Size(u64),
}

impl RollPolicy {
    /// Returns the time at which a file begun at `began` is moved aside, if the policy has one.
    pub(super) fn next(self, began: Timestamp) -> Option<Timestamp> {
        let time = TimeZone::UTC.to_datetime(began);
        let midnight = |date: jiff::civil::Date| date.at(0, 0, 0, 0);
        let next: DateTime = match self {
            Self::Never | Self::Size(_) => return None,
            Self::Hourly => time.date().at(time.hour(), 0, 0, 0).checked_add(1.hour()).ok()?,
            Self::Daily => midnight(time.date().tomorrow().ok()?),
            Self::Weekly(day) => midnight(time.date().nth_weekday(1, day).ok()?),
        };
        TimeZone::UTC.to_timestamp(next).ok()
    }

    /// Returns the time in the new name of a file begun at `began`, as in Linkerd 1.
    pub(super) fn stamp(self, began: Timestamp) -> String {
        let format = match self {
            Self::Never | Self::Daily | Self::Weekly(_) => "%Y%m%d",
            Self::Hourly => "%Y%m%d-%H",
            Self::Size(_) => "%Y%m%d-%H%M%S",
        };
        began.strftime(format).to_string()
    }
}

/// The error of a text that is not a [`RollPolicy`]; it names the texts that are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "`never`, `hourly`, `daily`, `weekly(n)` with n from 1 (Sunday) to 7, or a size such as `10.megabytes`"
)]
pub struct RollPolicyError;

impl FromStr for RollPolicy {
    type Err = RollPolicyError;

    fn from_str(text: &str) -> Result<Self, RollPolicyError> {
        let text = text.to_ascii_lowercase();
        match text.as_str() {
            "never" | "sighup" => Ok(Self::Never),
            "hourly" => Ok(Self::Hourly),
            "daily" => Ok(Self::Daily),
            _ => weekly(&text).or_else(|| size(&text)).ok_or(RollPolicyError),
        }
    }
}

/// Reads `weekly(n)`.
fn weekly(text: &str) -> Option<RollPolicy> {
    let day = text.strip_prefix("weekly(")?.strip_suffix(')')?.parse().ok()?;
    Weekday::from_sunday_one_offset(day).ok().map(RollPolicy::Weekly)
}

/// Reads a size: a number and a unit, with a dot between them: `10.megabytes`, `1.gigabyte`.
fn size(text: &str) -> Option<RollPolicy> {
    let (number, unit) = text.split_once('.')?;
    let shift = match unit.strip_suffix('s').unwrap_or(unit) {
        "byte" => 0,
        "kilobyte" => 10,
        "megabyte" => 20,
        "gigabyte" => 30,
        "terabyte" => 40,
        "petabyte" => 50,
        "exabyte" => 60,
        _ => return None,
    };
    let bytes = number.parse::<u64>().ok()?.checked_mul(1 << shift)?;
    (bytes > 0).then_some(RollPolicy::Size(bytes))
}

impl fmt::Display for RollPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Never => f.write_str("never"),
            Self::Hourly => f.write_str("hourly"),
            Self::Daily => f.write_str("daily"),
            Self::Weekly(day) => write!(f, "weekly({})", day.to_sunday_one_offset()),
            Self::Size(bytes) => write!(f, "{bytes}.bytes"),
        }
    }
}

impl Serialize for RollPolicy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_read_as_linkerd_reads_them() {
        let table = [
            ("never", RollPolicy::Never),
            ("SigHup", RollPolicy::Never),
            ("Hourly", RollPolicy::Hourly),
            ("DAILY", RollPolicy::Daily),
            ("weekly(1)", RollPolicy::Weekly(Weekday::Sunday)),
            ("Weekly(7)", RollPolicy::Weekly(Weekday::Saturday)),
            ("1.byte", RollPolicy::Size(1)),
            ("3.kilobytes", RollPolicy::Size(3 << 10)),
            ("1.megabytes", RollPolicy::Size(1 << 20)),
            ("2.Gigabyte", RollPolicy::Size(2 << 30)),
            ("15.exabytes", RollPolicy::Size(15 << 60)),
        ];
        for (text, roll) in table {
            assert_eq!(text.parse(), Ok(roll), "{text}");
            assert_eq!(roll.to_string().parse(), Ok(roll), "{roll}");
        }
        for text in [
            "",
            "monthly",
            "weekly",
            "weekly()",
            "weekly(0)",
            "weekly(8)",
            "weekly(12)",
            "1",
            "1megabyte",
            "1.5.megabytes",
            "-1.megabytes",
            "0.bytes",
            "16.exabytes",
            "1.parsec",
        ] {
            assert_eq!(text.parse::<RollPolicy>(), Err(RollPolicyError), "{text:?}");
        }
    }

    #[test]
    fn the_next_hour_day_and_week() {
        // A Saturday.
        let began: Timestamp = "2026-11-21T23:59:59.5Z".parse().unwrap();
        let table = [
            (RollPolicy::Hourly, Some("2026-11-22T00:00:00Z"), "20261121-23"),
            (RollPolicy::Daily, Some("2026-11-22T00:00:00Z"), "20261121"),
            (RollPolicy::Weekly(Weekday::Sunday), Some("2026-11-22T00:00:00Z"), "20261121"),
            (RollPolicy::Weekly(Weekday::Saturday), Some("2026-11-28T00:00:00Z"), "20261121"),
            (RollPolicy::Size(1), None, "20261121-235959"),
            (RollPolicy::Never, None, "20261121"),
        ];
        for (roll, next, stamp) in table {
            assert_eq!(roll.next(began), next.map(|text| text.parse().unwrap()), "{roll}");
            assert_eq!(roll.stamp(began), stamp, "{roll}");
        }
        assert_eq!(RollPolicy::Daily.next(Timestamp::MAX), None);
    }
}
