//! A request and its response, as they pass from one side of the proxy to the other.

use super::access::Entry;
use super::balance::{Load, Member};
use super::body::{Body, Broken};
use super::http1::Conn;
use super::lend::{Loan, Reuse};
use super::listen::Permit;
use super::pool;
use crate::message::{Framing, Head};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

impl Reuse for Head {
    fn reset(&mut self) -> bool {
        self.clear();
        true
    }
}

/// A request on its way to an endpoint.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) head: Loan<Head>,
    pub(crate) framing: Framing,
    pub(crate) body: Body,
    /// Where interim responses go.
    pub(crate) caller: Rc<Conn>,
    /// Whether the caller understands them: HTTP/1.0 does not (RFC 9110 15.2).
    pub(crate) takes_interim: bool,
    /// The entry of its override that leads nowhere, once that is known.
    pub(crate) unbound: Option<Box<str>>,
    /// Whether it asks to switch protocols.
    pub(crate) upgrade: bool,
    /// Its access line, when there is a log.
    pub(crate) entry: Option<Box<Entry>>,
}

impl Request {
    /// Notes something in the access line, when there is a log.
    pub(crate) fn note(&mut self, what: impl FnOnce(&mut Entry)) {
        if let Some(entry) = &mut self.entry {
            what(entry);
        }
    }
}

/// The sending of a request's body, which may go on beside the response.
pub(crate) enum Upload {
    /// All of it was sent, or there was none.
    Done,
    /// It is being sent.
    Going(Pin<Box<dyn Future<Output = Result<(), Broken>>>>),
    /// The endpoint takes no more of it; the rest was not read.
    Refused,
}

/// A response on its way to the caller, with what must be held until it has been delivered.
pub(crate) struct Response {
    pub(crate) head: Loan<Head>,
    pub(crate) framing: Framing,
    pub(crate) body: Body,
    pub(crate) upload: Upload,
    /// None for a response made here.
    pub(crate) upstream: Option<Upstream>,
    /// Held as long as the request counts as being served.
    pub(crate) permit: Option<Permit>,
}

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

impl Response {
    /// Ends the exchange after the response was read to its end: its connection waits for another request.
    pub(crate) fn finish(self) {
        if let Some(upstream) = self.upstream
            && upstream.reusable
            // Bytes behind the response would be taken for the next one.
            && upstream.conn.look(<[u8]>::is_empty)
            && matches!(self.upload, Upload::Done)
            && self.body.is_done()
        {
            pool::keep(&upstream.member, upstream.conn);
        }
    }
}

/// Drives `work` to its end, and the upload beside it.
///
/// # Errors
///
/// The request's body could not be read. That the endpoint stopped taking it is no error: it may have answered already.
pub(crate) async fn beside<T>(
    upload: &mut Upload,
    mut work: Pin<&mut impl Future<Output = T>>,
) -> Result<T, std::io::Error> {
    poll_fn(|cx| {
        if let Upload::Going(sending) = upload
            && let Poll::Ready(sent) = sending.as_mut().poll(cx)
        {
            match sent {
                Ok(()) => *upload = Upload::Done,
                Err(Broken::Sink(_)) => *upload = Upload::Refused,
                Err(Broken::Source(error)) => return Poll::Ready(Err(error)),
            }
        }
        work.as_mut().poll(cx).map(Ok)
    })
    .await
}
