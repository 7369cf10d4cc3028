//! A tunnel: bytes both ways after a switch of protocols.

use crate::proxy::exchange::{Carrier, Outcome, Record, Response};
use crate::proxy::metrics::RequestOutcome;
use crate::proxy::wire::connection::{Connection, while_moving};
use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

/// How long one direction of a tunnel may be silent when the other has ended.
const HALF_TUNNEL: Duration = Duration::from_secs(60);

/// Carries bytes both ways after a switch of protocols (RFC 9110 7.8), until both sides have ended.
pub(super) async fn tunnel(connection: &Rc<Connection>, response: Response, record: &mut Record) {
    let (Some(mut attempt), Some(Carrier::Http1 { connection: upstream, .. })) =
        (response.attempt, response.carrier)
    else {
        return;
    };
    let mut out = connection.out();
    response.head.write(out.out());
    record.note_response(&response.head);
    if connection.write([out.data(), b"", b""]).await.is_err() {
        return;
    }
    let outcome = Outcome::Answered(response.head.status());
    drop((out, response.head));
    connection.set_body_wanted(true);
    let ended = Cell::new(false);
    let (down, up) = (one_way(&upstream, connection, &ended), one_way(connection, &upstream, &ended));
    // When one direction fails, the other has no receiver left.
    let both = pin!(async { tokio::try_join!(down, up) });
    let carried = while_open(connection, &ended, both).await;
    // The response is the switch, and it was passed on: what breaks behind it is of another protocol.
    attempt.end(outcome);
    match carried {
        Some(Ok(_)) => record.complete(),
        _ => record.end(RequestOutcome::Success),
    }
}

/// Drives a tunnel: without a time limit while both sides are open, and only while bytes move when one has ended.
async fn while_open<T>(
    connection: &Connection,
    ended: &Cell<bool>,
    mut both: Pin<&mut impl Future<Output = T>>,
) -> Option<T> {
    let until_one_ends = poll_fn(|cx| match both.as_mut().poll(cx) {
        Poll::Pending if ended.get() => Poll::Ready(None),
        other => other.map(Some),
    });
    match until_one_ends.await {
        Some(done) => Some(done),
        None => while_moving(connection, HALF_TUNNEL, both).await,
    }
}

/// Carries bytes one way until their source ends, and passes the end on.
///
/// Silence does not count as a stall here: it may last for any time.
async fn one_way(from: &Rc<Connection>, to: &Rc<Connection>, ended: &Cell<bool>) -> io::Result<()> {
    loop {
        let length = from.with_input(<[u8]>::len);
        if length > 0 {
            let piece = from.take(length);
            to.write([piece.bytes(), b"", b""]).await?;
        } else if poll_fn(|cx| from.poll_fill(cx)).await? == 0 {
            break;
        }
    }
    ended.set(true);
    to.shutdown().await
}
