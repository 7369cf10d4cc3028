//! A body that is kept while it is read, so that a second attempt can read it from its beginning.

use super::body::Body;
use super::sink::{BodyPart, Trailers};
use bytes::Bytes;
use http::HeaderMap;
use std::cell::RefCell;
use std::future::{Future as _, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::timeout;

/// A body and the parts of it that were read, up to a bound.
///
/// The parts are kept as they are read: nothing is read ahead, and a slow receiver slows the sender as without it. A
/// body that turns out to be larger than the bound is passed on, is kept no longer, and cannot be read again.
#[derive(Debug)]
pub(crate) struct ReplayBuffer(Rc<RefCell<ReplayBody>>);

/// A body that is read from a [`ReplayBuffer`]: the kept parts first, then the rest.
#[derive(Debug)]
pub(crate) struct ReplayReader {
    kept: Rc<RefCell<ReplayBody>>,
    /// How many of the kept parts were read.
    position: usize,
    /// The trailers, once the body is over.
    trailers: OwnedTrailers,
}

#[derive(Debug)]
struct ReplayBody {
    /// The rest of the body, which was not read yet.
    rest: Body,
    parts: Vec<Bytes>,
    /// How many more bytes may be kept; none once the body was too large.
    room: Option<usize>,
}

/// A copy of a body's trailers.
#[derive(Debug)]
enum OwnedTrailers {
    None,
    Lines(Box<[u8]>),
    Fields(Box<HeaderMap>),
}

impl ReplayBuffer {
    /// Begins to keep a body, up to `limit` bytes of its content.
    pub(crate) fn new(body: Body, limit: usize) -> Self {
        Self(Rc::new(RefCell::new(ReplayBody { rest: body, parts: Vec::new(), room: Some(limit) })))
    }

    /// Returns the body from its beginning.
    ///
    /// Returns `None` when more than the bound was read, and while another reader has not been dropped: both would take
    /// parts of the rest.
    pub(crate) fn reader(&self) -> Option<Body> {
        let is_whole = self.0.borrow().room.is_some();
        (is_whole && Rc::strong_count(&self.0) == 1).then(|| {
            let kept = Rc::clone(&self.0);
            Body::Replay(ReplayReader { kept, position: 0, trailers: OwnedTrailers::None })
        })
    }
}

impl ReplayBuffer {
    /// Returns the content of a body that was read to its end, unless it was larger than the bound.
    pub(crate) fn content(&self) -> Option<Vec<u8>> {
        let kept = self.0.borrow();
        (kept.room.is_some() && kept.rest.is_done()).then(|| kept.parts.concat())
    }

    /// Returns whether all of the body that was read is kept.
    pub(crate) fn is_whole(&self) -> bool {
        self.0.borrow().room.is_some()
    }
}

/// Reads a body ahead, to its end, or until more than `limit` bytes of it were read or the time is over. Returns it with what
/// was read in front of the rest again; and, if its end was reached, what `look` says of its trailers.
///
/// # Errors
///
/// The second result is an error if the body cannot be read to its end: see [`Body::next`].
pub(crate) async fn read_ahead<T>(
    mut body: Body,
    limit: usize,
    time: Duration,
    look: impl FnOnce(Trailers<'_>) -> T,
) -> (Body, io::Result<Option<T>>) {
    let mut parts = Vec::new();
    let read = {
        let reading = pin!(async {
            let mut left = limit;
            while let Some(part) = body.next().await? {
                parts.push(part.to_bytes());
                match left.checked_sub(part.bytes().len()) {
                    Some(rest) => left = rest,
                    None => return Ok(false),
                }
            }
            Ok(true)
        });
        timeout(time, reading).await.unwrap_or(Ok(false))
    };
    let read = read.map(|is_over| is_over.then(|| look(body.trailers())));
    let kept = Rc::new(RefCell::new(ReplayBody { rest: body, parts, room: None }));
    let mut reader = ReplayReader { kept, position: 0, trailers: OwnedTrailers::None };
    // A body without content is over at once.
    reader.note_end();
    (Body::Replay(reader), read)
}

impl ReplayBody {
    /// Keeps a part that was read, if there is room for it; or else forgets the others.
    fn keep(&mut self, part: &BodyPart) {
        let Some(room) = self.room else { return };
        self.room = room.checked_sub(part.bytes().len());
        match self.room {
            Some(_) => self.parts.push(part.to_bytes()),
            None => self.parts = Vec::new(),
        }
    }

    fn trailers(&self) -> OwnedTrailers {
        match self.rest.trailers() {
            Trailers::None => OwnedTrailers::None,
            Trailers::Lines(lines) => OwnedTrailers::Lines(lines.into()),
            Trailers::Fields(fields) => OwnedTrailers::Fields(Box::new(fields.clone())),
        }
    }
}

impl ReplayReader {
    /// Returns whether all of it was read.
    pub(crate) fn is_done(&self) -> bool {
        let kept = self.kept.borrow();
        self.position >= kept.parts.len() && kept.rest.is_done()
    }

    /// Returns the trailers, once the body is over.
    pub(crate) fn trailers(&self) -> Trailers<'_> {
        match &self.trailers {
            OwnedTrailers::None => Trailers::None,
            OwnedTrailers::Lines(lines) => Trailers::Lines(lines),
            OwnedTrailers::Fields(fields) => Trailers::Fields(fields),
        }
    }

    /// Returns the next part; `None` when the body is over.
    ///
    /// # Errors
    ///
    /// The rest of the body cannot be read: see [`Body::next`].
    pub(crate) async fn next(&mut self) -> io::Result<Option<BodyPart>> {
        if let Some(part) = self.next_kept() {
            return Ok(Some(part));
        }
        // The body is borrowed for one poll at a time, so that a reader that is dropped while it waits gives it back.
        let kept = &self.kept;
        let part = poll_fn(|cx| pin!(kept.borrow_mut().rest.next()).poll(cx)).await?;
        Ok(self.note(part))
    }

    /// Returns the next part if it is here already.
    ///
    /// # Errors
    ///
    /// As [`ReplayReader::next`].
    pub(crate) fn next_at_hand(&mut self) -> io::Result<Option<BodyPart>> {
        if let Some(part) = self.next_kept() {
            return Ok(Some(part));
        }
        let part = self.kept.borrow_mut().rest.next_at_hand()?;
        Ok(self.note(part))
    }

    fn next_kept(&mut self) -> Option<BodyPart> {
        let bytes = self.kept.borrow().parts.get(self.position).cloned()?;
        self.position += 1;
        self.note_end();
        Some(BodyPart::Owned(bytes))
    }

    /// Keeps a part of the rest that was read. The parts before it were all read.
    fn note(&mut self, part: Option<BodyPart>) -> Option<BodyPart> {
        if let Some(part) = &part {
            let mut kept = self.kept.borrow_mut();
            kept.keep(part);
            self.position = kept.parts.len();
        }
        self.note_end();
        part
    }

    /// Takes the trailers over when all parts were read.
    fn note_end(&mut self) {
        if self.is_done() {
            self.trailers = self.kept.borrow().trailers();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Framing;
    use crate::proxy::wire::buffer::Buffer;
    use crate::proxy::wire::connection::Connection;
    use crate::proxy::wire::http1::Http1Reader;
    use crate::proxy::wire::object_pool::ObjectPool;
    use crate::proxy::wire::transport::Transport;
    use std::future::Future;
    use std::task::{Context, Poll, Waker};
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::{TcpListener, TcpStream};

    /// A body with chunks that the other end of a connection sends.
    async fn chunks() -> (Body, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let connecting = TcpStream::connect(listener.local_addr().unwrap());
        let (near, far) = tokio::join!(connecting, listener.accept());
        let connection = Connection::new(Transport::Plain(near.unwrap()), ObjectPool::<Buffer>::default());
        (Body::Http1(Http1Reader::of_request(connection, Framing::Chunked)), far.unwrap().0)
    }

    /// Reads a body to its end; returns its content and its trailers.
    async fn read(body: &mut Body) -> (Vec<u8>, Vec<u8>) {
        let mut content = Vec::new();
        while let Some(part) = body.next().await.unwrap() {
            content.extend_from_slice(part.bytes());
        }
        assert!(body.is_done());
        let trailers = match body.trailers() {
            Trailers::Lines(lines) => lines.to_vec(),
            Trailers::None | Trailers::Fields(_) => Vec::new(),
        };
        (content, trailers)
    }

    #[tokio::test]
    async fn a_body_is_read_twice_with_its_trailers() {
        let (body, mut far) = chunks().await;
        let buffer = ReplayBuffer::new(body, 8);
        far.write_all(b"3\r\nabc\r\n").await.unwrap();
        let mut first = buffer.reader().expect("nothing was read");
        assert_eq!(first.next().await.unwrap().unwrap().bytes(), b"abc");
        assert!(buffer.reader().is_none(), "another reader is there");
        // It is dropped while it waits for the rest, as when the endpoint resets the connection.
        let mut waiting = Box::pin(first.next());
        assert!(matches!(waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Pending));
        drop(waiting);
        drop(first);
        far.write_all(b"5\r\ndefgh\r\n0\r\nx-sum: 1\r\n\r\n").await.unwrap();
        for _ in 0..2 {
            let (content, trailers) = read(&mut buffer.reader().expect("within the bound")).await;
            assert_eq!(
                (content.as_slice(), trailers.as_slice()),
                (b"abcdefgh".as_slice(), b"x-sum: 1\r\n".as_slice())
            );
        }
    }

    #[tokio::test]
    async fn a_body_beyond_the_bound_is_passed_on_and_not_kept() {
        let (body, mut far) = chunks().await;
        let buffer = ReplayBuffer::new(body, 8);
        far.write_all(b"3\r\nabc\r\n6\r\ndefghi\r\n0\r\n\r\n").await.unwrap();
        let mut first = buffer.reader().unwrap();
        assert_eq!(read(&mut first).await.0, b"abcdefghi");
        drop(first);
        assert!(buffer.reader().is_none(), "a part is lost");
        assert!(buffer.0.borrow().parts.is_empty(), "no byte is held for nothing");
    }

    #[tokio::test]
    async fn a_body_at_hand_is_kept_as_well() {
        let buffer = ReplayBuffer::new(Body::Text(b"hello".to_vec()), 5);
        for _ in 0..2 {
            let mut body = buffer.reader().unwrap();
            assert!(!body.is_done());
            assert_eq!(body.next_at_hand().unwrap().unwrap().bytes(), b"hello");
            assert!(body.is_done() && body.next_at_hand().unwrap().is_none());
        }
    }
}
