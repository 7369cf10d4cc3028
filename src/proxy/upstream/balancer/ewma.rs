//! The endpoint with the lower expected latency, of two at random: its latency, which remembers peaks, times the requests
//! that it would have under way.

use super::super::endpoint::WorkerEndpoint;
use super::choice::Choice;
use super::p2c;
use crate::proxy::exchange::AttemptTime;
use std::rc::Rc;
use std::time::Duration;

/// Picks an endpoint.
pub(super) fn pick<'a>(
    endpoints: &'a [Rc<WorkerEndpoint>],
    max_effort: usize,
    decay: Duration,
    time: &AttemptTime,
) -> Option<Choice<'a>> {
    p2c::pick(endpoints, max_effort, time, |endpoint| endpoint.state().cost(time.get(), decay))
}
