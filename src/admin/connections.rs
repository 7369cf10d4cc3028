//! The open connections of an admin listener, and which of them gives way when there are too many.

use crate::proxy::{ConnectionLimits, ConnectionPlace, ConnectionTable};
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// The limit on connections served at once; from here on an idle one gives way to each further one.
const MOST_CONNECTIONS: usize = 100;

/// How many more may be open while none gives way, or until those that do have ended.
const SPARE_CONNECTIONS: usize = 16;

/// The limit on connections of which any part is left.
pub(super) const MOST_OPEN: usize = MOST_CONNECTIONS + SPARE_CONNECTIONS;

/// How long a request is served before its connection may give way: its caller sends slowly.
const LONGEST_REQUEST: Duration = Duration::from_secs(5);

/// The open connections of a listener.
#[derive(Debug, Default)]
pub(super) struct AdminConnections(Arc<ConnectionTable>);

impl AdminConnections {
    /// Adds a connection, for which another may have to give way; `None` if there are too many and none may.
    pub(super) fn add(&self, peer: IpAddr) -> Option<ConnectionPlace> {
        let admit = |total| self.0.admit(peer, ConnectionLimits { total, per_peer: None });
        admit(MOST_CONNECTIONS).or_else(|| admit(MOST_OPEN)).map(|admission| admission.place)
    }

    /// Has one connection give way, if one may.
    pub(super) fn make_room(&self) {
        self.0.make_room();
    }
}

/// Does the work of a request on a connection, which gives way to no other until that takes too long.
pub(super) async fn serve_busily<T>(place: &ConnectionPlace, work: impl Future<Output = T>) -> T {
    place.begin_work();
    let mut work = pin!(work);
    let done = match timeout(LONGEST_REQUEST, work.as_mut()).await {
        Ok(done) => done,
        Err(_) => {
            place.begin_wait(Instant::now());
            let done = work.await;
            place.begin_work();
            done
        }
    };
    place.begin_wait(Instant::now());
    done
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{pending, poll_fn};
    use tokio::time::advance;

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

    async fn begin(work: std::pin::Pin<&mut impl Future<Output = ()>>) {
        assert!(futures_util::poll!(work).is_pending());
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_keeps_its_connection_until_it_takes_long() {
        let open = AdminConnections::default();
        let places: Vec<_> = (0..MOST_CONNECTIONS).filter_map(|_| open.add(PEER)).collect();
        places.iter().for_each(|place| _ = place.begin_work());
        let mut serving = pin!(serve_busily(&places[7], pending::<()>()));
        begin(serving.as_mut()).await;
        let spare: Vec<_> = (0..SPARE_CONNECTIONS).filter_map(|_| open.add(PEER)).collect();
        spare.iter().for_each(|place| _ = place.begin_work());
        assert_eq!((places.len(), spare.len()), (MOST_CONNECTIONS, SPARE_CONNECTIONS));
        assert!(open.add(PEER).is_none(), "all are busy");
        advance(LONGEST_REQUEST).await;
        begin(serving.as_mut()).await;
        advance(Duration::from_millis(1)).await;
        assert!(open.add(PEER).is_some());
        poll_fn(|cx| places[7].poll_evicted(cx)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_was_answered_gives_way() {
        let open = AdminConnections::default();
        let place = open.add(PEER).expect("there is room");
        serve_busily(&place, tokio::time::sleep(2 * LONGEST_REQUEST)).await;
        open.make_room();
        poll_fn(|cx| place.poll_evicted(cx)).await;
        serve_busily(&place, async {}).await;
        poll_fn(|cx| place.poll_evicted(cx)).await;
    }
}
