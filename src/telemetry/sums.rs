//! The sums of all series, at one time.

use super::group::GroupSeries;
use super::metrics::{Durations, Labels};
use std::time::Duration;

/// The sums of the things that have the same series, such as all clients.
#[derive(Debug)]
pub struct SumTable {
    /// The series that each of the things may have.
    pub columns: Vec<GroupSeries>,
    /// The things, in the order of their labels.
    pub rows: Vec<SumRow>,
}

/// The sums of the series of one thing over all workers.
#[derive(Debug)]
pub struct SumRow {
    /// The labels that all of the series have.
    pub labels: Labels,
    /// The sums, in the order of the columns. Those that nothing tells any more are missing at the end.
    pub totals: Vec<Total>,
}

/// The sum of a series over all workers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Total {
    /// The sum of counters.
    Counter(u64),
    /// The sum of gauges.
    Gauge(i64),
    /// The sum of histograms. Boxed, for most sums are one number.
    Durations(Box<Distribution>),
}

/// The distribution of durations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Distribution {
    /// How many durations were at most each of [`Durations::BOUNDS`] and above the one before; the last, above them
    /// all.
    pub counts: [u64; Durations::BOUNDS.len() + 1],
    /// The sum of all durations.
    pub sum: Duration,
}

impl Total {
    /// Returns a count, or how many durations there are; zero for a gauge below it.
    pub(super) fn number(&self) -> u64 {
        match self {
            Self::Counter(count) => *count,
            Self::Gauge(count) => (*count).try_into().unwrap_or_default(),
            Self::Durations(all) => all.count(),
        }
    }
}

impl Distribution {
    /// Returns the number of durations.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Returns the duration that a `share` (0 to 1) of them did not exceed, as exactly as the buckets allow: it is
    /// interpolated within its bucket, and 10 s when it is above the last bound. Zero when there are none.
    pub fn quantile(&self, share: f64) -> Duration {
        // Counts are far below the largest integer that a double holds exactly.
        let wanted = share * self.count() as f64;
        let (mut below, mut from) = (0.0, Duration::ZERO);
        for (bound, count) in Durations::BOUNDS.iter().zip(self.counts) {
            let count = count as f64;
            if count > 0.0 && below + count >= wanted {
                return from + (*bound - from).mul_f64(((wanted - below) / count).clamp(0.0, 1.0));
            }
            (below, from) = (below + count, *bound);
        }
        if self.count() == 0 { Duration::ZERO } else { from }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_interpolated() {
        let mut all = Distribution::default();
        assert_eq!(all.quantile(0.5), Duration::ZERO);
        (all.counts[0], all.counts[3]) = (50, 50);
        for (share, micros) in [(0.0, 0), (0.25, 50), (0.5, 100), (0.75, 750), (1.0, 1_000)] {
            assert_eq!(all.quantile(share), Duration::from_micros(micros), "{share}");
        }
        all.counts[16] = 900;
        assert_eq!(all.quantile(0.99), Duration::from_secs(10));
    }
}
