use super::*;
use crate::context::{Removals, Tenancy};
use crate::message::HeadLimits;

const LIMITS: HeadLimits = HeadLimits { line: 8192, fields_bytes: 65536, fields: 200 };

/// Returns the lines that are left of a request, and what was removed.
fn left<T: AsRef<str>>(target: &str, lines: &[T], tenancy: &Tenancy) -> (Vec<String>, Removals) {
    let lines: String = lines.iter().map(|line| format!("{}\r\n", line.as_ref())).collect();
    let text = format!("GET {target} HTTP/1.1\r\n{lines}\r\n");
    let mut head = Head::new();
    assert_eq!(head.parse_request(text.as_bytes(), &LIMITS), Ok(Some(text.len())));
    let mut context = Context::new();
    drop_steering(&mut head, &SteeringNames::new(tenancy), &mut context);
    let mut written = Vec::new();
    head.write(&mut written);
    let written = String::from_utf8(written).unwrap();
    let left = written.split("\r\n").filter(|line| !line.is_empty());
    (left.map(str::to_owned).collect(), *context.removals())
}

/// Returns the field lines that are left of a request, and the number of overrides among those that went.
fn cut<T: AsRef<str>>(lines: &[T]) -> (Vec<String>, u32) {
    let (mut left, removals) = left("/", lines, &Tenancy::default());
    assert_eq!(left.remove(0), "GET / HTTP/1.1");
    (left, removals.of(RemovalKind::Override))
}

/// Returns the target that is left of one, and the number of tenants that went.
fn cut_target(target: &str) -> (String, u32) {
    let tenancy = Tenancy { query_parameter: Some("tenant".into()), ..Tenancy::default() };
    let (left, removals) = left(target, &["Host: tenant=x"], &tenancy);
    let first = left.first().and_then(|line| line.split(' ').nth(1)).unwrap();
    (first.to_owned(), removals.of(RemovalKind::Tenant))
}

#[test]
fn members_that_steer_are_cut_out() {
    let table: [(&[&str], &[&str], u32); 21] = [
        (&["baggage: dtab=/a=>/b"], &[], 1),
        (&["baggage: a=b,dtab=/a=>/b"], &["baggage: a=b"], 1),
        (&["baggage: dtab=/a=>/b,a=b"], &["baggage: a=b"], 1),
        (&["baggage: dtab=/a=>/b , a=b ;c, d = e "], &["baggage: a=b ;c, d = e"], 1),
        (&["Baggage: a=b ,\tdtab=c,\td=e,, dtab=f;g ,"], &["Baggage: a=b ,\td=e"], 2),
        (&["BAGGAGE:a=b,sd-routing-key=c,sd-sandbox=d,e=f"], &["BAGGAGE: a=b,e=f"], 0),
        (&["baggage: okteto-divert=a,mirrord-session=b"], &[], 0),
        (
            &["baggage: a=1,dtab=2", "x: y", "baggage: dtab=3", "Baggage:  b=4"],
            &["baggage: a=1", "x: y", "Baggage:  b=4"],
            2,
        ),
        // Spellings that a library may read as the key.
        (&["baggage: DTAB=a,d%74ab=b,%2564tab=c,+dtab=d,x=y"], &["baggage: x=y"], 4),
        (&["baggage: SD-Sandbox=a,sd%2drouting-key=b,x=y"], &["baggage: x=y"], 0),
        // Fields that some libraries read as baggage.
        (
            &["Correlation-Context: dtab=%2Fa,x=y", "jaeger_baggage: sd-sandbox=a"],
            &["Correlation-Context: x=y"],
            1,
        ),
        (
            &["correlation_context: dtab = /a=>/b", "Jaeger-Baggage: a=b, c=d"],
            &["Jaeger-Baggage: a=b, c=d"],
            1,
        ),
        // Malformed members.
        (&["baggage: a=b c,d=e"], &["baggage: d=e"], 0),
        (&["baggage: a,b=\"c,d=e\",f=g;,h=i"], &["baggage: h=i"], 0),
        (&["baggage: dtab=/a => /b,dtab,dtab;x=y,a=b"], &["baggage: a=b"], 3),
        (&["baggage: x;dtab=/a=>/b,a=b"], &["baggage: a=b"], 0),
        (&["traceparent: x", "tracestate: a=b", "TraceState: DTAB=c", "b3: 0"], &["b3: 0"], 1),
        (&["tracestate: a=b,mirrord-session=d,e=\"f\" g", "TraceParent: x"], &[], 0),
        (&["ot-baggage-dtab: a", "OT_Baggage_DTAB: b", "ot-baggage-dtabs: c"], &["ot-baggage-dtabs: c"], 2),
        (&["uberctx-sd-sandbox: a", "Uberctx-sd_routing_key: b", "uberctx-a: c"], &["uberctx-a: c"], 0),
        (&["ot-baggage-%64tab: a", "ot-baggage-okteto-divert: b", "uberctx-: c"], &["uberctx-: c"], 1),
    ];
    for (lines, left, dropped) in table {
        let left: Vec<String> = left.iter().map(|line| (*line).to_owned()).collect();
        assert_eq!(cut(lines), (left, dropped), "{lines:?}");
    }
}

