//! The pauses between attempts to reach the API server.

use std::time::Duration;

/// The longest pause after a first failure; each further failure doubles it.
const FIRST: Duration = Duration::from_millis(200);

/// The longest pause of all: when the server returns, or etcd behind it, or a right is given back, the answers must
/// be up to date within 5 s.
const LONGEST: Duration = Duration::from_secs(3);

/// The two sorts of failure: with an answer from the server, or without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reachability {
    /// The server answered, but not as it should.
    Reached,
    /// No answer came, or it broke off.
    Unreached,
}

/// A count of failures in a row, from which the next pause is computed.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    last: Option<Reachability>,
    /// How many failures in a row were of the last sort.
    in_a_row: u32,
}

impl Backoff {
    /// Returns the pause after one more failure: between half and all of a pause that doubles, so that watches that
    /// failed together do not come back together.
    pub(super) fn next(&mut self, reachability: Reachability) -> Duration {
        if self.last.replace(reachability) != Some(reachability) {
            // A server that answers again, even with an error, is about to recover: begin with short pauses.
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
        assert!(LONGEST < Duration::from_secs(5), "answers must be up to date by then");
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
