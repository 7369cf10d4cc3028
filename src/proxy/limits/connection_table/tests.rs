//! Tests of the table of connections.

use super::*;
use crate::proxy::limits::CountedTask;
use std::task::Waker;
use std::time::Duration;
use tokio::time::advance;

const fn limits(total: usize) -> ConnectionLimits {
    ConnectionLimits { total, per_peer: None }
}

/// A table with its limits, in which connections are opened a millisecond apart.
struct Opening {
    table: Arc<ConnectionTable>,
    limits: ConnectionLimits,
}

impl Opening {
    fn new(limits: ConnectionLimits) -> Self {
        Self { table: Arc::default(), limits }
    }

    async fn open(&self, peer: u8) -> Option<ConnectionPlace> {
        advance(Duration::from_millis(1)).await;
        let admission = self.table.admit(IpAddr::from([10, 0, 0, peer]), self.limits);
        admission.map(|admission| admission.place)
    }

    async fn open_all<const N: usize>(&self, peers: [u8; N]) -> [ConnectionPlace; N] {
        let mut places = Vec::new();
        for peer in peers {
            places.push(self.open(peer).await.expect("there is room for it"));
        }
        places.try_into().expect("each has its place")
    }
}

fn evicted(places: &[ConnectionPlace]) -> Vec<bool> {
    let cx = Context::from_waker(Waker::noop());
    places.iter().map(|place| place.poll_evicted(&cx).is_ready()).collect()
}

#[tokio::test(start_paused = true)]
async fn room_is_made_at_the_peer_with_the_most_where_it_is_idle_for_the_longest() {
    let opening = Opening::new(limits(4));
    let places = opening.open_all([1, 2, 2, 2]).await;
    // The first of peer 2 has served a request since it was opened.
    assert!(places[1].begin_work());
    advance(Duration::from_millis(1)).await;
    places[1].begin_wait(Instant::now());
    let _fifth = opening.open(3).await.expect("there is room");
    assert_eq!(evicted(&places), [false, false, true, false]);
    let _sixth = opening.open(3).await.expect("there is room");
    assert_eq!(evicted(&places), [false, false, true, true]);
}

#[tokio::test(start_paused = true)]
async fn room_is_being_made_until_the_connection_has_ended() {
    let opening = Opening::new(limits(1));
    let [first] = opening.open_all([1]).await;
    assert!(!opening.table.is_making_room());
    let second = opening.open(2).await.expect("there is room");
    assert!(opening.table.is_making_room());
    drop(first);
    assert!(!opening.table.is_making_room());
    drop(second);
    assert!(!opening.table.is_making_room());
}

#[tokio::test(start_paused = true)]
async fn what_serves_a_request_stays() {
    let opening = Opening::new(limits(3));
    let places = opening.open_all([1, 1, 2]).await;
    for place in &places[..2] {
        assert!(place.begin_work());
    }
    // The peer with the most has none that is idle, and the next peer has more than the newcomer's.
    let third = opening.open(3).await.expect("there is room");
    assert_eq!(evicted(&places), [false, false, true]);
    assert!(third.begin_work());
    for peer in [1, 2, 3] {
        assert!(opening.open(peer).await.is_none(), "none is idle");
    }
    assert_eq!(evicted(&places), [false, false, true]);
}

#[tokio::test(start_paused = true)]
async fn a_peer_with_many_takes_nothing_from_one_with_few() {
    let opening = Opening::new(limits(3));
    let places = opening.open_all([1, 2, 2]).await;
    for place in &places[1..] {
        assert!(place.begin_work());
    }
    assert!(opening.open(2).await.is_none(), "none of its own is idle");
    places[2].begin_wait(Instant::now());
    assert!(opening.open(2).await.is_some());
    assert_eq!(evicted(&places), [false, false, true]);
}

#[tokio::test(start_paused = true)]
async fn a_peer_may_have_so_many() {
    let opening = Opening::new(ConnectionLimits { total: 10, per_peer: Some(2) });
    let places = opening.open_all([1, 1, 2]).await;
    let third = opening.open(1).await.expect("there is room");
    assert_eq!(evicted(&places), [true, false, false]);
    assert!(places[1].begin_work() && third.begin_work());
    assert!(opening.open(1).await.is_none(), "none of its own is idle");
    assert!(opening.open(2).await.is_some());
    assert_eq!(evicted(&places), [true, false, false]);
}

