//! One attempt to send a request to an endpoint, and the connection or stream that carries it.

use super::{Caller, Outcome, TimeLimit, WaitQueue};
use crate::proxy::wire::connection::Connection;
use crate::proxy::wire::http2::SharedSendStream;
use std::cell::Cell;
use std::fmt;
use std::rc::Rc;

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

/// An attempt that has no response yet. One that is dropped after its request's time has timed out: the work that is cut
/// off cannot say so itself.
#[derive(Debug)]
pub(crate) struct PendingAttempt {
    /// `None` once it has ended.
    attempt: Option<Attempt>,
    time_limit: Option<TimeLimit>,
}

impl PendingAttempt {
    /// Begins an attempt, which the endpoint has counted, for a request with this limit.
    pub(crate) fn new(endpoint: Rc<dyn UpstreamEndpoint>, time_limit: Option<TimeLimit>) -> Self {
        Self { attempt: Some(Attempt { endpoint, outcome: Outcome::default() }), time_limit }
    }

    /// Ends the wait for the response, with which the attempt goes on.
    pub(crate) fn answered(mut self) -> Option<Attempt> {
        self.attempt.take()
    }

    /// Ends an attempt that has failed.
    pub(crate) fn fail(mut self, outcome: Outcome) {
        if let Some(mut attempt) = self.attempt.take() {
            attempt.end(outcome);
        }
    }
}

impl Drop for PendingAttempt {
    fn drop(&mut self) {
        if let Some(attempt) = &mut self.attempt
            && self.time_limit.is_some_and(TimeLimit::is_over)
        {
            attempt.end(Outcome::TimedOut);
        }
    }
}

impl Attempt {
    /// Notes the outcome, which is [`Outcome::Abandoned`] until then.
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

/// The carrier of one exchange with an endpoint.
#[derive(Debug)]
pub(crate) enum Carrier {
    /// A connection, which carries no other exchange meanwhile.
    Http1 {
        connection: Rc<Connection>,
        /// Whether it can be used again once the response was read to its end.
        reusable: bool,
    },
    /// A stream; held, because its drop resets a stream that is not finished.
    ///
    /// It is boxed, so that exchanges over HTTP/1 are not moved with its size.
    Http2(#[expect(dead_code, reason = "its drop is what it does")] Box<UpstreamStream>),
}

impl Carrier {
    /// Lets the connection wait for another request, after the exchange has come to its end on both sides.
    pub(super) fn keep(self, attempt: &Attempt) {
        // Bytes behind the response would be taken for the next one.
        if let Self::Http1 { connection, reusable: true } = self
            && connection.with_input(<[u8]>::is_empty)
        {
            attempt.endpoint.keep(connection);
        }
    }
}

/// One stream of a connection to an endpoint. Its drop resets a stream that is not finished, with the caller's code.
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
    queue: Rc<WaitQueue>,
}

impl StreamSlot {
    /// Takes a slot: one more of `streams`. The next request of `queue` looks for room when it is given back.
    pub(crate) fn take(streams: &Rc<Cell<usize>>, queue: &Rc<WaitQueue>) -> Self {
        streams.set(streams.get() + 1);
        Self { streams: Rc::clone(streams), queue: Rc::clone(queue) }
    }
}

impl Drop for StreamSlot {
    fn drop(&mut self) {
        self.streams.set(self.streams.get().saturating_sub(1));
        self.queue.wake_next();
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
    use std::time::Duration;

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
        let begin = || PendingAttempt::new(Rc::clone(&endpoint) as Rc<dyn UpstreamEndpoint>, None);
        let mut answered = begin().answered().expect("it goes on with its response");
        answered.end(Outcome::Answered(200));
        assert_eq!(*endpoint.0.borrow(), [], "nothing is reported before the end");
        drop(answered);
        begin().fail(Outcome::Refused);
        // Dropped without a word, as with the task of a caller that goes away: before a response, and behind it.
        drop(begin());
        drop(begin().answered());
        assert_eq!(
            *endpoint.0.borrow(),
            [Outcome::Answered(200), Outcome::Refused, Outcome::Abandoned, Outcome::Abandoned]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_that_is_dropped_after_its_time_has_timed_out() {
        let endpoint = Rc::new(Reports::default());
        let limit = TimeLimit::new(Duration::from_secs(1));
        let begin = || PendingAttempt::new(Rc::clone(&endpoint) as Rc<dyn UpstreamEndpoint>, Some(limit));
        drop(begin());
        let (late, begun) = (begin(), begin().answered());
        tokio::time::advance(Duration::from_secs(1)).await;
        drop(late);
        // The time is that until the response: behind it, the caller has gone away.
        drop(begun);
        assert_eq!(*endpoint.0.borrow(), [Outcome::Abandoned, Outcome::TimedOut, Outcome::Abandoned]);
    }
}
