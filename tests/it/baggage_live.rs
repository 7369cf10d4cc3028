//! Baggage over the wire: a dtab in it steers at every hop when its caller is trusted, and reaches no service when not.

use crate::support::either::{Ask, Caller, Echo, Speaks, router};
use crate::support::{Service, TestApp, Wire, one_router, speaking};
use Speaks::{Http1, Http2};
use signpost::context::encode_baggage_value;

/// The protocols of the caller, of the connection between two routers, and of the service.
const WAYS: [[Speaks; 3]; 4] =
    [[Http1, Http1, Http1], [Http2, Http2, Http2], [Http1, Http2, Http1], [Http2, Http1, Http2]];

/// Two routers in a row. Requests pass both only under an override: each has a `/stage` that leads to a service of its
/// own otherwise.
struct TwoHops {
    base: Echo,
    staged: Echo,
    first: TestApp,
    second: TestApp,
}

impl TwoHops {
    async fn start([_, between, service]: [Speaks; 3]) -> Self {
        let (base, staged) = (Echo::start(between).await, Echo::start(service).await);
        let dtab = |base: &str, staged: &str| {
            format!("/svc/* => /stage ; /stage => /v1 ; /v1 => {base} ; /v2 => {staged} ; /v3 => /$/fail")
        };
        let trusting = |protocol, dtab: &str| speaking(protocol, dtab, ", trust: everybody");
        let second = TestApp::start(&trusting(router(service), &dtab("/$/fail", &staged.path()))).await;
        let between_path = format!("/$/inet/127.0.0.1/{}", second.first_address().port());
        let first = TestApp::start(&trusting(router(between), &dtab(&base.path(), &between_path))).await;
        Self { base, staged, first, second }
    }

    async fn stop(self) {
        self.first.stop().await;
        self.second.stop().await;
    }
}

#[tokio::test(flavor = "local")]
async fn a_dtab_in_baggage_steers_at_every_hop_and_travels_by_itself() {
    let lines = [
        "user=alice;admin , dtab=%2Fstage%3D%3E%2Fv2;p , n=%20",
        "dtab=/stage=>/v2",
        "dtab=/stage=>/v3,dtab=/stage=>/v2",
    ];
    for way in WAYS {
        let hops = TwoHops::start(way).await;
        let mut caller = Caller::connect(&hops.first, way[0]).await;
        assert_eq!(caller.get(&[]).await.status, 200);
        hops.base.take_request();
        for line in lines {
            assert_eq!(caller.get(&[("baggage", line)]).await.status, 200, "{way:?} {line}");
            let request = hops.staged.take_request();
            assert_eq!(request.all("baggage"), [line], "{way:?}");
            assert_eq!(request.field("l5d-ctx-dtab"), None, "{way:?}");
        }
        // Several lines, in another order than they count.
        let split = [("l5d-dtab", "/x => /y"), ("baggage", "a=b"), ("baggage", "dtab=/stage=>/v2,c")];
        assert_eq!(caller.get(&split).await.status, 200, "{way:?}");
        let request = hops.staged.take_request();
        assert_eq!(request.all("baggage"), ["a=b", "dtab=/stage=>/v2,c"], "{way:?}");
        assert_eq!(request.field("l5d-ctx-dtab"), Some("/x=>/y"), "{way:?}");
        hops.stop().await;
    }
}

