//! The cases of W3C's test suites, as a router without spans of its own has to answer them.
//!
//! The harness of Trace Context drives a service, which has to continue a valid trace and to begin a new one in place of a
//! broken one. A router that has no span is no part of a trace: it passes `traceparent` and `tracestate` as they came,
//! right or wrong, and leaves them to the next service (Trace Context, 4: a pass-through proxy changes neither). Only
//! a stranger's trace may have to end here: see the last test.

use super::{Config, Context, Peer, Policy, Trust, UpstreamNames};
use crate::message::{Head, HeadLimits};

const LIMITS: HeadLimits = HeadLimits { line: 8192, fields_bytes: 65536, fields: 200 };

/// Returns the lines of a request behind the router, without those that it writes itself.
fn carried<T: AsRef<str>>(trust: Trust, lines: &[T]) -> Vec<String> {
    let lines: String = lines.iter().map(|line| format!("{}\r\n", line.as_ref())).collect();
    let text = format!("GET / HTTP/1.1\r\n{lines}\r\n");
    let (mut head, mut context) = (Head::new(), Context::new());
    assert_eq!(head.parse_request(text.as_bytes(), &LIMITS), Ok(Some(text.len())), "{lines}");
    let peer = Peer::new(([192, 0, 2, 43], 8080).into(), ([192, 0, 2, 1], 4140).into());
    let policy = Policy::new(Config { trust, ..Config::default() });
    assert_eq!(policy.enter(&peer, &mut head, &mut context).1, Ok(()), "{lines}");
    let names =
        UpstreamNames { service: b"/s", client: b"/c", residual: None, overrides: b"", named_by: &[] };
    let _ = policy.leave(&peer, &mut head, &mut context, &names);
    let mut written = Vec::new();
    head.write(&mut written);
    let written = String::from_utf8(written).unwrap();
    let is_ours = |line: &&str| ["l5d-", "Via: ", "X-Forwarded-"].iter().any(|ours| line.starts_with(ours));
    written
        .split("\r\n")
        .skip(1)
        .filter(|line| !line.is_empty() && !is_ours(line))
        .map(str::to_owned)
        .collect()
}

