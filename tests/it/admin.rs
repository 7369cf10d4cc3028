//! What the admin server shows of the running app.

use crate::support::{
    Message, Names, Service, TestApp, Wire, ok, one_router, read, routing_to, until, with_servers, within,
};
use serde_json::json;

/// Asks the admin server for a page.
async fn get(app: &TestApp, target: &str) -> Message {
    ask(app, &format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await
}

/// Sends a request to the admin server.
async fn ask(app: &TestApp, request: &str) -> Message {
    Wire::connect(app.running().admin()).await.ask(request).await
}

#[tokio::test(flavor = "local")]
async fn each_page_says_what_may_be_asked() {
    let app = TestApp::start(&one_router("", "")).await;
    assert!(app.running().admin().ip().is_loopback());
    let mut admin = Wire::connect(app.running().admin()).await;
    for (request, status, allow) in [
        ("GET /admin/ping", 200, None),
        ("GET /admin/live", 200, None),
        ("GET /admin/ready", 200, None),
        ("GET /elsewhere", 404, None),
        ("GET /admin/", 404, None),
        ("DELETE /admin/ping", 405, Some("GET, HEAD")),
        ("GET /admin/shutdown", 405, Some("POST")),
        ("HEAD /admin/shutdown", 405, Some("POST")),
    ] {
        admin.send(format!("{request} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        let head = admin.head().await;
        assert_eq!((head.status(), head.field("allow")), (status, allow), "{request}");
        assert_eq!(head.field("x-content-type-options"), Some("nosniff"), "{request}");
        assert!(head.field("content-security-policy").is_some(), "{request}");
        if !request.starts_with("HEAD") {
            let length = head.field("content-length").unwrap().parse().unwrap();
            admin.reader.bytes(length).await;
        }
    }
    assert_eq!(get(&app, "/admin/ping").await.text(), "pong");
    assert_eq!(get(&app, "/admin/ready").await.text(), "ready\n");
    app.stop().await;
    admin.assert_gone().await;
}

#[tokio::test(flavor = "local")]
async fn head_is_get_without_the_body() {
    let app = TestApp::start(&one_router("", "")).await;
    let mut admin = Wire::connect(app.running().admin()).await;
    admin.send("HEAD /admin/ping HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let head = admin.head().await;
    assert_eq!((head.status(), head.field("content-length")), (200, Some("4")));
    assert_eq!(admin.ask("GET /admin/ping HTTP/1.1\r\nHost: a\r\n\r\n").await.text(), "pong");
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn the_index_lists_the_pages() {
    let app = TestApp::start(&one_router("", "")).await;
    for path in ["/", "/admin"] {
        let list = get(&app, path).await;
        assert!(list.text().contains("/admin/ping  answers"), "{list:?}");
        assert!(list.text().contains("\nPOST /admin/shutdown  stops"), "{list:?}");
        let page = format!("GET {path} HTTP/1.1\r\nHost: a\r\nAccept: text/html,*/*\r\n\r\n");
        let page = ask(&app, &page).await;
        assert_eq!(page.field("content-type"), Some("text/html; charset=utf-8"));
        assert!(page.text().contains("<a href=\"/admin/ping\">"), "{page:?}");
        assert!(!page.text().contains("href=\"/admin/shutdown\""), "{page:?}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_stop_can_be_asked_for_but_not_by_another_sites_page() {
    let app = TestApp::start(&one_router("", "")).await;
    for fields in ["Host: localhost\r\nOrigin: http://evil.example", "Host: evil.example"] {
        let refused = ask(&app, &format!("POST /admin/shutdown HTTP/1.1\r\n{fields}\r\n\r\n")).await;
        assert_eq!(refused.status(), 403, "{fields}");
    }
    let asked = ask(&app, "POST /admin/shutdown HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!((asked.status(), asked.text()), (200, "stopping\n"));
    within("being asked", app.running().stop_asked()).await;
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn requests_that_came_through_a_router_are_refused() {
    let app = TestApp::start(&one_router("", "")).await;
    let admin = app.running().admin();
    let other = TestApp::start(&routing_to(&format!("/$/inet/{}/{}", admin.ip(), admin.port()))).await;
    let (mut http1, mut http2) = (other.client().await, other.h2_client().await);
    for fields in [
        "",
        "Connection: via, l5d-dst-service, l5d-dst-client\r\n",
        "Via: 1.1 first (\r\nConnection: VIA\r\nConnection: close, L5D-Dst-Client\r\n",
    ] {
        for line in ["GET /admin/ping", "GET /config.json", "GET /nowhere", "POST /admin/shutdown"] {
            let mut client = other.client().await;
            let told = client.ask(format!("{line} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n")).await;
            assert_eq!(told.status(), 403, "{line} {fields}: {told:?}");
            assert!(told.text().starts_with("the request came through a router"), "{told:?}");
        }
    }
    let old = http1.ask("GET /admin/ping HTTP/1.0\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(old.status(), 403, "{old:?}");
    http2.get("localhost", &[]).await.assert_status(403);
    assert!(!app.is_asked_to_stop().await);
    assert_eq!(get(&app, "/admin/ping").await.text(), "pong");
    other.stop().await;
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_head_of_too_many_fields_is_refused() {
    let app = TestApp::start(&one_router("", "")).await;
    let request = format!("GET /admin/ping HTTP/1.1\r\nHost: a\r\n{}\r\n", "A: b\r\n".repeat(200));
    assert_eq!(ask(&app, &request).await.status(), 431);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn what_is_counted_is_shown() {
    let service = Service::start(async |request| match request.first_line() {
        "GET /bad HTTP/1.1" => "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n".to_owned(),
        _ => ok("fine"),
    })
    .await;
    for workers in [0, 2] {
        let yaml = routing_to(&service.path());
        let app = match workers {
            0 => TestApp::start(&yaml).await,
            workers => TestApp::start_workers(&yaml, workers).await,
        };
        let (mut client, mut gone) = (app.client().await, app.client().await);
        for target in ["/", "/bad", "/"] {
            client.ask(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        }
        gone.ask("GET / HTTP/1.1\r\nHost: a\r\nl5d-dtab: /nonsense\r\n\r\n").await.assert_status(400);
        gone.ask("GET / HTTP/1.1\r\n\r\n").await.assert_status(400);
        gone.assert_gone().await;

        let address = app.address("http", 0);
        let server = format!("rt/http/server/{}/{}", address.ip(), address.port());
        let flat = format!("/admin/metrics.json?q={server}");
        until("one connection is left", async || app.json(&flat).await["connections"] == 1).await;
        let shown = app.json(&flat).await;
        for (name, count) in [
            ("connects", 2),
            // The request without a host, which was refused, is one.
            ("requests", 5),
            ("success", 2),
            ("failures", 3),
            ("failures/caller", 2),
            ("failures/response", 1),
            ("failures/router", 0),
            ("status/2XX", 2),
            ("status/4XX", 2),
            ("status/5XX", 1),
            ("request_latency_ms.count", 4),
        ] {
            assert_eq!(shown[name], count, "{name}: {shown}");
        }
        let all = app.json("/admin/metrics.json?pretty=true").await;
        assert_eq!(all[&format!("{server}/requests")], 5);
        let tree = app.json("/admin/metrics.json?tree=1&q=rt/http/server").await;
        let (ip, port) = (address.ip().to_string(), address.port().to_string());
        assert_eq!(tree[ip][port]["requests"], json!({ "counter": 5 }));
        let missing = get(&app, "/admin/metrics.json?q=rt/%22none%22").await;
        assert_eq!((missing.status(), missing.text()), (404, r#"{"error":"No such subtree: rt/\"none\""}"#));

        let text = get(&app, "/admin/metrics/prometheus").await;
        let labels = format!("router=\"http\",server=\"{}/{}\"", address.ip(), address.port());
        let line = format!("signpost_requests_total{{{labels}}} 5");
        assert!(text.text().lines().any(|found| found == line), "{line}\n{}", text.text());
        app.stop().await;
    }
}

#[tokio::test(flavor = "local")]
async fn names_and_endpoints_are_shown() {
    let service = Service::saying("hi").await;
    let names = Names::new();
    names.write("web", &[service.address()]);
    names.write("api", &[]);
    for workers in [0, 2] {
        let yaml =
            names.namer() + &one_router("/svc => /#/io.l5d.fs ; /svc/direct => /$/inet/127.0.0.1/1", "");
        let app = match workers {
            0 => TestApp::start(&yaml).await,
            workers => TestApp::start_workers(&yaml, workers).await,
        };
        assert_eq!(app.json("/bound-names.json").await, json!(["/#/io.l5d.fs/api", "/#/io.l5d.fs/web"]));
        assert_eq!(app.json("/client_state.json").await, json!({}));
        let mut client = app.client().await;
        assert_eq!(client.get("web", "").await.text(), "hi");
        client.get("direct", "").await.assert_status(502);

        let addresses = [service.address().to_string()];
        assert_eq!(
            app.json("/client_state.json").await,
            json!({
                "/#/io.l5d.fs/web": { "state": "bound", "addresses": addresses },
                "/$/inet/127.0.0.1/1": {
                    "state": "bound",
                    "addresses": ["127.0.0.1:1"],
                    "failing": { "127.0.0.1:1": { "state": "alive", "failures": 1 } },
                },
            })
        );
        let all = json!(["/#/io.l5d.fs/api", "/#/io.l5d.fs/web", "/$/inet/127.0.0.1/1"]);
        assert_eq!(app.json("/bound-names.json").await, all);
        let state = app.json("/namer_state/io.l5d.fs.json").await;
        assert_eq!(state["rootDir"], names.path());
        assert_eq!(state["files"], json!({ "/web": { "endpoints": 1, "bad": 0, "badLines": [] } }));
        let missing = get(&app, "/namer_state/io.l5d.none.json").await;
        assert_eq!(missing.status(), 404);
        assert!(missing.text().ends_with("those that have one: io.l5d.fs\n"), "{missing:?}");
        app.stop().await;
    }
}

#[tokio::test(flavor = "local")]
async fn the_configuration_is_shown() {
    let yaml = one_router("/svc => /host", ", trust: nobody");
    let app = TestApp::start(&yaml).await;
    let shown = app.json("/config.json?pretty=1").await;
    assert_eq!(shown, read(&yaml).to_json());
    assert_eq!(shown["routers"][0]["dtab"], "/svc=>/host");
    app.stop().await;
}

/// A router whose dtab says a little of everything.
const DTAB: &str = "/a => /b ; /b => ~ ; /b => /$/inet/127.0.0.1/80 ; /svc => /a";

/// Asks the delegator with a body.
async fn delegate(app: &TestApp, body: &str) -> Message {
    let length = body.len();
    let head = "POST /delegator.json HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
    ask(app, &format!("{head}Content-Length: {length}\r\n\r\n{body}")).await
}

#[tokio::test(flavor = "local")]
async fn the_delegator_answers_with_linkerds_tree() {
    let app = TestApp::start(&one_router(DTAB, "")).await;
    let expected = concat!(
        r#"{"type":"delegate","path":"/a/x","taken":true,"delegate":"#,
        r#"{"type":"alt","path":"/b/x","dentry":{"prefix":"/a","dst":"/b"},"entry":0,"taken":true,"alt":["#,
        r#"{"type":"leaf","path":"/$/inet/127.0.0.1/80/x","dentry":{"prefix":"/b","dst":"/$/inet/127.0.0.1/80"},"#,
        r#""entry":2,"taken":true,"#,
        r#""bound":{"addr":{"type":"bound","addrs":[{"ip":"127.0.0.1","port":80,"meta":{}}],"meta":{}},"#,
        r#""id":"/$/inet/127.0.0.1/80","path":"/x"}},"#,
        r#"{"type":"neg","path":"~","dentry":{"prefix":"/b","dst":"~"},"entry":1,"taken":false}]},"#,
        r#""outcome":"/$/inet/127.0.0.1/80/x"}"#,
    );
    let answer = get(&app, "/delegator.json?namespace=http&path=/a/x").await;
    assert_eq!((answer.status(), answer.text()), (200, expected));
    assert_eq!(answer.field("content-type"), Some("application/json"));
    assert_eq!(get(&app, "/delegator.json?path=%2Fa%2Fx").await.text(), expected, "there is one router");
    for body in [
        r#"{"namespace":"http","dtab":"","path":"/a/x"}"#,
        r#"{"path":"/a/x"}"#,
        r#"{"path":"/a/x","more":1}"#,
    ] {
        assert_eq!(delegate(&app, body).await.text(), expected, "{body}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn the_delegator_adds_the_routers_dtab_unless_another_is_sent() {
    let app = TestApp::start(&one_router(DTAB, "")).await;
    for (target, outcome) in [
        ("path=/svc", "/$/inet/127.0.0.1/80"),
        ("path=/svc&dtab=/b=>/$/inet/127.0.0.1/81", "/$/inet/127.0.0.1/81"),
        ("path=/svc&dtab=/b%3D%3E!", "! (fails on purpose)"),
        ("path=/svc&baseDtab=", "~ (no such name)"),
        ("path=/svc&baseDtab=/svc=>/b&dtab=/b=>/$/inet/127.0.0.1/81", "/$/inet/127.0.0.1/81"),
        (
            "path=/svc&dtab=/b=>3*/$/inet/127.0.0.1/81%261*/$/inet/127.0.0.1/82",
            "3*/$/inet/127.0.0.1/81 & /$/inet/127.0.0.1/82",
        ),
        ("path=/svc&dtab=/b=>/a", "failed: Max recursion level: 100 reached in Namer lookup"),
    ] {
        // A loop is deeper than a parser of JSON goes, so the end alone is looked at.
        let answer = get(&app, &format!("/delegator.json?{}", target.replace('>', "%3E"))).await;
        let end = format!("\"outcome\":\"{outcome}\"}}");
        assert!(answer.status() == 200 && answer.text().ends_with(&end), "{target}: {}", answer.text());
    }
    let shown = app.json("/routers.json").await;
    assert_eq!((&shown[0]["label"], &shown[0]["dstPrefix"]), (&json!("http"), &json!("/svc")));
    assert_eq!(shown[0]["dtab"][3], json!({ "prefix": "/svc", "dst": "/a" }));
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn the_delegator_tells_what_became_of_an_override_and_who_follows_it() {
    let servers = [
        "",
        ", label: strict, trust: nobody",
        ", label: here, trust: everybody, overrides: {prefixes: [/b]}",
        ", label: there, trust: everybody, overrides: {destinations: [\"/#/x/**\"]}",
    ];
    let app = TestApp::start(&with_servers(DTAB, &servers)).await;
    let told = async |dtab: &str| {
        let query =
            format!("/delegator.json?path=/svc&dtab={}", dtab.replace('>', "%3E").replace('&', "%26"));
        let told = app.json(&query).await["override"].clone();
        let list = |name: &str| -> Vec<String> {
            told[name].as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
        };
        (told["baseEntries"].clone(), list("warnings"), list("listeners"))
    };
    let (base, warnings, listeners) = told("/a=>/$/inet/127.0.0.1/81;/x=>/y").await;
    assert_eq!(
        (base, &*warnings),
        (json!(4), &["/x=>/y matched nothing on the way of this name".to_owned()][..])
    );
    assert!(listeners[0].contains(" follows it: it trusts everybody: no `trust` is set"), "{listeners:?}");
    assert_eq!(listeners[1], "strict drops it: it trusts nobody: `trust: nobody` is set");
    assert!(listeners[2].starts_with("here refuses it: ") && listeners[2].contains("/a"), "{listeners:?}");
    assert!(
        listeners[3].starts_with("there refuses it: overrides may not lead to /$/inet/127.0.0.1/81"),
        "{listeners:?}"
    );
    let (_, warnings, listeners) = told("/b=>/nowhere").await;
    assert_eq!(warnings, ["/b=>/nowhere leads nowhere: the name goes where the other entries lead"]);
    assert!(listeners[2].starts_with("here follows it: it trusts everybody"), "{listeners:?}");
    let (_, warnings, _) = told("/b=>3*/$/inet/127.0.0.1/81&1*!").await;
    assert_eq!(
        warnings,
        ["/b=>3*/$/inet/127.0.0.1/81 & ! loses 25 %, which the branches that are left take"]
    );
    assert!(app.json("/delegator.json?path=/svc").await["override"].is_null());
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn the_delegator_refuses_what_it_cannot_read() {
    let app = TestApp::start(&one_router(DTAB, "")).await;
    for (target, status, body) in [
        ("path=a&dtab=/b=/c", 400, "Invalid dtab: expected "),
        ("path=/a&baseDtab=/b=/c", 400, "Invalid baseDtab: expected "),
        ("path=a", 400, "Invalid path: expected "),
        ("dtab=/b=>/c", 400, "Invalid path: the parameter path is missing\n"),
        ("path=/a&namespace=none", 404, "there is no router none: there are http\n"),
    ] {
        let refused = get(&app, &format!("/delegator.json?{}", target.replace('>', "%3E"))).await;
        assert_eq!(refused.status(), status, "{target}");
        assert_eq!(refused.field("content-type"), Some("text/plain; charset=utf-8"));
        assert!(refused.text().starts_with(body), "{target}: {}", refused.text());
    }
    let typo = get(&app, "/delegator.json?path=/a&dtab=/b%20=%20/c").await;
    assert!(typo.text().ends_with("\n1 | /b = /c\n  |    ^\n"), "{}", typo.text());

    for body in ["", "{", r#"{"path":1}"#] {
        let refused = delegate(&app, body).await;
        assert_eq!(refused.status(), 400, "{body}");
        assert!(refused.text().starts_with("Malformed delegation request: "), "{refused:?}");
    }
    for (fields, status) in [
        ("Host: localhost\r\nContent-Type: text/plain", 415),
        ("Host: localhost", 415),
        ("Host: localhost\r\nContent-Type: application/json\r\nOrigin: http://evil.example", 403),
        ("Host: evil.example\r\nContent-Type: application/json", 403),
        ("Host: localhost\r\nContent-Type: Application/JSON; charset=utf-8", 400),
    ] {
        let request = format!("POST /delegator.json HTTP/1.1\r\n{fields}\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(ask(&app, &request).await.status(), status, "{fields}");
    }
    let large = format!("{{\"path\":\"/a\",\"more\":\"{}\"}}", "a".repeat(1024 * 1024 - 30));
    assert_eq!(delegate(&app, &large).await.status(), 200);
    let head = "POST /delegator.json HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
    let larger = format!("{head}Transfer-Encoding: chunked\r\n\r\n100001\r\n{}\r\n", "a".repeat(0x10_0001));
    assert_eq!(ask(&app, &larger).await.status(), 413);
    assert_eq!(
        ask(&app, "PUT /delegator.json HTTP/1.1\r\nHost: localhost\r\n\r\n").await.field("allow"),
        Some("GET, HEAD, POST")
    );
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn the_router_of_the_delegator_is_chosen_by_its_label() {
    let yaml = one_router("/svc => /a", "")
        + "- {protocol: http, label: other, dtab: /svc => /b, servers: [{port: 0}]}\n";
    let app = TestApp::start(&yaml).await;
    for (label, became) in [("http", "/a"), ("other", "/b")] {
        let tree = app.json(&format!("/delegator.json?namespace={label}&path=/svc")).await;
        assert_eq!(tree["delegate"]["path"], became, "{label}");
    }
    let refused = get(&app, "/delegator.json?path=/svc").await;
    assert_eq!(refused.text(), "the parameter namespace is missing: it is one of http, other\n");
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn the_page_uses_nothing_from_elsewhere() {
    let app = TestApp::start(&one_router("", "")).await;
    for (path, media_type) in [
        ("/delegator", "text/html; charset=utf-8"),
        ("/delegator.css", "text/css; charset=utf-8"),
        ("/delegator.js", "text/javascript; charset=utf-8"),
    ] {
        let part = get(&app, path).await;
        assert_eq!((part.status(), part.field("content-type")), (200, Some(media_type)), "{path}");
        let policy = part.field("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'"), "{policy}");
        for elsewhere in ["http:", "https:", "//cdn", "@import", "innerHTML", "onclick", "style="] {
            assert!(!part.text().contains(elsewhere), "{path} has {elsewhere}");
        }
    }
    app.stop().await;
}
