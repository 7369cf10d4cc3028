//! The count of the requests that wait for an endpoint, over all workers.

use crate::proxy::error::Error;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The requests that wait for a connection or a stream of one endpoint.
#[derive(Debug, Default)]
pub(crate) struct Waiters(AtomicUsize);

/// A request that waits. Its drop ends the wait.
#[derive(Debug)]
pub(crate) struct Waiter<'a>(&'a Waiters);

impl Waiters {
    /// Returns how many wait.
    pub(crate) fn count(&self) -> usize {
        self.0.load(Relaxed)
    }

    /// Begins to wait for an endpoint.
    ///
    /// # Errors
    ///
    /// As many as `most` wait already.
    pub(crate) fn begin(&self, address: SocketAddr, most: usize) -> Result<Waiter<'_>, Error> {
        let waiter = Waiter(self);
        if self.0.fetch_add(1, Relaxed) >= most {
            return Err(Error::EndpointQueueFull { address, limit: most });
        }
        Ok(waiter)
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_beyond_the_limit_is_refused_and_not_counted() {
        let (waiters, address) = (Waiters::default(), SocketAddr::from(([127, 0, 0, 1], 1)));
        let first = waiters.begin(address, 1).expect("there is room");
        assert!(matches!(waiters.begin(address, 1), Err(Error::EndpointQueueFull { limit: 1, .. })));
        assert_eq!(waiters.count(), 1);
        drop(first);
        assert!(waiters.begin(address, 1).is_ok());
        assert_eq!(waiters.count(), 0);
    }
}