#[tokio::test(start_paused = true)]
async fn a_place_is_given_back_and_a_lowered_limit_is_reached() {
    let mut opening = Opening::new(limits(4));
    let [first, second, ..] = opening.open_all([1, 1, 1, 1]).await;
    drop((first, second));
    assert_eq!(opening.table.count(), 0, "the others of the pattern were dropped as well");
    let places = opening.open_all([1, 2, 3, 4]).await;
    opening.limits = limits(2);
    let newcomers = [opening.open(5).await, opening.open(6).await];
    assert_eq!(evicted(&places), [true, true, true, true]);
    assert_eq!(opening.table.count(), 2);
    drop((places, newcomers));
    let peers = opening.table.lock();
    assert!(peers.idle.is_empty() && peers.sizes.is_empty() && peers.order.is_empty(), "{peers:?}");
    assert_eq!((peers.open, peers.leaving), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_woken_to_end_and_stays_evicted() {
    let opening = Opening::new(limits(1));
    let [place] = opening.open_all([1]).await;
    let task = Arc::new(CountedTask::default());
    assert!(place.poll_evicted(&Context::from_waker(&task.waker())).is_pending());
    let _second = opening.open(2).await.expect("there is room");
    assert_eq!(task.wakes(), 1);
    // A request that came at the same time is the last.
    assert!(!place.begin_work());
    place.begin_wait(Instant::now());
    assert_eq!(evicted(&[place]), [true]);
}

/// A peer with many busy connections hides no idle one of others, whichever the newcomer is.
#[tokio::test(start_paused = true)]
async fn as_long_as_one_is_idle_no_newcomer_is_refused() {
    for busy in [65, 1000] {
        let opening = Opening::new(limits(busy + 20));
        let mut places = Vec::new();
        for _ in 0..busy {
            places.push(opening.open(1).await.expect("there is room"));
        }
        for place in &places {
            assert!(place.begin_work());
        }
        let idle = opening.open_all([2; 20]).await;
        for at in 0..10 {
            assert!(opening.open(3).await.is_some(), "beside {busy} busy ones, newcomer {at} is refused");
            // All of the busy ones are answered meanwhile, and have another request.
            for place in &places {
                place.begin_wait(Instant::now());
                assert!(place.begin_work());
            }
        }
        assert_eq!(evicted(&places).iter().filter(|is_evicted| **is_evicted).count(), 0);
        assert!(evicted(&idle).contains(&true));
    }
}

/// A newcomer costs a bounded search; and what becomes idle is found by the newcomers that follow.
#[tokio::test(start_paused = true)]
async fn a_search_is_bounded_and_goes_on_where_it_stopped() {
    const CONNECTIONS: usize = 2 * MOST_EXAMINED + 100;
    let opening = Opening::new(limits(CONNECTIONS));
    let mut places = Vec::new();
    for at in 0..CONNECTIONS {
        let peer = IpAddr::from([10, 0, 1, u8::from(at % 2 == 0)]);
        places.push(opening.table.admit(peer, opening.limits).expect("there is room").place);
        assert!(places[at].begin_work());
    }
    advance(Duration::from_millis(1)).await;
    let last = places.last().expect("there are many");
    last.begin_wait(Instant::now());
    for left in [MOST_EXAMINED + 100, 100] {
        assert!(opening.open(1).await.is_none());
        assert_eq!(opening.table.lock().idle.len(), left);
    }
    assert!(opening.open(1).await.is_some());
    assert_eq!(evicted(std::slice::from_ref(last)), [true]);
}

#[tokio::test(start_paused = true)]
async fn a_connection_on_which_a_request_came_first_counts_until_it_ends() {
    let opening = Opening::new(limits(2));
    let [first, second] = opening.open_all([1, 1]).await;
    let third = opening.open(2).await.expect("there is room");
    assert!(opening.table.is_making_room());
    assert!(!first.begin_work() && second.begin_work() && third.begin_work());
    // Its request may last, and with it no room is being made.
    assert!(!opening.table.is_making_room());
    assert_eq!((opening.table.count(), opening.table.lock().count(first.0.peer)), (3, 2));
    assert!(!first.begin_work());
    first.begin_wait(Instant::now());
    assert!(opening.open(3).await.is_none(), "one that is to end makes no room for another");
    assert_eq!(evicted(&[first]), [true]);
    assert_eq!(opening.table.count(), 2, "it was dropped");
}

#[tokio::test(start_paused = true)]
async fn a_connection_moves_to_the_peer_that_has_opened_it() {
    const PROXY: u8 = 9;
    let opening = Opening::new(limits(100));
    let address = |peer| IpAddr::from([10, 0, 0, peer]);
    let named = ConnectionLimits { total: 4, per_peer: Some(3) };
    let mut places = opening.open_all([PROXY; 4]).await;
    for (place, peer) in places.iter_mut().zip([1, 2, 2, 2]) {
        assert_eq!(place.move_to(address(peer), named), Some(0));
    }
    assert_eq!(opening.table.lock().sizes.len(), 2, "none is the proxy's");
    // Room is made at the peer with the most, wherever the newcomer was before.
    let mut fifth = opening.open(PROXY).await.expect("there is room before it says whose it is");
    assert_eq!(fifth.move_to(address(3), named), Some(1));
    assert_eq!(evicted(&places), [false, true, false, false]);
    let mut sixth = opening.open(PROXY).await.expect("there is room before it says whose it is");
    assert!(places[2].begin_work() && places[3].begin_work());
    assert_eq!(sixth.move_to(address(2), named), None, "none of its own is idle, nor of peers with more");
    drop(sixth);
    drop((places, fifth));
    let peers = opening.table.lock();
    assert_eq!((peers.open, peers.leaving, peers.sizes.len(), peers.idle.len()), (0, 0, 0, 0));
}

/// Whatever the workers do meanwhile, no connection is lost to the search.
#[test]
fn all_that_are_idle_are_found_after_any_traffic() {
    let table = Arc::<ConnectionTable>::default();
    let open = || table.admit(IpAddr::from([10, 0, 0, 1]), limits(100)).map(|admission| admission.place);
    let places: Vec<_> = (0..100).filter_map(|_| open()).collect();
    std::thread::scope(|scope| {
        for places in places.chunks(50) {
            scope.spawn(move || {
                for place in (0..200).flat_map(|_| places) {
                    place.begin_work();
                    place.begin_wait(Instant::now());
                }
            });
        }
        for _ in 0..50 {
            drop(open());
        }
    });
    // The last newcomers of these may make room for one another.
    let newcomers: Vec<_> = (0..100).filter_map(|_| open()).collect();
    assert_eq!(newcomers.len(), 100);
    assert!(evicted(&places).into_iter().all(|is_evicted| is_evicted));
    drop((places, newcomers));
    let peers = table.lock();
    assert_eq!((peers.open, peers.leaving, peers.sizes.len()), (0, 0, 0));
}
