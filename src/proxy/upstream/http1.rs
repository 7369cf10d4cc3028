//! The endpoint's side of an exchange over HTTP/1: sends the request, and reads the head of the response.

use crate::message::{
    Framing, Head, HeadLimits, KnownField, RequestConnection, keeps_alive, response_framing,
};
use crate::proxy::error::{Error, Exposure};
use crate::proxy::exchange::{
    Caller, Carrier, MOST_INTERIM, OpenExchange, OpenExchanges, Request, Response, Upload, WebSocketKey,
    beside, is_repeatable, relay_interim,
};
use crate::proxy::wire::body::Body;
use crate::proxy::wire::connection::Connection;
use crate::proxy::wire::http1::{Http1Reader, Http1Writer};
use crate::proxy::wire::object_pool::{ObjectPool, Pooled};
use crate::proxy::wire::sink::Sink as _;
use crate::proxy::wire::timer::{after, before};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

/// One exchange on a connection, which carries no other meanwhile.
pub(crate) struct Http1Exchange<'a> {
    pub(crate) connection: Rc<Connection>,
    pub(crate) address: SocketAddr,
    /// Whether the connection comes from the pool.
    pub(crate) reused: bool,
    pub(crate) heads: &'a ObjectPool<Head>,
    /// Bounds on the head of the response.
    pub(crate) limits: &'a HeadLimits,
    /// How long the endpoint may send nothing while its response is awaited.
    pub(crate) read_timeout: Option<Duration>,
    /// The exchanges that may have to make room for others.
    pub(crate) exchanges: &'a Rc<OpenExchanges>,
}

/// The failure to send a request, by the side at which it occurred.
enum SendFailure {
    /// The endpoint's connection could not be written to.
    Endpoint(io::Error),
    /// The request's body could not be read.
    Body(io::Error),
}

