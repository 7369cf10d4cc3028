//! Access lines: one for each request at the edge of the server, whatever became of it.
//!
//! What a line says of its request is taken from the head as it came, by [`AccessLogger::begin`]. The [`Entry`] goes
//! along with the request and is told what becomes known; its drop ends the line and hands it to the log's writer. So
//! no request is without a line, not even one whose task is cut off.
//!
//! What comes from outside is escaped, so that it cannot end a value or a line, and cut after [`MOST_OF_VALUE`] bytes.
//!
//! Absent: connections that ended before their first head was complete, which are counted (`unfinished_heads`); and
//! streams that break the rules of HTTP/2, which h2 refuses by itself.

mod json;
mod linkerd;

use super::body::{Part, Sink, Trailers};
use super::error::Error;
use crate::context::{Peer, Trace};
use crate::message::{Head, KnownField, Version};
use crate::name::PathBuf;
use crate::telemetry::{Counter, LogHandle, Registry};
use std::cell::Cell;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::Instant;

/// How much of one value stands in a line: 4 KiB. What is longer ends in `...`.
const MOST_OF_VALUE: usize = 4 << 10;

/// The status of a request whose caller got no answer: it went away before, or was cut off. It is nginx's number; none
/// is sent to anybody.
const NO_ANSWER: u16 = 499;

/// What is counted here, in a sentence without its full stop.
const DROPPED: (&str, &str) =
    ("dropped_access_lines", "Access lines that are lost because too many wait to be written");

/// How an access line is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum AccessFormat {
    /// As Linkerd 1 wrote it: the Combined Log Format with the `Host` before it.
    #[default]
    Linkerd,
    /// One JSON object in each line, which says more.
    Json,
}

/// Where the access lines of a router go, and how they are written.
#[derive(Clone, Debug)]
pub struct AccessLog {
    /// The way to the log's writer.
    pub lines: LogHandle,
    /// How each line is written.
    pub format: AccessFormat,
}

/// The access log of one listener, as one worker writes to it.
pub(crate) struct AccessLogger {
    log: AccessLog,
    router: Box<str>,
    server: Box<str>,
    dropped: Counter,
}

/// What a line says of the request itself, as it came.
#[derive(Default)]
struct Asked<'a> {
    host: Option<&'a [u8]>,
    method: Option<&'a [u8]>,
    target: Option<&'a [u8]>,
    version: Option<&'a [u8]>,
    referer: Option<&'a [u8]>,
    user_agent: Option<&'a [u8]>,
}

/// What a line says of the answer.
struct Answer {
    status: u16,
    /// The `Content-Length` of the response.
    length: Option<u64>,
    /// How many bytes of content were passed on.
    sent: u64,
    took: Duration,
    /// The address it was last sent to, or was to be.
    endpoint: Option<SocketAddr>,
    /// Whether the caller got the response to its end.
    is_complete: bool,
}

/// One access line while its request is served; the drop writes it.
pub(crate) struct Entry {
    logger: Rc<AccessLogger>,
    began: Instant,
    draft: Draft,
    status: u16,
    length: Option<u64>,
    sent: Cell<u64>,
    endpoint: Option<SocketAddr>,
    is_complete: bool,
}

/// A line as far as it is known.
enum Draft {
    Linkerd(linkerd::Draft),
    Json(json::Draft),
}

impl AccessLogger {
    pub(crate) fn new(log: AccessLog, registry: &Registry, router: &str, server: &str) -> Rc<Self> {
        let (metric, meaning) = DROPPED;
        registry.describe(metric, meaning);
        let dropped = registry.counter(metric, &[("router", router), ("server", server)]);
        Rc::new(Self { log, router: router.into(), server: server.into(), dropped })
    }

    /// Begins the line of a request over HTTP/1, whose head has come and was not changed yet.
    pub(crate) fn begin(self: &Rc<Self>, head: &Head, peer: &Peer) -> Box<Entry> {
        let version: &[u8] = match head.version() {
            Version::Http10 => b"HTTP/1.0",
            Version::Http11 => b"HTTP/1.1",
            Version::Http2 => b"HTTP/2",
        };
        let asked = Asked {
            host: head.get(KnownField::Host),
            method: Some(head.method()),
            target: Some(head.target()),
            version: Some(version),
            referer: head.find(b"referer"),
            user_agent: head.find(b"user-agent"),
        };
        self.entry(&asked, peer)
    }

    /// Begins the line of a request over HTTP/2, be it one that no head can be made of.
    pub(crate) fn begin_http2(self: &Rc<Self>, parts: &http::request::Parts, peer: &Peer) -> Box<Entry> {
        let field = |name| parts.headers.get(name).map(http::HeaderValue::as_bytes);
        let authority = parts.uri.authority().map(|authority| authority.as_str().as_bytes());
        let target = parts.uri.path_and_query().map(|target| target.as_str().as_bytes());
        let asked = Asked {
            host: authority.or_else(|| field(http::header::HOST)),
            method: Some(parts.method.as_str().as_bytes()),
            // CONNECT has no path: its target is the authority.
            target: target.or(authority),
            version: Some(b"HTTP/2"),
            referer: field(http::header::REFERER),
            user_agent: field(http::header::USER_AGENT),
        };
        self.entry(&asked, peer)
    }

