//! The caller's side over HTTP/1: reads requests from a connection, one after the other, and answers each.

use super::access::{AccessLogger, CountingSink};
use super::listener::ConnectionContext;
use super::tunnel::{TunnelInput, TunnelOutput, TunnelPlace, tunnel};
use crate::context::Peer;
use crate::message::{
    Framing, Head, HeadError, KnownField, ResponseConnection, ResponseEnd, Version, keeps_alive,
    request_framing,
};
use crate::proxy::error::Error;
use crate::proxy::exchange::{
    AttemptTime, Caller, DeliveryFailure, Outcome, Record, Request, Response, Upload,
};
use crate::proxy::limits::{ConnectionPlace, CountedRequest, PeerRequests};
use crate::proxy::metrics::RequestOutcome;
use crate::proxy::serve::Service;
use crate::proxy::wire::body::Body;
use crate::proxy::wire::connection::{Connection, PeerEnd, while_moving};
use crate::proxy::wire::http1::{Http1Reader, Http1Writer};
use crate::proxy::wire::object_pool::Pooled;
use crate::proxy::wire::shutdown::ShutdownSignal;
use crate::proxy::wire::timer::{StallLimit, TaskTimer};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// How long a caller that has ended its side is still served while no bytes go out. It may be waiting for the response,
/// or it may be gone: TCP does not tell which.
const HALF_CLOSED: Duration = Duration::from_secs(1);
/// How many bytes of an unread body are read and discarded to keep the connection.
const MOST_DISCARDED: usize = 64 * 1024;
/// How many bytes are read of a connection that is being closed.
const MOST_LINGERED: usize = 16 * 1024 * 1024;
/// How long a connection that is being closed is still read, so that the last response is not lost with it.
const LINGER: Duration = Duration::from_secs(2);

/// One connection of a caller.
pub(crate) struct Http1Session {
    /// Before the context, so that the socket is closed when the place of the connection is given back.
    pub(crate) connection: Rc<Connection>,
    pub(crate) context: ConnectionContext,
}

/// The next step of a connection after a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Continuation {
    /// Another request may follow on the connection.
    NextRequest,
    /// The connection is closed.
    Close,
    /// The connection is closed once the caller has had time to read the response, because unread bytes are left on it.
    Linger,
}

impl Http1Session {
    /// Serves the connection until it ends. Its first bytes have been read already.
    pub(crate) async fn run(&mut self) {
        let mut is_first = true;
        loop {
            if !is_first {
                self.context.await_request();
                if !self.await_first_bytes().await {
                    return;
                }
            }
            // Boxed only while it serves: most connections wait for a request, and those do not hold the memory to
            // serve one.
            match Box::pin(self.take_request(is_first)).await {
                Continuation::NextRequest => {}
                Continuation::Close => return,
                Continuation::Linger => return linger(&self.connection).await,
            }
            is_first = false;
        }
    }

    /// Waits for the first bytes of a request; false when none will come.
    async fn await_first_bytes(&mut self) -> bool {
        if !self.connection.with_input(<[u8]>::is_empty) {
            return true;
        }
        poll_fn(|cx| {
            if let Poll::Ready(read) = self.connection.poll_fill(cx) {
                return Poll::Ready(matches!(read, Ok(n) if n > 0));
            }
            if self.context.poll_elapsed(cx).is_ready() {
                return Poll::Ready(false);
            }
            Poll::Pending
        })
        .await
    }

    /// Serves the request that has begun, under the present settings. The time for the first one runs already.
    async fn take_request(&mut self, is_first: bool) -> Continuation {
        let (service, access) = (self.context.listener.service(), self.context.listener.access());
        let head = self.next_head(&service, is_first).await;
        let Self { context: ConnectionContext { listener, peer, timer, place, requests, .. }, connection } =
            self;
        // A connection that was told to make room when this request came ends with it.
        let is_last = !place.begin_work();
        let turn = Http1Turn {
            service: &service,
            connection,
            peer,
            access: access.as_ref(),
            place,
            requests,
            timer: timer.timer(),
            is_last,
            shutdown: listener.shutdown(),
        };
        match head {
            Ok(Some(head)) => turn.serve(head).await,
            Ok(None) => Continuation::Close,
            Err(error) => {
                let line =
                    turn.access.map(|log| connection.with_input(|bytes| log.begin_malformed(bytes, peer)));
                turn.refuse(&error, Record::new(&service.counters, line)).await
            }
        }
    }

