//! The caller's side over HTTP/1: requests are read from a connection one after the other, and answered.

use super::body::{Incoming, Outgoing};
use super::conn::{Conn, Gone};
use crate::context::Peer;
use crate::message::{Framing, Head, KnownField, Version, keeps_alive, request_framing};
use crate::proxy::access::{Counted, Entry};
use crate::proxy::body::{Body, carry};
use crate::proxy::error::Error;
use crate::proxy::exchange::{Caller, Request, Response, Upload, Upstream, beside};
use crate::proxy::lend::Loan;
use crate::proxy::patience::{Hearer, Patience, Stall};
use crate::proxy::serve::{Listener, Service};
use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// How long a caller that ended its side is still served when nothing goes out: it may be waiting for the response,
/// or it may be gone, and TCP does not tell which.
const HALF_CLOSED: Duration = Duration::from_secs(1);
/// How much of an unwanted body is read to keep the connection.
const MOST_DISCARDED: usize = 64 * 1024;
/// How much is read of a connection that is being closed.
const MOST_LINGERED: usize = 16 * 1024 * 1024;
/// How long a connection that is being closed is still read, so that the last response is not lost with it.
const LINGER: Duration = Duration::from_secs(2);

/// What becomes of a connection after a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    /// Another request may follow.
    Again,
    /// It is closed.
    Close,
    /// It is closed when the caller has read the response: there are bytes that nobody will read.
    Linger,
}

/// Serves one connection until it ends; its first bytes are there.
pub(crate) async fn serve_connection(
    listener: Rc<Listener>,
    conn: Rc<Conn>,
    peer: Peer,
    hearer: Hearer,
    mut patience: Patience,
    opened: Instant,
) {
    loop {
        patience.begin(listener.service().limits.wait(opened));
        if !is_begun(&conn, &hearer, &mut patience).await {
            return;
        }
        // What may have changed while nothing came.
        let service = listener.service();
        // Boxed while it lasts: a connection that waits for a request, as most do, does not hold the room to serve one.
        let after = Box::pin(take_request(&service, &conn, &peer, &mut patience, opened)).await;
        match after {
            After::Again => {}
            After::Close => return,
            After::Linger => return linger(&conn).await,
        }
    }
}

/// Waits for the first bytes of a request; false when none will come.
async fn is_begun(conn: &Conn, hearer: &Hearer, patience: &mut Patience) -> bool {
    if !conn.look(<[u8]>::is_empty) {
        return true;
    }
    poll_fn(|cx| {
        if let Poll::Ready(read) = conn.poll_fill(cx) {
            return Poll::Ready(matches!(read, Ok(n) if n > 0));
        }
        if hearer.poll_rung(cx).is_ready() || patience.poll_over(cx).is_ready() {
            return Poll::Ready(false);
        }
        Poll::Pending
    })
    .await
}

/// Serves the request that has begun.
async fn take_request(
    service: &Rc<Service>,
    conn: &Rc<Conn>,
    peer: &Peer,
    patience: &mut Patience,
    opened: Instant,
) -> After {
    match next_head(service, conn, patience).await {
        Ok(Some(head)) => serve_request(service, conn, peer, patience, head, opened).await,
        Ok(None) => After::Close,
        Err(error) => {
            let access = service.access.as_ref();
            let entry = access.map(|log| conn.look(|bytes| log.begin_malformed(bytes, peer)));
            refuse(service, conn, peer, &error, entry).await
        }
    }
}

/// Reads the head of a request that has begun; None when its end does not come.
async fn next_head(
    service: &Service,
    conn: &Rc<Conn>,
    patience: &mut Patience,
) -> Result<Option<Loan<Head>>, Error> {
    let mut head = service.heads.lend();
    let mut begun = false;
    loop {
        if let Some(taken) = conn.look(|bytes| head.parse_request(bytes, &service.limits.heads))? {
            conn.consume(taken);
            return Ok(Some(head));
        }
        if !std::mem::replace(&mut begun, true) {
            patience.begin(service.limits.head);
        }
        let more = poll_fn(|cx| match conn.poll_fill(cx) {
            Poll::Ready(read) => Poll::Ready(matches!(read, Ok(n) if n > 0)),
            Poll::Pending => patience.poll_over(cx).map(|()| false),
        });
        if !more.await {
            service.counters.unfinished_heads.increment();
            return Ok(None);
        }
    }
}

