//! The better of two random endpoints ("power of two choices", Mitzenmacher 2001).

use super::super::endpoint::WorkerEndpoint;
use super::choice::Choice;
use crate::proxy::exchange::AttemptTime;
use std::rc::Rc;

/// Picks the endpoint with the lower cost of two at random that are alive; of two with the same cost, either. An endpoint
/// whose probe is due goes before both.
///
/// It draws again while neither can be used, `max_effort` times in all.
pub(super) fn pick<'a, C: PartialOrd>(
    endpoints: &'a [Rc<WorkerEndpoint>],
    max_effort: usize,
    time: &AttemptTime,
    cost: impl Fn(&WorkerEndpoint) -> C,
) -> Option<Choice<'a>> {
    if let [one] = endpoints {
        return Choice::usable(one, time);
    }
    (0..max_effort).find_map(|_| {
        let (first, second) = draw(endpoints)?;
        match (first.is_alive(), second.is_alive()) {
            (true, true) => Some(Choice::alive(if cost(second) < cost(first) { second } else { first })),
            (true, false) => Choice::probe(second, time).or(Some(Choice::alive(first))),
            (false, true) => Choice::probe(first, time).or(Some(Choice::alive(second))),
            (false, false) => Choice::probe(first, time).or_else(|| Choice::probe(second, time)),
        }
    })
}

/// Draws two endpoints; both are the same when there is only one.
pub(super) fn draw(endpoints: &[Rc<WorkerEndpoint>]) -> Option<(&Rc<WorkerEndpoint>, &Rc<WorkerEndpoint>)> {
    let count = endpoints.len();
    if count < 2 {
        return endpoints.first().map(|one| (one, one));
    }
    let first = fastrand::usize(..count);
    // One of the others: the last takes the place of the first.
    let second = fastrand::usize(..count - 1);
    let second = if second == first { count - 1 } else { second };
    Some((endpoints.get(first)?, endpoints.get(second)?))
}
