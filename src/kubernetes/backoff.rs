//! The pauses between attempts to reach the API server.

use super::failure::{ApiFailure, FailureKind};
use std::time::Duration;
use tokio::time::Instant;

/// The longest pause after a first failure; each further failure doubles it.
const FIRST: Duration = Duration::from_millis(200);

/// The longest pause where a request waits: when the server returns, or etcd behind it, or a right is given back, the
/// answers must be up to date within 5 s.
pub(super) const LONGEST: Duration = Duration::from_secs(3);

/// The longest pause after failures that last, where no request asks.
const LONGEST_UNASKED: Duration = Duration::from_secs(60);

/// The longest time for which the server may ask not to be asked: a slip of its, or of a proxy before it, must not
/// silence a watch for a day.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(300);

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

/// The times of the next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NextAttempt {
    /// The time when a request may bring it about.
    pub(super) asked: Instant,
    /// The time when it comes by itself.
    pub(super) unasked: Instant,
}

impl Backoff {
    /// Returns the times of the attempt after one more failure, from now.
    pub(super) fn next(&mut self, failure: &ApiFailure) -> NextAttempt {
        let now = Instant::now();
        let reachability = failure.reachability();
        if self.last.replace(reachability) != Some(reachability) {
            // A server that answers again, even with an error, is about to recover: begin with short pauses.
            self.in_a_row = 0;
        }
        let lasts = matches!(failure.kind, FailureKind::Forbidden | FailureKind::NotDefined);
        let longest = if lasts { LONGEST_UNASKED } else { LONGEST };
        let doubled = FIRST.saturating_mul(1 << self.in_a_row.min(16));
        self.in_a_row += 1;
        // Between half and all of it, so that watches that failed together do not come back together.
        let share = 0.5 + fastrand::f64() / 2.0;
        let earliest = failure.retry_after.unwrap_or_default().min(LONGEST_RETRY_AFTER);
        let at = |longest| now + doubled.min(longest).mul_f64(share).max(earliest);
        NextAttempt { asked: at(LONGEST), unasked: at(longest) }
    }

    /// Forgets the failures.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(kind: FailureKind) -> ApiFailure {
        ApiFailure { kind, text: String::new(), retry_after: None }
    }

    /// The pauses of the next attempt: where a request asks, and where none does.
    fn pauses(backoff: &mut Backoff, failure: &ApiFailure) -> (Duration, Duration) {
        let NextAttempt { asked, unasked } = backoff.next(failure);
        (asked.elapsed_since_now(), unasked.elapsed_since_now())
    }

    trait ElapsedSinceNow {
        fn elapsed_since_now(self) -> Duration;
    }

    impl ElapsedSinceNow for Instant {
        fn elapsed_since_now(self) -> Duration {
            self.duration_since(Self::now())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_double_up_to_a_limit() {
        assert!(LONGEST < Duration::from_secs(5), "answers must be up to date by then");
        let mut backoff = Backoff::default();
        let mut expected = FIRST;
        for _ in 0..40 {
            let (asked, unasked) = pauses(&mut backoff, &failure(FailureKind::Refused));
            assert!(asked <= expected && asked >= expected / 2, "{asked:?} for {expected:?}");
            assert_eq!(asked, unasked);
            expected = (expected * 2).min(LONGEST);
        }
        backoff.reset();
        assert!(pauses(&mut backoff, &failure(FailureKind::Refused)).0 <= FIRST);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_that_lasts_is_tried_again_seldom_where_nobody_asks() {
        for kind in [FailureKind::Forbidden, FailureKind::NotDefined] {
            let mut backoff = Backoff::default();
            let mut expected = FIRST;
            for _ in 0..40 {
                let (asked, unasked) = pauses(&mut backoff, &failure(kind));
                assert!(asked <= LONGEST, "{asked:?}");
                assert!(unasked <= expected && unasked >= expected / 2, "{unasked:?} for {expected:?}");
                expected = (expected * 2).min(LONGEST_UNASKED);
            }
            assert_eq!(expected, LONGEST_UNASKED);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn another_sort_of_failure_begins_anew() {
        let mut backoff = Backoff::default();
        for _ in 0..10 {
            backoff.next(&failure(FailureKind::Unreached));
        }
        assert!(pauses(&mut backoff, &failure(FailureKind::Refused)).0 <= FIRST);
    }

    #[tokio::test(start_paused = true)]
    async fn the_server_may_ask_for_a_pause() {
        let seconds = Duration::from_secs;
        for (said, kept) in [(20, seconds(20)), (86_400, LONGEST_RETRY_AFTER)] {
            let failure = ApiFailure { retry_after: Some(seconds(said)), ..failure(FailureKind::Refused) };
            assert_eq!(pauses(&mut Backoff::default(), &failure), (kept, kept));
        }
        let soon = ApiFailure { retry_after: Some(Duration::ZERO), ..failure(FailureKind::Refused) };
        assert!(pauses(&mut Backoff::default(), &soon).0 >= FIRST / 2);
    }
}
