use super::*;
use crate::context::{Labeler, decode_overrides};
use crate::message::{HeadLimits, Version};
use std::time::Duration;

const LIMITS: HeadLimits = HeadLimits { line: 8192, fields_bytes: 65536, fields: 200 };

/// Every spelling of a steering field that an untrusted caller may try. The values are malformed, which must not
/// matter.
const STEERING: [&str; 20] = [
    "l5d-dtab: /svc => /evil",
    "L5D-Dtab: not a dtab",
    "l5d_dtab: /svc => /evil",
    "L5D_dTAB: ((((",
    "l5d-ctx-dtab: /svc => /evil",
    "l5d_ctx-dtab: /svc => /evil",
    "L5d-Ctx_Dtab: /svc => /evil",
    "dtab-local: /svc => /evil",
    "Dtab-Local: /svc => /evil",
    "dtab_local: /svc => /evil",
    "x-dtab-00-a: L3N2Yw==",
    "X-Dtab-00-B: L2V2aWw=",
    "x_dtab_01_a: !",
    "l5d-ctx-deadline: 1 2",
    "l5d-ctx-trace: AAAA",
    "l5d-sample: 1.0",
    "l5d-reqid: 1",
    "l5d-dst-service: /svc/evil",
    "L5d-Name: /evil",
    "l5d_anything: 1",
];
/// How many of them hold dtab entries.
const STEERING_OVERRIDES: u32 = 13;

fn peer() -> Peer {
    Peer::new("192.0.2.43:8080".parse().unwrap(), "192.0.2.1:4140".parse().unwrap())
}

fn policy(trust: Trust) -> Policy {
    Policy::new(Config { trust, ..Config::default() })
}

fn request(lines: &[&str]) -> Head {
    let text = format!("GET /a HTTP/1.1\r\nHost: hello\r\n{}\r\n\r\n", lines.join("\r\n"));
    let text = text.replace("\r\n\r\n\r\n", "\r\n\r\n");
    let mut head = Head::new();
    assert_eq!(head.parse_request(text.as_bytes(), &LIMITS).unwrap(), Some(text.len()));
    head
}

fn response(lines: &[&str]) -> Head {
    let text = format!("HTTP/1.1 200 OK\r\n{}\r\n\r\n", lines.join("\r\n"));
    let mut head = Head::new();
    assert_eq!(head.parse_response(text.as_bytes(), &LIMITS).unwrap(), Some(text.len()));
    head
}

fn fields(head: &Head) -> Vec<String> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    head.fields().map(|field| format!("{}: {}", text(field.name), text(field.value))).collect()
}

/// The fields that the router writes for a peer whose word about the hops before it does not count.
const WRITTEN_ANEW: [&str; 2] = ["X-Forwarded-For: 192.0.2.43", "X-Forwarded-Proto: http"];

/// Enters a request and returns its context, and the fields that are left besides `Host` and those above.
fn enter(policy: &Policy, lines: &[&str]) -> (Result<(), Refusal>, Context, Vec<String>) {
    let mut head = request(lines);
    let mut context = Context::new();
    let (grant, entered) = policy.enter(&peer(), &mut head, &mut context);
    assert_eq!(grant, policy.grant(&peer()), "the address alone decides");
    let is_ours = |line: &str| line == "Host: hello" || WRITTEN_ANEW.contains(&line);
    let left = fields(&head).into_iter().filter(|line| !is_ours(line)).collect();
    (entered, context, left)
}

fn now_plus(timeout: Duration) -> Deadline {
    Deadline::after(Timestamp::now(), timeout)
}

fn value(deadline: Deadline) -> String {
    format!("{} {}", deadline.timestamp, deadline.deadline)
}

#[test]
fn nothing_that_steers_survives_from_a_stranger() {
    let policy = policy(Trust::Nobody);
    let honest = ["Accept: */*", "dtab: x", "x-dtabs: x", "xl5d-dtab: x", "Via: 1.1 a", "baggage: a=b"];
    let both: Vec<&str> = STEERING.iter().chain(&honest).chain(&STEERING).copied().collect();
    let (entered, context, left) = enter(&policy, &both);
    assert_eq!(entered, Ok(()));
    assert_eq!(left, honest);
    assert!(!policy.grant(&peer()).is_trusted());
    assert_eq!(context.overrides(), b"");
    assert_eq!(context.deadline(), None);
    assert_eq!(context.dropped(), 2 * STEERING_OVERRIDES);
    assert_eq!(context.trace().parent, context.trace().span, "a new trace begins");

    for line in STEERING {
        let (entered, _, left) = enter(&policy, &[line]);
        assert_eq!((entered, left), (Ok(()), Vec::new()), "{line}");
    }
}