/// Serves one request whose head has come.
async fn serve_request(
    service: &Rc<Service>,
    conn: &Rc<Conn>,
    peer: &Peer,
    patience: &mut Patience,
    mut head: Loan<Head>,
    opened: Instant,
) -> After {
    let entry = service.access.as_ref().map(|log| log.begin(&head, peer));
    let framing = match judge(&mut head) {
        Ok(framing) => framing,
        Err(error) => return refuse(service, conn, peer, &error, entry).await,
    };
    let began = Instant::now();
    let is_old = service.limits.life.is_some_and(|life| began - opened >= life);
    let mut reply = Reply {
        keep: keeps_alive(&head) && !is_old,
        version: head.version(),
        expects: head.contains(KnownField::Expect),
        trailers: false,
    };
    let body = Body::Http1(Incoming::new(Rc::clone(conn), framing));
    conn.set_body_wanted(!body.is_done());
    reply.trailers = reply.version == Version::Http11 && head.takes_trailers();
    let mut request = Request {
        takes_interim: reply.version == Version::Http11,
        takes_trailers: reply.trailers,
        grpc: false,
        upgrade: None,
        unbound: None,
        caller: Caller::Http1(Rc::clone(conn)),
        head,
        framing,
        body,
        entry,
    };
    let whole = pin!(async {
        let response = match service.serve(peer, &mut request).await {
            Ok(response) => response,
            Err(Error::RequestBody(error)) if error.kind() != io::ErrorKind::InvalidData => {
                return After::Close;
            }
            Err(error) => {
                service.count_error(&error);
                request.note(|entry| entry.failed(&error));
                reply.keep &= !error.ends_connection();
                service.error_response(peer, &error, Some(&request))
            }
        };
        service.counters.answered(response.head.status(), began);
        deliver(service, conn, &mut request, response, reply).await
    });
    unless_gone(service, conn, patience, whole).await.unwrap_or(After::Close)
}

/// What the response has to take from its request.
#[derive(Clone, Copy, Debug)]
struct Reply {
    keep: bool,
    version: Version,
    expects: bool,
    /// Whether the caller takes trailers (RFC 9110 6.5.1).
    trailers: bool,
}

/// Checks a head and puts it into the form in which it is routed.
fn judge(head: &mut Head) -> Result<Framing, Error> {
    if head.method() == b"CONNECT" {
        return Err(Error::Connect);
    }
    // Before the target is looked at: the rules are about the Host that came.
    let framing = request_framing(head)?;
    if let Framing::Length(length) = framing {
        head.set_content_length(length);
    }
    head.normalise_target()?;
    head.lower_host();
    Ok(framing)
}

/// Drives `work`, unless the caller goes away meanwhile, or nothing can go on because of it for too long.
async fn unless_gone<T>(
    service: &Service,
    conn: &Rc<Conn>,
    patience: &mut Patience,
    mut work: Pin<&mut impl Future<Output = T>>,
) -> Option<T> {
    let mut stall = Stall::new(&conn.waits, patience, service.limits.stalled);
    let early = poll_fn(|cx| {
        if let Poll::Ready(done) = work.as_mut().poll(cx) {
            return Poll::Ready(Ok(done));
        }
        if stall.poll_stalled(&conn.waits, patience, cx).is_ready() {
            return Poll::Ready(Err(Gone::Broken));
        }
        conn.poll_gone(cx).map(Err)
    });
    match early.await {
        Ok(done) => return Some(done),
        Err(Gone::Broken) => return None,
        Err(Gone::HalfClosed) => {}
    }
    while_moving(conn, HALF_CLOSED, work).await
}

