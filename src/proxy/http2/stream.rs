//! One stream of a caller over HTTP/2: a request, and its response.

use super::server::{Ended, Open};
use super::tasks::Work;
use super::{Incoming, LINGER, Outgoing, Sending, io_error, refusal_code, reset_code};
use crate::context::Peer;
use crate::message::{Framing, Head, KnownField, request_framing};
use crate::proxy::access::{Counted, Entry};
use crate::proxy::body::{Body, Broken, carry};
use crate::proxy::error::Error;
use crate::proxy::exchange::{Caller, Request, Response, Upload, beside};
use crate::proxy::patience::{Stall, Waits};
use crate::proxy::serve::Service;
use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use std::cell::{Cell, RefCell};
use std::future::{Future as _, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// How soon after its beginning a stream must be reset to count as one that was never meant.
const PREMATURE: Duration = Duration::from_secs(1);

/// The way back to the caller of one stream.
#[derive(Debug)]
pub(crate) struct Reply {
    respond: RefCell<SendResponse<Bytes>>,
    /// Once the head of the response was sent.
    stream: RefCell<Option<Sending>>,
    /// The code with which the caller gave the stream up.
    given_up: Cell<Option<Reason>>,
}

impl Reply {
    fn new(respond: SendResponse<Bytes>) -> Rc<Self> {
        Rc::new(Self {
            respond: RefCell::new(respond),
            stream: RefCell::default(),
            given_up: Cell::default(),
        })
    }

    /// The code with which the caller gave the stream up.
    pub(crate) fn given_up(&self) -> Option<Reason> {
        self.given_up.get()
    }

    /// Sends an interim response.
    pub(crate) fn interim(&self, head: &Head) {
        if let Ok(head) = head.to_http2_response() {
            // A stream that is gone is noticed by who waits for it.
            let _ = self.respond.borrow_mut().send_informational(head);
        }
    }

    /// Sends the head of the response; `whole` if nothing follows it.
    fn begin(&self, head: &Head, whole: bool) -> io::Result<Sending> {
        let head = head.to_http2_response().map_err(io::Error::other)?;
        let stream = self.respond.borrow_mut().send_response(head, whole).map_err(io_error)?;
        let stream = Rc::new(RefCell::new(stream));
        *self.stream.borrow_mut() = Some(Rc::clone(&stream));
        Ok(stream)
    }

    fn reset(&self, reason: Reason) {
        match &*self.stream.borrow() {
            Some(stream) => stream.borrow_mut().send_reset(reason),
            None => self.respond.borrow_mut().send_reset(reason),
        }
    }

    /// Notices that the caller gave the stream up.
    fn poll_given_up(&self, cx: &mut Context<'_>) -> Poll<()> {
        let reset = match &*self.stream.borrow() {
            Some(stream) => stream.borrow_mut().poll_reset(cx),
            None => self.respond.borrow_mut().poll_reset(cx),
        };
        self.given_up.set(Some(ready!(reset).unwrap_or(Reason::CANCEL)));
        Poll::Ready(())
    }
}

/// A stream that was begun, for the task that serves it.
pub(crate) struct Stream {
    pub(super) service: Rc<Service>,
    pub(super) peer: Rc<Peer>,
    pub(super) request: http::Request<RecvStream>,
    pub(super) respond: SendResponse<Bytes>,
    pub(super) open: Open,
}

impl Work for Stream {
    async fn run(self) {
        let Self { service, peer, request, respond, mut open } = self;
        open.ended = serve_stream(service, peer, request, respond).await;
    }
}

/// Serves one stream.
async fn serve_stream(
    service: Rc<Service>,
    peer: Rc<Peer>,
    request: http::Request<RecvStream>,
    respond: SendResponse<Bytes>,
) -> Ended {
    let began = Instant::now();
    let reply = Reply::new(respond);
    let waits = Rc::<Waits>::default();
    // Made when the caller is awaited for the first time: most streams never wait for it.
    let mut stall = None;
    let mut work = pin!(exchange(&service, &peer, request, &reply, &waits, began));
    poll_fn(|cx| {
        // Before the work, which would see only that a body has broken off.
        if reply.poll_given_up(cx).is_ready() {
            let premature = reply.stream.borrow().is_none() && began.elapsed() < PREMATURE;
            return Poll::Ready(if premature { Ended::Premature } else { Ended::Reset });
        }
        if work.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ended::Answered);
        }
        if stall.is_some() || waits.for_peer() {
            let (stall, patience) = stall.get_or_insert_with(|| Stall::now(service.limits.stalled));
            if stall.poll_stalled(&waits, patience, cx).is_ready() {
                reply.reset(Reason::CANCEL);
                return Poll::Ready(Ended::Reset);
            }
        }
        Poll::Pending
    })
    .await
}

