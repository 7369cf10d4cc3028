//! The keys of sandboxes that a request carries.
//!
//! A listener reads them behind its rule of trust: what a stranger sent is gone by then, and what a token or a rule of
//! `inject` gave stands in `baggage`. They travel as they came.

use super::baggage::{decode_onto, key, members, value};
use super::steering::{Steering, SteeringNames};
use super::untrusted::query;
use super::{Context, Refusal, is_sandbox_key};
use crate::message::{Head, KnownField};

/// How many keys a request may have: 16.
pub(super) const MAX_KEYS: usize = 16;

/// How many bytes of a value that is no key are told to the caller.
const MOST_TOLD: usize = 63;

/// Collects the keys of a request in the order of their sources: `baggage`, its fields for one member each, `tracestate`,
/// the configured headers, the query parameter. Each key counts once, where it comes first.
pub(super) fn collect_keys(head: &Head, names: &SteeringNames, context: &mut Context) -> Result<(), Refusal> {
    let is_member = context.has_tenant_member;
    let mut keys = KeyList { keys: &mut context.sandbox_keys, decoded: &mut context.scratch };
    keys.keys.clear();
    let is_tenant = |member: &&[u8]| names.is_tenant_key(key(member));
    if is_member {
        for member in head.get_all(KnownField::Baggage).flat_map(members).filter(is_tenant) {
            keys.add_value(value(member).unwrap_or_default())?;
        }
    }
    if head.contains(KnownField::BaggageItem) {
        for value in head
            .fields()
            .filter(|field| field.known == KnownField::BaggageItem)
            .filter_map(|field| (names.of_item(field.name) == Some(Steering::Tenant)).then_some(field.value))
        {
            keys.add_value(value)?;
        }
    }
    if head.contains(KnownField::Tracestate) {
        for member in head.get_all(KnownField::Tracestate).flat_map(members).filter(is_tenant) {
            let value = member.split(|byte| *byte == b'=').nth(1).unwrap_or_default();
            keys.add_value(value)?;
        }
    }
    if !names.headers().is_empty() {
        for field in head.fields().filter(|field| names.headers().contains(field.name)) {
            keys.add_value(field.value)?;
        }
    }
    // In a query, `+` stands for a blank as well: either of them separates keys, and so does a `+` that is encoded.
    query::tenant_values(head, names).try_for_each(|value| keys.add_value(value))
}

/// The keys of one request while they are collected.
struct KeyList<'a> {
    keys: &'a mut String,
    /// The room in which a value is decoded.
    decoded: &'a mut Vec<u8>,
}

impl KeyList<'_> {
    /// Adds the keys of one value, which may be percent-encoded.
    fn add_value(&mut self, value: &[u8]) -> Result<(), Refusal> {
        self.decoded.clear();
        decode_onto(value, self.decoded);
        // A proxy may have folded several lines into one with commas (RFC 9110 section 5.3).
        let pieces = self.decoded.split(|byte| matches!(byte, b'+' | b' ' | b'\t' | b','));
        for piece in pieces.filter(|piece| !piece.is_empty()) {
            add_key(&as_key(piece), self.keys)?;
        }
        Ok(())
    }
}

/// Adds a key, unless it is there already.
fn add_key(key: &str, keys: &mut String) -> Result<(), Refusal> {
    if keys.split('+').any(|known| known == key) {
        return Ok(());
    }
    if keys.split('+').count() >= MAX_KEYS {
        return Err(Refusal::TooManySandboxes { limit: MAX_KEYS });
    }
    if !keys.is_empty() {
        keys.push('+');
    }
    keys.push_str(key);
    Ok(())
}

/// Returns a key, or as much of any other bytes as the caller may be told.
fn as_key(piece: &[u8]) -> std::borrow::Cow<'_, str> {
    match std::str::from_utf8(piece) {
        Ok(key) if is_sandbox_key(key) => key.into(),
        // It has a character that no key has, so that it is never found.
        _ => {
            let shown = piece.iter().take(MOST_TOLD).copied();
            let shown = shown.map(|byte| if byte.is_ascii_graphic() { char::from(byte) } else { '?' });
            let shown: String = shown.collect();
            if is_sandbox_key(&shown) { (shown + "...").into() } else { shown.into() }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Tenancy;
    use crate::message::HeadLimits;

    const LIMITS: HeadLimits = HeadLimits { line: 65536, fields_bytes: 65536, fields: 200 };

    /// Returns the keys of a request for `target` with these lines.
    fn keys(target: &str, lines: &str) -> Result<String, Refusal> {
        let tenancy = Tenancy {
            headers: vec!["X-Sandbox".to_owned()],
            query_parameter: Some("sandbox".to_owned()),
            ..Tenancy::default()
        };
        let text = format!("GET {target} HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
        let mut head = Head::new();
        assert_eq!(head.parse_request(text.as_bytes(), &LIMITS), Ok(Some(text.len())), "{text}");
        let mut context = Context { has_tenant_member: true, ..Context::default() };
        collect_keys(&head, &SteeringNames::new(&tenancy), &mut context)?;
        Ok(context.sandbox_keys)
    }

    #[test]
    fn keys_come_in_the_order_of_their_sources_and_count_once() {
        for (target, lines, expected) in [
            ("/", "", ""),
            ("/", "baggage: a=1,sd-routing-key=pr-7;x=y, sd-sandbox = pr-7\r\n", "pr-7"),
            ("/", "baggage: okteto-divert=b\r\nbaggage: mirrord-session=a\r\n", "b+a"),
            ("/", "baggage: sd-routing-key=a%2Bb\r\n", "a+b"),
            ("/", "baggage: sd-routing-key=a+b+a\r\n", "a+b"),
            // Keys are compared as they are written.
            ("/", "baggage: SD-Routing-Key=a\r\n", ""),
            ("/", "ot-baggage-sd-routing-key: a\r\nuberctx-sd-sandbox: b\r\not-baggage-x: c\r\n", "a+b"),
            ("/", "tracestate: x=1,sd-routing-key=a\r\n", "a"),
            ("/", "x-sandbox: a\r\nX-Sandbox: b\r\n", "a+b"),
            ("/?sandbox=a", "", "a"),
            ("/?x=1&sandbox=a+b%2Bc%20d;sandbox=e&sandbox", "", "a+b+c+d+e"),
            (
                "/?sandbox=d",
                "x-sandbox: c\r\ntracestate: sd-sandbox=b\r\nbaggage: sd-sandbox=a\r\n",
                "a+b+c+d",
            ),
            // What is no key is told, and never found.
            ("/", "baggage: sd-sandbox=Caf%C3%A9\r\nx-sandbox: a, b\r\n", "Caf??+a+b"),
            ("/?sandbox=%2B%2B+", "", ""),
        ] {
            assert_eq!(keys(target, lines).as_deref(), Ok(expected), "{target} {lines}");
        }
        let long = "a".repeat(64);
        assert_eq!(keys("/", &format!("x-sandbox: {long}\r\n")).unwrap(), format!("{}...", "a".repeat(63)));
    }

    #[test]
    fn the_number_of_keys_is_bounded() {
        let list = |count: usize| (0..count).map(|n| format!("k{n}")).collect::<Vec<_>>().join("+");
        let line = |count| format!("x-sandbox: {}\r\n", list(count));
        assert_eq!(keys("/", &line(MAX_KEYS)), Ok(list(MAX_KEYS)));
        let refused = keys("/", &line(MAX_KEYS + 1)).unwrap_err();
        assert_eq!(refused, Refusal::TooManySandboxes { limit: MAX_KEYS });
    }
}
