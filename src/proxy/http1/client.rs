//! The upstream's side of an exchange over HTTP/1: the request is sent, the head of the response read.

use super::body::{Incoming, Outgoing};
use super::conn::Conn;
use crate::message::{Framing, Head, KnownField, Version, keeps_alive, response_framing};
use crate::proxy::balance::{Load, Member};
use crate::proxy::body::{Body, Sink as _, carry};
use crate::proxy::error::Error;
use crate::proxy::exchange::{self, Caller, Request, Response, Upload, beside};
use crate::proxy::lend::Loan;
use crate::proxy::pool;
use crate::proxy::route::Tools;
use std::io;
use std::pin::pin;
use std::rc::Rc;

/// How many interim responses (1xx) may come before the final one.
pub(crate) const MOST_INTERIM: usize = 32;

/// A connection that is being used for one exchange.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) conn: Rc<Conn>,
    pub(crate) member: Rc<Member>,
    /// Whether it had waited in the pool.
    pub(crate) reused: bool,
    /// Whether it can be used again once the response was read to its end.
    pub(crate) reusable: bool,
    /// Counts it among the requests under way to its endpoint.
    pub(crate) _load: Load,
}

impl Upstream {
    /// Lets the connection wait for another request, after the exchange has come to its end on both sides.
    pub(crate) fn keep(self) {
        // Bytes behind the response would be taken for the next one.
        if self.reusable && self.conn.look(<[u8]>::is_empty) {
            pool::keep(&self.member, self.conn);
        }
    }
}

/// Sends a request on a connection and reads the head of its response; what of either body is left is in what comes
/// back.
///
/// # Errors
///
/// [`Error::Reset`] with `unsent` says that the connection was dead before the request: another may be tried.
pub(crate) async fn send(
    mut upstream: Upstream,
    request: &mut Request,
    tools: &Tools<'_>,
) -> Result<Response, Error> {
    let address = upstream.member.address;
    let mut upload = match send_head(&upstream.conn, request).await {
        Ok(upload) => upload,
        Err(Begin::Body(error)) => return Err(Error::RequestBody(error)),
        // The endpoint may have answered before it closed.
        Err(Begin::Endpoint(source)) if upstream.conn.look(<[u8]>::is_empty) => {
            let answered = upstream.conn.fill().await;
            if !matches!(answered, Ok(n) if n > 0) {
                let unsent = upstream.reused && repeatable(request);
                return Err(Error::Reset { address, source, unsent });
            }
            Upload::Refused
        }
        Err(Begin::Endpoint(source)) => return Err(Error::Reset { address, source, unsent: false }),
    };
    let (head, framing) = {
        let reading = pin!(read_head(&upstream, request, tools));
        beside(&mut upload, reading).await.map_err(Error::RequestBody)??
    };
    // A length beside chunks is a sign of a response that was tampered with (RFC 9112 6.3).
    let doubtful = framing == Framing::Chunked && head.contains(KnownField::ContentLength);
    upstream.reusable =
        keeps_alive(&head) && !doubtful && !matches!(framing, Framing::Close | Framing::Tunnel);
    let body = Body::Http1(Incoming::new(Rc::clone(&upstream.conn), framing));
    let upstream = Some(exchange::Upstream::Http1(upstream));
    Ok(Response { head, framing, body, upload, upstream, permit: None })
}

/// Who failed before the request was under way.
enum Begin {
    Endpoint(io::Error),
    Body(io::Error),
}

/// Writes the head with what of the body is at hand; the rest of the body is the upload.
async fn send_head(conn: &Rc<Conn>, request: &mut Request) -> Result<Upload, Begin> {
    prepare(&mut request.head);
    let mut out = conn.out();
    request.head.write_open(out.out());
    write_connection(request, out.out());
    let mut outgoing = Outgoing::new(Rc::clone(conn), out, request.framing == Framing::Chunked);
    let part = request.body.next_at_hand().map_err(Begin::Body)?;
    if let Some(part) = part {
        outgoing.piece(&part, false).await.map_err(Begin::Endpoint)?;
    }
    if request.body.is_done() {
        if request.framing == Framing::Chunked {
            outgoing.finish(request.body.trailers()).await.map_err(Begin::Endpoint)?;
        } else {
            outgoing.flush().await.map_err(Begin::Endpoint)?;
        }
        request.caller.set_body_wanted(false);
        return Ok(Upload::Done);
    }
    outgoing.flush().await.map_err(Begin::Endpoint)?;
    let mut body = std::mem::replace(&mut request.body, Body::Empty);
    let caller = request.caller.clone();
    Ok(Upload::Going(Box::pin(async move {
        let carried = carry(&mut body, &mut outgoing).await;
        // What an endpoint did not take was not read: the bytes behind it are no request.
        if carried.is_ok() {
            caller.set_body_wanted(false);
        }
        carried
    })))
}

