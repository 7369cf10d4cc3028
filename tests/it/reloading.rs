//! A configuration that changes under a running app: what is asked next is served by the new one, nothing is lost.

use crate::support::either::Speaks;
use crate::support::{Message, Names, Service, TestApp, Upstream, Wire, http2, ok, one_router, until};
use bytes::Bytes;
use h2::client::SendRequest;
use signpost::config::read;
use std::cell::{Cell, RefCell};
use std::fs;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::net::TcpStream;

/// A router with these keys beside its one server's.
fn router(dtab: &str, server: &str, more: &[&str]) -> String {
    let more: String = more.iter().map(|line| format!("  {line}\n")).collect();
    one_router(dtab, server) + &more
}

/// Reloads, and asks over each of the open connections until the answer is as expected.
async fn change(
    app: &mut TestApp,
    clients: &mut [Wire],
    yaml: &str,
    fields: &str,
    expected: impl Fn(&Message) -> bool,
) {
    let left = app.reload(yaml).await;
    assert!(left.is_empty(), "{yaml}: {left:?}");
    for client in clients {
        until(yaml, async || expected(&client.get("world", fields).await)).await;
    }
}

#[tokio::test(flavor = "local")]
async fn open_connections_are_served_by_what_the_file_says_now() {
    // It tells what it was told.
    let service = Service::start(async |request| ok(&request.head)).await;
    let base = format!("/svc => {}; /other => /svc", service.path());
    let mut app = TestApp::start_workers(&one_router(&base, ""), 2).await;
    let mut clients = [app.client().await, app.client().await, app.client().await];
    let steered = "l5d-dtab: /svc => /$/io.buoyant.http.status/204\r\n";
    for client in &mut clients {
        client.get("world", steered).await.assert_status(204);
    }
    let says = |text: &'static str| move |answer: &Message| answer.text().to_ascii_lowercase().contains(text);
    let status = |status: u16| move |answer: &Message| answer.status() == status;

    let yaml = router(&base, ", trust: nobody", &[]);
    change(&mut app, &mut clients, &yaml, steered, status(200)).await;
    change(&mut app, &mut clients, &router(&base, "", &[]), steered, status(204)).await;
    let yaml = router(&base, ", timestampHeader: x-when", &[]);
    change(&mut app, &mut clients, &yaml, "", says("x-when: ")).await;
    let yaml = router(&base, ", addForwardedHeader: {by: {kind: static, label: me}}", &[]);
    change(&mut app, &mut clients, &yaml, "", says("forwarded: ")).await;
    let yaml = router(&base, ", maxCallDepth: 1", &[]);
    change(&mut app, &mut clients, &yaml, "Via: 1.1 a, 1.1 b\r\n", status(400)).await;
    let yaml = router(&base, "", &["dstPrefix: /other"]);
    change(&mut app, &mut clients, &yaml, "", says("l5d-dst-service: /other/world")).await;
    let yaml = router(&base, "", &["identifier: {kind: io.l5d.static, path: /me}"]);
    change(&mut app, &mut clients, &yaml, "", says("l5d-dst-service: /svc/me")).await;
    let yaml = router("/svc => /$/io.buoyant.http.status/206", "", &[]);
    change(&mut app, &mut clients, &yaml, "", status(206)).await;
    assert_eq!(app.total("connections", &[]), 3, "they are the connections that were open from the start");

    // These end the connection that breaks them.
    let yaml = router("/svc => /$/io.buoyant.http.status/206", ", maxHeaders: 3", &["maxHeadersKB: 1"]);
    assert!(app.reload(&yaml).await.is_empty());
    let [mut long, mut many, mut few] = clients;
    let field = format!("X: {}\r\n", "x".repeat(2000));
    until("long fields are refused", async || match long.get("world", &field).await.status() {
        431 => true,
        status => status != 206,
    })
    .await;
    until("many fields are refused", async || {
        many.get("world", &"X: 1\r\n".repeat(10)).await.status() == 431
    })
    .await;
    few.get("world", "").await.assert_status(206);
    app.stop().await;
}

