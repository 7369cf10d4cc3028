//! Header fields, decoded. The steering fields of an untrusted caller are removed unread; those of a trusted caller
//! reach the next hop with the same meaning; the response to an untrusted caller names nothing internal; each value is
//! encoded as it was decoded.
#![no_main]

use libfuzzer_sys::fuzz_target;
use signpost::context::{
    Config, Context, Deadline, Grant, Peer, Policy, Trace, Trust, UpstreamNames, decode_overrides,
};
use signpost::message::{Head, KnownField};
use signpost_fuzz::{LIMITS, Parse, assert_not_steering, next_hop};
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
    let mut encoded = Vec::new();
    if let Some(deadline) = Deadline::decode(value) {
        deadline.encode(&mut encoded);
        assert_eq!(Deadline::decode(&encoded), Some(deadline));
    }
    encoded.clear();
    if let Some(trace) = Trace::decode(value) {
        trace.encode(&mut encoded);
        assert_eq!(Trace::decode(&encoded), Some(trace));
    }
    let limits = policy(Trust::Everybody).override_limits();
    if let Ok(overrides) = decode_overrides(value, &limits) {
        assert!(overrides.dtab.len() <= limits.entries && overrides.ctx_entries <= overrides.dtab.len());
        let again = decode_overrides(overrides.printed(), &limits).expect("the printed form is read");
        assert_eq!(again.dtab, overrides.dtab);
    }
}

fn from_an_untrusted_caller(mut head: Head) {
    let mut context = Context::new();
    // A refusal is about the call depth only, and leaves the head as clean.
    let (grant, _) = policy(Trust::Nobody).enter(&peer(), &mut head, &mut context);
    head.fields().for_each(|field| assert_not_steering(field.name));
    assert!(!grant.is_trusted() && context.overrides().is_empty() && context.deadline().is_none());
}

fn from_a_trusted_caller(mut head: Head) {
    let (policy, peer) = (policy(Trust::Everybody), peer());
    let mut here = Context::new();
    if policy.enter(&peer, &mut head, &mut here).1.is_err() {
        return;
    }
    let Ok(overrides) = decode_overrides(here.overrides(), &policy.override_limits()) else { return };
    let names = UpstreamNames {
        service: b"/svc/world",
        client: b"/$/inet/127.1/80",
        residual: None,
        overrides: overrides.printed(),
    };
    let _ = policy.leave(&peer, &mut head, &mut here, &names);

    let mut head = next_hop(Head::parse_request, &head);
    let mut there = Context::new();
    policy.enter(&peer, &mut head, &mut there).1.expect("the next hop accepts the request");
    let carried = decode_overrides(there.overrides(), &policy.override_limits()).map(|carried| carried.dtab);
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
