//! Linkerd 1's access line:
//! `<Host> <peer's address> - - [<dd/MM/yyyy:HH:mm:ss> UTC] "<method> <uri> <version>" <status> <length> "<Referer>" "<User-Agent>"`.
//!
//! The time is that of the request's end, as in Linkerd, and always UTC. A value that is not known is `-`. The length
//! is the response's `Content-Length`.

use super::{RequestFacts, cut, shown_status};
use crate::context::Peer;
use crate::proxy::exchange::Record;
use jiff::Timestamp;
use std::io::Write as _;

/// A line that still lacks its time, status and length.
pub(super) struct LinkerdDraft {
    text: Vec<u8>,
    /// The position in `text` at which the time is inserted.
    time_at: usize,
    /// The position in `text` at which status and length are inserted.
    answer_at: usize,
}

impl LinkerdDraft {
    pub(super) fn begin(facts: &RequestFacts<'_>, peer: &Peer) -> Self {
        let mut text = Vec::with_capacity(256);
        push(&mut text, facts.host, b" ");
        // Writing to a vector does not fail.
        let _ = write!(text, " {} - - [", peer.remote.ip().to_canonical());
        let time_at = text.len();
        text.extend_from_slice(b"] \"");
        push(&mut text, facts.method, b" ");
        text.push(b' ');
        push(&mut text, facts.target, b"");
        text.push(b' ');
        push(&mut text, facts.version, b" ");
        text.extend_from_slice(b"\" ");
        let answer_at = text.len();
        text.extend_from_slice(b" \"");
        push(&mut text, facts.referer, b"");
        text.extend_from_slice(b"\" \"");
        push(&mut text, facts.user_agent, b"");
        text.extend_from_slice(b"\"\n");
        Self { text, time_at, answer_at }
    }

    pub(super) fn end(&mut self, record: &Record) -> Vec<u8> {
        let (before, rest) = self.text.split_at(self.time_at);
        let (request, after) = rest.split_at(self.answer_at - self.time_at);
        let mut line = Vec::with_capacity(self.text.len() + 48);
        line.extend_from_slice(before);
        let _ = write!(line, "{}", Timestamp::now().strftime("%d/%m/%Y:%H:%M:%S UTC"));
        line.extend_from_slice(request);
        let _ = match record.length() {
            Some(length) => write!(line, "{} {length}", shown_status(record)),
            None => write!(line, "{} -", shown_status(record)),
        };
        line.extend_from_slice(after);
        line
    }
}

/// Adds a value, escaped so that nothing in it can be taken for its end. A backslash is put before quotes and
/// backslashes; bytes that are not visible ASCII, or are in `also`, become `\xHH`.
fn push(text: &mut Vec<u8>, value: Option<&[u8]>, also: &[u8]) {
    let Some(value) = value.filter(|value| !value.is_empty()) else { return text.push(b'-') };
    let (value, rest) = cut(value);
    for byte in value {
        match byte {
            b'"' | b'\\' => text.extend_from_slice(&[b'\\', *byte]),
            b' '..=b'~' if !also.contains(byte) => text.push(*byte),
            _ => _ = write!(text, "\\x{byte:02x}"),
        }
    }
    text.extend_from_slice(rest.as_bytes());
}