/// Settings of clients and services, each different in both files.
const TRAFFIC: [&[&str]; 2] = [
    &[
        "client: {requestAttemptTimeoutMs: 60000, streamWaitMs: 50000, loadBalancer: {kind: ewma}, trustRetryable: true, \
         hostConnectionPool: {minSize: 1, maxSize: 50, idleTimeMs: 5000, maxWaiters: 90}, failFast: true, \
         clientSession: {lifeTimeMs: 60000}, requeueBudget: {minRetriesPerSec: 1}, failureAccrual: {kind: none}}",
        "service: {totalTimeoutMs: 70000, responseClassifier: {kind: io.l5d.http.retryableRead5XX}, \
         retries: {budget: {minRetriesPerSec: 1}, backoff: {kind: constant, ms: 1}}}",
    ],
    &[
        "client: {kind: io.l5d.static, configs: [{prefix: /$/inet, connectTimeoutMs: 9000, loadBalancer: {kind: aperture}, \
         failureAccrual: {kind: io.l5d.successRateWindowed, successRate: 0.5, window: 10}}, {prefix: /, egress: true}]}",
        "service: {kind: io.l5d.static, configs: [{prefix: /svc, responseClassifier: {kind: io.l5d.http.allSuccessful}}]}",
    ],
];

#[tokio::test(flavor = "local")]
async fn every_setting_of_clients_and_services_changes_under_load() {
    let services = [Service::saying("hi").await, Service::saying("hi").await];
    let dtab = format!("/svc => 1 * {} & 1 * {}", services[0].path(), services[1].path());
    let files = TRAFFIC.map(|lines| router(&dtab, "", lines));
    assert_all_are_answered(files, 200).await;
    let connections: usize = services.iter().map(Service::connections).sum();
    assert!(connections < 60, "pools stay through 60 reloads: {connections}");
}

/// A mixture of the two files would lead nowhere.
#[tokio::test(flavor = "local")]
async fn prefix_identifiers_and_dtab_go_live_together_under_load() {
    let files = ["a", "b"].map(|one| {
        let dtab = format!("/{one}/{one} => /$/io.buoyant.http.status/204");
        let identifier = format!("identifier: {{kind: io.l5d.static, path: /{one}}}");
        router(&dtab, "", &[&format!("dstPrefix: /{one}"), &identifier])
    });
    assert_all_are_answered(files, 204).await;
}