    /// Begins the line of what is no request, though its bytes are there.
    ///
    /// Their first line is shown as method, target and version if it has three parts, and else as the target.
    pub(crate) fn begin_malformed(self: &Rc<Self>, input: &[u8], peer: &Peer) -> Box<Entry> {
        let input = input.trim_ascii_start();
        let end = memchr::memchr2(b'\r', b'\n', input).unwrap_or(input.len());
        let line = &input[..end];
        let parts: Vec<&[u8]> = line.splitn(4, |byte| *byte == b' ').collect();
        let asked = match parts.as_slice() {
            [method, target, version] => Asked {
                method: Some(method),
                target: Some(target),
                version: Some(version),
                ..Asked::default()
            },
            _ => Asked { target: Some(line), ..Asked::default() },
        };
        self.entry(&asked, peer)
    }

    fn entry(self: &Rc<Self>, asked: &Asked<'_>, peer: &Peer) -> Box<Entry> {
        let draft = match self.log.format {
            AccessFormat::Linkerd => Draft::Linkerd(linkerd::Draft::begin(asked, peer)),
            AccessFormat::Json => Draft::Json(json::Draft::begin(asked, peer, &self.router, &self.server)),
        };
        Box::new(Entry {
            logger: Rc::clone(self),
            began: Instant::now(),
            draft,
            status: NO_ANSWER,
            length: None,
            sent: Cell::default(),
            endpoint: None,
            is_complete: false,
        })
    }
}

impl Entry {
    /// Notes where the request stands in its trace.
    pub(crate) fn traced(&mut self, trace: &Trace) {
        if let Draft::Json(draft) = &mut self.draft {
            let mut id = Vec::new();
            trace.encode_root(&mut id);
            draft.bytes("request_id", &id);
        }
    }

    /// Notes the logical name.
    pub(crate) fn named(&mut self, name: &PathBuf) {
        if let Draft::Json(draft) = &mut self.draft {
            draft.bytes("name", name.to_path().to_string().as_bytes());
        }
    }

    /// Notes the bound id that the name led to.
    pub(crate) fn bound(&mut self, client: &str) {
        if let Draft::Json(draft) = &mut self.draft {
            draft.bytes("client", client.as_bytes());
        }
    }

    /// Notes where the request is being sent; the last time counts.
    pub(crate) fn sent_to(&mut self, endpoint: SocketAddr) {
        self.endpoint = Some(endpoint);
    }

    /// Notes why the request was not carried.
    pub(crate) fn failed(&mut self, error: &Error) {
        if let Draft::Json(draft) = &mut self.draft {
            draft.bytes("error", error.to_string().as_bytes());
        }
    }

    /// Notes the response, whose head is now as the caller gets it.
    pub(crate) fn answered(&mut self, head: &Head) {
        self.status = head.status();
        let length = head.get(KnownField::ContentLength).and_then(|value| std::str::from_utf8(value).ok());
        self.length = length.and_then(|length| length.parse().ok());
    }

    /// Ends the line of a response that its caller got to the end.
    pub(crate) fn complete(mut self) {
        self.is_complete = true;
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let answer = Answer {
            status: self.status,
            length: self.length,
            sent: self.sent.get(),
            took: self.began.elapsed(),
            endpoint: self.endpoint,
            is_complete: self.is_complete,
        };
        let line = match &mut self.draft {
            Draft::Linkerd(draft) => draft.end(&answer),
            Draft::Json(draft) => draft.end(&answer),
        };
        if !self.logger.log.lines.write(line) {
            self.logger.dropped.increment();
        }
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").field("status", &self.status).finish_non_exhaustive()
    }
}

/// A response on its way to the caller, whose bytes of content its access line counts.
pub(crate) struct Counted<'a, S> {
    to: S,
    entry: Option<&'a Entry>,
}

impl<'a, S> Counted<'a, S> {
    pub(crate) fn new(to: S, entry: Option<&'a Entry>) -> Self {
        Self { to, entry }
    }
}

impl<S: Sink> Sink for Counted<'_, S> {
    async fn piece(&mut self, part: &Part, last: bool) -> io::Result<()> {
        self.to.piece(part, last).await?;
        if let Some(Entry { sent, .. }) = self.entry {
            sent.set(sent.get() + part.bytes().len() as u64);
        }
        Ok(())
    }

    async fn flush(&mut self) -> io::Result<()> {
        self.to.flush().await
    }

    async fn finish(&mut self, trailers: Trailers<'_>) -> io::Result<()> {
        self.to.finish(trailers).await
    }
}

/// What of a value stands in a line, and what stands behind it when that is not all.
fn cut(value: &[u8]) -> (&[u8], &'static str) {
    value.get(..MOST_OF_VALUE).filter(|cut| cut.len() < value.len()).map_or((value, ""), |cut| (cut, "..."))
}

#[cfg(test)]
mod tests;
