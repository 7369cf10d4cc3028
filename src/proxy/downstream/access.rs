//! Access lines: one for each request of a listener, whatever its outcome.
//!
//! [`AccessLogger::begin`] takes the facts of the request from the head as it was received. The [`AccessLine`] is the
//! observer of the request's record: it is told each fact as it becomes known. When the record is dropped, the line is
//! finished and given to the log's writer. So every request has a line, even one whose task is cut off.
//!
//! Values from outside are escaped, so that they cannot end a value or a line, and cut after [`MOST_OF_VALUE`] bytes.
//!
//! No line is written for connections that ended before their first head was complete, which are counted
//! (`unfinished_heads`), nor for streams that break the rules of HTTP/2, which h2 refuses by itself.

mod json;
mod linkerd;

use crate::context::token::hide_tokens;
use crate::context::{Peer, Trace};
use crate::message::{Head, KnownField, Version};
use crate::name::PathBuf;
use crate::proxy::error::Error;
use crate::proxy::exchange::{Observer, Record};
use crate::proxy::metrics::ListenerLabels;
use crate::proxy::wire::sink::{BodyPart, Sink, Trailers};
use crate::telemetry::{Counter, LogHandle, Registry, SeriesScope};
use std::io;
use std::rc::Rc;

/// How many bytes of one value a line shows: 4 KiB. A longer value is cut and ends in `...`.
const MOST_OF_VALUE: usize = 4 << 10;

/// The status that a line shows for a request without a response: its caller went away before, or it was cut off.
/// nginx uses the same number. It is never sent to a caller.
const NO_ANSWER: u16 = 499;

/// The metric of lost lines: its name, and its help text without a full stop.
const DROPPED: (&str, &str) =
    ("dropped_access_lines", "Access lines that are lost because too many wait to be written");

/// The format of access lines.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AccessFormat {
    /// The format of Linkerd 1: the Combined Log Format with the `Host` before it.
    #[default]
    Linkerd,
    /// One JSON object in each line, with more fields.
    Json,
}

/// The access log of one router.
#[derive(Clone, Debug)]
pub struct AccessLog {
    /// The handle of the log's writer.
    pub lines: LogHandle,
    /// The format of each line.
    pub format: AccessFormat,
}

/// The access log of one listener on one worker.
pub(crate) struct AccessLogger {
    log: AccessLog,
    router: Box<str>,
    server: Box<str>,
    dropped: Counter,
    _series: SeriesScope,
}

/// Returns the status that a line shows for this record.
fn shown_status(record: &Record) -> u16 {
    record.status().unwrap_or(NO_ANSWER)
}

/// The facts of a request that a line shows, as they were received.
#[derive(Default)]
struct RequestFacts<'a> {
    host: Option<&'a [u8]>,
    method: Option<&'a [u8]>,
    target: Option<&'a [u8]>,
    version: Option<&'a [u8]>,
    referer: Option<&'a [u8]>,
    user_agent: Option<&'a [u8]>,
}

/// One access line while its request is served. The end of the request's record writes it.
struct AccessLine {
    logger: Rc<AccessLogger>,
    draft: LineDraft,
}

/// The part of a line that is known so far.
enum LineDraft {
    Linkerd(linkerd::LinkerdDraft),
    Json(json::JsonDraft),
}

impl AccessLogger {
    pub(crate) fn new(log: AccessLog, registry: &Registry, labels: ListenerLabels<'_>) -> Rc<Self> {
        let (metric, meaning) = DROPPED;
        registry.describe(metric, meaning);
        let series = SeriesScope::new(registry);
        let dropped = series.counter(metric, &labels.pairs());
        let (router, server) = (labels.router.into(), labels.server.into());
        Rc::new(Self { log, router, server, dropped, _series: series })
    }

    /// Returns whether it writes lines of this format and with these labels to this log.
    pub(crate) fn is_for(&self, log: &AccessLog, labels: ListenerLabels<'_>) -> bool {
        self.log.format == log.format
            && self.log.lines.is_same_writer(&log.lines)
            && (&*self.router, &*self.server) == (labels.router, labels.server)
    }