impl Http1Exchange<'_> {
    /// Sends a request and reads the head of its response. The returned response holds what is left of both bodies.
    ///
    /// # Errors
    ///
    /// [`Error::Reset`] says whether the endpoint may have executed the request.
    pub(crate) async fn send(&self, request: &mut Request) -> Result<Response, Error> {
        if request.is_web_socket_of_http2()
            && let Some(key) = WebSocketKey::random()
        {
            key.write(&mut request.head);
        }
        let moved = self.connection.progress.moved();
        let (mut upload, unanswered) = match self.send_head(request).await {
            Ok(sent) => sent,
            Err(SendFailure::Body(error)) => return Err(Error::RequestBody(error)),
            // The endpoint may have answered before it closed the connection.
            Err(SendFailure::Endpoint(source)) if self.connection.with_input(<[u8]>::is_empty) => {
                let read = self.connection.fill().await;
                if !matches!(read, Ok(n) if n > 0) {
                    let is_unseen = self.connection.progress.moved() == moved;
                    let exposure = if is_unseen { Exposure::Unseen } else { self.exposure(request) };
                    return Err(self.reset(source, exposure));
                }
                (Upload::Refused, None)
            }
            Err(SendFailure::Endpoint(source)) => return Err(self.reset(source, Exposure::Seen)),
        };
        let (head, framing) = {
            let reading = pin!(self.read_head(request));
            beside(&mut upload, reading).await.map_err(Error::RequestBody)??
        };
        drop(unanswered);
        // A length beside chunks is a sign that the response was tampered with (RFC 9112 6.3).
        let is_suspect = framing == Framing::Chunked && head.contains(KnownField::ContentLength);
        let reusable =
            keeps_alive(&head) && !is_suspect && !matches!(framing, Framing::Close | Framing::Tunnel);
        self.connection.set_doubtful(framing == Framing::None);
        let body = Http1Reader::of_response(Rc::clone(&self.connection), framing);
        if !body.is_done() && framing != Framing::Tunnel {
            self.connection.acknowledge_head();
        }
        // Until the first byte of the response has gone out, it can still be a bad gateway.
        body.check_at_hand().map_err(|error| Error::of_response_body(self.address, error))?;
        let body = Body::Http1(body).timed(self.read_timeout);
        let carrier = Some(Carrier::Http1 { connection: Rc::clone(&self.connection), reusable });
        Ok(Response { upload, carrier, ..Response::new(head, framing, body) })
    }

    /// Returns how far a request came when its connection has ended without a byte of a response. A connection from the
    /// pool was likely closed by the endpoint's idle timeout, which crossed the request.
    fn exposure(&self, request: &Request) -> Exposure {
        if self.reused && is_repeatable(request) { Exposure::Repeatable } else { Exposure::Seen }
    }

    fn reset(&self, source: io::Error, exposure: Exposure) -> Error {
        Error::Reset { address: self.address, source, exposure }
    }

    fn bad_response(&self, reason: &(impl ToString + ?Sized)) -> Error {
        Error::BadResponse { address: self.address, reason: reason.to_string() }
    }

    /// Writes the head with the bytes of the body that have been read already. Returns the upload of the rest, and what is to
    /// be held until it is answered.
    async fn send_head(&self, request: &mut Request) -> Result<(Upload, Option<OpenExchange>), SendFailure> {
        let stated = RequestConnection {
            framing: request.framing,
            upgrade: request.upgrade.as_deref(),
            trailers: request.takes_trailers,
        };
        let mut out = self.connection.out();
        request.head.write_request(stated, out.out());
        let mut outgoing =
            Http1Writer::new(Rc::clone(&self.connection), out, request.framing == Framing::Chunked);
        {
            let part = request.body.next_at_hand().map_err(SendFailure::Body)?;
            request.is_body_begun |= part.is_some();
            if let Some(part) = &part {
                outgoing.piece(part, false).await.map_err(SendFailure::Endpoint)?;
            }
        }
        if request.body.is_done() {
            if request.framing == Framing::Chunked {
                outgoing.finish(request.body.trailers()).await.map_err(SendFailure::Endpoint)?;
            } else {
                outgoing.flush().await.map_err(SendFailure::Endpoint)?;
            }
            request.caller.set_body_wanted(false);
            return Ok((Upload::Done, None));
        }
        outgoing.flush().await.map_err(SendFailure::Endpoint)?;
        request.is_body_begun = true;
        let mut body = std::mem::replace(&mut request.body, Body::Empty);
        let caller = request.caller.clone();
        let unanswered = self.exchanges.begin(request.silent_after);
        let carrier = unanswered.carrier();
        let upload = Upload::Going(Box::pin(async move {
            let carried = carrier.carry(&mut body, &mut outgoing).await;
            // If the endpoint did not take the whole body, the rest was not read from the caller: the bytes that follow
            // are not a request.
            if carried.is_ok() {
                caller.set_body_wanted(false);
            }
            carried
        }));
        Ok((upload, Some(unanswered)))
    }

    /// Reads heads up to the final one. Interim responses are passed on to the caller.
    async fn read_head(&self, request: &Request) -> Result<(Pooled<Head>, Framing), Error> {
        let mut began = false;
        for _ in 0..=MOST_INTERIM {
            let mut head = self.heads.take();
            self.read_one_head(&mut head, request, &mut began).await?;
            let framing =
                response_framing(&head, request.head.method()).map_err(|error| self.bad_response(&error))?;
            if (100..200).contains(&head.status()) && framing != Framing::Tunnel {
                Box::pin(relay_interim(&mut head, request)).await;
                continue;
            }
            let body_wanted =
                matches!(&request.caller, Caller::Http1(connection) if connection.is_body_wanted());
            if framing == Framing::Tunnel && (request.upgrade.is_none() || body_wanted) {
                return Err(self.bad_response(
                    "it switches protocols without being asked to, or before it has read the request",
                ));
            }
            self.check_switch(&head, framing, request)?;
            // An endpoint that answers 408 has timed out while its connection was idle, and has not seen this request.
            let exposure = self.exposure(request);
            if head.status() == 408 && exposure == Exposure::Repeatable && !keeps_alive(&head) {
                return Err(self.reset(io::ErrorKind::ConnectionReset.into(), exposure));
            }
            return Ok((head, framing));
        }
        Err(self.bad_response(&format!("more than {MOST_INTERIM} interim responses")))
    }

    /// Checks the answer to an extended CONNECT, which came over HTTP/2 and went out as a request for an upgrade.
    fn check_switch(&self, head: &Head, framing: Framing, request: &Request) -> Result<(), Error> {
        if !request.is_tunnel_alone() {
            return Ok(());
        }
        if framing != Framing::Tunnel && (200..300).contains(&head.status()) {
            return Err(self.bad_response("it does not switch to the protocol that it was asked for"));
        }
        let is_answered = || WebSocketKey::of(&request.head).is_some_and(|key| key.is_answered(head));
        if framing == Framing::Tunnel && request.is_web_socket_of_http2() && !is_answered() {
            return Err(self.bad_response("its Sec-WebSocket-Accept does not answer the key"));
        }
        Ok(())
    }

    /// Reads one head. Sets `began` when any byte of a response is read.
    async fn read_one_head(&self, head: &mut Head, request: &Request, began: &mut bool) -> Result<(), Error> {
        loop {
            let parsed = self.connection.with_input(|bytes| head.parse_response(bytes, self.limits));
            let parsed = parsed.map_err(|error| Error::of_response_head(self.address, error, self.limits))?;
            if let Some(length) = parsed {
                self.connection.consume(length);
                return Ok(());
            }
            let filled = match self.read_timeout {
                None => self.connection.fill().await,
                Some(limit) => {
                    // Boxed, so that requests without such a limit do not pay for its size.
                    let mut filling = Box::pin(self.connection.fill());
                    let until = after(limit);
                    let timer = Rc::clone(&request.timer);
                    let filled = before(move || Some(until), timer, filling.as_mut()).await;
                    filled.ok_or(Error::EndpointSilent { address: self.address, timeout: limit })?
                }
            };
            let error = match filled {
                Ok(0) => io::ErrorKind::UnexpectedEof.into(),
                Err(error) => error,
                Ok(_) => {
                    *began = true;
                    continue;
                }
            };
            return Err(self.reset(error, if *began { Exposure::Seen } else { self.exposure(request) }));
        }
    }
}
