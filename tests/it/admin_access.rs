//! Who may ask the admin server for what, and that it answers probes whatever others do.

use crate::support::{Service, Serving, TestApp, Wire, address, one_router, routing_to, signpost, until};
use signpost::config;
use std::process::Command;

/// A request whose body does not come.
const SLOW: &str = "POST /delegator.json HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
                    Content-Length: 9\r\n\r\n";

/// Asks one of the listeners of the admin server, by a request line and fields.
async fn status(at: std::net::SocketAddr, line: &str, fields: &str) -> u16 {
    Wire::connect(at).await.ask(format!("{line} HTTP/1.1\r\n{fields}\r\n\r\n")).await.status()
}

fn with_admin(keys: &str) -> String {
    one_router("", "").replace("admin: {port: 0}", &format!("admin: {{port: 0{keys}}}"))
}

#[tokio::test(flavor = "local")]
async fn state_is_for_those_who_may_act_and_pages_and_metrics_for_all() {
    let mut app = TestApp::start(&with_admin("")).await;
    let admin = app.running().admin();
    let state = ["config.json", "routers.json", "sandboxes.json", "bound-names.json", "namer_state.json"];
    let more = ["watches.json", "client_state.json", "delegator.json?path=/a", "namer_state/x.json"];
    for page in state.iter().chain(&more) {
        let line = format!("GET /{page}");
        for fields in [
            "Host: evil.example",
            "Host: localhost\r\nOrigin: http://evil.example",
            "Host: localhost\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors",
        ] {
            assert_eq!(status(admin, &line, fields).await, 403, "{page} {fields}");
        }
        let link = "Host: localhost\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate";
        for fields in ["Host: localhost", "Host: 127.0.0.1:1\r\nOrigin: http://127.0.0.1:1", link] {
            assert_ne!(status(admin, &line, fields).await, 403, "{page} {fields}");
        }
    }
    let open = ["", "admin", "delegator", "delegator.js", "admin/ping", "admin/live", "admin/ready"];
    for page in open.iter().chain(&["admin/metrics.json", "admin/metrics/prometheus"]) {
        assert_eq!(status(admin, &format!("GET /{page}"), "Host: router.example:9990").await, 200, "{page}");
    }
    let hosts = with_admin(", hosts: [Router.example]");
    assert!(app.reload(&hosts).await.is_empty());
    assert_eq!(status(admin, "GET /config.json", "Host: router.example:9990").await, 200);
    assert_eq!(status(admin, "GET /config.json", "Host: other.example").await, 403);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_stop_is_refused_where_nobody_may() {
    for keys in [", shutdown: nobody", ", security: {controlEnabled: false}"] {
        let mut app = TestApp::start(&with_admin(keys)).await;
        let admin = app.running().admin();
        assert_eq!(status(admin, "POST /admin/shutdown", "Host: localhost").await, 403, "{keys}");
        assert!(!app.is_asked_to_stop().await);
        assert!(app.reload(&with_admin(", shutdown: anybody")).await.is_empty());
        assert_eq!(status(admin, "POST /admin/shutdown", "Host: localhost").await, 200);
        assert!(app.is_asked_to_stop().await);
        app.stop().await;
    }
}

#[test]
fn a_listener_off_loopback_is_warned_of() {
    let warned = |admin: &str| {
        let config = config::read("a.yaml", &one_router("", "").replace("admin: {port: 0}", admin)).unwrap();
        config.warnings.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let said = warned("admin: {ip: 0.0.0.0, port: 0}");
    assert!(said[0].contains("admin.ip: the admin server listens on 0.0.0.0, not on loopback"), "{said:?}");
    assert!(warned("admin: {ip: '::1', port: 0, metrics: {ip: 0.0.0.0, port: 0}}").is_empty());
}

#[tokio::test(flavor = "local")]
async fn a_port_has_metrics_and_probes_and_nothing_else() {
    let app = TestApp::start(&with_admin(", metrics: {port: 0}")).await;
    let metrics = app.running().metrics_address().expect("it listens");
    assert!(metrics.ip().is_loopback() && metrics != app.running().admin());
    for page in
        ["/admin/metrics/prometheus", "/admin/metrics.json", "/admin/ping", "/admin/live", "/admin/ready"]
    {
        assert_eq!(status(metrics, &format!("GET {page}"), "Host: router.example").await, 200, "{page}");
    }
    for line in [
        "GET /",
        "GET /admin",
        "GET /config.json",
        "GET /delegator",
        "GET /delegator.json?path=/a",
        "GET /watches.json",
        "POST /admin/shutdown",
        "POST /delegator.json",
    ] {
        assert_eq!(status(metrics, line, "Host: localhost").await, 404, "{line}");
    }
    assert!(!app.is_asked_to_stop().await);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn no_request_is_carried_to_the_port_of_metrics() {
    let app = TestApp::start(
        &with_admin(", metrics: {port: 0}").replace("dtab: ''", "dtab: '/svc => /$/inet/127.0.0.1'"),
    )
    .await;
    let metrics = app.running().metrics_address().expect("it listens");
    let mut client = app.client().await;
    client.get(&metrics.port().to_string(), "").await.assert_status(403);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn idle_connections_keep_no_probe_from_its_answer() {
    let app = TestApp::start(&with_admin("")).await;
    let admin = app.running().admin();
    let mut idle = Vec::new();
    for at in 0..300 {
        let mut connection = Wire::connect(admin).await;
        // Some begin a request, and some a body that does not come.
        match at % 3 {
            0 => connection.send("GET /admin/live HTTP/1.1\r\nHo").await,
            1 => connection.send(SLOW).await,
            _ => {}
        }
        idle.push(connection);
        if at % 50 == 0 {
            assert_eq!(status(admin, "GET /admin/live", "Host: localhost").await, 200, "beside {at}");
        }
    }
    assert_eq!(status(admin, "GET /admin/ready", "Host: localhost").await, 200);
    drop(idle);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn with_few_descriptors_left_probes_are_answered_and_endpoints_dialled() {
    const LIMIT: usize = 160;
    let v1 = Service::saying("v1").await;
    let folder = tempfile::tempdir().expect("there is room for files");
    let file = folder.path().join("a.yaml");
    std::fs::write(&file, routing_to(&v1.path())).expect("the folder is there");
    let binary = signpost(&[]).get_program().to_owned();
    let mut command = Command::new("sh");
    let limited = format!("ulimit -n {LIMIT}; exec \"$0\" run \"$1\"");
    command.arg("-c").arg(limited).arg(binary).arg(&file).env("SIGNPOST_LOG", "info");
    let mut serving = Serving::start_command(command);
    let lines = serving.until("admin").await;
    let (listener, admin) = (address(&lines, "serving"), address(&lines, "admin"));
    let mut customer = Wire::connect_from([127, 0, 0, 2].into(), listener).await;
    let mut idle = Vec::new();
    for _ in 0..2 * LIMIT {
        idle.push(Wire::connect(listener).await);
    }
    until("callers make room for others", async || {
        let request = "GET /admin/metrics/prometheus HTTP/1.1\r\nHost: localhost\r\n\r\n";
        let metrics = Wire::connect(admin).await.ask(request).await;
        let mut counts =
            metrics.text().lines().filter(|line| line.starts_with("signpost_evicted_connections_total"));
        counts.any(|line| !line.ends_with(" 0"))
    })
    .await;
    assert_eq!(customer.get("web", "").await.text(), "v1", "the endpoint is dialled now for the first time");
    for _ in 0..20 {
        assert_eq!(status(admin, "GET /admin/ready", "Host: localhost").await, 200);
    }
    let mut newcomers = Vec::new();
    for _ in 0..8 {
        let mut newcomer = Wire::connect_from([127, 0, 0, 3].into(), listener).await;
        assert_eq!(newcomer.get("web", "").await.text(), "v1", "none is refused while others are idle");
        newcomers.push(newcomer);
    }
    drop((idle, newcomers));
    assert_eq!(serving.end("TERM").await, Some(0));
}