#[tokio::test(flavor = "local")]
async fn the_dtab_in_baggage_is_below_the_headers_and_of_one_decision_with_them() {
    let services = ["base", "baggage", "ctx", "user"];
    let mut started = Vec::new();
    for name in services {
        started.push(Service::saying(name).await);
    }
    let dtab = |at: usize| format!("/svc/world => {}", started[at].path());
    let app = TestApp::start(&one_router(&dtab(0), "")).await;
    let mut client = app.client().await;
    let baggage = format!("baggage: a=b,dtab={}\r\n", encode_baggage_value(dtab(1).as_bytes()));
    let (ctx, user) = (format!("l5d-ctx-dtab: {}\r\n", dtab(2)), format!("l5d-dtab: {}\r\n", dtab(3)));
    // The same requests again are answered from what the router remembers.
    for _ in 0..2 {
        for (fields, expected) in [
            (String::new(), "base"),
            (baggage.clone(), "baggage"),
            (ctx.clone() + &baggage, "ctx"),
            (user.clone() + &baggage, "user"),
            (user.clone() + &ctx + &baggage, "user"),
        ] {
            assert_eq!(client.get("world", &fields).await.text(), expected, "{fields:?}");
        }
        let sent = |at: usize| started[at].take_requests();
        assert_eq!(sent(1)[0].field("l5d-ctx-dtab"), None);
        assert_eq!(sent(2)[0].field("l5d-ctx-dtab"), Some(dtab(2).replace(" => ", "=>").as_str()));
    }
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_trusted_caller_is_told_what_is_wrong_with_its_baggage() {
    let service = Service::saying("hi").await;
    let app = TestApp::start(&one_router(&format!("/svc/* => {}", service.path()), "")).await;
    let mut client = app.client().await;
    let many = ["/a=>/b"; 101].join("%3B");
    for (value, told) in [
        (
            "sd-sandbox=a b",
            "The member sd-sandbox of the header baggage is malformed. Percent-encode its value",
        ),
        ("dtab=/a => /b", "The member dtab of the header baggage is malformed. Percent-encode its value"),
        ("dtab=/a=>/b;", "The member dtab of the header baggage is malformed. Percent-encode its value"),
        ("x=y,dtab=%2Fa%20=%20b", "The member dtab of the header baggage is not a dtab.\n"),
        (&format!("dtab={many}"), "have more than 100 entries"),
    ] {
        let response = client.get("world", &format!("baggage: {value}\r\n")).await;
        response.assert_status(400);
        assert!(response.text().contains(told), "{}", response.text());
    }
    // Other members are the caller's business.
    let odd = "a b,=,\"x, y\",dtab";
    client.get("world", &format!("baggage: {}\r\n", odd.replace("dtab", "dtabs"))).await.assert_status(200);
    assert_eq!(service.take_requests()[0].field("baggage"), Some("a b,=,\"x, y\",dtabs"));
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn what_steers_in_a_strangers_lists_is_cut_out() {
    type Fields = &'static [(&'static str, &'static str)];
    let table: [(Fields, Fields, u64); 8] = [
        (&[("baggage", "dtab=/svc=>/$/fail")], &[], 1),
        (
            &[("baggage", "a=b ,dtab=%2Fsvc=>%2F$%2Ffail;p, c = d;e"), ("baggage", "f=%2C")],
            &[("baggage", "a=b , c = d;e"), ("baggage", "f=%2C")],
            1,
        ),
        (&[("baggage", "sd-routing-key=a,Okteto-Divert=b,user=c")], &[("baggage", "user=c")], 0),
        (&[("baggage", "DTAB=/a=>/b,%64tab=/a=>/b,x=y,a b,dtab=\"")], &[("baggage", "x=y")], 3),
        (
            &[("traceparent", "x"), ("tracestate", "a=b,dtab=/a=>/b,mirrord-session=c"), ("b3", "0")],
            &[("b3", "0")],
            1,
        ),
        (&[("traceparent", "x"), ("tracestate", "a=b")], &[("traceparent", "x"), ("tracestate", "a=b")], 0),
        (
            &[("ot-baggage-dtab", "/a=>/b"), ("uberctx-sd-sandbox", "a"), ("ot-baggage-user", "b")],
            &[("ot-baggage-user", "b")],
            1,
        ),
        (&[("baggage", "user=a;dtab=b , ,c=d ,")], &[("baggage", "user=a;dtab=b , ,c=d ,")], 0),
    ];
    for (caller, service) in [(Http1, Http1), (Http1, Http2), (Http2, Http1), (Http2, Http2)] {
        let echo = Echo::start(service).await;
        let dtab = format!("/svc/* => {}", echo.path());
        let config = speaking(router(service), &dtab, ", trust: nobody");
        let app = TestApp::start(&format!("sandboxes: {{headers: [x-tenant]}}\n{config}")).await;
        let mut client = Caller::connect(&app, caller).await;
        let mut total = 0;
        for (sent, expected, dropped) in table {
            assert_eq!(client.get(sent).await.status, 200, "{sent:?}");
            let mut fields = echo.take_request().fields;
            let is_ours =
                |name: &str| ["l5d-", "x-forwarded-", "via"].iter().any(|ours| name.starts_with(ours));
            fields.retain(|(name, _)| !is_ours(name));
            let arrived: Vec<_> =
                fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            assert_eq!(arrived, expected, "from {caller:?} to {service:?}");
            total += dropped;
            assert_eq!(app.total("dropped_overrides", &[]), total, "{sent:?}");
        }
        let trailers = [
            ("baggage", "dtab=/a=>/b"),
            ("tracestate", "a=b"),
            ("ot-baggage-dtab", "a"),
            ("x-tenant", "a"),
            ("x_tenant", "b"),
            ("x-tenant", "c"),
            ("l5d-dtab", "/a=>/b"),
            ("x-forwarded-for", "a"),
            ("forwarded", "for=a"),
            ("x-end", "b"),
        ];
        let ask = Ask {
            method: "POST",
            target: "/",
            fields: &[("te", "trailers")],
            body: b"hello",
            trailers: &trailers,
            ..Ask::default()
        };
        let seen = client.ask(&ask).await;
        assert_eq!((seen.text(), seen.trailer("x-end")), ("hello", Some("b")));
        assert_eq!(seen.trailers.len(), 1, "{:?}", seen.trailers);
        let kinds = ["override", "tenant", "malformed", "trace", "trailer"];
        let removed = kinds.map(|kind| app.total("removed_from_requests", &[("kind", kind)]));
        assert_eq!(removed, [total, 4, 1, 2, 9], "from {caller:?} to {service:?}");
        app.stop().await;
    }
}

/// `Connection` cannot name the header away at one hop, by which the next would decide otherwise.
#[tokio::test(flavor = "local")]
async fn baggage_outlives_a_connection() {
    let service = Service::saying("hi").await;
    let app = TestApp::start(&one_router(&format!("/svc/* => {}", service.path()), "")).await;
    let mut client = Wire::connect(app.first_address()).await;
    client
        .get("world", "Connection: baggage, x\r\nX: y\r\nbaggage: dtab=/a=>/b\r\n")
        .await
        .assert_status(200);
    let request = service.take_requests().remove(0);
    assert_eq!((request.field("baggage"), request.field("x")), (Some("dtab=/a=>/b"), None));
    app.stop().await;
}