#[test]
fn a_stranger_cannot_exceed_the_bounds_of_overrides() {
    let line = format!("l5d-dtab: {}", "/a=>/b;".repeat(4000));
    assert_eq!(enter(&policy(Trust::Nobody), &[&line]).0, Ok(()));
}

#[test]
fn a_trusted_callers_overrides_are_taken_in_order() {
    let table: [(&[&str], &[u8]); 7] = [
        (&[], b""),
        (&["l5d-dtab:", "l5d-ctx-dtab:  "], b""),
        (&["l5d-dtab: /a=>/b"], b"/a=>/b\x05"),
        (&["L5d-Ctx-Dtab: /a=>/b"], b"/a=>/b\x03"),
        (
            &["l5d-dtab: /u=>/1", "l5d-ctx-dtab: /c=>/1", "L5D-DTAB: /u=>/2", "l5d-ctx-dtab: /c=>/2"],
            b"/c=>/1\x03/c=>/2\x03/u=>/1\x05/u=>/2\x05",
        ),
        (&["l5d-dtab: not a dtab"], b"not a dtab\x05"),
        (&["l5d-dtab:", "l5d-dtab: /a=>/b"], b"/a=>/b\x05"),
    ];
    for (lines, raw) in table {
        let (entered, context, left) = enter(&policy(Trust::Everybody), lines);
        assert_eq!((entered, left), (Ok(()), Vec::new()), "{lines:?}");
        assert_eq!(context.overrides(), raw, "{lines:?}");
        assert!(policy(Trust::Everybody).grant(&peer()).is_trusted());
        assert_eq!(context.dropped(), 0);
    }
}

#[test]
fn a_trusted_callers_baggage_is_read_and_stays() {
    let malformed = |key: &str| Err(Refusal::MalformedMember { key: key.to_owned() });
    type Case = (&'static [&'static str], Result<(), Refusal>, &'static [u8]);
    let table: [Case; 12] = [
        (&["baggage: dtab=/a=>/b"], Ok(()), b"/a=>/b\x01"),
        (
            &["Baggage: x=y, dtab = %2Fa%20=>/b ;p=q,dtab=", "baggage: dtab=/c=>/d"],
            Ok(()),
            b"%2Fa%20=>/b\x01/c=>/d\x01",
        ),
        (&["baggage: Dtab=/a=>/b,%64tab=/a=>/b,sd-sandbox=x,ä,\"=,"], Ok(()), b""),
        (&["baggage: dtab=not-a-dtab"], Ok(()), b"not-a-dtab\x01"),
        (&["tracestate: dtab=/a=>/b", "ot-baggage-dtab: /a=>/b", "uberctx-dtab: /a=>/b"], Ok(()), b""),
        (&["baggage: dtab=/a => /b"], malformed("dtab"), b""),
        (&["baggage: dtab=/a=>/b;"], malformed("dtab"), b""),
        (&["baggage: a=b,dtab"], malformed("dtab"), b""),
        (&["baggage: dtab=\"/a=>/b\""], malformed("dtab"), b""),
        (&["baggage: sd-sandbox = x;p,SD-Sandbox=\",%73d-sandbox=a b"], Ok(()), b""),
        (&["baggage: sd-sandbox=a b"], malformed("sd-sandbox"), b""),
        (&["baggage: a=b", "baggage: dtab=/a=>/b,okteto-divert"], malformed("okteto-divert"), b"/a=>/b\x01"),
    ];
    for (lines, expected, raw) in table {
        let (entered, context, left) = enter(&policy(Trust::Everybody), lines);
        assert_eq!((entered, context.overrides()), (expected, raw), "{lines:?}");
        assert_eq!((left, context.dropped()), (lines.iter().map(|line| (*line).to_owned()).collect(), 0));
    }
    let text = Refusal::MalformedMember { key: "dtab".into() }.to_string();
    assert!(text.starts_with("The member dtab of the header baggage is malformed."), "{text}");

    // The entries of baggage have the lowest precedence, wherever the header stands.
    let lines = ["l5d-dtab: /u=>/1", "l5d-ctx-dtab: /c=>/1", "baggage: dtab=/b=>/1"];
    let (entered, context, left) = enter(&policy(Trust::Everybody), &lines);
    assert_eq!((entered, left), (Ok(()), vec!["baggage: dtab=/b=>/1".to_owned()]));
    assert_eq!(context.overrides(), b"/b=>/1\x01/c=>/1\x03/u=>/1\x05");
}

