//! How long to wait after a failure.

use std::time::Duration;

/// The pause after a first failure at most; it doubles.
const FIRST: Duration = Duration::from_millis(200);

/// The longest pause: when the server returns, or etcd behind it, or a right is given back, all is to be up to date
/// within 5 s.
const LONGEST: Duration = Duration::from_secs(3);

/// Whether the server was reached when something failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reachability {
    /// It answered, but not as it should.
    Reached,
    /// No answer came, or it broke off.
    Unreached,
}

/// Failures in a row.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    last: Option<Reachability>,
    /// Of the same sort.
    in_a_row: u32,
}

impl Backoff {
    /// Returns how long to wait after one more failure: between half and all of a pause that doubles, so that those who
    /// failed together do not come back together.
    pub(super) fn next(&mut self, reachability: Reachability) -> Duration {
        if self.last.replace(reachability) != Some(reachability) {
            // A server that answers again, be it with an error, is about to be well: begin with short pauses.
            self.in_a_row = 0;
        }
        let pause = FIRST.saturating_mul(1 << self.in_a_row.min(16)).min(LONGEST);
        self.in_a_row += 1;
        pause.mul_f64(0.5 + fastrand::f64() / 2.0)
    }

    /// Forgets the failures.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::{Backoff, Duration, FIRST, LONGEST, Reachability};

    #[test]
    fn pauses_double_up_to_a_limit() {
        assert!(LONGEST < Duration::from_secs(5), "what has returned is to be up to date by then");
        let mut backoff = Backoff::default();
        let mut expected = FIRST;
        for _ in 0..40 {
            let pause = backoff.next(Reachability::Reached);
            assert!(pause <= expected && pause >= expected / 2, "{pause:?} for {expected:?}");
            expected = (expected * 2).min(LONGEST);
        }
        backoff.reset();
        assert!(backoff.next(Reachability::Reached) <= FIRST);
    }

    #[test]
    fn another_sort_of_failure_begins_anew() {
        let mut backoff = Backoff::default();
        for _ in 0..10 {
            backoff.next(Reachability::Unreached);
        }
        assert!(backoff.next(Reachability::Reached) <= FIRST);
    }
}
