//! How long a change takes to be routed: services move from pod to pod, and callers ask for them all the while.

use super::api::Api;
use super::bare;
use super::caller::Caller;
use super::cluster::{CHANGING, Service, Size, generation_at};
use super::process::Error;
use std::cell::Cell;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio::time::{MissedTickBehavior, interval, sleep};

/// A hundred in a second.
const EVERY: Duration = Duration::from_millis(10);

/// How long the last change may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What was seen of the changes.
pub(crate) struct Changes {
    /// How long each took, from when the API server wrote it to the first answer of the new pod; in order.
    pub(crate) routed: Vec<Duration>,
    /// How long each took to reach a bare watch; in order.
    pub(crate) read: Vec<Duration>,
    /// Those of them that the next one overtook: that one was the first to be seen.
    pub(crate) overtaken: usize,
    /// Requests of all callers, and how long they took together.
    pub(crate) requests: usize,
    pub(crate) lasted: Duration,
    /// The last generation.
    pub(crate) generation: u16,
}

/// One change: of which service, to which generation, and when it was written.
type Change = (usize, u16, Arc<OnceLock<Instant>>);

/// The first answers of each generation that one caller saw, and how many requests it made.
type Seen = (Vec<(u16, Instant)>, usize);

/// Makes so many changes, of one service after the other, beginning behind a generation.
///
/// Each service that changes has a caller of its own, which makes one request after the other.
pub(crate) async fn measure(
    api: &Api,
    router: SocketAddr,
    size: Size,
    changes: usize,
    after: u16,
) -> Result<Changes, Error> {
    let began = Instant::now();
    let last = after + u16::try_from(changes.div_ceil(CHANGING))?;
    let going = Rc::new(Cell::new(true));
    let mut callers = JoinSet::new();
    for at in 0..CHANGING {
        let caller = Caller::connect(router).await?;
        callers.spawn_local(watch(at, caller, path(size, size.changing(at)), last, Rc::clone(&going)));
    }
    let reads = bare::watch(api.address, CHANGING * usize::from(last - after))?;
    let made = make(api, size, after + 1..=last).await;
    let seen = tokio::select! {
        seen = join(callers) => seen?,
        never = async {
            sleep(PATIENCE).await;
            going.set(false);
            std::future::pending().await
        } => never,
    };
    let reads = reads.join().map_err(|_| "the bare watch has panicked")??;
    let requests = seen.iter().map(|(_, requests)| requests).sum();
    let (lasted, generation) = (began.elapsed(), last);
    let mut changes =
        Changes { routed: Vec::new(), read: Vec::new(), overtaken: 0, requests, lasted, generation };
    for ((at, generation, written), read) in made.into_iter().zip(reads) {
        let first = seen[at].0.iter().find(|(seen, _)| *seen >= generation);
        let (seen, answered) = first.ok_or("a change was never routed")?;
        let written = written.get().ok_or("a change was never told")?;
        changes.routed.push(answered.saturating_duration_since(*written));
        changes.read.push(read.saturating_duration_since(*written));
        changes.overtaken += usize::from(*seen != generation);
    }
    changes.routed.sort();
    changes.read.sort();
    Ok(changes)
}

/// Moves each service in turn, generation by generation.
async fn make(api: &Api, size: Size, generations: RangeInclusive<u16>) -> Vec<Change> {
    let mut made = Vec::new();
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for generation in generations {
        for at in 0..CHANGING {
            ticks.tick().await;
            made.push((at, generation, api.change(size.changing(at), generation)));
        }
    }
    made
}

/// What each caller has seen, when all of them are done.
async fn join(mut callers: JoinSet<Result<(usize, Seen), Error>>) -> Result<[Seen; CHANGING], Error> {
    let mut seen: [Seen; CHANGING] = Default::default();
    while let Some(ended) = callers.join_next().await {
        let (at, of) = ended??;
        seen[at] = of;
    }
    Ok(seen)
}

/// The path that leads to a service.
pub(crate) fn path(size: Size, number: usize) -> String {
    let service = Service { number, size, port: 0 };
    format!("/{}/http/{}", service.namespace(), service.name())
}

/// Asks for a service until it has seen its last generation, or must not go on.
async fn watch(
    at: usize,
    mut caller: Caller,
    path: String,
    last: u16,
    going: Rc<Cell<bool>>,
) -> Result<(usize, Seen), Error> {
    let (mut seen, mut requests, mut current) = (Vec::new(), 0, 0);
    while current < last && going.get() {
        let generation = generation_at(caller.ask(&path).await?);
        requests += 1;
        if generation > current {
            current = generation;
            seen.push((generation, Instant::now()));
        } else if generation < current {
            return Err("a pod answered that was replaced before".into());
        }
    }
    Ok((at, (seen, requests)))
}