#[test]
fn other_fields_of_a_trusted_caller_pass_as_they_do_in_linkerd() {
    let pass =
        ["l5d-ctx-thing: 1", "L5d-Name: /a", "dtab-local: /a=>/b", "x-dtab-00-a: x", "l5d_dtab: /a=>/b"];
    let gone = [
        "l5d-sample: 1.0",
        "l5d-ctx-trace: nonsense",
        "l5d-ctx-deadline: nonsense",
        "l5d-reqid: 1",
        "l5d-dst-service: /svc/evil",
        "L5D-Dst-Client: /evil",
        "l5d-dst-residual: /evil",
    ];
    let both: Vec<&str> = gone.iter().chain(&pass).copied().collect();
    let (entered, context, left) = enter(&policy(Trust::Everybody), &both);
    assert_eq!(entered, Ok(()));
    assert_eq!(left, pass);
    assert_eq!((context.overrides(), context.deadline()), (b"".as_slice(), None));
}

#[test]
fn override_values_are_bounded_in_bytes() {
    let policy = policy(Trust::Everybody);
    let (half, whole) = ("#".repeat(4096), "#".repeat(8192));
    let fits: [&[String]; 2] =
        [&[format!("l5d-dtab: {whole}")], &[format!("l5d-dtab: {half}"), format!("l5d-ctx-dtab: {half}")]];
    for lines in fits {
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        assert_eq!(enter(&policy, &lines).0, Ok(()));
    }
    let exceeds: [&[String]; 3] = [
        &[format!("l5d-dtab: {whole}#")],
        &[format!("l5d-dtab: {half}#"), format!("l5d-ctx-dtab: {half}")],
        &[format!("baggage: dtab={half}"), format!("l5d-dtab: {half}#")],
    ];
    for lines in exceeds {
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let refusal = enter(&policy, &lines).0.unwrap_err();
        assert_eq!(refusal, Refusal::OverrideTooLarge { limit: 8192 });
        assert!(refusal.to_string().contains("more than 8192 bytes"), "{refusal}");
    }
}

#[test]
fn call_depth_counts_all_lines_of_via() {
    let policy = Policy::new(Config { max_call_depth: 3, ..Config::default() });
    let (entered, context, left) = enter(&policy, &["Via: 1.1 a, 1.1 b", "Via: 1.1 c"]);
    assert_eq!((entered, context.call_depth()), (Ok(()), 3));
    assert_eq!(left, ["Via: 1.1 a, 1.1 b", "Via: 1.1 c"]);
    let (entered, _, _) = enter(&policy, &["Via: 1.1 a, 1.1 signpost", "Via: 1.1 c,1.0 d"]);
    assert_eq!(entered, Err(Refusal::CallDepth { limit: 3, passed: 4, own: 1 }));
}

#[test]
fn deadlines_travel_and_a_passed_one_is_refused() {
    let policy = policy(Trust::Everybody);
    let (soon, late) = (now_plus(Duration::from_secs(60)), now_plus(Duration::from_secs(600)));
    let lines = [format!("l5d-ctx-deadline: {}", value(late)), format!("l5d-ctx-deadline: {}", value(soon))];
    let (entered, mut context, _) = enter(&policy, &[&lines[0], "l5d-ctx-deadline: x", &lines[1]]);
    assert_eq!(entered, Ok(()));
    assert_eq!(context.deadline(), Some(late.combined(soon)));

    context.limit(Timestamp::now(), Duration::from_secs(6000));
    assert_eq!(context.deadline().unwrap().deadline, soon.deadline);
    context.limit(Timestamp::now(), Duration::from_secs(6));
    assert!(context.deadline().unwrap().deadline < soon.deadline);

    let passed = enter(&policy, &["l5d-ctx-deadline: 1 2"]).0;
    assert_eq!(passed, Err(Refusal::DeadlinePassed));
}

