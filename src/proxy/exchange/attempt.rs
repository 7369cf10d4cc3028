//! One attempt to send a request to an endpoint, and what carries it.

use super::{Caller, Outcome};
use crate::proxy::wire::connection::Connection;
use crate::proxy::wire::http2::SharedSendStream;
use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use tokio::sync::Notify;

/// An endpoint, as the attempts at it see it.
pub(crate) trait UpstreamEndpoint {
    /// Takes the outcome of one attempt, when it ends.
    fn report(&self, outcome: Outcome);

    /// Keeps a connection over HTTP/1 for another request.
    fn keep(&self, connection: Rc<Connection>);
}

/// One request under way to an endpoint. Its drop reports its outcome, once.
pub(crate) struct Attempt {
    endpoint: Rc<dyn UpstreamEndpoint>,
    outcome: Outcome,
}

impl Attempt {
    /// Begins an attempt, which the endpoint has counted.
    pub(crate) fn new(endpoint: Rc<dyn UpstreamEndpoint>) -> Self {
        Self { endpoint, outcome: Outcome::default() }
    }

    /// Notes how the attempt ended: [`Outcome::Abandoned`] until it is said otherwise.
    pub(crate) fn end(&mut self, outcome: Outcome) {
        self.outcome = outcome;
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.endpoint.report(self.outcome);
    }
}

impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempt").field("outcome", &self.outcome).finish_non_exhaustive()
    }
}

/// The endpoint's side of an exchange: held until the response has been delivered.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) attempt: Attempt,
    pub(crate) carrier: Carrier,
}

/// What carries one exchange with an endpoint.
#[derive(Debug)]
pub(crate) enum Carrier {
    /// A connection, which carries nothing else meanwhile.
    Http1 {
        connection: Rc<Connection>,
        /// Whether it can be used again once the response was read to its end.
        reusable: bool,
    },
    /// A stream; held, because its drop ends what is not finished.
    Http2(#[expect(dead_code, reason = "its drop is what it does")] UpstreamStream),
}

impl Upstream {
    /// Lets the connection wait for another request, after the exchange has come to its end on both sides.
    pub(super) fn keep(self) {
        // Bytes behind the response would be taken for the next one.
        if let Carrier::Http1 { connection, reusable: true } = self.carrier
            && connection.with_input(<[u8]>::is_empty)
        {
            self.attempt.endpoint.keep(connection);
        }
    }
}

/// One stream of a connection to an endpoint; its drop ends what is not finished, with the code that the caller gave.
#[derive(Debug)]
pub(crate) struct UpstreamStream {
    stream: SharedSendStream,
    caller: Caller,
    _slot: StreamSlot,
}

impl UpstreamStream {
    /// Makes the stream of a caller's request, in the slot that it takes.
    pub(crate) fn new(stream: SharedSendStream, caller: Caller, slot: StreamSlot) -> Self {
        Self { stream, caller, _slot: slot }
    }
}

/// One of the streams that a connection may carry at once; its drop makes room for another.
#[derive(Debug)]
pub(crate) struct StreamSlot {
    streams: Rc<Cell<usize>>,
    freed: Rc<Notify>,
}

impl StreamSlot {
    /// Takes a slot: one more of `streams`. `freed` is told when it is given back.
    pub(crate) fn take(streams: &Rc<Cell<usize>>, freed: &Rc<Notify>) -> Self {
        streams.set(streams.get() + 1);
        Self { streams: Rc::clone(streams), freed: Rc::clone(freed) }
    }
}

impl Drop for StreamSlot {
    fn drop(&mut self) {
        self.streams.set(self.streams.get().saturating_sub(1));
        self.freed.notify_one();
    }
}

impl Drop for UpstreamStream {
    fn drop(&mut self) {
        if let Caller::Http2(reply) = &self.caller
            && let Some(reason) = reply.given_up()
        {
            self.stream.borrow_mut().send_reset(reason);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    /// An endpoint that writes down what is reported to it.
    #[derive(Default)]
    struct Reports(RefCell<Vec<Outcome>>);

    impl UpstreamEndpoint for Reports {
        fn report(&self, outcome: Outcome) {
            self.0.borrow_mut().push(outcome);
        }

        fn keep(&self, _: Rc<Connection>) {}
    }

    #[test]
    fn an_attempt_reports_its_outcome_once() {
        let endpoint = Rc::new(Reports::default());
        let mut answered = Attempt::new(Rc::clone(&endpoint) as Rc<dyn UpstreamEndpoint>);
        answered.end(Outcome::Answered(200));
        assert_eq!(*endpoint.0.borrow(), [], "nothing is reported before the end");
        drop(answered);
        // Dropped without a word, as with the task of a caller that goes away.
        drop(Attempt::new(Rc::clone(&endpoint) as Rc<dyn UpstreamEndpoint>));
        assert_eq!(*endpoint.0.borrow(), [Outcome::Answered(200), Outcome::Abandoned]);
    }
}
