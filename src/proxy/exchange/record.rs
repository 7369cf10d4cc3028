//! The record of a request: the facts that each step notes as it learns them.

use super::{DeliveryFailure, StatusCodes};
use crate::context::Trace;
use crate::fault::Fault as _;
use crate::message::{Head, KnownField};
use crate::name::PathBuf;
use crate::proxy::error::Error;
use crate::proxy::metrics::{ClientCounters, Counters, RequestOutcome, ServiceCounters};
use crate::sandbox::Overlay;
use std::cell::Cell;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use tokio::time::Instant;

/// The field by which a caller finds its request in a log.
pub(crate) const REQUEST_ID: &[u8] = b"x-request-id";

/// The record of one request, from its head to the last byte of its response.
///
/// Every request has one, and it allocates nothing. A log that wants more, such as the name as text, is an
/// [`Observer`] that copies it when it is noted. The drop of a record is the end of its request, so that no request is
/// without an end, not even one whose task is cut off. It is counted once when it begins, and once, by its outcome, when it
/// ends.
pub(crate) struct Record {
    counters: Rc<Counters>,
    /// The counters of its service, once it is bound.
    service: Option<Rc<ServiceCounters>>,
    /// The counters of the client of its last attempt, and the beginning of that.
    client: Option<(Rc<ClientCounters>, Instant)>,
    /// Whether its response is a success, where its status does not say so.
    is_success: Option<bool>,
    /// The codes of gRPC that are a success, while the trailers are awaited that have the code of its response.
    awaited: Option<StatusCodes>,
    /// The time at which the head had come.
    began: Instant,
    /// Its position in its trace, once it has entered.
    trace: Option<Trace>,
    /// The status that the caller was sent; `None` before that.
    status: Option<u16>,
    /// The `Content-Length` of that response.
    length: Option<u64>,
    /// How many bytes of content were passed on to the caller.
    sent: Cell<u64>,
    /// The address the request was last sent to, or was to be.
    endpoint: Option<SocketAddr>,
    overrides: OverrideFate,
    /// The entries of the overrides of which a share is lost.
    lost: Option<Rc<str>>,
    /// The sandboxes that it selects.
    sandboxes: Option<Rc<Overlay>>,
    /// The entry of a sandbox that leads nowhere, after the key of the sandbox.
    fallback: Option<Rc<str>>,
    /// The end of the request, once it is known; the first that is known stands.
    outcome: Option<RequestOutcome>,
    is_ended: bool,
    /// Whether the caller got its response to the end, be it an error's.
    is_complete: bool,
    observer: Option<Box<dyn Observer>>,
}

/// The fate of the overrides of a request at this router.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum OverrideFate {
    /// It had none, or their fate is not known yet.
    #[default]
    Absent,
    /// They were in force: no entry that was looked at came to nothing.
    Bound,
    /// This entry of them leads nowhere: the request went where the others and the router's dtab lead.
    Unbound(Box<str>),
    /// They were dropped, for this reason; none is given to a caller that is not trusted.
    Dropped(Option<Box<str>>),
    /// The request was refused because of them.
    Refused,
}

impl OverrideFate {
    /// Returns the word for it in a log; `None` without overrides.
    pub(crate) fn word(&self) -> Option<&'static str> {
        match self {
            Self::Absent => None,
            Self::Bound => Some("bound"),
            Self::Unbound(_) => Some("unbound"),
            Self::Dropped(_) => Some("dropped"),
            Self::Refused => Some("refused"),
        }
    }

    /// Returns the entry that leads nowhere, or the reason why they were dropped, if there is one to be told.
    pub(crate) fn detail(&self) -> Option<&str> {
        match self {
            Self::Unbound(entry) => Some(entry),
            Self::Dropped(reason) => reason.as_deref(),
            Self::Absent | Self::Bound | Self::Refused => None,
        }
    }
}