    /// Reads the head of a request that has begun; None when the caller does not finish it in time.
    async fn next_head(&mut self, service: &Service, is_first: bool) -> Result<Option<Pooled<Head>>, Error> {
        let Self { context, connection } = self;
        let mut head = service.pools.heads.take();
        let mut is_timed = is_first;
        loop {
            if let Some(length) =
                connection.with_input(|bytes| head.parse_request(bytes, &service.limits.heads))?
            {
                connection.consume(length);
                return Ok(Some(head));
            }
            if !std::mem::replace(&mut is_timed, true) {
                context.timer.begin(service.limits.head);
            }
            let read_more = poll_fn(|cx| match connection.poll_fill(cx) {
                Poll::Ready(read) => Poll::Ready(matches!(read, Ok(n) if n > 0)),
                Poll::Pending => context.poll_late(cx).map(|()| false),
            });
            if !read_more.await {
                service.counters.unfinished_heads.increment();
                return Ok(None);
            }
        }
    }
}

/// The serving of one request on a connection.
struct Http1Turn<'a> {
    service: &'a Service,
    connection: &'a Rc<Connection>,
    peer: &'a Peer,
    access: Option<&'a Rc<AccessLogger>>,
    /// The connection in the table of the listener's open ones.
    place: &'a ConnectionPlace,
    requests: &'a Rc<PeerRequests>,
    /// The timer of the connection's task.
    timer: &'a Rc<TaskTimer>,
    /// Whether the connection ends after this request, whatever the request says.
    is_last: bool,
    shutdown: &'a ShutdownSignal,
}

/// The facts of a request on which the form of its response depends.
#[derive(Clone, Copy, Debug)]
struct ResponseTerms {
    /// Whether the connection may be kept after the response.
    keep_alive: bool,
    version: Version,
    /// Whether the request has an `Expect` header: the caller may wait for a response before it sends the body.
    expects_continue: bool,
    /// Whether the caller takes trailers (RFC 9110 6.5.1).
    trailers: bool,
}

