//! The choice of an endpoint for one attempt.

use super::super::endpoint::WorkerEndpoint;
use crate::proxy::exchange::{AttemptTime, PendingAttempt, Standing, TimeLimit};
use std::cell::Cell;
use std::ops::Deref;
use std::rc::Rc;

/// How many endpoints are looked at for one that is alive, after an algorithm has found none: the work of a request has
/// a bound, however large the set is.
const MOST_LOOKED_AT: usize = 64;

/// An endpoint that an algorithm has chosen, with the standing that it has.
#[derive(Clone, Copy)]
pub(super) struct Choice<'a> {
    pub(super) endpoint: &'a Rc<WorkerEndpoint>,
    pub(super) standing: Standing,
}

impl<'a> Choice<'a> {
    /// Chooses an endpoint that is alive.
    pub(super) fn alive(endpoint: &'a Rc<WorkerEndpoint>) -> Self {
        Self { endpoint, standing: Standing::Alive }
    }

    /// Chooses an endpoint if it is alive, or its probe is due and no other request has it.
    pub(super) fn usable(endpoint: &'a Rc<WorkerEndpoint>, time: &AttemptTime) -> Option<Self> {
        if endpoint.is_alive() { Some(Self::alive(endpoint)) } else { Self::probe(endpoint, time) }
    }

    /// Chooses an endpoint that is shut if its probe is due and no other request has it.
    pub(super) fn probe(endpoint: &'a Rc<WorkerEndpoint>, time: &AttemptTime) -> Option<Self> {
        endpoint.claim_probe(time.get()).then_some(Self { endpoint, standing: Standing::Probed })
    }

    /// Chooses an endpoint although it is shut, because no other is better.
    pub(super) fn shut(endpoint: &'a Rc<WorkerEndpoint>) -> Self {
        let standing = if endpoint.is_alive() { Standing::Alive } else { Standing::Shut };
        Self { endpoint, standing }
    }

    /// Chooses the first of some endpoints that can be used.
    pub(super) fn first_usable(
        endpoints: impl Iterator<Item = &'a Rc<WorkerEndpoint>>,
        time: &AttemptTime,
    ) -> Option<Self> {
        endpoints.take(MOST_LOOKED_AT).find_map(|endpoint| Self::usable(endpoint, time))
    }
}

/// Returns all endpoints, in their order, from a random one on.
pub(super) fn from_random(endpoints: &[Rc<WorkerEndpoint>]) -> impl Iterator<Item = &Rc<WorkerEndpoint>> {
    let start = if endpoints.is_empty() { 0 } else { fastrand::usize(..endpoints.len()) };
    let (before, from) = endpoints.split_at(start);
    from.iter().chain(before)
}

/// An endpoint that was picked for one attempt.
///
/// The drop of one that was picked for a probe, and was not begun, lets another request probe.
#[derive(Debug)]
pub(crate) struct PickedEndpoint {
    endpoint: Rc<WorkerEndpoint>,
    standing: Cell<Standing>,
}

impl From<Choice<'_>> for PickedEndpoint {
    fn from(Choice { endpoint, standing }: Choice<'_>) -> Self {
        Self { endpoint: Rc::clone(endpoint), standing: Cell::new(standing) }
    }
}

impl PickedEndpoint {
    /// Begins the attempt.
    pub(crate) fn begin(&self, time_limit: Option<TimeLimit>, time: &AttemptTime) -> PendingAttempt {
        self.endpoint.begin(self.standing.replace(Standing::Alive), time_limit, time)
    }
}

impl Deref for PickedEndpoint {
    type Target = WorkerEndpoint;

    fn deref(&self) -> &WorkerEndpoint {
        &self.endpoint
    }
}

impl Drop for PickedEndpoint {
    fn drop(&mut self) {
        if self.standing.get() == Standing::Probed {
            self.endpoint.state().accrual().return_probe();
        }
    }
}
