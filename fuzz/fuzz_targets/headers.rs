//! Header fields, decoded. The steering fields of an untrusted caller are removed unread, the steering and malformed
//! members of its baggage too, and the other members stay as they came; those of a trusted caller reach the next hop
//! with the same meaning; the response to an untrusted caller names nothing internal; each value is encoded as it was
//! decoded.
#![no_main]

use libfuzzer_sys::fuzz_target;
use signpost::context::{
    Config, Context, Deadline, Grant, OverrideLimits, OverrideRules, OverrideSource, Peer, Policy, Refusal,
    Trace, Trust, UpstreamNames, decode_overrides, encode_baggage_value,
};
use signpost::message::{Head, HeadLimits, KnownField};
use signpost::name::{Dentry, Dtab};
use signpost_fuzz::{LIMITS, Parse, assert_not_steering, members, next_hop, stays};
use std::net::{Ipv4Addr, SocketAddr};

fuzz_target!(|input: &[u8]| {
    decode(input);
    if let Some(head) = with_fields(Head::parse_request, b"GET / HTTP/1.1\r\n", input) {
        from_an_untrusted_caller(head.clone());
        from_a_trusted_caller(head);
    }
    if let Some(head) = with_fields(Head::parse_response, b"HTTP/1.1 200 OK\r\n", input) {
        to_an_untrusted_caller(head);
    }
});

/// Decodes single values, which must stay the same when they are encoded and decoded again.
fn decode(value: &[u8]) {
    if let Some(deadline) = Deadline::decode(value) {
        let mut head = Head::request(b"GET", b"/");
        deadline.append_to(&mut head);
        assert_eq!(head.get(KnownField::L5dCtxDeadline).and_then(Deadline::decode), Some(deadline));
    }
    let mut encoded = Vec::new();
    if let Some(trace) = Trace::decode(value) {
        trace.encode(&mut encoded);
        assert_eq!(Trace::decode(&encoded), Some(trace));
    }
    let limits = OverrideLimits::default();
    // Injected entries are not counted here, but at the next hop.
    let unlimited =
        OverrideLimits::new(OverrideRules { max_entries: usize::MAX, ..OverrideRules::default() });
    if let Ok(overrides) = decode_overrides(value, &limits) {
        let [baggage, injected] =
            [OverrideSource::Baggage, OverrideSource::Inject].map(|source| overrides.count(source));
        assert!(overrides.dtab.len() - injected <= limits.rules().max_entries);
        let again = decode_overrides(overrides.printed(), &unlimited).expect("the printed form is read");
        let beside_baggage: Vec<&Dentry> = overrides.dtab.iter().skip(baggage).collect();
        assert_eq!(again.dtab.iter().collect::<Vec<_>>(), beside_baggage);
    }
    // A dtab means the same as a member of baggage, in which three bytes stand for one.
    let dtab = std::str::from_utf8(value).ok().and_then(|text| text.parse::<Dtab>().ok());
    if let Some(dtab) = dtab.filter(|dtab| dtab.len() <= limits.rules().max_entries && value.len() < 2000) {
        let line = format!("baggage: dtab={}", encode_baggage_value(value));
        let bytes = format!("GET / HTTP/1.1\r\n{line}\r\n\r\n");
        let (mut head, mut context) = (Head::new(), Context::new());
        let wide = HeadLimits { fields_bytes: bytes.len(), ..LIMITS };
        assert_eq!(head.parse_request(bytes.as_bytes(), &wide), Ok(Some(bytes.len())));
        policy(Trust::Everybody).enter(&peer(), &mut head, &mut context).1.expect("it is well-formed");
        let read = decode_overrides(context.overrides(), &limits).expect("it is a dtab");
        assert_eq!((&read.dtab, read.printed().len()), (&dtab, 0), "{line}");
    }
}

fn from_an_untrusted_caller(mut head: Head) {
    let before = baggage(&head);
    let mut context = Context::new();
    // A refusal is about the call depth only, and leaves the head as clean.
    let (grant, _) = policy(Trust::Nobody).enter(&peer(), &mut head, &mut context);
    head.fields().for_each(|field| assert_not_steering(field.name));
    let after = baggage(&head);
    let expected: Vec<_> =
        before.iter().flat_map(|line| members(line)).filter(|member| stays(member)).collect();
    if expected.len() == before.iter().flat_map(|line| members(line)).count() {
        assert_eq!(after, before, "nothing is cut");
    } else {
        let left: Vec<_> = after.iter().flat_map(|line| members(line)).collect();
        // The bytes are within the limit of baggage by LIMITS.
        assert!(left.iter().eq(expected.iter().take(64)), "{before:?} became {after:?}");
    }
    assert!(!grant.is_trusted() && context.overrides().is_empty() && context.deadline().is_none());
}

/// Returns the values of all lines of baggage.
fn baggage(head: &Head) -> Vec<Vec<u8>> {
    head.get_all(KnownField::Baggage).map(<[u8]>::to_vec).collect()
}

fn from_a_trusted_caller(mut head: Head) {
    let (policy, peer) = (policy(Trust::Everybody), peer());
    let before = baggage(&head);
    let mut here = Context::new();
    if policy.enter(&peer, &mut head, &mut here).1.is_err() {
        return;
    }
    let Ok(overrides) = decode_overrides(here.overrides(), policy.override_limits()) else { return };
    let names = UpstreamNames {
        service: b"/svc/world",
        client: b"/$/inet/127.1/80",
        residual: None,
        overrides: overrides.printed(),
        named_by: &[],
    };
    let _ = policy.leave(&peer, &mut head, &mut here, &names);

    let mut head = next_hop(Head::parse_request, &head);
    assert_eq!(baggage(&head), before, "baggage travels by itself");
    let mut there = Context::new();
    let entered = policy.enter(&peer, &mut head, &mut there).1;
    if matches!(entered, Err(Refusal::CallDepth { .. })) {
        // This hop was the last that it may pass.
        assert_eq!(there.call_depth(), here.call_depth() + 1);
        return;
    }
    entered.expect("the next hop accepts the request");
    let carried = decode_overrides(there.overrides(), policy.override_limits()).map(|carried| carried.dtab);
    assert_eq!(carried, Ok(overrides.dtab));
    assert_eq!(there.deadline(), here.deadline());
    assert_eq!(there.trace().root, here.trace().root);
    assert_eq!(there.call_depth(), here.call_depth() + 1);
}

fn to_an_untrusted_caller(mut head: Head) {
    let was_made_by_a_router = head.contains(KnownField::L5dErr);
    let findings = policy(Trust::Nobody).answer(&mut head, Grant::default());
    assert_eq!(findings.blank_body, was_made_by_a_router);
    head.fields().for_each(|field| assert_not_steering(field.name));
}

fn with_fields(parse: Parse, line: &[u8], fields: &[u8]) -> Option<Head> {
    let bytes = [line, fields, b"\r\n\r\n"].concat();
    let mut head = Head::new();
    parse(&mut head, &bytes, &LIMITS).ok()??;
    Some(head)
}

fn policy(trust: Trust) -> Policy {
    Policy::new(Config { trust, ..Config::default() })
}

fn peer() -> Peer {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 4140));
    Peer::new(address, address)
}
