//! Fields that tell the caller of a response what became of its request.

use crate::context::Trace;
use crate::message::{Field, Head};
use crate::proxy::exchange::{OverrideFate, REQUEST_ID, Record, Request};

/// Returns the id by which a request is known in logs: that of its trace.
pub(super) fn request_id(trace: &Trace) -> Vec<u8> {
    let mut id = Vec::new();
    trace.encode_root(&mut id);
    id
}

/// Tells the caller by which id its request is found in the log: its own, if it is trusted and gave one.
pub(super) fn tell_request_id(head: &mut Head, request: &Request, trusted: bool) {
    let own = request.head.find(REQUEST_ID).filter(|own| trusted && !own.is_empty());
    match (own, request.record.trace()) {
        (Some(own), _) => head.append(REQUEST_ID, own),
        (None, Some(trace)) => head.append(REQUEST_ID, &request_id(trace)),
        (None, None) => {}
    }
}

/// Names the entry of an override that leads nowhere, the shares that are lost, the reason why overrides were dropped, and
/// the sandboxes with what came of them: otherwise a request would go to production in silence.
pub(super) fn tell_fate(head: &mut Head, record: &Record) {
    match record.overrides() {
        OverrideFate::Unbound(entry) => tell_once(head, b"l5d-dtab-unbound", entry),
        OverrideFate::Dropped(Some(reason)) => tell_once(head, b"l5d-dtab-dropped", reason),
        _ => {}
    }
    if let Some(entries) = record.lost() {
        tell_once(head, b"l5d-dtab-lost", entries);
    }
    if let Some(overlay) = record.sandboxes() {
        let keys = Some(overlay.keys()).filter(|keys| !keys.is_empty());
        let told = [
            (b"l5d-sandbox".as_slice(), keys),
            (b"l5d-sandbox-unknown", overlay.unknown()),
            (b"l5d-sandbox-conflict", overlay.conflicts()),
            (b"l5d-sandbox-fallback", record.fallback()),
        ];
        for (name, value) in told {
            if let Some(value) = value {
                tell_once(head, name, value);
            }
        }
    }
}

/// Adds a field. What a router behind has told already is not told again: the same override leads nowhere at each hop.
fn tell_once(head: &mut Head, name: &[u8], value: &str) {
    let is_told = |field: Field<'_>| field.name.eq_ignore_ascii_case(name) && field.value == value.as_bytes();
    if !head.fields().any(is_told) {
        head.append(name, value.as_bytes());
    }
}
