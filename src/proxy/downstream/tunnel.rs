//! A tunnel: bytes both ways after a switch of protocols, or after a CONNECT, over either protocol on either side.

use crate::proxy::exchange::{Carrier, OpenExchange, Outcome, Request, Response};
use crate::proxy::limits::Limits;
use crate::proxy::wire::body::Body;
use crate::proxy::wire::connection::{Connection, while_moving};
use crate::proxy::wire::http2::{Http2Reader, Http2Writer};
use crate::proxy::wire::sink::{BodyPart, Sink as _, Trailers};
use crate::proxy::wire::timer::{TaskTimer, after};
use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// How long one direction of a tunnel may be silent when the other has ended.
const HALF_TUNNEL: Duration = Duration::from_secs(60);

/// The limits on the time of a tunnel. One that a switch of protocols opens for a caller that is trusted has none: it may be
/// silent for any time.
#[derive(Clone, Copy, Debug, Default)]
struct TunnelLimits {
    /// How long both directions may be silent.
    idle: Option<Duration>,
    /// How long they may be so while others need its room.
    silent: Option<Duration>,
    /// How long it may last.
    life: Option<Duration>,
}

impl TunnelLimits {
    /// Returns the limits of the tunnel that a request opens. CONNECT has those of a connection of the listener.
    fn of(request: &Request, limits: &Limits) -> Self {
        if request.is_connect() {
            return Self { idle: Some(limits.idle), life: limits.life, silent: None };
        }
        Self { silent: (!request.is_trusted()).then_some(limits.idle), ..Self::default() }
    }
}

/// The place of a tunnel's caller among the connections of its listener.
pub(super) trait TunnelPlace {
    /// Notes whether the tunnel is silent. While it is, its connection may have to make room for another.
    fn note_silence(&self, is_silent: bool);

    /// Becomes ready when the tunnel is to end, to make room for another connection.
    fn poll_evicted(&self, cx: &Context<'_>) -> Poll<()>;
}

/// The silence of a tunnel, which ends while it is silent and others need its room.
struct TunnelSilence<'a> {
    place: &'a dyn TunnelPlace,
    exchange: OpenExchange,
    /// The timer of its task.
    timer: &'a TaskTimer,
    /// How many bytes had moved when that was last looked at.
    moved: u64,
    /// The time from which on it is silent.
    until: Instant,
    is_silent: bool,
}

impl TunnelSilence<'_> {
    /// Becomes ready when the tunnel is to end. So many bytes have moved.
    fn poll_end(&mut self, moved: u64, cx: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.moved, moved) != moved {
            self.until = self.exchange.note_moved();
            if std::mem::take(&mut self.is_silent) {
                self.place.note_silence(false);
            }
        }
        if !self.is_silent && self.timer.poll_until(self.until, cx).is_ready() {
            self.is_silent = true;
            self.place.note_silence(true);
        }
        if self.is_silent && self.place.poll_evicted(cx).is_ready() {
            return Poll::Ready(());
        }
        self.exchange.poll_reset(cx)
    }
}

/// The bytes that one side of a tunnel sends.
pub(super) enum TunnelInput {
    /// All that comes on a connection.
    Http1(Rc<Connection>),
    /// The content of a stream.
    Http2(Http2Reader),
}

/// The bytes that one side of a tunnel gets.
pub(super) enum TunnelOutput {
    /// All that goes out on a connection.
    Http1(Rc<Connection>),
    /// The content of a stream.
    Http2(Http2Writer),
}

/// One side of a tunnel.
pub(super) type TunnelSide = (TunnelInput, TunnelOutput);

/// The end of a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TunnelEnd {
    /// Both sides have ended in order.
    Whole,
    /// One side broke off, or the time was over.
    Broken,
}

/// A tunnel that stands.
struct Tunnel<'a> {
    request: &'a Request,
    /// How many bytes have moved, either way.
    moved: Cell<u64>,
    /// Whether one direction has ended.
    is_half_closed: Cell<bool>,
}

/// A connection at one end of a tunnel whose other end is a stream. Its drop resets the connection unless the tunnel came
/// to its end: as a stream tells a reset from an end, so must the connection (RFC 8441 5).
struct ResetGuard(Option<Rc<Connection>>);

impl ResetGuard {
    fn new(caller: &TunnelInput, carrier: &Carrier) -> Self {
        Self(match (caller, carrier) {
            (TunnelInput::Http1(connection), Carrier::Http2(_))
            | (TunnelInput::Http2(_), Carrier::Http1 { connection, .. }) => Some(Rc::clone(connection)),
            _ => None,
        })
    }
}

impl Drop for ResetGuard {
    fn drop(&mut self) {
        if let Some(connection) = &self.0 {
            connection.reset_on_close();
        }
    }
}

/// Carries bytes both ways between a caller, who has got the head of the response, and the endpoint of that response, until
/// both sides have ended.
pub(super) async fn tunnel(
    caller: TunnelSide,
    (request, response): (&mut Request, Response),
    limits: &Limits,
    place: &dyn TunnelPlace,
) -> TunnelEnd {
    let Response { head, body, attempt: Some(mut attempt), carrier: Some(carrier), permit: _permit, .. } =
        response
    else {
        return TunnelEnd::Broken;
    };
    let Some(endpoint) = endpoint_side(&carrier, body) else { return TunnelEnd::Broken };
    // The response is the switch, and it was passed on: what breaks behind it is of another protocol.
    attempt.end(Outcome::Answered(head.status()));
    request.record.note_tunnel();
    drop(head);
    let mut guard = ResetGuard::new(&caller.0, &carrier);
    let limits = TunnelLimits::of(request, limits);
    let silence = limits.silent.map(|silent_after| {
        let exchange = attempt.begin_tunnel(silent_after);
        let until = exchange.note_moved();
        TunnelSilence { place, exchange, timer: &request.timer, moved: 0, until, is_silent: false }
    });
    let standing = Tunnel { request, moved: Cell::new(0), is_half_closed: Cell::new(false) };
    let end = standing.carry(caller, endpoint, (limits, silence)).await;
    if end == TunnelEnd::Whole {
        guard.0 = None;
        request.record.complete();
    }
    end
}

