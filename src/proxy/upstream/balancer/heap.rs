//! The endpoint with the fewest requests under way, of all.
//!
//! Linkerd keeps its endpoints in a heap. Here their load changes under other workers as well, so all of them are looked
//! at: the work of a pick grows with their number.

use super::super::endpoint::WorkerEndpoint;
use super::choice::{Choice, from_random};
use crate::proxy::exchange::AttemptTime;
use std::rc::Rc;

/// Picks the least loaded endpoint that is alive; of those with the same load, the first behind a random one. An endpoint
/// whose probe is due goes before all.
pub(super) fn pick<'a>(endpoints: &'a [Rc<WorkerEndpoint>], time: &AttemptTime) -> Option<Choice<'a>> {
    let mut least: Option<(usize, &Rc<WorkerEndpoint>)> = None;
    for endpoint in from_random(endpoints) {
        if !endpoint.is_alive() {
            match Choice::probe(endpoint, time) {
                None => continue,
                probe => return probe,
            }
        }
        let load = endpoint.in_flight();
        if least.is_none_or(|(least, _)| load < least) {
            least = Some((load, endpoint));
        }
    }
    least.map(|(_, endpoint)| Choice::alive(endpoint))
}
