//! An access line as a JSON object. Fields that are not known are left out.

use super::{RequestFacts, cut, shown_status};
use crate::context::Peer;
use crate::proxy::exchange::Record;
use crate::proxy::metrics::ListenerLabels;
use jiff::Timestamp;
use serde::Serialize;

/// A JSON object that is not complete yet.
pub(super) struct JsonDraft(Vec<u8>);

impl JsonDraft {
    pub(super) fn begin(facts: &RequestFacts<'_>, peer: &Peer, labels: ListenerLabels<'_>) -> Self {
        let mut draft = Self(Vec::with_capacity(512));
        draft.field("time", &format!("{:.3}", Timestamp::now()));
        draft.field("router", labels.router);
        draft.field("server", labels.server);
        draft.field("peer", &peer.remote);
        let fields = [
            ("method", facts.method),
            ("authority", facts.host),
            ("path", facts.target),
            ("version", facts.version),
            ("referer", facts.referer),
            ("user_agent", facts.user_agent),
        ];
        for (name, value) in fields {
            if let Some(value) = value {
                draft.bytes(name, value);
            }
        }
        draft
    }

    /// Adds a field.
    pub(super) fn field(&mut self, name: &str, value: &(impl Serialize + ?Sized)) {
        self.0.push(if self.0.is_empty() { b'{' } else { b',' });
        // Names, texts and numbers are always JSON, and writing to a vector does not fail.
        let _ = serde_json::to_writer(&mut self.0, name);
        self.0.push(b':');
        let _ = serde_json::to_writer(&mut self.0, value);
    }

    /// Adds a text of any bytes and any length. It is cut, and bytes that are not UTF-8 are replaced.
    pub(super) fn bytes(&mut self, name: &str, value: &[u8]) {
        let (value, rest) = cut(value);
        let text = String::from_utf8_lossy(value);
        if rest.is_empty() { self.field(name, &text) } else { self.field(name, &(text + rest)) }
    }

    pub(super) fn end(&mut self, record: &Record) -> Vec<u8> {
        if let Some(endpoint) = record.endpoint() {
            self.field("endpoint", &endpoint);
        }
        if let Some(overlay) = record.sandboxes() {
            for (name, value) in [("sandbox", Some(overlay.keys())), ("sandbox_unknown", overlay.unknown())] {
                if let Some(value) = value.filter(|value| !value.is_empty()) {
                    self.bytes(name, value.as_bytes());
                }
            }
        }
        if let Some(entry) = record.fallback() {
            self.bytes("sandbox_fallback", entry.as_bytes());
        }
        if let Some(fate) = record.overrides().word() {
            self.field("override", fate);
        }
        if let Some(detail) = record.overrides().detail() {
            self.bytes("override_detail", detail.as_bytes());
        }
        if let Some(lost) = record.lost() {
            self.bytes("override_lost", lost.as_bytes());
        }
        self.field("status", &shown_status(record));
        self.field("bytes", &record.sent());
        // A double is exact to the microsecond for any time that a request can last.
        self.field("duration_ms", &(record.began().elapsed().as_micros() as f64 / 1_000.0));
        self.field("complete", &record.is_complete());
        self.field("outcome", record.outcome().word());
        self.0.extend_from_slice(b"}\n");
        std::mem::take(&mut self.0)
    }
}
