//! Access lines: one for each request at the edge of the server, whatever became of it.
//!
//! What a line says of its request is taken from the head as it came, by [`AccessLogger::begin`]. The [`AccessLine`] goes
//! along with the request and is told what becomes known; its drop ends the line and hands it to the log's writer. So
//! no request is without a line, not even one whose task is cut off.
//!
//! What comes from outside is escaped, so that it cannot end a value or a line, and cut after [`MOST_OF_VALUE`] bytes.
//!
//! Absent: connections that ended before their first head was complete, which are counted (`unfinished_heads`); and
//! streams that break the rules of HTTP/2, which h2 refuses by itself.

mod json;
mod linkerd;

use crate::context::{Peer, Trace};
use crate::message::{Head, KnownField, Version};
use crate::name::PathBuf;
use crate::proxy::error::Error;
use crate::proxy::exchange::{Observer, Record};
use crate::proxy::wire::sink::{BodyPart, Sink, Trailers};
use crate::telemetry::{Counter, LogHandle, Registry};
use std::io;
use std::rc::Rc;

/// How much of one value stands in a line: 4 KiB. What is longer ends in `...`.
const MOST_OF_VALUE: usize = 4 << 10;

/// The status of a request whose caller got no answer: it went away before, or was cut off. It is nginx's number; none
/// is sent to anybody.
const NO_ANSWER: u16 = 499;

/// What is counted here, in a sentence without its full stop.
const DROPPED: (&str, &str) =
    ("dropped_access_lines", "Access lines that are lost because too many wait to be written");

/// How an access line is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize)]
#[serde(rename_all = "lowercase")]
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

/// The status that a line shows for this record.
fn shown_status(record: &Record) -> u16 {
    record.status().unwrap_or(NO_ANSWER)
}

/// What a line says of the request itself, as it came.
#[derive(Default)]
struct RequestFacts<'a> {
    host: Option<&'a [u8]>,
    method: Option<&'a [u8]>,
    target: Option<&'a [u8]>,
    version: Option<&'a [u8]>,
    referer: Option<&'a [u8]>,
    user_agent: Option<&'a [u8]>,
}

/// One access line while its request is served; the end of the request's record writes it.
struct AccessLine {
    logger: Rc<AccessLogger>,
    draft: LineDraft,
}

/// A line as far as it is known.
enum LineDraft {
    Linkerd(linkerd::LinkerdDraft),
    Json(json::JsonDraft),
}

impl AccessLogger {
    pub(crate) fn new(log: AccessLog, registry: &Registry, router: &str, server: &str) -> Rc<Self> {
        let (metric, meaning) = DROPPED;
        registry.describe(metric, meaning);
        let dropped = registry.counter(metric, &[("router", router), ("server", server)]);
        Rc::new(Self { log, router: router.into(), server: server.into(), dropped })
    }

    /// Begins the line of a request over HTTP/1, whose head has come and was not changed yet.
    pub(crate) fn begin(self: &Rc<Self>, head: &Head, peer: &Peer) -> Box<dyn Observer> {
        let version: &[u8] = match head.version() {
            Version::Http10 => b"HTTP/1.0",
            Version::Http11 => b"HTTP/1.1",
            Version::Http2 => b"HTTP/2",
        };
        let asked = RequestFacts {
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
    pub(crate) fn begin_http2(
        self: &Rc<Self>,
        parts: &http::request::Parts,
        peer: &Peer,
    ) -> Box<dyn Observer> {
        let field = |name| parts.headers.get(name).map(http::HeaderValue::as_bytes);
        let authority = parts.uri.authority().map(|authority| authority.as_str().as_bytes());
        let target = parts.uri.path_and_query().map(|target| target.as_str().as_bytes());
        let asked = RequestFacts {
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
    pub(crate) fn begin_malformed(self: &Rc<Self>, input: &[u8], peer: &Peer) -> Box<dyn Observer> {
        let input = input.trim_ascii_start();
        let end = memchr::memchr2(b'\r', b'\n', input).unwrap_or(input.len());
        let line = &input[..end];
        let parts: Vec<&[u8]> = line.splitn(4, |byte| *byte == b' ').collect();
        let asked = match parts.as_slice() {
            [method, target, version] => RequestFacts {
                method: Some(method),
                target: Some(target),
                version: Some(version),
                ..RequestFacts::default()
            },
            _ => RequestFacts { target: Some(line), ..RequestFacts::default() },
        };
        self.entry(&asked, peer)
    }

    fn entry(self: &Rc<Self>, asked: &RequestFacts<'_>, peer: &Peer) -> Box<dyn Observer> {
        let draft = match self.log.format {
            AccessFormat::Linkerd => LineDraft::Linkerd(linkerd::LinkerdDraft::begin(asked, peer)),
            AccessFormat::Json => {
                LineDraft::Json(json::JsonDraft::begin(asked, peer, &self.router, &self.server))
            }
        };
        Box::new(AccessLine { logger: Rc::clone(self), draft })
    }
}

impl Observer for AccessLine {
    fn traced(&mut self, trace: &Trace) {
        if let LineDraft::Json(draft) = &mut self.draft {
            let mut id = Vec::new();
            trace.encode_root(&mut id);
            draft.bytes("request_id", &id);
        }
    }

    fn named(&mut self, name: &PathBuf) {
        if let LineDraft::Json(draft) = &mut self.draft {
            draft.bytes("name", name.to_path().to_string().as_bytes());
        }
    }

    fn bound(&mut self, client: &str) {
        if let LineDraft::Json(draft) = &mut self.draft {
            draft.bytes("client", client.as_bytes());
        }
    }

    fn failed(&mut self, error: &Error) {
        if let LineDraft::Json(draft) = &mut self.draft {
            draft.bytes("error", error.to_string().as_bytes());
        }
    }

    fn ended(&mut self, record: &Record) {
        let line = match &mut self.draft {
            LineDraft::Linkerd(draft) => draft.end(record),
            LineDraft::Json(draft) => draft.end(record),
        };
        if !self.logger.log.lines.write(line) {
            self.logger.dropped.increment();
        }
    }
}

/// A response on its way to the caller, whose bytes of content its record counts.
pub(crate) struct CountingSink<'a, S> {
    to: S,
    record: &'a Record,
}

impl<'a, S> CountingSink<'a, S> {
    pub(crate) fn new(to: S, record: &'a Record) -> Self {
        Self { to, record }
    }
}

impl<S: Sink> Sink for CountingSink<'_, S> {
    async fn piece(&mut self, part: &BodyPart, last: bool) -> io::Result<()> {
        self.to.piece(part, last).await?;
        self.record.add_sent(part.bytes().len());
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