/// Carries one request and its response.
async fn exchange(
    service: &Service,
    peer: &Peer,
    request: http::Request<RecvStream>,
    reply: &Rc<Reply>,
    waits: &Rc<Waits>,
    began: Instant,
) {
    let (mut request, judged) = take(service, peer, request, reply, waits);
    let served = match judged {
        Ok(()) => service.serve(peer, &mut request).await,
        Err(error) => Err(error),
    };
    let response = match served {
        Ok(response) => response,
        // The caller broke its own request off.
        Err(Error::RequestBody(_)) => return reply.reset(Reason::PROTOCOL_ERROR),
        Err(error) => {
            service.count_error(&error);
            request.note(|entry| entry.failed(&error));
            if let Error::Reset { source, unsent: false, .. } = &error
                && let Some(reason) = refusal_code(source)
            {
                return reply.reset(reason);
            }
            service.error_response(peer, &error, Some(&request))
        }
    };
    service.counters.answered(response.head.status(), began);
    deliver(response, reply, waits, request.entry.take()).await;
}

/// Makes of what the stream brought a request, and judges it.
fn take(
    service: &Service,
    peer: &Peer,
    request: http::Request<RecvStream>,
    reply: &Rc<Reply>,
    waits: &Rc<Waits>,
) -> (Request, Result<(), Error>) {
    let (parts, body) = request.into_parts();
    let entry = service.access.as_ref().map(|log| log.begin_http2(&parts, peer));
    let mut head = service.heads.lend();
    let whole = body.is_end_stream();
    let framing = judge(&mut head, &parts, whole, service);
    // A body without a length may be a stream of messages, silent as long as it likes.
    let waits = matches!(framing, Ok(Framing::Length(_))).then(|| Rc::clone(waits));
    let value = |name| parts.headers.get(name).map(http::HeaderValue::as_bytes);
    let request = Request {
        head,
        framing: *framing.as_ref().unwrap_or(&Framing::None),
        body: if whole { Body::Empty } else { Body::Http2(Incoming::new(body, waits)) },
        caller: Caller::Http2(Rc::clone(reply)),
        takes_interim: true,
        takes_trailers: value(http::header::TE) == Some(b"trailers"),
        grpc: value(http::header::CONTENT_TYPE).is_some_and(is_grpc),
        unbound: None,
        upgrade: None,
        entry,
    };
    (request, framing.map(drop))
}

/// Checks a head and puts it into the form in which it is routed.
fn judge(
    head: &mut Head,
    parts: &http::request::Parts,
    whole: bool,
    service: &Service,
) -> Result<Framing, Error> {
    if parts.method == http::Method::CONNECT {
        return Err(Error::Connect);
    }
    head.take_http2_request(parts, &service.limits.heads)?;
    match request_framing(head)? {
        Framing::Length(length) => {
            head.set_content_length(length);
            Ok(Framing::Length(length))
        }
        _ if whole => Ok(Framing::None),
        _ => Ok(Framing::Chunked),
    }
}

/// Whether a content type is gRPC's own: `application/grpc`, alone or with a format or parameters behind it.
fn is_grpc(content_type: &[u8]) -> bool {
    let rest = content_type.strip_prefix(b"application/grpc");
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

/// Writes a response and the body behind it.
async fn deliver(
    mut response: Response,
    reply: &Rc<Reply>,
    waits: &Rc<Waits>,
    mut entry: Option<Box<Entry>>,
) {
    settle_length(&mut response);
    if let Some(entry) = &mut entry {
        entry.answered(&response.head);
    }
    let whole = response.body.is_done();
    let Ok(stream) = reply.begin(&response.head, whole) else {
        return reply.reset(Reason::INTERNAL_ERROR);
    };
    if !whole {
        let outgoing = Outgoing::new(stream, Some(Rc::clone(waits)));
        let mut counted = Counted::new(outgoing, entry.as_deref());
        let carrying = pin!(carry(&mut response.body, &mut counted));
        match beside(&mut response.upload, carrying).await {
            Ok(Ok(())) => {}
            Ok(Err(Broken::Source(error))) => {
                return reply.reset(reset_code(&error).unwrap_or(Reason::INTERNAL_ERROR));
            }
            Ok(Err(Broken::Sink(_))) => return,
            Err(_) => return reply.reset(Reason::CANCEL),
        }
    }
    if let Some(entry) = entry {
        entry.complete();
    }
    if matches!(response.upload, Upload::Going(_)) {
        // The endpoint has answered, and may read on to the end.
        let _ = timeout(LINGER, response.upload.end()).await;
    }
    response.finish();
}

/// Leaves `Content-Length` only where it says what the frames will: one length, none on a 204 (RFC 9110 8.6).
fn settle_length(response: &mut Response) {
    match response.framing {
        Framing::Length(length) if response.head.contains(KnownField::ContentLength) => {
            response.head.set_content_length(length);
        }
        Framing::Length(_) => {}
        Framing::None if response.head.status() != 204 => {}
        _ => _ = response.head.remove(KnownField::ContentLength),
    }
}
