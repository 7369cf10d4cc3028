//! One attempt to send a request to an endpoint, and the connection or stream that carries it.

use super::{Caller, OpenExchange, OpenExchanges, Outcome, TimeLimit, WaitQueue};
use crate::proxy::metrics::AttemptEnd;
use crate::proxy::wire::connection::Connection;
use crate::proxy::wire::http2::SharedSendStream;
use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::Instant;

/// An endpoint, as the attempts at it see it.
pub(crate) trait UpstreamEndpoint {
    /// Takes the time from the begin of an attempt to the head of its response.
    fn note_latency(&self, began: Instant);

    /// Takes the time from the begin of an attempt to its end without a response: its latency would have been longer.
    fn note_least_latency(&self, began: Instant);

    /// Takes the begin of a response to the probe that is no failure by its status.
    fn note_probe_answer(&self);

    /// Takes the end of one attempt.
    fn report(&self, report: AttemptReport);

    /// Returns the exchanges of this worker that may have to make room for others.
    fn exchanges(&self) -> &Rc<OpenExchanges>;

    /// Keeps a connection over HTTP/1 for another request.
    fn keep(&self, connection: Rc<Connection>);
}

/// The standing of an endpoint with failure accrual when an attempt at it begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It takes requests.
    #[default]
    Alive,
    /// It was shut, and this attempt alone finds out whether it answers again.
    Probed,
    /// It is shut, and is tried because no other endpoint is better.
    Shut,
}

/// The end of one attempt, as its endpoint is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct AttemptReport {
    pub(crate) outcome: Outcome,
    pub(crate) standing: Standing,
    /// The class of the response; `None` when nobody classified it.
    pub(crate) is_success: Option<bool>,
}

impl AttemptReport {
    /// Returns the end of the attempt, as it is counted.
    pub(crate) fn end(self) -> AttemptEnd {
        match self.outcome {
            Outcome::Answered(status) if self.is_success.unwrap_or(status < 500) => AttemptEnd::Success,
            Outcome::Answered(_) => AttemptEnd::FailedResponse,
            Outcome::Refused => AttemptEnd::Refused,
            Outcome::Reset | Outcome::IdleEnd => AttemptEnd::Reset,
            Outcome::TimedOut => AttemptEnd::TimedOut,
            Outcome::Abandoned => AttemptEnd::Abandoned,
            Outcome::NotSent => AttemptEnd::NotSent,
        }
    }

    /// Returns whether the attempt was a success. `None` when it says nothing about the endpoint: the caller gave up, or
    /// the request was not sent.
    pub(crate) fn verdict(self) -> Option<bool> {
        match self.outcome {
            Outcome::Refused | Outcome::Reset | Outcome::TimedOut => Some(false),
            Outcome::Answered(status) => Some(self.is_success.unwrap_or(status < 500)),
            Outcome::IdleEnd | Outcome::Abandoned | Outcome::NotSent => self.is_success,
        }
    }
}

/// The time at which an attempt begins, which is read when it is first asked for: most attempts are not limited or measured.
#[derive(Debug, Default)]
pub(crate) struct AttemptTime(Cell<Option<Instant>>);

impl AttemptTime {
    /// Returns the time, and reads it if nobody has.
    pub(crate) fn get(&self) -> Instant {
        self.0.get().unwrap_or_else(|| {
            let now = Instant::now();
            self.0.set(Some(now));
            now
        })
    }

    /// Sets the time, which is known from elsewhere.
    pub(crate) fn set(&self, time: Instant) {
        self.0.set(Some(time));
    }

    /// Forgets the time: another attempt follows.
    pub(crate) fn forget(&self) {
        self.0.set(None);
    }
}

/// One request under way to an endpoint. Its drop reports its end, once.
pub(crate) struct Attempt {
    endpoint: Rc<dyn UpstreamEndpoint>,
    report: AttemptReport,
}

/// An attempt that has no response yet. One that is dropped after the time that the router allows has timed out: the work
/// that is cut off cannot say so itself.
#[derive(Debug)]
pub(crate) struct PendingAttempt {
    /// `None` once it has ended.
    attempt: Option<Attempt>,
    /// The time at which it has timed out, if the router limits it.
    times_out: Option<Instant>,
    /// The time of its begin, if the endpoint wants to know its latency.
    began: Option<Instant>,
}

