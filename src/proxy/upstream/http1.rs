//! The endpoint's side of an exchange over HTTP/1: the request is sent, the head of the response read.

use crate::message::{
    Framing, Head, HeadLimits, KnownField, RequestConnection, keeps_alive, response_framing,
};
use crate::proxy::error::Error;
use crate::proxy::exchange::{
    Caller, Carrier, MOST_INTERIM, Request, Response, Upload, beside, is_repeatable, relay_interim,
};
use crate::proxy::wire::body::{Body, carry};
use crate::proxy::wire::connection::Connection;
use crate::proxy::wire::http1::{Http1Reader, Http1Writer};
use crate::proxy::wire::object_pool::{ObjectPool, Pooled};
use crate::proxy::wire::sink::Sink as _;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;

/// One exchange on a connection, which carries nothing else meanwhile.
pub(crate) struct Http1Exchange<'a> {
    pub(crate) connection: Rc<Connection>,
    pub(crate) address: SocketAddr,
    /// Whether the connection had waited in the pool.
    pub(crate) reused: bool,
    pub(crate) heads: &'a ObjectPool<Head>,
    /// Bounds on the head of the response.
    pub(crate) limits: &'a HeadLimits,
}

/// The failure of a request before it was under way, by its side.
enum SendFailure {
    Endpoint(io::Error),
    Body(io::Error),
}

impl Http1Exchange<'_> {
    /// Sends a request and reads the head of its response; the rest of either body is in the response.
    ///
    /// # Errors
    ///
    /// [`Error::Reset`] with `unsent` says that the request may be sent again.
    pub(crate) async fn send(self, request: &mut Request) -> Result<(Response, Carrier), Error> {
        let mut upload = match self.send_head(request).await {
            Ok(upload) => upload,
            Err(SendFailure::Body(error)) => return Err(Error::RequestBody(error)),
            // The endpoint may have answered before it closed.
            Err(SendFailure::Endpoint(source)) if self.connection.with_input(<[u8]>::is_empty) => {
                let answered = self.connection.fill().await;
                if !matches!(answered, Ok(n) if n > 0) {
                    return Err(self.reset(source, self.may_repeat(request)));
                }
                Upload::Refused
            }
            Err(SendFailure::Endpoint(source)) => return Err(self.reset(source, false)),
        };
        let (head, framing) = {
            let reading = pin!(self.read_head(request));
            beside(&mut upload, reading).await.map_err(Error::RequestBody)??
        };
        // A length beside chunks is a sign of a response that was tampered with (RFC 9112 6.3).
        let doubtful = framing == Framing::Chunked && head.contains(KnownField::ContentLength);
        let reusable =
            keeps_alive(&head) && !doubtful && !matches!(framing, Framing::Close | Framing::Tunnel);
        let body = Body::Http1(Http1Reader::new(Rc::clone(&self.connection), framing));
        Ok((
            Response::new(head, framing, body, upload),
            Carrier::Http1 { connection: self.connection, reusable },
        ))
    }

    /// Returns whether the request may be sent again although it met a connection that was dead: that had waited in the
    /// pool, and the request does not change anything.
    fn may_repeat(&self, request: &Request) -> bool {
        self.reused && is_repeatable(request)
    }

    fn reset(&self, source: io::Error, unsent: bool) -> Error {
        Error::Reset { address: self.address, source, unsent }
    }

    fn bad(&self, reason: impl ToString) -> Error {
        Error::BadResponse { address: self.address, reason: reason.to_string() }
    }

    /// Writes the head with those bytes of the body that are at hand; the rest of the body is the upload.
    async fn send_head(&self, request: &mut Request) -> Result<Upload, SendFailure> {
        let stated = RequestConnection {
            framing: request.framing,
            upgrade: request.upgrade.as_deref(),
            trailers: request.takes_trailers,
        };
        let mut out = self.connection.out();
        request.head.write_request(stated, out.out());
        let mut outgoing =
            Http1Writer::new(Rc::clone(&self.connection), out, request.framing == Framing::Chunked);
        let part = request.body.next_at_hand().map_err(SendFailure::Body)?;
        if let Some(part) = part {
            outgoing.piece(&part, false).await.map_err(SendFailure::Endpoint)?;
        }
        if request.body.is_done() {
            if request.framing == Framing::Chunked {
                outgoing.finish(request.body.trailers()).await.map_err(SendFailure::Endpoint)?;
            } else {
                outgoing.flush().await.map_err(SendFailure::Endpoint)?;
            }
            request.caller.set_body_wanted(false);
            return Ok(Upload::Done);
        }
        outgoing.flush().await.map_err(SendFailure::Endpoint)?;
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

    /// Reads heads until the final one; interim ones go to the caller.
    async fn read_head(&self, request: &Request) -> Result<(Pooled<Head>, Framing), Error> {
        let mut seen = false;
        for _ in 0..=MOST_INTERIM {
            let mut head = self.heads.take();
            self.read_one_head(&mut head, request, &mut seen).await?;
            let framing = response_framing(&head, request.head.method()).map_err(|error| self.bad(error))?;
            if (100..200).contains(&head.status()) && framing != Framing::Tunnel {
                Box::pin(relay_interim(&mut head, request)).await;
                continue;
            }
            let body_wanted =
                matches!(&request.caller, Caller::Http1(connection) if connection.is_body_wanted());
            if framing == Framing::Tunnel && (request.upgrade.is_none() || body_wanted) {
                return Err(self.bad("it switches protocols unasked, or before it has read the request"));
            }
            // An endpoint that gave up waiting on its idle connection has not seen this request.
            if head.status() == 408 && self.may_repeat(request) && !keeps_alive(&head) {
                return Err(self.reset(io::ErrorKind::ConnectionReset.into(), true));
            }
            return Ok((head, framing));
        }
        Err(self.bad(format!("more than {MOST_INTERIM} interim responses")))
    }

    /// Reads one head. `seen` is whether any byte of a response has come.
    async fn read_one_head(&self, head: &mut Head, request: &Request, seen: &mut bool) -> Result<(), Error> {
        loop {
            let parsed = self.connection.with_input(|bytes| head.parse_response(bytes, self.limits));
            if let Some(taken) = parsed.map_err(|error| self.bad(error))? {
                self.connection.consume(taken);
                return Ok(());
            }
            let ended = match self.connection.fill().await {
                Ok(0) => io::ErrorKind::UnexpectedEof.into(),
                Err(error) => error,
                Ok(_) => {
                    *seen = true;
                    continue;
                }
            };
            // On a connection that waited in the pool, an end before the first byte is the endpoint's idle timeout
            // that crossed our request.
            return Err(self.reset(ended, !*seen && self.may_repeat(request)));
        }
    }
}