/// The name of a case, with the lines of its requests.
type Case = (&'static str, Vec<Vec<String>>);

/// The id of a trace, and that of a span in it.
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";

/// Returns a `traceparent` that is right.
fn valid() -> String {
    format!("traceparent: 00-{TRACE}-{SPAN}-01")
}

/// Returns requests with one `traceparent` each, made of one of the parts.
fn parents(parts: &[&str], parent: impl Fn(&str) -> String) -> Vec<Vec<String>> {
    parts.iter().map(|part| vec![format!("traceparent: {}", parent(part))]).collect()
}

/// Returns requests with a right `traceparent` and these lines of `tracestate`.
fn states<L: AsRef<[S]>, S: AsRef<str>>(requests: &[L]) -> Vec<Vec<String>> {
    let line = |state: &S| format!("tracestate: {}", state.as_ref());
    let lines = |states: &L| [valid()].into_iter().chain(states.as_ref().iter().map(line)).collect();
    requests.iter().map(lines).collect()
}

/// Returns the cases of `test/test.py` in the repository of W3C's Trace Context.
fn trace_context() -> Vec<Case> {
    let broken = format!("traceparent: 00-{}-{SPAN}-01", "0".repeat(32));
    let advanced = [
        ("multiple_requests_with_valid_traceparent", vec![vec![valid()]; 3]),
        ("multiple_requests_without_traceparent", vec![Vec::new(); 3]),
        ("multiple_requests_with_illegal_traceparent", vec![vec![broken]; 3]),
    ];
    [traceparent_cases(), tracestate_cases(), advanced.to_vec()].concat()
}

fn traceparent_cases() -> Vec<Case> {
    let versions = |parts: &[&str]| parents(parts, |version| format!("{version}-{TRACE}-{SPAN}-01"));
    let traces = |parts: &[&str]| parents(parts, |trace| format!("00-{trace}-{SPAN}-01"));
    let spans = |parts: &[&str]| parents(parts, |span| format!("00-{TRACE}-{span}-01"));
    let flags = |parts: &[&str]| parents(parts, |flags| format!("00-{TRACE}-{SPAN}-{flags}"));
    let names = |names: &[&str]| -> Vec<Vec<String>> {
        names.iter().map(|name| vec![valid().replace("traceparent", name)]).collect()
    };
    vec![
        ("both_traceparent_and_tracestate_missing", vec![Vec::new()]),
        ("traceparent_included_tracestate_missing", vec![vec![valid()]]),
        ("traceparent_duplicated", vec![vec![valid(), valid().replace("0af", "0ae")]]),
        ("traceparent_header_name", names(&["trace-parent", "trace.parent"])),
        ("traceparent_header_name_valid_casing", names(&["TraceParent", "TrAcEpArEnT", "TRACEPARENT"])),
        ("traceparent_version_0x00", flags(&["01.", "01-what-the-future-will-be-like"])),
        (
            "traceparent_version_0xcc",
            parents(&["", "-what-the-future-will-be-like", ".what-the-future-will-be-like"], |rest| {
                format!("cc-{TRACE}-{SPAN}-01{rest}")
            }),
        ),
        ("traceparent_version_0xff", versions(&["ff"])),
        ("traceparent_version_illegal_characters", versions(&[".0", "0."])),
        ("traceparent_version_too_long", versions(&["000", "0000"])),
        ("traceparent_version_too_short", versions(&["0"])),
        ("traceparent_trace_id_all_zero", traces(&[&"0".repeat(32)])),
        (
            "traceparent_trace_id_illegal_characters",
            traces(&[&TRACE.replacen('0', ".", 1), &TRACE.replace("9c", "9.")]),
        ),
        ("traceparent_trace_id_too_long", traces(&[&format!("{TRACE}3")])),
        ("traceparent_trace_id_too_short", traces(&[&TRACE.replace("9c", "9")])),
        ("traceparent_parent_id_all_zero", spans(&["0000000000000000"])),
        ("traceparent_parent_id_illegal_characters", spans(&[".7ad6b7169203331", "b7ad6b716920333."])),
        ("traceparent_parent_id_too_long", spans(&["b7ad6b71692033317"])),
        ("traceparent_parent_id_too_short", spans(&["b7ad6b716920333"])),
        ("traceparent_trace_flags_illegal_characters", flags(&[".0", "0."])),
        ("traceparent_trace_flags_too_long", flags(&["001"])),
        ("traceparent_trace_flags_too_short", flags(&["1"])),
        (
            "traceparent_ows_handling",
            parents(&[" *", "\t*", "* ", "*\t", "\t * \t"], |blanks| {
                blanks.replace('*', &format!("00-{TRACE}-{SPAN}-01"))
            }),
        ),
    ]
}

fn tracestate_cases() -> Vec<Case> {
    let names = |names: &[&str]| -> Vec<Vec<String>> {
        names.iter().map(|name| vec![valid(), format!("{name}: foo=1")]).collect()
    };
    let members = |from: usize, to: usize| {
        (from..=to).map(|at| format!("bar{at:02}={at:02}")).collect::<Vec<_>>().join(",")
    };
    let up_to = |most: usize| [members(1, 10), members(11, 20), members(21, 30), members(31, most)];
    let keys = [(256, ""), (257, ""), (241, "@vvvvvvvvvvvvvv"), (242, "@v"), (1, "@vvvvvvvvvvvvvvv")];
    let keys = keys.map(|(length, vendor)| ["foo=1".to_owned(), format!("{}{vendor}=1", "z".repeat(length))]);
    let characters: String = (' '..='~').filter(|letter| !matches!(letter, ',' | '=')).collect();
    let all = ["", "@a-z0-9_-*/"]
        .map(|vendor| [format!("abcdefghijklmnopqrstuvwxyz0123456789_-*/{vendor}={characters}")]);
    vec![
        (
            "tracestate_included_traceparent_missing",
            vec![vec!["tracestate: foo=1".into()], vec!["tracestate: foo=1,bar=2".into()]],
        ),
        ("tracestate_included_traceparent_included", states(&[&["foo=1,bar=2"]])),
        ("tracestate_header_name", names(&["trace-state", "trace.state"])),
        ("tracestate_header_name_valid_casing", names(&["TraceState", "TrAcEsTaTe", "TRACESTATE"])),
        ("tracestate_empty_header", states(&[&[""][..], &["foo=1", ""], &["", "foo=1"]])),
        (
            "tracestate_multiple_headers_different_keys",
            states(&[&["foo=1,bar=2", "rojo=1,congo=2", "baz=3"]]),
        ),
        (
            "tracestate_duplicated_keys",
            states(&[&["foo=1,foo=1"][..], &["foo=1,foo=2"], &["foo=1", "foo=1"], &["foo=1", "foo=2"]]),
        ),
        ("tracestate_all_allowed_characters", states(&all)),
        (
            "tracestate_ows_handling",
            states(&[
                &["foo=1 \t , \t bar=2, \t baz=3"],
                &["foo=1\t \t,\t \tbar=2,\t \tbaz=3"],
                &[" foo=1"],
                &["\tfoo=1"],
                &["foo=1 "],
                &["foo=1\t"],
                &["\t foo=1 \t"],
            ]),
        ),
        ("tracestate_key_illegal_characters", states(&[&["foo =1"], &["FOO=1"], &["foo.bar=1"]])),
        (
            "tracestate_key_illegal_vendor_format",
            states(&[&["foo@=1,bar=2"], &["@foo=1,bar=2"], &["foo@@bar=1,bar=2"], &["foo@bar@baz=1,bar=2"]]),
        ),
        ("tracestate_member_count_limit", states(&[up_to(32), up_to(33)])),
        ("tracestate_key_length_limit", states(&keys)),
        ("tracestate_value_illegal_characters", states(&[&["foo=bar=baz"], &["foo=,bar=3"]])),
    ]
}

#[test]
fn a_trace_passes_as_it_came() {
    for (name, requests) in trace_context() {
        for lines in requests {
            for trust in [Trust::Everybody, Trust::Nobody] {
                assert_eq!(carried(trust, &lines), lines, "{name}");
            }
        }
    }
}

#[test]
fn b3_passes_as_it_came() {
    let (trace, span) = ("80f198ee56343ba864fe8b2a57d3eff7", "e457b5a2e4d86bd1");
    for lines in [
        vec![format!("b3: {trace}-{span}-1-05e3ac9a4f6e3b90")],
        vec!["b3: 0".to_owned()],
        vec!["b3: dtab=/a=>/b".to_owned(), "X-B3-Flags: 1".to_owned()],
        vec![format!("X-B3-TraceId: {trace}"), format!("x-b3-spanid: {span}"), "X-B3-Sampled: 1".to_owned()],
    ] {
        for trust in [Trust::Everybody, Trust::Nobody] {
            assert_eq!(carried(trust, &lines), lines);
        }
    }
}

/// The limits in `test/test_baggage.py` in the repository of W3C's Baggage: what is within them passes, and what is beyond
/// them too when nothing of it is cut.
#[test]
fn baggage_of_any_size_passes_as_it_came() {
    let many =
        |count: usize| (0..count).map(|at| format!("{at:03}=0123456789a")).collect::<Vec<_>>().join(",");
    let long = format!("a={}", "0123456789".repeat(819));
    for value in [many(64), long, many(512) + "b", many(1000)] {
        let lines = [format!("baggage: {value}")];
        for trust in [Trust::Everybody, Trust::Nobody] {
            assert_eq!(carried(trust, &lines), lines);
        }
    }
}

/// A stranger whose `tracestate` steers is not continued: the trace begins anew behind the router, with nothing of what it
/// sent.
#[test]
fn a_strangers_trace_ends_where_its_tracestate_steers() {
    for (name, requests) in trace_context() {
        for mut lines in requests {
            let is_of_the_trace = |line: &String| {
                let name = line.split(':').next().unwrap_or_default();
                ["traceparent", "tracestate"].iter().any(|field| name.eq_ignore_ascii_case(field))
            };
            let others: Vec<String> = lines.iter().filter(|line| !is_of_the_trace(line)).cloned().collect();
            lines.push("tracestate: foo=1,sd-sandbox=x".to_owned());
            assert_eq!(carried(Trust::Nobody, &lines), others, "{name}");
            assert_eq!(carried(Trust::Everybody, &lines), lines, "{name}");
        }
    }
}