impl PendingAttempt {
    /// Begins an attempt, which the endpoint has counted, for a request with this limit.
    pub(crate) fn new(endpoint: Rc<dyn UpstreamEndpoint>, time_limit: Option<TimeLimit>) -> Self {
        let attempt = Attempt { endpoint, report: AttemptReport::default() };
        Self { attempt: Some(attempt), times_out: time_limit.and_then(TimeLimit::times_out), began: None }
    }

    /// Sets the standing that the endpoint has now.
    pub(crate) fn at(mut self, standing: Standing) -> Self {
        if let Some(attempt) = &mut self.attempt {
            attempt.report.standing = standing;
        }
        self
    }

    /// Has the endpoint told the latency, which is measured from this time.
    pub(crate) fn measured(mut self, began: Option<Instant>) -> Self {
        self.began = began;
        self
    }

    /// Ends the wait for the response, with which the attempt goes on.
    pub(crate) fn answered(mut self, status: u16) -> Option<Attempt> {
        let attempt = self.attempt.take()?;
        if let Some(began) = self.began {
            attempt.endpoint.note_latency(began);
        }
        if attempt.report.standing == Standing::Probed && status < 500 {
            attempt.endpoint.note_probe_answer();
        }
        Some(attempt)
    }

    /// Ends an attempt that has failed.
    pub(crate) fn fail(mut self, outcome: Outcome) {
        if let Some(attempt) = &mut self.attempt {
            attempt.end(outcome);
        }
        // It did not end because of its time.
        self.times_out = None;
    }
}

impl Drop for PendingAttempt {
    fn drop(&mut self) {
        let Some(attempt) = &mut self.attempt else { return };
        if let Some(began) = self.began {
            attempt.endpoint.note_least_latency(began);
        }
        if self.times_out.is_some_and(|at| Instant::now() >= at) {
            attempt.end(Outcome::TimedOut);
        }
    }
}

impl Attempt {
    /// Notes the outcome, which is [`Outcome::Abandoned`] until then.
    pub(crate) fn end(&mut self, outcome: Outcome) {
        self.report.outcome = outcome;
    }

    /// Has a tunnel, in which the attempt goes on, end when it is silent for so long and others wait for its endpoint.
    pub(crate) fn begin_tunnel(&self, silent_after: Duration) -> OpenExchange {
        self.endpoint.exchanges().begin(silent_after)
    }

    /// Notes the class of the response. Without one, a status of 5xx is a failure.
    pub(crate) fn classify(&mut self, is_success: bool) {
        self.report.is_success = Some(is_success);
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.endpoint.report(self.report);
    }
}

impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempt").field("report", &self.report).finish_non_exhaustive()
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
    Http2(Box<UpstreamStream>),
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

    /// Returns its sending half.
    pub(crate) fn sender(&self) -> SharedSendStream {
        Rc::clone(&self.stream)
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

    /// An endpoint that writes down what is reported to it.
    #[derive(Default)]
    struct Reports {
        outcomes: RefCell<Vec<Outcome>>,
        verdicts: RefCell<Vec<Option<bool>>>,
        /// Each with whether a response came.
        latencies: RefCell<Vec<(bool, Duration)>>,
        probe_answers: Cell<usize>,
    }

    impl UpstreamEndpoint for Reports {
        fn note_latency(&self, began: Instant) {
            self.latencies.borrow_mut().push((true, began.elapsed()));
        }

        fn note_least_latency(&self, began: Instant) {
            self.latencies.borrow_mut().push((false, began.elapsed()));
        }

        fn note_probe_answer(&self) {
            self.probe_answers.set(self.probe_answers.get() + 1);
        }

        fn report(&self, report: AttemptReport) {
            self.outcomes.borrow_mut().push(report.outcome);
            self.verdicts.borrow_mut().push(report.verdict());
        }

        fn exchanges(&self) -> &Rc<OpenExchanges> {
            unreachable!("none of them is a tunnel")
        }

        fn keep(&self, _: Rc<Connection>) {}
    }

    #[test]
    fn an_attempt_reports_its_outcome_once() {
        let endpoint = Rc::new(Reports::default());
        let begin = || PendingAttempt::new(Rc::clone(&endpoint) as Rc<dyn UpstreamEndpoint>, None);
        let mut answered = begin().answered(200).expect("it goes on with its response");
        answered.end(Outcome::Answered(200));
        assert_eq!(*endpoint.outcomes.borrow(), [], "nothing is reported before the end");
        drop(answered);
        begin().fail(Outcome::Refused);
        // Dropped without a word, as with the task of a caller that goes away: before a response, and behind it.
        drop(begin());
        drop(begin().answered(200));
        assert_eq!(
            *endpoint.outcomes.borrow(),
            [Outcome::Answered(200), Outcome::Refused, Outcome::Abandoned, Outcome::Abandoned]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_that_is_dropped_after_its_time_has_timed_out() {
        let endpoint = Rc::new(Reports::default());
        let limit = TimeLimit::new(Duration::from_secs(1));
        let begin = || PendingAttempt::new(Rc::clone(&endpoint) as Rc<dyn UpstreamEndpoint>, Some(limit));
        drop(begin());
        let (late, begun) = (begin(), begin().answered(200));
        tokio::time::advance(Duration::from_secs(1)).await;
        drop(late);
        let callers = Some(TimeLimit::of_caller(Duration::from_secs(1)));
        let given_up = PendingAttempt::new(Rc::clone(&endpoint) as Rc<dyn UpstreamEndpoint>, callers);
        tokio::time::advance(Duration::from_secs(1)).await;
        drop(given_up);
        // The time is that until the response: behind it, the caller has gone away.
        drop(begun);
        assert_eq!(
            *endpoint.outcomes.borrow(),
            [Outcome::Abandoned, Outcome::TimedOut, Outcome::Abandoned, Outcome::Abandoned]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_latency_is_that_of_the_head_or_at_least_that_of_the_end() {
        let endpoint = Rc::new(Reports::default());
        let begin = || {
            let pending = PendingAttempt::new(Rc::clone(&endpoint) as Rc<dyn UpstreamEndpoint>, None);
            pending.measured(Some(Instant::now()))
        };
        let (answered, failed, given_up) = (begin(), begin(), begin());
        tokio::time::advance(Duration::from_millis(5)).await;
        let attempt = answered.answered(200);
        tokio::time::advance(Duration::from_millis(5)).await;
        drop(attempt);
        failed.fail(Outcome::Reset);
        drop(given_up);
        let millis = Duration::from_millis;
        assert_eq!(
            *endpoint.latencies.borrow(),
            [(true, millis(5)), (false, millis(10)), (false, millis(10))]
        );
    }

    #[test]
    fn a_probe_is_answered_by_a_head_that_is_no_failure() {
        let endpoint = Rc::new(Reports::default());
        for (standing, status) in [(Standing::Probed, 200), (Standing::Probed, 503), (Standing::Alive, 200)] {
            let pending = PendingAttempt::new(Rc::clone(&endpoint) as Rc<dyn UpstreamEndpoint>, None);
            drop(pending.at(standing).answered(status));
        }
        assert_eq!(endpoint.probe_answers.get(), 1);
    }

    #[test]
    fn the_class_of_a_response_goes_before_its_status() {
        let endpoint = Rc::new(Reports::default());
        for (status, is_success) in [(200, false), (503, true)] {
            let pending = PendingAttempt::new(Rc::clone(&endpoint) as Rc<dyn UpstreamEndpoint>, None);
            let mut attempt = pending.answered(200).expect("it goes on with its response");
            attempt.classify(is_success);
            attempt.end(Outcome::Answered(status));
        }
        assert_eq!(*endpoint.verdicts.borrow(), [Some(false), Some(true)]);
    }

    #[test]
    fn what_an_attempt_says_about_its_endpoint() {
        let report = |outcome, is_success| AttemptReport { outcome, is_success, ..AttemptReport::default() };
        for (outcome, is_success, verdict) in [
            (Outcome::Answered(200), None, Some(true)),
            (Outcome::Answered(404), None, Some(true)),
            (Outcome::Answered(503), None, Some(false)),
            (Outcome::Answered(503), Some(true), Some(true)),
            (Outcome::Answered(200), Some(false), Some(false)),
            (Outcome::Refused, None, Some(false)),
            // A response that breaks off is none, whatever its head was.
            (Outcome::Reset, Some(true), Some(false)),
            (Outcome::IdleEnd, None, None),
            (Outcome::TimedOut, None, Some(false)),
            // A caller that goes away says nothing; a response that it does not wait for does.
            (Outcome::Abandoned, None, None),
            (Outcome::Abandoned, Some(false), Some(false)),
            (Outcome::NotSent, None, None),
        ] {
            assert_eq!(report(outcome, is_success).verdict(), verdict, "{outcome:?}, {is_success:?}");
        }
    }
}