/// Drives `work` as long as bytes go to its caller at least once in `limit`.
async fn while_moving<T>(
    conn: &Conn,
    limit: Duration,
    mut work: Pin<&mut impl Future<Output = T>>,
) -> Option<T> {
    loop {
        let before = conn.waits.moved();
        match timeout(limit, work.as_mut()).await {
            Ok(done) => return Some(done),
            Err(_) if conn.waits.moved() == before => return None,
            Err(_) => {}
        }
    }
}

/// Writes a response and the body behind it.
async fn respond(
    service: &Service,
    conn: &Rc<Conn>,
    mut response: Response,
    reply: Reply,
    mut entry: Option<Box<Entry>>,
) -> After {
    if response.framing == Framing::Tunnel {
        return Box::pin(tunnel(conn, response, entry)).await;
    }
    let chunked = match response.framing {
        Framing::Chunked | Framing::Close => reply.version == Version::Http11,
        _ => false,
    };
    let delimited = chunked || matches!(response.framing, Framing::None | Framing::Length(_));
    // The rest of a body that nobody takes is not read; and who asked before it sends its body may send it or not.
    let ambiguous = match response.upload {
        Upload::Done => false,
        Upload::Going(_) => reply.expects,
        Upload::Refused => true,
    };
    let keep = reply.keep && delimited && !ambiguous && !service.bell.is_last_call();
    settle_length(&mut response);
    if chunked {
        response.head.append(b"transfer-encoding", b"chunked");
    }
    say_connection(&mut response.head, keep, reply.version);
    let mut out = conn.out();
    response.head.write(out.out());
    if let Some(entry) = &mut entry {
        entry.answered(&response.head);
    }
    let outgoing = Outgoing::new(Rc::clone(conn), out, chunked).with_trailers(reply.trailers);
    let mut counted = Counted::new(outgoing, entry.as_deref());
    let carried = {
        let carrying = pin!(carry(&mut response.body, &mut counted));
        beside(&mut response.upload, carrying).await
    };
    if !matches!(carried, Ok(Ok(()))) {
        if !delimited {
            conn.reset_on_close();
        }
        return After::Close;
    }
    if let Some(entry) = entry {
        entry.complete();
    }
    if keep && matches!(response.upload, Upload::Going(_)) {
        // The endpoint has answered, and may read on to the end.
        let _ = timeout(LINGER, response.upload.end()).await;
    }
    let uploaded = matches!(response.upload, Upload::Done);
    response.finish();
    match (keep, uploaded) {
        (true, true) => After::Again,
        (false, true) if conn.look(<[u8]>::is_empty) => After::Close,
        _ => After::Linger,
    }
}

/// Makes `Content-Length` say what it may: one length, and none beside chunks (RFC 9112 6.2) or on a 204 (RFC 9110
/// 8.6). On the response to HEAD, and on a 304, it speaks of a body that is not there.
fn settle_length(response: &mut Response) {
    match response.framing {
        Framing::Length(length) => response.head.set_content_length(length),
        Framing::None if response.head.status() != 204 => {}
        _ => _ = response.head.remove(KnownField::ContentLength),
    }
}

/// Says in a head whether the connection goes on, where the version alone does not say it.
fn say_connection(head: &mut Head, keep: bool, version: Version) {
    match (keep, version) {
        (false, _) => head.append(b"connection", b"close"),
        (true, Version::Http10) => head.append(b"connection", b"keep-alive"),
        (true, _) => {}
    }
}

/// Writes a response, and sees to a request body that nobody read: it was answered here.
async fn deliver(
    service: &Service,
    conn: &Rc<Conn>,
    request: &mut Request,
    response: Response,
    mut reply: Reply,
) -> After {
    let unread = conn.is_body_wanted() && matches!(response.upload, Upload::Done);
    // A body of which a part was sent on is gone with that; and a caller that asked before it sends its body may send
    // it or not, so that what follows could not be told from it.
    let small = matches!(request.framing, Framing::Length(length) if length <= MOST_DISCARDED as u64);
    let readable = small && !request.body.is_done() && !reply.expects;
    reply.keep &= !unread || readable;
    match respond(service, conn, response, reply, request.entry.take()).await {
        After::Again if unread => match discard(&mut request.body).await {
            Ok(()) => After::Again,
            Err(_) => After::Close,
        },
        After::Close if unread => After::Linger,
        after => after,
    }
}

