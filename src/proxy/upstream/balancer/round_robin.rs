//! One endpoint after the other.

use super::super::endpoint::WorkerEndpoint;
use super::choice::Choice;
use crate::proxy::exchange::AttemptTime;
use std::cell::Cell;
use std::rc::Rc;

/// The place of a worker in the round. Workers begin anywhere, so that they do not go to one endpoint all at once.
#[derive(Debug)]
pub(super) struct RoundRobin(Cell<usize>);

impl Default for RoundRobin {
    fn default() -> Self {
        Self(Cell::new(fastrand::usize(..)))
    }
}

impl RoundRobin {
    /// Picks the next endpoint. Of those that cannot be used, it skips as many as `max_effort` allows.
    pub(super) fn pick<'a>(
        &self,
        endpoints: &'a [Rc<WorkerEndpoint>],
        max_effort: usize,
        time: &AttemptTime,
    ) -> Option<Choice<'a>> {
        (0..=max_effort).find_map(|_| {
            let next = self.0.get().wrapping_add(1);
            self.0.set(next);
            Choice::usable(endpoints.get(next.checked_rem(endpoints.len())?)?, time)
        })
    }
}