/// Returns the endpoint's side.
fn endpoint_side(carrier: &Carrier, body: Body) -> Option<TunnelSide> {
    match (carrier, body) {
        (Carrier::Http1 { connection, .. }, _) => {
            Some((TunnelInput::Http1(Rc::clone(connection)), TunnelOutput::Http1(Rc::clone(connection))))
        }
        (Carrier::Http2(stream), Body::Http2(reader)) => {
            let writer = Http2Writer::new(stream.sender(), None);
            Some((TunnelInput::Http2(reader), TunnelOutput::Http2(writer)))
        }
        (Carrier::Http2(_), _) => None,
    }
}

impl Tunnel<'_> {
    async fn carry(
        &self,
        caller: TunnelSide,
        endpoint: TunnelSide,
        (limits, silence): (TunnelLimits, Option<TunnelSilence<'_>>),
    ) -> TunnelEnd {
        let ((from_caller, to_caller), (from_endpoint, to_endpoint)) = (caller, endpoint);
        let down = self.one_way(from_endpoint, to_caller, |bytes| self.request.record.add_sent(bytes));
        let up = self.one_way(from_caller, to_endpoint, |_| {});
        // When one direction fails, the other has no receiver left.
        let both = pin!(async { tokio::try_join!(down, up) });
        let open = pin!(self.while_open(both, limits.idle));
        let carried = pin!(self.unless_silent(open, silence));
        let done = match limits.life {
            None => carried.await,
            Some(life) => timeout_at(after(life), carried).await.ok().flatten(),
        };
        if matches!(done, Some(Ok(_))) { TunnelEnd::Whole } else { TunnelEnd::Broken }
    }

    /// Drives a tunnel until it ends by itself, or its silence ends it.
    async fn unless_silent<T>(
        &self,
        mut open: Pin<&mut impl Future<Output = Option<T>>>,
        silence: Option<TunnelSilence<'_>>,
    ) -> Option<T> {
        let Some(mut silence) = silence else { return open.await };
        poll_fn(|cx| match open.as_mut().poll(cx) {
            Poll::Pending => silence.poll_end(self.moved.get(), cx).map(|()| None),
            ended => ended,
        })
        .await
    }

    /// Drives a tunnel: while both sides are open, as long as bytes move at least once in `idle`, if that is a limit; and
    /// only while bytes move when one has ended.
    async fn while_open<T>(
        &self,
        mut both: Pin<&mut impl Future<Output = T>>,
        idle: Option<Duration>,
    ) -> Option<T> {
        let moved = || self.moved.get();
        let first = {
            let until_one_ends = pin!(poll_fn(|cx| match both.as_mut().poll(cx) {
                Poll::Pending if self.is_half_closed.get() => Poll::Ready(None),
                other => other.map(Some),
            }));
            match idle {
                None => until_one_ends.await,
                Some(idle) => while_moving(moved, idle, until_one_ends).await?,
            }
        };
        match first {
            Some(done) => Some(done),
            None => while_moving(moved, idle.map_or(HALF_TUNNEL, |idle| idle.min(HALF_TUNNEL)), both).await,
        }
    }

    /// Carries bytes one way until their source ends, and passes the end on.
    async fn one_way(
        &self,
        mut from: TunnelInput,
        mut to: TunnelOutput,
        count: impl Fn(usize),
    ) -> io::Result<()> {
        if let TunnelInput::Http1(connection) = &from {
            connection.begin_body();
        }
        while let Some(part) = from.next().await? {
            to.send(&part).await?;
            let bytes = part.bytes().len();
            self.moved.set(self.moved.get() + bytes as u64);
            count(bytes);
        }
        self.is_half_closed.set(true);
        to.end().await
    }
}

impl TunnelInput {
    /// Waits for the next bytes; `None` at the end. Silence does not count as a stall here: it may last for any time.
    async fn next(&mut self) -> io::Result<Option<BodyPart>> {
        let connection = match self {
            Self::Http1(connection) => connection,
            Self::Http2(reader) => return Ok(reader.next().await?.map(BodyPart::Http2)),
        };
        loop {
            let length = connection.with_input(<[u8]>::len);
            if length > 0 {
                return Ok(Some(BodyPart::Http1(connection.take(length))));
            }
            if poll_fn(|cx| connection.poll_fill(cx)).await? == 0 {
                return Ok(None);
            }
        }
    }
}

impl TunnelOutput {
    async fn send(&mut self, part: &BodyPart) -> io::Result<()> {
        match self {
            Self::Http1(connection) => connection.write([part.bytes(), b"", b""]).await,
            Self::Http2(writer) => writer.piece(part, false).await,
        }
    }

    async fn end(&mut self) -> io::Result<()> {
        match self {
            Self::Http1(connection) => connection.shutdown().await,
            Self::Http2(writer) => writer.finish(Trailers::None).await,
        }
    }
}