/// Changes between two files sixty times while eight callers ask, and fails unless each answer has this status.
async fn assert_all_are_answered(files: [String; 2], status: u16) {
    let mut app = TestApp::start_workers(&files[0], 2).await;
    let (answered, ended) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(false)));
    let mut load = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (mut client, answered, ended) = (app.client().await, Rc::clone(&answered), Rc::clone(&ended));
        load.spawn_local(async move {
            while !ended.get() {
                let answer = client.get("world", "").await;
                assert_eq!(answer.status(), status, "{}", answer.text());
                answered.set(answered.get() + 1);
            }
        });
    }
    for at in 0..60 {
        let before = answered.get();
        assert!(app.reload(&files[(at + 1) % 2]).await.is_empty());
        until("it is under load", async || answered.get() > before + 8).await;
    }
    ended.set(true);
    while let Some(done) = load.join_next().await {
        done.expect("every request was answered by one file or the other");
    }
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn limits_on_requests_change_while_one_is_served() {
    let upstream = Upstream::start().await;
    let dtab = format!("/svc => {}; /svc/done => /$/io.buoyant.http.status/204", upstream.path());
    let mut app = TestApp::start(&one_router(&dtab, ", maxConcurrentRequests: 1")).await;
    let (mut held, mut client) = (app.client().await, app.client().await);
    held.send("GET / HTTP/1.1\r\nHost: world\r\n\r\n").await;
    let mut conn = upstream.accept().await;
    conn.request().await;
    client.get("done", "").await.assert_status(503);
    app.reload(&one_router(&dtab, ", maxConcurrentRequests: 2")).await;
    until("two may be served", async || client.get("done", "").await.status() == 204).await;
    app.reload(&one_router(&dtab, "")).await;
    until("any number may", async || client.get("done", "").await.status() == 204).await;
    app.reload(&one_router(&dtab, ", maxConcurrentRequests: 1")).await;
    until("the first one counts still", async || client.get("done", "").await.status() == 503).await;
    conn.send(ok("held")).await;
    assert_eq!(held.response().await.text(), "held");
    // Its permit comes back a moment after its caller has the response.
    until("there is room again", async || client.get("done", "").await.status() == 204).await;

    app.reload(&one_router(&dtab, ", timeoutMs: 1")).await;
    until("time is short", async || held.get("world", "").await.status() == 504).await;
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn connections_are_limited_anew() {
    let dtab = "/svc => /$/io.buoyant.http.status/204";
    let mut app = TestApp::start(&one_router(dtab, ", maxConnections: 1")).await;
    let mut first = app.client().await;
    first.get("world", "").await.assert_status(204);
    let mut second = app.client().await;
    first.assert_ended().await;
    app.reload(&one_router(dtab, "")).await;
    let mut third = app.client().await;
    for client in [&mut second, &mut third] {
        client.get("world", "").await.assert_status(204);
    }
    app.reload(&one_router(dtab, ", maxConnections: 1")).await;
    let mut last = app.client().await;
    last.get("world", "").await.assert_status(204);
    for client in [&mut second, &mut third] {
        client.assert_ended().await;
    }
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn namers_change_while_names_are_in_use() {
    let (one, two) = (Service::saying("one").await, Service::saying("two").await);
    let (a, b) = (Names::new(), Names::new());
    a.write("world", &[one.address()]);
    b.write("world", &[two.address()]);
    b.write("stays", &[two.address()]);
    let fs = |prefix: &str, names: &Names| {
        format!("- {{kind: io.l5d.fs, prefix: /{prefix}, rootDir: '{}'}}\n", names.path())
    };
    let yaml =
        |dtab: &str, namers: &[String]| format!("{}namers:\n{}", one_router(dtab, ""), namers.concat());
    let dtab = "/svc => /#/changes; /svc/stays => /#/kept/stays";
    let mut app = TestApp::start_workers(&yaml(dtab, &[fs("changes", &a), fs("kept", &b)]), 2).await;
    let mut clients = [app.client().await, app.client().await, app.client().await];
    let mut ask = async |app: &mut TestApp, yaml: String, host: &str, expected: &str| {
        assert!(app.reload(&yaml).await.is_empty());
        for client in &mut clients {
            until(expected, async || client.get(host, "").await.text() == expected).await;
        }
    };
    let first = yaml(dtab, &[fs("changes", &a), fs("kept", &b)]);
    ask(&mut app, first.clone(), "world", "one").await;
    ask(&mut app, first, "stays", "two").await;
    // Another folder, and in another place of the list.
    let second = yaml(dtab, &[fs("kept", &b), fs("changes", &b)]);
    ask(&mut app, second.clone(), "world", "two").await;
    let (connections, requests) = (two.connections(), two.count());
    ask(&mut app, second, "stays", "two").await;
    assert!(two.count() > requests);
    assert_eq!(two.connections(), connections, "the connections of what did not change are kept");
    // The new folder is followed.
    b.write("world", &[one.address()]);
    until("a change in the new folder", async || clients[0].get("world", "").await.text() == "one").await;
    // One that is gone answers no longer; what takes its place begins at once.
    let rewrite = "- {kind: io.l5d.rewrite, prefix: /changes, pattern: '/{name}', name: '/#/kept/stays'}\n";
    let mut ask = async |app: &mut TestApp, yaml: String, host: &str, expected: &str| {
        assert!(app.reload(&yaml).await.is_empty());
        for client in &mut clients {
            until(expected, async || client.get(host, "").await.text().contains(expected)).await;
        }
    };
    ask(&mut app, yaml(dtab, &[fs("kept", &b), rewrite.to_owned()]), "world", "two").await;
    ask(&mut app, yaml(dtab, &[fs("kept", &b)]), "world", "Unable to route").await;
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_name_that_is_awaited_is_found_by_the_namer_that_comes() {
    let service = Service::saying("found").await;
    let names = Names::new();
    names.write("world", &[service.address()]);
    // It takes questions and never answers.
    let silent = tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("loopback has free ports");
    let port = silent.local_addr().expect("it is bound").port();
    let dns = format!("namers:\n- {{kind: io.l5d.dnssrv, prefix: /it, dnsHosts: ['127.0.0.1:{port}']}}\n");
    let fs = format!("namers:\n- {{kind: io.l5d.fs, prefix: /it, rootDir: '{}'}}\n", names.path());
    let mut app = TestApp::start(&(one_router("/svc => /#/it", "") + &dns)).await;
    let mut client = app.client().await;
    client.send("GET / HTTP/1.1\r\nHost: world\r\n\r\n").await;
    silent.readable().await.expect("it is asked");
    app.reload(&(one_router("/svc => /#/it", "") + &fs)).await;
    assert_eq!(client.response().await.text(), "found");
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_store_can_come_change_and_go() {
    let names = Names::new();
    let store = |name: &str, dtab: &str| {
        let file = format!("{}/{name}", names.path());
        fs::write(&file, dtab).expect("the folder is there");
        format!("interpreter: {{kind: io.l5d.fs, dtabFile: '{file}'}}")
    };
    let status = |code: u16| format!("/svc => /$/io.buoyant.http.status/{code}");
    let one = store("one", &status(201));
    let two = store("two", &status(202));
    let mut app = TestApp::start(&router(&status(204), "", &[])).await;
    let mut clients = [app.client().await];
    let expect = |status: u16| move |answer: &Message| answer.status() == status;
    // What the configuration says has precedence.
    change(&mut app, &mut clients, &router("", "", &[&one]), "", expect(201)).await;
    change(&mut app, &mut clients, &router("", "", &[&two]), "", expect(202)).await;
    store("two", &status(203));
    until("its file is followed", async || clients[0].get("world", "").await.status() == 203).await;
    let error = app.try_reload(&router("", "", &[&store("bad", "/svc =")])).await.expect_err("it is no dtab");
    assert!(error.contains("bad:1:6: expected '=>'"), "{error}");
    clients[0].get("world", "").await.assert_status(203);
    change(&mut app, &mut clients, &router(&status(205), "", &[]), "", expect(205)).await;
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_wrong_file_changes_nothing_and_is_counted() {
    let dtab = "/svc => /$/io.buoyant.http.status/204";
    let mut app = TestApp::start(&one_router(dtab, "")).await;
    let mut client = app.client().await;
    let metrics = |app: &TestApp| {
        ["config_reloads", "config_reload_failures", "config_rejected", "config_restart_needed"]
            .map(|name| app.total(name, &[]))
    };
    assert_eq!(metrics(&app), [0, 0, 0, 0]);
    let wrong = one_router("/svc => /$/io.buoyant.http.status/205", ", trust: sombody");
    let error = app.try_reload(&wrong).await.expect_err("it is wrong");
    assert!(error.contains("test.yaml:6:22:") && error.contains("routers[0].servers[0].trust"), "{error}");
    client.get("world", "").await.assert_status(204);
    assert_eq!(metrics(&app), [0, 1, 1, 0]);
    let other = one_router("/svc => /$/io.buoyant.http.status/205", "") + "workers: 7\n";
    let left = app.reload(&other).await;
    assert_eq!(left, ["test.yaml:7:10: workers: the number of workers stays until a restart"]);
    until("the rest is taken over", async || client.get("world", "").await.status() == 205).await;
    assert_eq!(metrics(&app), [1, 1, 0, 1]);
    app.reload(&one_router(dtab, "")).await;
    assert_eq!(metrics(&app), [2, 1, 0, 0]);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn the_admin_server_shows_what_is_in_use() {
    let names = Names::new();
    let mut app = TestApp::start(&one_router("/svc => /a", ", timeoutMs: 5")).await;
    let admin = app.running().admin();
    let get = async |target: &str| {
        let asked = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let answer = Wire::connect(admin).await.ask(asked).await;
        serde_json::from_slice::<serde_json::Value>(&answer.body).expect("it is JSON")
    };
    let yaml = router("/svc => /b", ", ip: 127.0.0.2, timeoutMs: 6", &["dstPrefix: /x"]) + &names.namer();
    assert!(app.reload(&yaml).await.is_empty());
    let config = get("/config.json").await;
    let shown = &config["routers"][0];
    assert_eq!((&shown["dtab"], &shown["dstPrefix"]), (&"/svc=>/b".into(), &"/x".into()));
    assert_eq!(
        (&shown["servers"][0]["ip"], &shown["servers"][0]["timeoutMs"]),
        (&"127.0.0.2".into(), &6.into())
    );
    assert_eq!(config["namers"][0]["kind"], "io.l5d.fs");
    until("the dtab is followed", async || get("/routers.json").await[0]["dtab"][0]["dst"] == "/b").await;
    let router = &get("/routers.json").await[0];
    assert_eq!((&router["dstPrefix"], &router["label"]), (&"/x".into(), &"http".into()));
    assert!(get("/namer_state/io.l5d.fs.json").await["rootDir"].is_string());
    let tree = get("/delegator.json?path=/svc/a&dtab=/b=%3E/%23/io.l5d.fs").await;
    assert_eq!(tree["delegate"]["delegate"]["path"], "/#/io.l5d.fs/a", "{tree}");
    // What is shown is a configuration, and says the same.
    read("shown", &config.to_string()).expect("it is right");
    app.stop().await;
}

/// Clients that ask without pause, one request after the other on a connection, and try nothing twice.
#[derive(Clone, Default)]
pub(crate) struct Load {
    pub(crate) answered: Rc<Cell<usize>>,
    /// What was not as it should be.
    pub(crate) lost: Rc<RefCell<Vec<String>>>,
    pub(crate) last: Rc<Cell<usize>>,
}

impl Load {
    /// Of each protocol.
    pub(crate) const CLIENTS: usize = 4;

    /// Counts an answer, which has to be one of the services'.
    fn take(&self, status: u16, text: &str) {
        self.answered.set(self.answered.get() + 1);
        if status != 200 || !["one", "two"].contains(&text) {
            self.lost.borrow_mut().push(format!("{status} {text}"));
        }
    }

    /// Asks over a new connection until that is over.
    pub(crate) async fn ask(self, address: SocketAddr, speaks: Speaks) {
        match speaks {
            Speaks::Http1 => self.http1(Wire::connect(address).await).await,
            Speaks::Http2 => self.http2(address).await,
        }
    }

    /// Asks until the answer says that it is the last.
    async fn http1(self, mut wire: Wire) {
        for at in 0.. {
            let body = format!("{at}");
            let request = match at % 3 {
                0 => {
                    format!("POST / HTTP/1.1\r\nHost: world\r\nContent-Length: {}\r\n\r\n{body}", body.len())
                }
                _ => "GET / HTTP/1.1\r\nHost: world\r\nl5d-dtab: /nowhere => /x\r\n\r\n".to_owned(),
            };
            let answer = wire.ask(request).await;
            self.take(answer.status(), answer.text());
            if answer.field("connection") == Some("close") {
                return self.last.set(self.last.get() + 1);
            }
        }
    }

    /// Asks until the connection says goodbye; what was begun before that has to be answered.
    async fn http2(self, address: SocketAddr) {
        let stream = TcpStream::connect(address).await.expect("it accepts");
        let (mut requests, connection) = h2::client::handshake(stream).await.expect("it speaks HTTP/2");
        let connection = tokio::task::spawn_local(connection);
        let goodbye = loop {
            match self.http2_request(&mut requests).await {
                Ok((status, body)) => self.take(status, &body),
                Err(error) => break error,
            }
        };
        // By its code it tells that what was not answered was not begun, either.
        let is_goodbye = goodbye.is_go_away() && goodbye.reason() == Some(h2::Reason::NO_ERROR);
        assert!(is_goodbye, "{goodbye:?}");
        drop(requests);
        connection.await.expect("it is our task").expect("the connection ends in order");
        self.last.set(self.last.get() + 1);
    }

    async fn http2_request(&self, requests: &mut SendRequest<Bytes>) -> Result<(u16, String), h2::Error> {
        poll_fn(|cx| requests.poll_ready(cx)).await?;
        let request = http::Request::get("http://world/").body(()).expect("it is a request");
        let (response, _) = requests.send_request(request, true)?;
        let response = response.await?;
        let status = response.status().as_u16();
        let (body, _) = http2::read(&mut response.into_body()).await?;
        Ok((status, String::from_utf8(body).expect("it is text")))
    }

    /// Waits until there are so many more answers.
    pub(crate) async fn go_on(&self, more: usize) {
        let wanted = self.answered.get() + more;
        until("the load goes on", async || {
            tokio::time::sleep(Duration::ZERO).await;
            self.answered.get() >= wanted
        })
        .await;
    }
}

#[tokio::test(flavor = "local")]
async fn a_load_through_reloads_and_a_stop_loses_nothing() {
    let (one, two) = (Service::saying("one").await, Service::saying("two").await);
    let (a, b) = (Names::new(), Names::new());
    a.write("world", &[one.address()]);
    b.write("world", &[two.address()]);
    let config = |dtab: &str, server: &str, namers: &[(&str, &Names)]| {
        let namers: String = namers
            .iter()
            .map(|(prefix, names)| {
                format!("- {{kind: io.l5d.fs, prefix: /{prefix}, rootDir: '{}'}}\n", names.path())
            })
            .collect();
        let router = one_router(dtab, server);
        router.replace("{port: 0}\nrouters", "{port: 0, shutdownDelayMs: 50}\nrouters")
            + "namers:\n"
            + &namers
    };
    let versions = [
        config("/svc => /#/x", "", &[("x", &a)]),
        // The same namer leads elsewhere.
        config("/svc => /#/x", "", &[("x", &b)]),
        // The namer and the entry that needs it go and come together.
        config("/svc => /#/y", ", trust: nobody", &[("y", &a)]),
        config("/svc => 1 * /#/x & 1 * /#/y", ", maxConcurrentRequests: 100", &[("x", &a), ("y", &b)]),
        config(
            &format!("/svc => {}", two.path()),
            ", maxHeaders: 50, headersTimeoutMs: 5000, timeoutMs: 20000",
            &[],
        ),
        // Another router has the listener, under another name, beside one more.
        config(&format!("/svc => {}", one.path()), ", label: first}\n  - {port: 0", &[])
            .replace("label: first", "label: first, socketOptions: {backlog: 50, reusePort: true}")
            .replace("protocol: http", "protocol: http\n  label: other\n  httpAccessLog: /dev/null"),
    ];
    let mut app = TestApp::start_workers(&versions[0], 2).await;
    let load = Load::default();
    let mut clients = Vec::new();
    for _ in 0..Load::CLIENTS {
        clients.push(tokio::task::spawn_local(load.clone().http1(app.client().await)));
        clients.push(tokio::task::spawn_local(load.clone().http2(app.first_address())));
    }
    for round in 0..2 * versions.len() {
        load.go_on(50).await;
        let left = app.reload(&versions[(round + 1) % versions.len()]).await;
        assert!(left.is_empty(), "{left:?}");
    }
    load.go_on(50).await;
    app.running().leave().await;
    load.go_on(50).await;
    app.stop().await;
    for client in clients {
        client.await.expect("no answer is lost");
    }
    let lost = load.lost.borrow();
    assert!(lost.is_empty(), "{} of {}: {}", lost.len(), load.answered.get(), lost[0]);
    assert_eq!(load.last.get(), 2 * Load::CLIENTS, "each was told that it is over");
    assert_eq!(one.count() + two.count(), load.answered.get(), "each request was sent once");
}