#[test]
fn a_trace_is_continued() {
    let (_, context, _) =
        enter(&policy(Trust::Everybody), &["l5d-ctx-trace: AAAAAAAAAAMAAAAAAAAAAgAAAAAAAAABAAAAAAAAAAY="]);
    let trace = context.trace();
    assert_eq!((trace.parent, trace.root, trace.flags), (3, 1, 6));
    assert_ne!(trace.span, 3);
}

#[test]
fn a_context_is_used_again_without_a_rest_of_the_last_request() {
    let mut context = Context::new();
    let rich = ["l5d-dtab: /a=>/b", "Via: 1.1 a"];
    policy(Trust::Everybody).enter(&peer(), &mut request(&rich), &mut context).1.unwrap();
    policy(Trust::Nobody).enter(&peer(), &mut request(&["l5d-dtab: x"]), &mut context).1.unwrap();
    assert_eq!((context.overrides(), context.call_depth()), (b"".as_slice(), 0));
    assert_eq!(context.dropped(), 1);
    context.clear();
    assert_eq!(context.dropped(), 0);
}

#[test]
fn a_request_leaves_with_what_the_router_says() {
    let policy = policy(Trust::Everybody);
    let deadline = now_plus(Duration::from_secs(60));
    let line = format!("l5d-ctx-deadline: {}", value(deadline));
    let mut head = request(&[
        "Connection: keep-alive, x-private, l5d-ctx-dtab, via",
        "X-Private: 1",
        "Keep-Alive: 5",
        "Via: 1.0 first",
        "l5d-dtab: /host/world => /srv/world-v2",
        &line,
    ]);
    let mut context = Context::new();
    policy.enter(&peer(), &mut head, &mut context).1.unwrap();
    let overrides = decode_overrides(context.overrides(), policy.override_limits()).unwrap();
    let names = UpstreamNames {
        service: b"/svc/world",
        client: b"/#/io.l5d.fs/world-v2",
        residual: Some(b""),
        overrides: overrides.printed(),
        named_by: &[],
    };
    let hop_by_hop = policy.leave(&peer(), &mut head, &mut context, &names);
    assert_eq!(hop_by_hop.upgrade, None);

    let trace = *context.trace();
    let mut encoded = Vec::new();
    trace.encode(&mut encoded);
    let expected = [
        "Host: hello".to_owned(),
        "Via: 1.0 first, 1.1 signpost".into(),
        "l5d-dst-service: /svc/world".into(),
        "l5d-dst-client: /#/io.l5d.fs/world-v2".into(),
        "l5d-ctx-dtab: /host/world=>/srv/world-v2".into(),
        line,
        format!("l5d-ctx-trace: {}", String::from_utf8(encoded).unwrap()),
        format!("l5d-reqid: {:016x}", trace.root),
    ];
    assert_eq!(fields(&head), expected);

    policy.name_client(&mut head, b"/#/io.l5d.fs/world-v1", Some(b"/rest"));
    assert_eq!(head.get(KnownField::L5dDstClient), Some(b"/#/io.l5d.fs/world-v1".as_slice()));
    assert_eq!(head.get_all(KnownField::L5dDstClient).count(), 1);
    assert_eq!(head.get(KnownField::L5dDstResidual), Some(b"/rest".as_slice()));
    policy.name_client(&mut head, b"/#/io.l5d.fs/world-v1", None);
    assert!(!head.contains(KnownField::L5dDstResidual));
}

#[test]
fn a_strangers_request_leaves_with_nothing_but_what_the_router_says() {
    let policy = policy(Trust::Nobody);
    let mut head = request(&STEERING);
    let mut context = Context::new();
    policy.enter(&peer(), &mut head, &mut context).1.unwrap();
    let names = UpstreamNames {
        service: b"/svc/hello",
        client: b"/c",
        residual: Some(b"/r"),
        overrides: b"",
        named_by: &[],
    };
    policy.leave(&peer(), &mut head, &mut context, &names);
    let left: Vec<String> =
        head.fields().map(|field| String::from_utf8(field.name.to_vec()).unwrap()).collect();
    let ours = [
        "Host",
        "X-Forwarded-For",
        "X-Forwarded-Proto",
        "Via",
        "l5d-dst-service",
        "l5d-dst-client",
        "l5d-dst-residual",
        "l5d-ctx-trace",
        "l5d-reqid",
    ];
    assert_eq!(left, ours);
}