impl Http1Turn<'_> {
    /// Serves one request whose head was read.
    async fn serve(&self, mut head: Pooled<Head>) -> Continuation {
        let line = self.access.map(|log| log.begin(&head, self.peer));
        let record = Record::new(&self.service.counters, line);
        let is_connect = head.method() == b"CONNECT";
        let framing = match self.validate(&mut head) {
            Ok(framing) => framing,
            Err(error) => return self.refuse(&error, record).await,
        };
        let is_old =
            self.service.limits.life.is_some_and(|life| record.began() - self.place.opened() >= life);
        let is_new_version = head.version() == Version::Http11;
        let terms = ResponseTerms {
            // A caller that does not wait for the answer to its CONNECT sends bytes that are no request.
            keep_alive: keeps_alive(&head) && !is_old && !is_connect,
            version: head.version(),
            expects_continue: head.contains(KnownField::Expect),
            trailers: is_new_version && head.takes_trailers(),
        };
        let body = Body::Http1(Http1Reader::of_request(Rc::clone(self.connection), framing));
        self.connection.set_body_wanted(!body.is_done());
        if !body.is_done() {
            self.connection.acknowledge_head();
        }
        let mut request = Request {
            takes_interim: is_new_version,
            takes_trailers: terms.trailers,
            grpc: false,
            upgrade: None,
            grant: None,
            caller: Caller::Http1(Rc::clone(self.connection)),
            peer: Rc::clone(self.requests),
            silent_after: self.service.limits.stalled,
            head,
            framing,
            body,
            is_body_begun: false,
            time_limit: None,
            attempt_time: AttemptTime::default(),
            timer: Rc::clone(self.timer),
            record,
        };
        let served = {
            let serving = pin!(self.answer(&mut request, terms));
            self.unless_ended(serving).await
        };
        served.unwrap_or_else(|outcome| {
            request.record.end(outcome);
            Continuation::Close
        })
    }

    /// Has a request served, and writes its response or error.
    async fn answer(&self, request: &mut Request, mut terms: ResponseTerms) -> Continuation {
        let counted = self.count();
        let served = match &counted {
            Ok(_) => self.service.serve(self.peer, request).await,
            Err(limit) => Err(Error::PeerBusy { limit: *limit }),
        };
        let response = match served {
            Ok(response) => response,
            Err(Error::RequestBody(error)) if error.kind() != io::ErrorKind::InvalidData => {
                if error.kind() == io::ErrorKind::TimedOut {
                    // Others had to wait for its endpoint.
                    request.record.end(RequestOutcome::Stalled);
                }
                return Continuation::Close;
            }
            Err(error) => {
                self.service.log_error(&error, &request.record);
                request.record.fail(&error);
                terms.keep_alive &= !error.ends_connection();
                self.service.error_response(self.peer, &error, Some(request))
            }
        };
        request.record.answered(response.head.status());
        self.deliver(request, response, terms).await
    }

    /// Counts the request for its peer's address.
    ///
    /// # Errors
    ///
    /// The limit, if the address has as many under way already and is not trusted.
    fn count(&self) -> Result<CountedRequest, usize> {
        let limit = self.service.limits.peer_requests;
        if self.requests.has_reached(limit) && !self.service.policy.grant(self.peer).is_trusted() {
            return Err(limit);
        }
        Ok(self.requests.begin())
    }

    /// Drives `work` to its end.
    ///
    /// # Errors
    ///
    /// The caller goes away meanwhile, or stalls for too long.
    async fn unless_ended<T>(
        &self,
        mut work: Pin<&mut impl Future<Output = T>>,
    ) -> Result<T, RequestOutcome> {
        let connection = self.connection;
        let limit = self.service.limits.stalled;
        let mut stall = StallLimit::new(&connection.progress, limit);
        let work_or_end = poll_fn(|cx| {
            if let Poll::Ready(done) = work.as_mut().poll(cx) {
                return Poll::Ready(Ok(done));
            }
            if stall.poll_stalled(&connection.progress, (self.timer, limit), cx).is_ready() {
                return Poll::Ready(Err(None));
            }
            connection.poll_peer_end(cx).map(|end| Err(Some(end)))
        });
        match work_or_end.await {
            Ok(done) => return Ok(done),
            Err(None) => return Err(RequestOutcome::Stalled),
            Err(Some(PeerEnd::Broken)) => return Err(RequestOutcome::Abandoned),
            Err(Some(PeerEnd::HalfClosed)) => {}
        }
        while_moving(|| connection.progress.moved(), HALF_CLOSED, work).await.ok_or(RequestOutcome::Abandoned)
    }

    /// Writes a response, and discards a small request body that was not read because the router answered by itself.
    async fn deliver(
        &self,
        request: &mut Request,
        response: Response,
        mut terms: ResponseTerms,
    ) -> Continuation {
        let unread = self.connection.is_body_wanted() && matches!(response.upload, Upload::Done);
        // A body of which a part was sent to an endpoint cannot be read here. A caller that expected a 100 may send its
        // body or not, so the next request could not be told from that body.
        let small = matches!(request.framing, Framing::Length(length) if length <= MOST_DISCARDED as u64);
        let readable = small && !request.body.is_done() && !terms.expects_continue;
        terms.keep_alive &= !unread || readable;
        if response.framing == Framing::Tunnel {
            Box::pin(self.open_tunnel(response, request)).await;
            return if unread { Continuation::Linger } else { Continuation::Close };
        }
        match self.respond(response, terms, &mut request.record).await {
            Continuation::NextRequest if unread => match discard(&mut request.body).await {
                Ok(()) => Continuation::NextRequest,
                Err(_) => Continuation::Close,
            },
            Continuation::Close if unread => Continuation::Linger,
            other => other,
        }
    }

    /// Answers input that is not a request, or not a valid one.
    async fn refuse(&self, error: &Error, mut record: Record) -> Continuation {
        self.service.log_error(error, &record);
        record.fail(error);
        let terms = ResponseTerms {
            keep_alive: false,
            version: Version::Http11,
            expects_continue: false,
            trailers: false,
        };
        let response = self.service.error_response(self.peer, error, None);
        self.service.counters.refused(response.head.status());
        match self.respond(response, terms, &mut record).await {
            Continuation::Close => Continuation::Linger,
            other => other,
        }
    }

    /// Writes a response with its body, and ends the exchange.
    async fn respond(
        &self,
        mut response: Response,
        terms: ResponseTerms,
        record: &mut Record,
    ) -> Continuation {
        // The connection cannot be kept when the end of the request's body is not known: the endpoint refused the rest,
        // which stays unread, or the caller expected a 100 and may send its body or not.
        let end_is_unknown = match response.upload {
            Upload::Done => false,
            Upload::Going(_) => terms.expects_continue,
            Upload::Refused => true,
        };
        let keep = terms.keep_alive && !end_is_unknown && !self.is_last && !self.shutdown.is_announced();
        let stated = ResponseConnection::Http1 { version: terms.version, keep };
        let ResponseEnd { framing, keep } = response.head.settle_response(response.framing, stated);
        let mut out = self.connection.out();
        response.head.write(out.out());
        record.note_response(&response.head);
        let outgoing = Http1Writer::new(Rc::clone(self.connection), out, framing == Framing::Chunked)
            .with_trailers(terms.trailers);
        let carried = response.carry_body(&mut CountingSink::new(outgoing, record)).await;
        if let Err(failure) = carried {
            if framing == Framing::Close {
                self.connection.reset_on_close();
            }
            if let DeliveryFailure::Response(_) = failure {
                response.end(Outcome::Reset);
            }
            record.fail_delivery(failure);
            return Continuation::Close;
        }
        response.classify_by_trailers(record);
        record.complete();
        let outcome = Outcome::Answered(response.head.status());
        if keep && matches!(response.upload, Upload::Going(_)) {
            // The endpoint has answered, and may still read the rest of the body.
            let _ = timeout(LINGER, response.upload.end()).await;
        }
        let uploaded = matches!(response.upload, Upload::Done);
        response.end(outcome);
        match (keep, uploaded) {
            (true, true) => Continuation::NextRequest,
            (false, true) if self.connection.with_input(<[u8]>::is_empty) => Continuation::Close,
            _ => Continuation::Linger,
        }
    }

    /// Writes the head of a response behind which a tunnel begins, and carries the bytes of both sides.
    async fn open_tunnel(&self, response: Response, request: &mut Request) {
        let connection = self.connection;
        let mut out = connection.out();
        response.head.write(out.out());
        request.record.note_response(&response.head);
        if connection.write([out.data(), b"", b""]).await.is_err() {
            return;
        }
        drop(out);
        connection.set_body_wanted(true);
        let input = TunnelInput::Http1(Rc::clone(connection));
        let side = (input, TunnelOutput::Http1(Rc::clone(connection)));
        tunnel(side, (request, response), &self.service.limits, self.place).await;
    }

    /// Checks a head and brings it into the form in which it is routed.
    fn validate(&self, head: &mut Head) -> Result<Framing, Error> {
        if head.method() != b"CONNECT" {
            return validate(head);
        }
        if !self.service.takes_connect(self.peer) {
            return Err(Error::Connect);
        }
        if request_framing(head)? != Framing::None {
            return Err(HeadError::Malformed("a CONNECT has a body").into());
        }
        head.take_authority()?;
        Ok(Framing::None)
    }
}