#[test]
fn a_list_without_them_stays_as_it_came() {
    let lines = [
        "Baggage:  a=b , ,c = d;e = f ; g,",
        "baggage:",
        "baggage: ,",
        "BAGGAGE:x=dtab,dtabs=1,sd_sandbox=2,tenant=3,a=1;dtab=2,%64=%2Fa%3D%3E%2Fb,d-tab=4",
        "tracestate: a=b;dtab=c,a b, =,dtab@x=y",
        "traceparent: dtab=x",
        "ot-baggage-userid: dtab=/a=>/b",
        "jaeger-debug-id: dtab=/a=>/b",
    ];
    assert_eq!(cut(&lines), (lines.map(str::to_owned).to_vec(), 0));
}

#[test]
fn what_is_written_is_within_the_limits_of_baggage_and_what_is_not_is_left_alone() {
    let member = "a=0123456789";
    let many = |count: usize| format!("baggage: {}", [member].repeat(count).join(","));
    assert_eq!(cut(&[many(100)]).0, [many(100)], "nothing is ours");
    assert_eq!(cut(&[many(100) + ",dtab=x"]).0, [many(64)]);
    assert_eq!(cut(&[many(60), many(60) + ",dtab=x"]).0, [many(60), many(4)]);
    let long = format!("b={}", "x".repeat(8192 - "a=0123456789,b=".len()));
    let fits = format!("{member},{long}");
    assert_eq!(cut(&[format!("baggage: dtab=x,{fits}")]).0, [format!("baggage: {fits}")]);
    let exceeds = format!("baggage: dtab=x,{fits}x,c=d");
    assert_eq!(cut(&[exceeds]).0, [format!("baggage: {member},c=d")], "a whole member goes");
}

#[test]
fn the_query_parameter_is_cut_out() {
    for (target, left, removed) in [
        ("/a", "/a", 0),
        ("/tenant=x", "/tenant=x", 0),
        ("/a?", "/a?", 0),
        ("/a?b=tenant&c", "/a?b=tenant&c", 0),
        ("/a?tenants=x&xtenant=y&te/nant", "/a?tenants=x&xtenant=y&te/nant", 0),
        ("/a?tenant=x", "/a", 1),
        ("/a?tenant", "/a", 1),
        ("/a?tenant=x&b=%2F", "/a?b=%2F", 1),
        ("/a?b=1&&tenant=x", "/a?b=1&", 1),
        ("/a?b=1&tenant=x&c=2", "/a?b=1&c=2", 1),
        ("/a?&tenant=x&&b", "/a?&&b", 1),
        ("/a?tenant=x&tenant=y", "/a", 2),
        ("/a?b?tenant=x&tenant=y?z&c=?", "/a?b?tenant=x&c=?", 1),
        ("/a?%74enant=x&Tenant=y&%2574ENANT&b+=c", "/a?b+=c", 3),
        ("/a?+tenant=x&b", "/a?b", 1),
        ("/a?b;tenant=x&c;d", "/a?b;c;d", 1),
        ("/a?b;c&tenant=x;", "/a?b;c&", 1),
        ("http://h/a?b&tenant=x", "http://h/a?b", 1),
        ("http://h?tenant=x", "http://h", 1),
        ("*", "*", 0),
    ] {
        assert_eq!(cut_target(target), (left.to_owned(), removed), "{target}");
    }
}

#[test]
fn headers_that_carry_a_tenant_go_in_any_spelling() {
    let tenancy = Tenancy { headers: vec!["X-Tenant".into(), "space".into()], ..Tenancy::default() };
    let lines = ["x-tenant: a", "X_Tenant: b", "x-tenants: c", "SPACE: d", "a: x-tenant"];
    let (left, removals) = left("/?tenant=x", &lines, &tenancy);
    assert_eq!(left, ["GET /?tenant=x HTTP/1.1", "x-tenants: c", "a: x-tenant"]);
    assert_eq!(removals.of(RemovalKind::Tenant), 3);
}

#[test]
fn what_goes_is_counted_by_kind() {
    let lines = [
        "l5d-dtab: /a=>/b",
        "L5D_Ctx_Dtab: x",
        "x-dtab-00-a: x",
        "l5d-reqid: 1",
        "l5d_x: 1",
        "baggage: dtab=x,sd-sandbox=y,a b,c=d",
        "tracestate: dtab=x,mirrord-session=y,a=b",
        "tracestate: c=d",
        "traceparent: e",
        "ot-baggage-sd-sandbox: x",
        "accept: *",
    ];
    let (left, removals) = left("/", &lines, &Tenancy::default());
    assert_eq!(left, ["GET / HTTP/1.1", "baggage: c=d", "accept: *"]);
    let counts = RemovalKind::ALL.map(|kind| (kind.name(), removals.of(kind)));
    assert_eq!(
        counts,
        [
            ("override", 5),
            ("l5d", 2),
            ("tenant", 3),
            ("malformed", 1),
            ("trace", 3),
            ("forwarded", 0),
            ("trailer", 0)
        ]
    );
    assert!(!removals.is_empty());
}