/// Makes a head that came over another version one of HTTP/1.1.
fn prepare(head: &mut Head) {
    if head.version() == Version::Http11 {
        return;
    }
    if head.version() == Version::Http10 {
        head.remove(KnownField::Expect);
    }
    // The version is the sender's own (RFC 9112 2.3), and HTTP/1.1 has a Host, be it empty (3.2).
    head.set_version(Version::Http11);
    if !head.contains(KnownField::Host) {
        head.append_known(KnownField::Host, b"");
    }
}

/// Writes what a request says of the connection it is sent on, and the end of its head.
fn write_connection(request: &Request, out: &mut Vec<u8>) {
    if request.framing == Framing::Chunked {
        out.extend_from_slice(b"transfer-encoding: chunked\r\n");
    }
    match &request.upgrade {
        Some(protocols) => {
            out.extend_from_slice(b"connection: upgrade\r\nupgrade: ");
            out.extend_from_slice(protocols);
            out.extend_from_slice(b"\r\n");
        }
        None if request.takes_trailers => out.extend_from_slice(b"connection: te\r\nte: trailers\r\n"),
        None => {}
    }
    out.extend_from_slice(b"\r\n");
}

/// Reads heads until the final one; interim ones go to the caller.
async fn read_head(
    upstream: &Upstream,
    request: &Request,
    tools: &Tools<'_>,
) -> Result<(Loan<Head>, Framing), Error> {
    let address = upstream.member.address;
    let bad = |reason: String| Error::BadResponse { address, reason };
    let mut seen = false;
    for _ in 0..=MOST_INTERIM {
        let mut head = tools.heads.lend();
        loop {
            let parsed = upstream.conn.look(|bytes| head.parse_response(bytes, &tools.upstreams.heads));
            if let Some(taken) = parsed.map_err(|error| bad(error.to_string()))? {
                upstream.conn.consume(taken);
                break;
            }
            let ended = match upstream.conn.fill().await {
                Ok(0) => io::ErrorKind::UnexpectedEof.into(),
                Err(error) => error,
                Ok(_) => {
                    seen = true;
                    continue;
                }
            };
            // On a connection that waited in the pool, an end before the first byte is the endpoint's idle timeout
            // that crossed our request.
            let unsent = !seen && upstream.reused && repeatable(request);
            return Err(Error::Reset { address, source: ended, unsent });
        }
        let framing =
            response_framing(&head, request.head.method()).map_err(|error| bad(error.to_string()))?;
        if (100..200).contains(&head.status()) && framing != Framing::Tunnel {
            Box::pin(relay_interim(&mut head, request)).await;
            continue;
        }
        let body_wanted = matches!(&request.caller, Caller::Http1(conn) if conn.is_body_wanted());
        if framing == Framing::Tunnel && (request.upgrade.is_none() || body_wanted) {
            return Err(bad(
                "it switches protocols though nobody asked, or before it has read the request".to_owned()
            ));
        }
        // An endpoint that gave up waiting on its idle connection has not seen this request.
        if head.status() == 408 && upstream.reused && repeatable(request) && !keeps_alive(&head) {
            let source = io::ErrorKind::ConnectionReset.into();
            return Err(Error::Reset { address, source, unsent: true });
        }
        return Ok((head, framing));
    }
    Err(bad(format!("more than {MOST_INTERIM} interim responses")))
}

/// Whether a request may be sent again although an endpoint may have seen it: RFC 9110 9.2.2, and no body that is used
/// up by now.
pub(crate) fn repeatable(request: &Request) -> bool {
    let idempotent =
        matches!(request.head.method(), b"GET" | b"HEAD" | b"OPTIONS" | b"TRACE" | b"PUT" | b"DELETE");
    idempotent && matches!(request.framing, Framing::None | Framing::Length(0))
}

/// Passes an interim response on, without what speaks of one connection or of the inside.
pub(crate) async fn relay_interim(head: &mut Head, request: &Request) {
    if request.takes_interim {
        let _ = head.strip_hop_by_hop();
        head.set_version(Version::Http11);
        head.remove_where(|field| field.known.is_steering() || field.known == KnownField::ContentLength);
        request.caller.interim(head).await;
    }
}