#[test]
fn forwarded_and_the_time_are_added_when_asked_for() {
    let policy = Policy::new(Config {
        forwarded: Some(Forwarded { by: Labeler::Router, from: Labeler::IpPort, ..Forwarded::default() }),
        router: "edge".into(),
        timestamp_header: Some("X-Request-Start".into()),
        trust: Trust::Everybody,
        ..Config::default()
    });
    let names =
        UpstreamNames { service: b"/s", client: b"/c", residual: None, overrides: b"", named_by: &[] };
    let mut context = Context::new();
    let mut head = request(&["Forwarded: for=_first"]);
    policy.enter(&peer(), &mut head, &mut context).1.unwrap();
    policy.leave(&peer(), &mut head, &mut context, &names);
    let forwarded: Vec<&[u8]> = head.get_all(KnownField::Forwarded).collect();
    let ours = b"by=_edge;for=\"192.0.2.43:8080\";host=hello;proto=http";
    assert_eq!(forwarded, [b"for=_first".as_slice(), ours]);
    let time = std::str::from_utf8(head.find(b"x-request-start").unwrap()).unwrap();
    let time = Duration::from_millis(time.parse().unwrap());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    assert!(time <= now && now - time < Duration::from_secs(60), "{time:?}");

    let mut head = request(&["x-request-start: 17"]);
    policy.enter(&peer(), &mut head, &mut context).1.unwrap();
    policy.leave(&peer(), &mut head, &mut context, &names);
    assert_eq!(head.find(b"X-Request-Start"), Some(b"17".as_slice()));
}

#[test]
fn via_says_the_version_a_message_came_in() {
    let policy = policy(Trust::Nobody);
    let names =
        UpstreamNames { service: b"/s", client: b"/c", residual: None, overrides: b"", named_by: &[] };
    for (version, entry) in
        [(Version::Http10, "1.0 signpost"), (Version::Http11, "1.1 signpost"), (Version::Http2, "2 signpost")]
    {
        let mut context = Context::new();
        let mut head = request(&[]);
        head.set_version(version);
        policy.leave(&peer(), &mut head, &mut context, &names);
        assert_eq!(head.get(KnownField::Via), Some(entry.as_bytes()));
        let mut head = response(&["A: b"]);
        head.set_version(version);
        let _ = policy.answer(&mut head, Grant::default());
        assert_eq!(head.get(KnownField::Via), Some(entry.as_bytes()));
    }
}

#[test]
fn an_answer_tells_a_stranger_nothing_of_the_inside() {
    let lines = [
        "Connection: x-private",
        "X-Private: 1",
        "Via: 1.1 world",
        "l5d-err: no",
        "L5d-Success-Class: 1.0",
        "l5d_x: 1",
        "l5d-retryable: true",
        "Content-Type: text/plain",
    ];
    let mut head = response(&lines);
    let answered = policy(Trust::Everybody).answer(&mut head, Grant::new(true));
    assert!(!answered.blank_body);
    let expected = [&["Via: 1.1 world, 1.1 signpost"], &lines[3..]].concat();
    assert_eq!(fields(&head), expected);

    let mut head = response(&lines);
    let answered = policy(Trust::Nobody).answer(&mut head, Grant::default());
    assert!(answered.blank_body);
    assert_eq!(fields(&head), ["Via: 1.1 world, 1.1 signpost", "Content-Type: text/plain"]);

    // Trailers-only of gRPC: what a router says of itself is in the head.
    let call = ["l5d-err: no", "grpc-status: 14", "Grpc-Message: /svc/inside", "grpc-status-details-bin: AA"];
    let mut head = response(&call);
    assert!(policy(Trust::Nobody).answer(&mut head, Grant::default()).blank_body);
    assert_eq!(fields(&head), ["grpc-status: 14", "Via: 1.1 signpost"]);
    let mut head = response(&call[1..]);
    assert!(!policy(Trust::Nobody).answer(&mut head, Grant::default()).blank_body);
    let own =
        ["grpc-status: 14", "Grpc-Message: /svc/inside", "grpc-status-details-bin: AA", "Via: 1.1 signpost"];
    assert_eq!(fields(&head), own, "a service's own message is the caller's");

    let mut head = response(&["l5d-success-class: 1.0"]);
    assert!(!policy(Trust::Nobody).answer(&mut head, Grant::default()).blank_body);
}