    /// Begins the line of a request over HTTP/1, from its head as it was received.
    pub(crate) fn begin(self: &Rc<Self>, head: &Head, peer: &Peer) -> Box<dyn Observer> {
        let version: &[u8] = match head.version() {
            Version::Http10 => b"HTTP/1.0",
            Version::Http11 => b"HTTP/1.1",
            Version::Http2 => b"HTTP/2",
        };
        let facts = RequestFacts {
            host: head.get(KnownField::Host),
            method: Some(head.method()),
            target: Some(head.target()),
            version: Some(version),
            referer: head.find(b"referer"),
            user_agent: head.find(b"user-agent"),
        };
        self.begin_line(&facts, peer)
    }

    /// Begins the line of a request over HTTP/2, even if no valid head can be made of it.
    pub(crate) fn begin_http2(
        self: &Rc<Self>,
        parts: &http::request::Parts,
        peer: &Peer,
    ) -> Box<dyn Observer> {
        let field = |name| parts.headers.get(name).map(http::HeaderValue::as_bytes);
        let authority = parts.uri.authority().map(|authority| authority.as_str().as_bytes());
        let target = parts.uri.path_and_query().map(|target| target.as_str().as_bytes());
        let facts = RequestFacts {
            host: authority.or_else(|| field(http::header::HOST)),
            method: Some(parts.method.as_str().as_bytes()),
            // CONNECT has no path: its target is the authority.
            target: target.or(authority),
            version: Some(b"HTTP/2"),
            referer: field(http::header::REFERER),
            user_agent: field(http::header::USER_AGENT),
        };
        self.begin_line(&facts, peer)
    }

    /// Begins the line for input that is not a request.
    ///
    /// The first line of `input` is shown as method, target and version if it has three parts, and else as the target.
    pub(crate) fn begin_malformed(self: &Rc<Self>, input: &[u8], peer: &Peer) -> Box<dyn Observer> {
        let input = input.trim_ascii_start();
        let end = memchr::memchr2(b'\r', b'\n', input).unwrap_or(input.len());
        let line = &input[..end];
        let parts: Vec<&[u8]> = line.splitn(4, |byte| *byte == b' ').collect();
        let facts = match parts.as_slice() {
            [method, target, version] => RequestFacts {
                method: Some(method),
                target: Some(target),
                version: Some(version),
                ..RequestFacts::default()
            },
            _ => RequestFacts { target: Some(line), ..RequestFacts::default() },
        };
        self.begin_line(&facts, peer)
    }

    fn begin_line(self: &Rc<Self>, facts: &RequestFacts<'_>, peer: &Peer) -> Box<dyn Observer> {
        // A URL may hold a token, which is good for every reader of the log.
        let (target, referer) = (facts.target.map(hide_tokens), facts.referer.map(hide_tokens));
        let facts = &RequestFacts { target: target.as_deref(), referer: referer.as_deref(), ..*facts };
        let draft = match self.log.format {
            AccessFormat::Linkerd => LineDraft::Linkerd(linkerd::LinkerdDraft::begin(facts, peer)),
            AccessFormat::Json => LineDraft::Json(json::JsonDraft::begin(
                facts,
                peer,
                ListenerLabels { router: &self.router, server: &self.server },
            )),
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

    fn numbered(&mut self, id: &[u8]) {
        if let LineDraft::Json(draft) = &mut self.draft {
            draft.bytes("caller_request_id", id);
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

/// A sink for the body of a response, which counts the bytes in the request's record.
pub(crate) struct CountingSink<'a, S> {
    sink: S,
    record: &'a Record,
}

impl<'a, S> CountingSink<'a, S> {
    pub(crate) fn new(sink: S, record: &'a Record) -> Self {
        Self { sink, record }
    }
}

impl<S: Sink> Sink for CountingSink<'_, S> {
    async fn piece(&mut self, part: &BodyPart, last: bool) -> io::Result<()> {
        self.sink.piece(part, last).await?;
        self.record.add_sent(part.bytes().len());
        Ok(())
    }

    async fn flush(&mut self) -> io::Result<()> {
        self.sink.flush().await
    }

    async fn finish(&mut self, trailers: Trailers<'_>) -> io::Result<()> {
        self.sink.finish(trailers).await
    }
}

/// Returns the part of a value that a line shows, and `...` to put after it if the value is longer.
fn cut(value: &[u8]) -> (&[u8], &'static str) {
    value.get(..MOST_OF_VALUE).filter(|cut| cut.len() < value.len()).map_or((value, ""), |cut| (cut, "..."))
}

#[cfg(test)]
mod tests;