/// A listener to one record, such as its access line: it copies those facts that the record does not keep.
pub(crate) trait Observer {
    /// Notes the position of the request in its trace.
    fn traced(&mut self, trace: &Trace);

    /// Notes the id that a trusted caller gave it.
    fn numbered(&mut self, id: &[u8]);

    /// Notes the logical name.
    fn named(&mut self, name: &PathBuf);

    /// Notes the bound id to which the name led.
    fn bound(&mut self, client: &str);

    /// Notes why the request was not carried, or its response broke off.
    fn failed(&mut self, error: &Error);

    /// Takes the whole record, at its end.
    fn ended(&mut self, record: &Record);
}

impl Record {
    /// Begins the record of a request whose head has come.
    pub(crate) fn new(counters: &Rc<Counters>, observer: Option<Box<dyn Observer>>) -> Self {
        counters.begun();
        Self {
            counters: Rc::clone(counters),
            service: None,
            client: None,
            is_success: None,
            awaited: None,
            began: Instant::now(),
            trace: None,
            status: None,
            length: None,
            sent: Cell::new(0),
            endpoint: None,
            overrides: OverrideFate::Absent,
            lost: None,
            sandboxes: None,
            fallback: None,
            outcome: None,
            is_ended: false,
            is_complete: false,
            observer,
        }
    }

    /// Returns when the request began.
    pub(crate) fn began(&self) -> Instant {
        self.began
    }

    /// Returns the position of the request in its trace, once it has entered.
    pub(crate) fn trace(&self) -> Option<&Trace> {
        self.trace.as_ref()
    }

    /// Returns the status that the caller was sent, if any was.
    pub(crate) fn status(&self) -> Option<u16> {
        self.status
    }

    /// Returns the `Content-Length` of the response.
    pub(crate) fn length(&self) -> Option<u64> {
        self.length
    }