/// Answers what is not even a request.
async fn refuse(
    service: &Service,
    conn: &Rc<Conn>,
    peer: &Peer,
    error: &Error,
    mut entry: Option<Box<Entry>>,
) -> After {
    service.count_error(error);
    if let Some(entry) = &mut entry {
        entry.failed(error);
    }
    let reply = Reply { keep: false, version: Version::Http11, expects: false, trailers: false };
    let response = service.error_response(peer, error, None);
    service.counters.refused(response.head.status());
    match respond(service, conn, response, reply, entry).await {
        After::Close => After::Linger,
        after => after,
    }
}

/// Reads the rest of a small body that nobody wants.
async fn discard(body: &mut Body) -> io::Result<()> {
    let reading = async {
        while body.next().await?.is_some() {}
        Ok(())
    };
    timeout(LINGER, reading).await?
}

/// Closes a connection so that the caller can read what was written: closing while bytes wait to be read would
/// reset it (RFC 9112 9.6).
async fn linger(conn: &Conn) {
    let closing = async {
        conn.shutdown().await?;
        let mut discarded = 0;
        while discarded < MOST_LINGERED {
            conn.consume(conn.look(<[u8]>::len));
            match conn.fill().await? {
                0 => break,
                n => discarded += n,
            }
        }
        io::Result::Ok(())
    };
    // It is closed in any case.
    let _ = timeout(LINGER, closing).await;
}

/// Carries bytes both ways after a switch of protocols (RFC 9110 7.8), until both sides have ended.
async fn tunnel(conn: &Rc<Conn>, response: Response, mut entry: Option<Box<Entry>>) -> After {
    let Some(Upstream::Http1(upstream)) = response.upstream else { return After::Close };
    let mut out = conn.out();
    response.head.write(out.out());
    if let Some(entry) = &mut entry {
        entry.answered(&response.head);
    }
    if conn.write([out.data(), b"", b""]).await.is_err() {
        return After::Close;
    }
    drop((out, response.head));
    conn.set_body_wanted(true);
    let ended = Cell::new(false);
    let (down, up) = (one_way(&upstream.conn, conn, &ended), one_way(conn, &upstream.conn, &ended));
    // Whatever broke, the other direction has nobody to go to.
    let both = pin!(async { tokio::try_join!(down, up) });
    if let (Some(Ok(_)), Some(entry)) = (while_open(conn, &ended, both).await, entry) {
        entry.complete();
    }
    After::Close
}

/// How long one direction of a tunnel may be silent when the other has ended.
const HALF_TUNNEL: Duration = Duration::from_secs(60);

/// Drives a tunnel: without a limit while both sides are there, and while bytes move when one has ended.
async fn while_open<T>(
    conn: &Conn,
    ended: &Cell<bool>,
    mut both: Pin<&mut impl Future<Output = T>>,
) -> Option<T> {
    let until_one_ends = poll_fn(|cx| match both.as_mut().poll(cx) {
        Poll::Pending if ended.get() => Poll::Ready(None),
        other => other.map(Some),
    });
    match until_one_ends.await {
        Some(done) => Some(done),
        None => while_moving(conn, HALF_TUNNEL, both).await,
    }
}

/// Carries bytes one way until their source ends, and passes the end on.
///
/// Silence is no stall here: it may last as long as it likes.
async fn one_way(from: &Rc<Conn>, to: &Rc<Conn>, ended: &Cell<bool>) -> io::Result<()> {
    loop {
        let here = from.look(<[u8]>::len);
        if here > 0 {
            let piece = from.take(here);
            to.write([piece.bytes(), b"", b""]).await?;
        } else if poll_fn(|cx| from.poll_fill(cx)).await? == 0 {
            break;
        }
    }
    ended.set(true);
    to.shutdown().await
}