impl TunnelPlace for ConnectionPlace {
    fn note_silence(&self, is_silent: bool) {
        if is_silent {
            self.begin_wait(Instant::now());
        } else {
            // If it was told to make room before, the tunnel ends all the same.
            self.begin_work();
        }
    }

    fn poll_evicted(&self, cx: &Context<'_>) -> Poll<()> {
        self.poll_evicted(cx)
    }
}

/// Checks a head and brings it into the form in which it is routed.
fn validate(head: &mut Head) -> Result<Framing, Error> {
    // Before the target is normalised: the rules are about the Host as it was received.
    let framing = request_framing(head)?;
    if let Framing::Length(length) = framing {
        head.set_content_length(length);
    }
    head.normalise_target()?;
    head.lower_host();
    Ok(framing)
}

/// Reads and discards the rest of a small body.
async fn discard(body: &mut Body) -> io::Result<()> {
    let reading = async {
        while body.next().await?.is_some() {}
        Ok(())
    };
    timeout(LINGER, reading).await?
}

/// Closes a connection so that the caller can read the bytes that were written: closing while received bytes are unread
/// would reset it (RFC 9112 9.6).
async fn linger(connection: &Connection) {
    let closing = async {
        connection.shutdown().await?;
        let mut discarded = 0;
        while discarded < MOST_LINGERED {
            connection.consume(connection.with_input(<[u8]>::len));
            match connection.fill().await? {
                0 => break,
                n => discarded += n,
            }
        }
        io::Result::Ok(())
    };
    // The connection is closed in any case.
    let _ = timeout(LINGER, closing).await;
}