    /// Returns the number of bytes of content that were passed on to the caller.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.get()
    }

    /// Returns the endpoint the request was last sent to, or was to be.
    pub(crate) fn endpoint(&self) -> Option<SocketAddr> {
        self.endpoint
    }

    /// Returns the fate of the request's overrides, as far as it is known.
    pub(crate) fn overrides(&self) -> &OverrideFate {
        &self.overrides
    }

    /// Returns the entries of the overrides of which a share is lost, each after the share in percent.
    pub(crate) fn lost(&self) -> Option<&str> {
        self.lost.as_deref()
    }

    /// Returns the sandboxes that the request selects.
    pub(crate) fn sandboxes(&self) -> Option<&Overlay> {
        self.sandboxes.as_deref()
    }

    /// Returns the entry of a sandbox that leads nowhere, after the key of the sandbox.
    pub(crate) fn fallback(&self) -> Option<&str> {
        self.fallback.as_deref()
    }

    /// Returns the end of the request. One whose end was not noted was abandoned.
    pub(crate) fn outcome(&self) -> RequestOutcome {
        self.outcome.unwrap_or(RequestOutcome::Abandoned)
    }

    /// Returns whether the caller got its response to the end, be it an error's.
    pub(crate) fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// Notes the position of the request in its trace.
    pub(crate) fn note_trace(&mut self, trace: &Trace) {
        self.trace = Some(*trace);
        self.tell(|observer| observer.traced(trace));
    }

    /// Notes the id that a trusted caller gave its request. It is looked for only for an observer.
    pub(crate) fn note_caller_id(&mut self, head: &Head) {
        if let Some(observer) = &mut self.observer
            && let Some(id) = head.find(REQUEST_ID)
        {
            observer.numbered(id);
        }
    }

    /// Notes the logical name.
    pub(crate) fn note_name(&mut self, name: &PathBuf) {
        self.tell(|observer| observer.named(name));
    }

    /// Notes the counters of the service, which count the request from now on.
    pub(crate) fn note_service(&mut self, service: &Rc<ServiceCounters>) {
        service.begun();
        self.service = Some(Rc::clone(service));
    }

    /// Notes the counters of the client of an attempt that begins; `None` when it has failed.
    pub(crate) fn note_attempt(&mut self, attempt: Option<(Rc<ClientCounters>, Instant)>) {
        self.client = attempt;
    }

    /// Notes whether the response is a success, where its status does not say so.
    pub(crate) fn note_class(&mut self, is_success: bool) {
        self.is_success = Some(is_success);
    }

    /// Has the response classified by its trailers: a success has one of these codes.
    pub(super) fn await_code(&mut self, success: StatusCodes) {
        self.awaited = Some(success);
    }

    /// Takes the codes that are a success, if the trailers are awaited for it.
    pub(super) fn take_awaited(&mut self) -> Option<StatusCodes> {
        self.awaited.take()
    }

    /// Counts the response, whose head is there now.
    pub(crate) fn answered(&self, status: u16) {
        let now = Instant::now();
        let time = now.saturating_duration_since(self.began);
        self.counters.answered(status, time);
        if let Some(service) = &self.service {
            service.answered(time);
        }
        if let Some((client, began)) = &self.client {
            // That of a first attempt is that of the request.
            let is_first = *began == self.began;
            client.answered(if is_first { time } else { now.saturating_duration_since(*began) });
        }
    }

    /// Notes the bound id to which the name led.
    pub(crate) fn note_client(&mut self, client: &str) {
        self.tell(|observer| observer.bound(client));
    }

    /// Notes the fate of the request's overrides, unless one is known already: that a caller's were dropped says more than
    /// the fate of those that the listener gave instead.
    pub(crate) fn note_overrides(&mut self, fate: OverrideFate) {
        if self.overrides == OverrideFate::Absent {
            self.overrides = fate;
        }
    }

    /// Notes the entries of the overrides of which a share is lost.
    pub(crate) fn note_lost(&mut self, entries: &Rc<str>) {
        self.lost = Some(Rc::clone(entries));
    }

    /// Notes the sandboxes that the request selects.
    pub(crate) fn note_sandboxes(&mut self, overlay: &Rc<Overlay>) {
        self.sandboxes = Some(Rc::clone(overlay));
    }

    /// Notes the entry of a sandbox that leads nowhere.
    pub(crate) fn note_fallback(&mut self, entry: &Rc<str>) {
        self.fallback = Some(Rc::clone(entry));
    }

    /// Notes the endpoint to which the request is being sent; the last one counts.
    pub(crate) fn note_endpoint(&mut self, endpoint: SocketAddr) {
        self.endpoint = Some(endpoint);
    }

    /// Notes the response, whose head is now as the caller gets it. The length is read only for an observer.
    pub(crate) fn note_response(&mut self, head: &Head) {
        self.status = Some(head.status());
        if self.observer.is_some() {
            let length =
                head.get(KnownField::ContentLength).and_then(|value| std::str::from_utf8(value).ok());
            self.length = length.and_then(|length| length.parse().ok());
        }
    }

    /// Notes that the caller was sent the switch to a tunnel: that is the response, and whatever ends the tunnel is of another
    /// protocol.
    pub(crate) fn note_tunnel(&mut self) {
        self.outcome.get_or_insert(RequestOutcome::Success);
    }

    /// Counts bytes of content that were passed on to the caller.
    pub(crate) fn add_sent(&self, bytes: usize) {
        self.sent.set(self.sent.get() + bytes as u64);
    }

    /// Notes why the request was not carried, or why its response broke off. An answer that says so may still be written.
    pub(crate) fn fail(&mut self, error: &Error) {
        self.outcome.get_or_insert(RequestOutcome::Fault(error.blame()));
        if error.is_about_overrides() {
            self.overrides = OverrideFate::Refused;
        }
        self.tell(|observer| observer.failed(error));
    }

    /// Notes why the response could not be passed on to its end. A caller that ended its own request early, or takes no
    /// more, has abandoned it.
    pub(crate) fn fail_delivery(&mut self, failure: DeliveryFailure) {
        match failure {
            DeliveryFailure::Response(source) => {
                if let Some(address) = self.endpoint {
                    self.fail(&Error::of_response_body(address, source));
                }
            }
            DeliveryFailure::Request(source) if source.kind() == io::ErrorKind::InvalidData => {
                self.fail(&Error::RequestBody(source));
            }
            DeliveryFailure::Request(_) | DeliveryFailure::Caller => {}
        }
    }

    /// Ends the record when its caller has got all of its response: with the outcome that is known already, or else with
    /// that of the response's status.
    pub(crate) fn complete(&mut self) {
        self.is_complete = true;
        self.end(RequestOutcome::of_status(self.status.unwrap_or_default()));
    }

    /// Ends the record: with the outcome that is known already, or else with this one.
    pub(crate) fn end(&mut self, outcome: RequestOutcome) {
        self.outcome.get_or_insert(outcome);
        self.close();
    }

    /// Returns the outcome for the service: its classifier may call a response a success or a failure whatever its status is.
    fn service_outcome(&self) -> RequestOutcome {
        match (self.outcome(), self.is_success) {
            (RequestOutcome::Success, Some(false)) => RequestOutcome::FailedResponse,
            (RequestOutcome::FailedResponse, Some(true)) => RequestOutcome::Success,
            (outcome, _) => outcome,
        }
    }

    fn close(&mut self) {
        if std::mem::replace(&mut self.is_ended, true) {
            return;
        }
        self.counters.ended(self.outcome());
        if let Some(service) = &self.service {
            service.ended(self.service_outcome());
        }
        if let Some(mut observer) = self.observer.take() {
            observer.ended(self);
        }
    }

    fn tell(&mut self, tell: impl FnOnce(&mut dyn Observer)) {
        if let Some(observer) = &mut self.observer {
            tell(&mut **observer);
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { status, length, sent, endpoint, overrides, lost, outcome, is_complete, observer, .. } =
            self;
        f.debug_struct("Record")
            .field("status", status)
            .field("length", length)
            .field("sent", sent)
            .field("endpoint", endpoint)
            .field("overrides", overrides)
            .field("lost", lost)
            .field("outcome", outcome)
            .field("is_complete", is_complete)
            .field("is_observed", &observer.is_some())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Blame;
    use std::cell::RefCell;

    /// An observer that writes down how records end.
    struct Ends(Rc<RefCell<Vec<(RequestOutcome, bool, u64)>>>);

    impl Observer for Ends {
        fn traced(&mut self, _: &Trace) {}
        fn numbered(&mut self, _: &[u8]) {}
        fn named(&mut self, _: &PathBuf) {}
        fn bound(&mut self, _: &str) {}
        fn failed(&mut self, _: &Error) {}

        fn ended(&mut self, record: &Record) {
            self.0.borrow_mut().push((record.outcome(), record.is_complete(), record.sent()));
        }
    }

    #[test]
    fn a_record_ends_once_and_its_first_outcome_stands() {
        let ends = Rc::new(RefCell::new(Vec::new()));
        let counters = Rc::<Counters>::default();
        let record = || Record::new(&counters, Some(Box::new(Ends(Rc::clone(&ends)))));
        let mut answered = record();
        answered.note_response(&Head::response(200));
        answered.add_sent(3);
        answered.complete();
        answered.end(RequestOutcome::Stalled);
        drop(answered);
        // An error is answered here, and its answer reaches the caller.
        let mut refused = record();
        refused.fail(&Error::Connect);
        refused.note_response(&Head::response(501));
        refused.complete();
        drop(refused);
        drop(record());
        assert_eq!(
            *ends.borrow(),
            [
                (RequestOutcome::Success, true, 3),
                (RequestOutcome::Fault(Blame::Caller), true, 0),
                (RequestOutcome::Abandoned, false, 0)
            ]
        );
    }
}
