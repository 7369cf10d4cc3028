//! The open connections of an admin listener, and which of them gives way when there are too many.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// The limit on connections served at once; from here on one gives way to each further one.
pub(super) const MOST_CONNECTIONS: usize = 100;

/// How many more may be open for the moment until others have given way.
pub(super) const SPARE_CONNECTIONS: usize = 16;

/// How long a request is served before its connection may give way: its caller sends or reads slowly.
const LONGEST_REQUEST: Duration = Duration::from_secs(5);

/// The open connections of a listener.
#[derive(Debug, Default)]
pub(super) struct AdminConnections(Vec<Arc<AdminConnection>>);

/// One open connection.
#[derive(Debug)]
pub(super) struct AdminConnection {
    peer: IpAddr,
    activity: Mutex<Activity>,
    /// Notified when it has to give way.
    pub(super) gives_way: Notify,
}

/// The occupation of a connection, and the time since when it has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Activity {
    /// It waits for a request, or for the rest of its head.
    Idle(Instant),
    /// A request is served.
    Busy(Instant),
    /// It was told to give way.
    Leaving,
}

impl AdminConnection {
    fn new(peer: IpAddr) -> Arc<Self> {
        let activity = Mutex::new(Activity::Idle(Instant::now()));
        Arc::new(Self { peer: peer.to_canonical(), activity, gives_way: Notify::new() })
    }

    /// Notes that a request begins.
    pub(super) fn begin(&self) {
        self.set(Activity::Busy(Instant::now()));
    }

    /// Notes that the request was answered.
    pub(super) fn end(&self) {
        self.set(Activity::Idle(Instant::now()));
    }

    fn set(&self, new: Activity) {
        let mut activity = self.activity.lock().unwrap_or_else(PoisonError::into_inner);
        if *activity != Activity::Leaving {
            *activity = new;
        }
    }

    fn activity(&self) -> Activity {
        *self.activity.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether it may give way now.
    fn may_give_way(&self) -> bool {
        match self.activity() {
            Activity::Idle(_) => true,
            Activity::Busy(since) => since.elapsed() >= LONGEST_REQUEST,
            Activity::Leaving => false,
        }
    }
}

impl AdminConnections {
    /// Adds a connection. When there are too many, one of the address that has most gives way: the one that has been idle
    /// longest, or else the one whose request takes longest.
    pub(super) fn add(&mut self, peer: IpAddr) -> Arc<AdminConnection> {
        // Those that have ended are held here alone.
        self.0.retain(|connection| Arc::strong_count(connection) > 1);
        let staying = self.0.iter().filter(|connection| connection.activity() != Activity::Leaving).count();
        if staying >= MOST_CONNECTIONS {
            self.make_room();
        }
        let added = AdminConnection::new(peer);
        self.0.push(Arc::clone(&added));
        added
    }

    /// Has one connection give way, if one may.
    pub(super) fn make_room(&self) {
        let mut count: HashMap<IpAddr, usize> = HashMap::new();
        self.0.iter().for_each(|connection| *count.entry(connection.peer).or_default() += 1);
        let chosen = self.0.iter().filter(|connection| connection.may_give_way()).min_by_key(|connection| {
            let of_its_address = count.get(&connection.peer).copied().unwrap_or_default();
            (std::cmp::Reverse(of_its_address), connection.activity())
        });
        if let Some(chosen) = chosen {
            chosen.set(Activity::Leaving);
            chosen.gives_way.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    fn addresses(list: &[Arc<AdminConnection>]) -> Vec<bool> {
        list.iter().map(|connection| connection.activity() == Activity::Leaving).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn the_one_idle_longest_of_the_address_with_most_gives_way() {
        let mut open = AdminConnections::default();
        let [few, many]: [IpAddr; 2] = ["10.0.0.1", "10.0.0.2"].map(|address| address.parse().unwrap());
        let customer = open.add(few);
        let mut held = Vec::new();
        for _ in 1..MOST_CONNECTIONS {
            advance(Duration::from_millis(1)).await;
            held.push(open.add(many));
        }
        held[0].begin();
        advance(Duration::from_secs(1)).await;
        held.push(open.add(few));
        let left = addresses(&held);
        assert!(left[1] && left.iter().filter(|left| **left).count() == 1, "a busy one stays: {left:?}");
        assert!(!customer.activity().eq(&Activity::Leaving));

        // All are busy: only one that has been for long.
        held.iter().chain([&customer]).for_each(|connection| connection.begin());
        held.push(open.add(few));
        assert_eq!(addresses(&held).iter().filter(|left| **left).count(), 1, "none gives way");
        advance(LONGEST_REQUEST).await;
        held.push(open.add(few));
        assert_eq!(addresses(&held).iter().filter(|left| **left).count(), 2);
    }

    #[tokio::test]
    async fn those_that_have_ended_are_forgotten() {
        let mut open = AdminConnections::default();
        let peer: IpAddr = "10.0.0.1".parse().unwrap();
        for _ in 0..10 * MOST_CONNECTIONS {
            open.add(peer);
        }
        let last = open.add(peer);
        assert_eq!(open.0.len(), 1);
        assert!(matches!(last.activity(), Activity::Idle(_)));
    }
}
