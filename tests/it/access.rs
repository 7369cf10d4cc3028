//! Access logs: one line for each request, whatever became of it, in real files.

use crate::support::{Service, TestApp, Upstream, Wire, dead_address, ok, read, until, within};
use serde_json::Value;
use signpost::app::{App, Threads};
use std::fs;
use std::path::PathBuf;
use tempfile::TempDir;
use tokio::net::TcpStream;

/// A folder for logs.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The configuration of a router with this dtab, whose log is `access.log`, and with more of its keys.
    fn config(&self, dtab: &str, keys: &str) -> String {
        let log = self.path("access.log");
        format!(
            "admin: {{port: 0}}\nrouters:\n- protocol: http\n  dtab: '{dtab}'\n  servers: [{{port: 0}}]\n  \
             httpAccessLog: '{}'\n{keys}",
            log.display()
        )
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect("the log is there")
    }

    /// The lines of the log.
    fn lines(&self) -> Vec<String> {
        self.text("access.log").lines().map(str::to_owned).collect()
    }

    /// The objects of the log, one from each line.
    fn objects(&self) -> Vec<Value> {
        self.lines().iter().map(|line| serde_json::from_str(line).expect("a JSON object")).collect()
    }

    /// The names of all files, sorted.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).expect("a folder");
        let mut names: Vec<_> = entries
            .map(|entry| entry.expect("an entry").file_name().into_string().expect("a text"))
            .collect();
        names.sort();
        names
    }
}

const JSON: &str = "  httpAccessLogFormat: json\n";

/// A line without its time, which must be one in UTC.
#[track_caller]
fn timeless(line: &str) -> String {
    let (before, rest) = line.split_once('[').expect("a time");
    let (time, after) = rest.split_once(']').expect("the end of a time");
    let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(shape, "00/00/0000:00:00:00 UTC");
    format!("{before}[]{after}")
}

#[tokio::test(flavor = "local")]
async fn every_request_has_a_line_as_linkerd_wrote_it() {
    let folder = Folder::new();
    let service = Service::start(async |request| match request.method() {
        "HEAD" => "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n".to_owned(),
        "PUT" => "HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n".to_owned(),
        _ => ok("hello"),
    })
    .await;
    // One worker: the lines of several are in no order.
    let app = TestApp::start_here(&folder.config(&format!("/svc/a => {}", service.path()), "")).await;
    let mut client = app.client().await;
    client.get("A", "Referer: http://b/\r\nUser-Agent: curl/8\r\n").await.assert_status(200);
    client.send("HEAD /x?y=z HTTP/1.1\r\nHost: a\r\n\r\n").await;
    client.head().await.assert_status(200);
    client.ask("PUT http://a/c HTTP/1.1\r\nHost: b\r\n\r\n").await.assert_status(201);
    client.get("nowhere", "").await.assert_status(502);
    client.ask("OPTIONS * HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n").await.assert_status(200);
    client.ask("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n").await.assert_status(501);
    let forged = "User-Agent: x\" 200\t\\\r\n";
    app.client().await.get("a", &format!("Content-Length: +1\r\n{forged}")).await.assert_status(400);
    app.client().await.ask("GET / HTTP/1.1\r\nHost: a\r\nbad line\r\n\r\n").await.assert_status(400);
    app.client().await.ask("nonsense \"\x1b\r\n\r\n").await.assert_status(400);
    let long = format!("GET / HTTP/1.1\r\nHost: a\r\nLong: {}\r\n\r\n", "x".repeat(9000));
    app.client().await.ask(long).await.assert_status(431);
    app.client().await.ask("GET / HTTP/1.0\r\nHost: a\r\n\r\n").await.assert_status(200);
    app.stop().await;

    let lines: Vec<_> = folder.lines().iter().map(|line| timeless(line)).collect();
    let unrouted = lines.get(3).cloned().unwrap_or_default();
    let expected = [
        r#"A 127.0.0.1 - - [] "GET / HTTP/1.1" 200 5 "http://b/" "curl/8""#,
        r#"a 127.0.0.1 - - [] "HEAD /x?y=z HTTP/1.1" 200 9 "-" "-""#,
        r#"b 127.0.0.1 - - [] "PUT http://a/c HTTP/1.1" 201 - "-" "-""#,
        &unrouted,
        r#"a 127.0.0.1 - - [] "OPTIONS * HTTP/1.1" 200 0 "-" "-""#,
    ];
    assert_eq!(lines[..5], expected);
    assert!(unrouted.starts_with(r#"nowhere 127.0.0.1 - - [] "GET / HTTP/1.1" 502 "#), "{unrouted}");
    let starts = [
        r#"a:443 127.0.0.1 - - [] "CONNECT a:443 HTTP/1.1" 501 "#,
        r#"a 127.0.0.1 - - [] "GET / HTTP/1.1" 400 "#,
        r#"- 127.0.0.1 - - [] "GET / HTTP/1.1" 400 "#,
        r#"- 127.0.0.1 - - [] "- nonsense \"\x1b -" 400 "#,
        r#"- 127.0.0.1 - - [] "GET / HTTP/1.1" 431 "#,
        r#"a 127.0.0.1 - - [] "GET / HTTP/1.0" 200 5 "-" "-""#,
    ];
    assert_eq!(lines.len(), 5 + starts.len());
    for (line, start) in lines[5..].iter().zip(starts) {
        assert!(line.starts_with(start), "{line} begins with {start}");
    }
    assert!(lines[6].ends_with(r#" "-" "x\" 200\x09\\""#), "{}", lines[6]);
}

#[tokio::test(flavor = "local")]
async fn json_says_where_a_request_went_and_why_it_did_not() {
    let folder = Folder::new();
    let service = Service::saying("hello").await;
    let (dead, _held) = dead_address();
    let dtab = format!("/svc/a => {}; /svc/dead => /$/inet/{}/{}", service.path(), dead.ip(), dead.port());
    let app = TestApp::start_here(&folder.config(&dtab, JSON)).await;
    let mut client = app.client().await;
    client.get("a", "User-Agent: x\"\x0c\r\n").await.assert_status(400);
    let mut client = app.client().await;
    client.get("a", "User-Agent: caf\u{e9}\"\r\n").await.assert_status(200);
    let dead_response = client.get("dead", "").await;
    dead_response.assert_status(502);
    client.get("nowhere", "X-Request-Id: mine\r\n").await.assert_status(502);
    client.get("a", "l5d-dtab: /a\r\n").await.assert_status(400);
    let server = format!("127.0.0.1/{}", app.running().listeners()[0].address.port());
    let sent = service.take_requests();
    app.stop().await;

    let objects = folder.objects();
    let column = |name: &str| objects.iter().map(|object| object[name].clone()).collect::<Vec<_>>();
    assert_eq!(column("status"), [400, 200, 502, 502, 400]);
    assert_eq!(column("complete"), [true; 5]);
    assert_eq!(column("router"), ["http"; 5]);
    assert_eq!(column("server"), vec![server.as_str(); 5]);
    let carried = &objects[1];
    let expected = serde_json::json!({
        "method": "GET", "authority": "a", "path": "/", "version": "HTTP/1.1", "user_agent": "café\"",
        "bytes": 5, "name": "/svc/a", "client": service.path(), "endpoint": service.address().to_string(),
        "request_id": sent[0].field("l5d-reqid").expect("it is sent"),
    });
    for (field, value) in expected.as_object().expect("an object") {
        assert_eq!(&carried[field], value, "{field} of {carried}");
    }
    assert_eq!(carried.get("error"), None);
    assert!(carried["duration_ms"].as_f64().is_some_and(|duration| duration > 0.0), "{carried}");
    assert!(carried["peer"].as_str().is_some_and(|peer| peer.starts_with("127.0.0.1:")), "{carried}");
    let said = |at: usize, name: &str| objects[at][name].as_str().unwrap_or_default().to_owned();
    assert!(said(0, "error").contains("malformed"), "{}", objects[0]);
    assert_eq!((said(2, "name"), said(2, "endpoint")), ("/svc/dead".to_owned(), dead.to_string()));
    assert!(said(2, "error").contains(&dead.to_string()), "{}", objects[2]);
    assert_eq!(dead_response.field("x-request-id"), Some(&*said(2, "request_id")));
    assert!(said(3, "error").contains("/svc/nowhere"), "{}", objects[3]);
    assert_eq!(
        (said(3, "caller_request_id"), said(2, "caller_request_id")),
        ("mine".to_owned(), String::new())
    );
    assert_eq!((said(4, "name"), said(4, "client")), ("/svc/a".to_owned(), String::new()));
    assert!(said(4, "error").contains("l5d-dtab"), "{}", objects[4]);
}

#[tokio::test(flavor = "local")]
async fn json_says_what_became_of_overrides() {
    let folder = Folder::new();
    let service = Service::saying("hello").await;
    let dtab = format!("/svc/a => {}", service.path());
    let limited = "overrides: {destinations: [\"/#/x/**\"]}";
    let servers = &format!("[{{port: 0}}, {{port: 0, trust: nobody}}, {{port: 0, {limited}}}]");
    let app = TestApp::start_here(&folder.config(&dtab, JSON).replace("[{port: 0}]", servers)).await;
    let (mut trusted, mut stranger) = (app.client_of("http", 0).await, app.client_of("http", 1).await);
    let dentry = format!("/svc/a => {}", service.path());
    trusted.get("a", "").await.assert_status(200);
    trusted.get("a", &format!("l5d-dtab: {dentry}\r\n")).await.assert_status(200);
    trusted.get("a", "l5d-dtab: /svc/a => /nowhere\r\n").await.assert_status(200);
    trusted.get("b", "l5d-dtab: /svc/b => /svc/a\r\n").await.assert_status(502);
    let split = format!("{dentry} & 3 * /nowhere");
    trusted.get("a", &format!("l5d-dtab: {split}\r\n")).await.assert_status(200);
    trusted.get("a", "l5d-dtab: /a\r\n").await.assert_status(400);
    trusted.get("a", "baggage: dtab=/a;%\r\n").await.assert_status(400);
    stranger.get("a", &format!("l5d-dtab: {dentry}\r\n")).await.assert_status(200);
    let mut limited = app.client_of("http", 2).await;
    limited.get("a", &format!("l5d-dtab: {dentry}\r\n")).await.assert_status(403);
    app.stop().await;

    let objects = folder.objects();
    let of = |field| objects.iter().map(|object| object[field].as_str()).collect::<Vec<_>>();
    let fates =
        ["bound", "unbound", "dropped", "bound", "refused", "refused", "dropped", "refused"].map(Some);
    assert_eq!(of("override")[1..], fates);
    assert_eq!(of("override")[0], None);
    let details = of("override_detail");
    assert_eq!(details[2], Some("/svc/a=>/nowhere"));
    assert!(details[3].is_some_and(|reason| reason.contains("`hosts: [b]`")), "{details:?}");
    assert_eq!([details[0], details[1], details[4], details[5], details[6]], [None; 5]);
    let lost = of("override_lost");
    assert_eq!(lost[4], Some(&*format!("75 /svc/a=>{} & 3*/nowhere", service.path())));
    assert_eq!([&lost[..4], &lost[5..]].concat(), [None; 8]);
}

#[tokio::test(flavor = "local")]
async fn a_caller_that_went_away_has_a_line_too() {
    let folder = Folder::new();
    let upstream = Upstream::start().await;
    let app = TestApp::start_here(&folder.config(&format!("/svc/* => {}", upstream.path()), JSON)).await;
    // Before the response.
    let mut client = app.client().await;
    client.send("GET /early HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut conn = upstream.accept().await;
    conn.request().await;
    client.reset();
    conn.assert_gone().await;
    // In the middle of it.
    let mut client = app.client().await;
    client.send("GET /late HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut conn = upstream.accept().await;
    conn.request().await;
    conn.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello").await;
    client.head().await;
    client.expect("hello").await;
    client.reset();
    conn.assert_gone().await;
    // When the endpoint breaks off.
    let mut client = app.client().await;
    client.send("GET /cut HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut conn = upstream.accept().await;
    conn.request().await;
    conn.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhell").await;
    client.head().await;
    client.expect("hell").await;
    drop(conn);
    client.assert_gone().await;
    app.stop().await;

    let said: Vec<_> = folder
        .objects()
        .iter()
        .map(|object| {
            let number = |name: &str| object[name].as_u64().expect("a number");
            (object["path"].to_string(), number("status"), number("bytes"), object["complete"].clone())
        })
        .collect();
    let line = |path: &str, status, bytes| (format!("\"{path}\""), status, bytes, Value::Bool(false));
    assert_eq!(said, [line("/early", 499, 0), line("/late", 200, 5), line("/cut", 200, 4)]);
}

#[tokio::test(flavor = "local")]
async fn a_line_is_written_while_its_connection_goes_on() {
    let folder = Folder::new();
    let service = Service::saying("hi").await;
    let app = TestApp::start_here(&folder.config(&format!("/svc/* => {}", service.path()), "")).await;
    let mut client = app.client().await;
    for count in 1..=3 {
        client.get("a", "").await.assert_status(200);
        until("the line", async || {
            app.client().await;
            folder.lines().len() == count
        })
        .await;
    }
    app.stop().await;
}

/// Ends a tunnel on both sides, the caller's first.
async fn end_tunnel(mut client: Wire, mut conn: Wire) {
    client.writer.finish().await;
    conn.assert_ended().await;
    conn.writer.finish().await;
    client.assert_ended().await;
}

#[tokio::test(flavor = "local")]
async fn a_tunnel_is_logged_when_it_ends() {
    let folder = Folder::new();
    let upstream = Upstream::start().await;
    let app = TestApp::start_here(&folder.config(&format!("/svc/* => {}", upstream.path()), "")).await;
    let mut client = app.client().await;
    client.send("GET /chat HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\n").await;
    let mut conn = upstream.accept().await;
    conn.request().await;
    conn.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\n").await;
    client.head().await.assert_status(101);
    assert_eq!(folder.lines(), [""; 0]);
    end_tunnel(client, conn).await;
    app.stop().await;
    let lines = folder.lines();
    assert_eq!(timeless(&lines[0]), r#"a 127.0.0.1 - - [] "GET /chat HTTP/1.1" 101 - "-" "-""#);
    assert_eq!(lines.len(), 1);
}

#[tokio::test(flavor = "local")]
async fn a_tunnel_of_connect_is_written_when_it_ends_with_its_bytes() {
    let (upstream, folder) = (Upstream::start().await, Folder::new());
    let config = folder.config(&format!("/svc/* => {}", upstream.path()), JSON);
    let config = config.replace("{port: 0}]", "{port: 0, connect: true}]");
    let app = TestApp::start_here(&config).await;
    let mut client = app.client().await;
    client.send("CONNECT db:5432 HTTP/1.1\r\nHost: db:5432\r\n\r\nquestion").await;
    let mut conn = upstream.accept().await;
    conn.expect("question").await;
    conn.send("the answer").await;
    client.head().await.assert_status(200);
    client.expect("the answer").await;
    assert_eq!(folder.lines(), [""; 0]);
    end_tunnel(client, conn).await;
    app.stop().await;
    let [line] = &folder.objects()[..] else { panic!("one line: {:?}", folder.lines()) };
    for (key, value) in [("method", "CONNECT"), ("outcome", "success"), ("name", "/svc/db:5432")] {
        assert_eq!(line[key], value, "{line}");
    }
    assert_eq!((&line["status"], &line["bytes"]), (&200.into(), &10.into()), "{line}");
}

async fn ask(app: &TestApp, count: usize) {
    let mut client: Wire = app.client().await;
    for _ in 0..count {
        client.get("a", "").await.assert_status(502);
    }
}

#[tokio::test(flavor = "local")]
async fn a_log_is_rolled_by_size_and_so_many_are_kept() {
    let folder = Folder::new();
    // Less than two lines.
    let keys = "  httpAccessLogRollPolicy: 100.bytes\n  httpAccessLogRotateCount: 2\n";
    let app = TestApp::start_here(&folder.config("", keys)).await;
    ask(&app, 6).await;
    app.stop().await;
    let names = folder.names();
    assert_eq!(names.len(), 3, "{names:?}");
    assert!(names.contains(&"access.log".to_owned()), "{names:?}");
    let moved = names.iter().filter(|name| name.starts_with("access-2") && name.ends_with(".log"));
    assert_eq!(moved.count(), 2, "{names:?}");
    for name in &names {
        assert_eq!(folder.text(name).lines().count(), 1, "{name}");
    }
}

#[tokio::test(flavor = "local")]
async fn a_log_is_continued_unless_that_is_refused() {
    let folder = Folder::new();
    fs::write(folder.path("access.log"), "before\n").expect("a file");
    for (keys, expected) in
        [("", 2), ("  httpAccessLogAppend: true\n", 3), ("  httpAccessLogAppend: false\n", 1)]
    {
        let app = TestApp::start_here(&folder.config("", keys)).await;
        ask(&app, 1).await;
        app.stop().await;
        assert_eq!(folder.lines().len(), expected, "{keys}");
    }
}

#[tokio::test(flavor = "local")]
async fn a_log_that_was_moved_aside_is_opened_anew_when_it_is_told() {
    let folder = Folder::new();
    let app = TestApp::start_here(&folder.config("", "")).await;
    ask(&app, 1).await;
    until("the line", async || {
        app.client().await;
        folder.lines().len() == 1
    })
    .await;
    fs::rename(folder.path("access.log"), folder.path("access.log.1")).expect("it moves");
    app.running().reopen_logs();
    ask(&app, 2).await;
    app.stop().await;
    let count = |name| folder.text(name).lines().count();
    assert_eq!((count("access.log.1"), count("access.log")), (1, 2));
}

/// Asks for `/<path>` over HTTP/2 and reads the response to its end; None when the stream is reset instead.
async fn get_http2(app: &TestApp, path: &str) -> Option<(u16, usize)> {
    let socket = within("connecting", TcpStream::connect(app.address("http", 0))).await.expect("it accepts");
    let (sender, connection) = within("the handshake", h2::client::handshake(socket)).await.expect("HTTP/2");
    let connection = tokio::task::spawn_local(connection);
    let mut sender = within("room for a stream", sender.ready()).await.expect("there is room");
    let request = http::Request::builder().uri(format!("http://a:80/{path}"));
    let request = request.header("referer", "x\"y").body(()).expect("a request");
    let (response, _) = sender.send_request(request, true).expect("it is sent");
    let reading = async {
        let response = response.await.ok()?;
        let (status, mut body) = (response.status().as_u16(), response.into_body());
        let mut length = 0;
        while let Some(part) = body.data().await {
            let part = part.ok()?;
            length += part.len();
            body.flow_control().release_capacity(part.len()).expect("it was taken");
        }
        Some((status, length))
    };
    let answer = within("the response", reading).await;
    connection.abort();
    answer
}

#[tokio::test(flavor = "local")]
async fn requests_over_http2_have_lines_too() {
    const LONG: usize = 1 << 20;
    for (keys, is_json) in [("", false), (JSON, true)] {
        let folder = Folder::new();
        let service = Service::start(async |request| match request.first_line() {
            // More than is looked at before the head is passed on: what is wrong is seen later.
            "GET /cut HTTP/1.1" => format!(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{LONG:x}\r\n{}\r\nbroken",
                "x".repeat(LONG)
            ),
            _ => ok("hello"),
        })
        .await;
        let dtab = format!("/svc/a:80 => {}", service.path());
        let app = TestApp::start_here(&folder.config(&dtab, keys)).await;
        assert_eq!(get_http2(&app, "whole?b").await, Some((200, 5)));
        assert_eq!(get_http2(&app, "cut").await, None);
        app.stop().await;
        if is_json {
            let objects = folder.objects();
            let column = |name: &str| objects.iter().map(|object| object[name].clone()).collect::<Vec<_>>();
            assert_eq!(column("path"), ["/whole?b", "/cut"]);
            assert_eq!(column("complete"), [true, false]);
            assert_eq!(column("bytes"), [5, LONG]);
            assert_eq!(column("outcome"), ["success", "upstream_fault"]);
            assert_eq!(objects[0].get("error"), None);
            let error = objects[1]["error"].as_str().unwrap_or_default();
            assert!(error.contains("a chunk's size is not a hexadecimal number"), "{error}");
            assert_eq!(column("version"), ["HTTP/2"; 2]);
            assert_eq!(column("authority"), ["a:80"; 2]);
            assert_eq!(column("endpoint"), vec![service.address().to_string(); 2]);
        } else {
            let lines: Vec<_> = folder.lines().iter().map(|line| timeless(line)).collect();
            let expected = [
                r#"a:80 127.0.0.1 - - [] "GET /whole?b HTTP/2" 200 5 "x\"y" "-""#,
                r#"a:80 127.0.0.1 - - [] "GET /cut HTTP/2" 200 - "x\"y" "-""#,
            ];
            assert_eq!(lines, expected);
        }
    }
}

/// Linkerd wrote the lines of one router into the other's file, or garbage into one of both.
#[tokio::test(flavor = "local")]
async fn routers_may_share_a_log_or_have_their_own() {
    let folder = Folder::new();
    let router = |label: &str, log: &str| {
        let log = folder.path(log);
        format!(
            "- {{protocol: http, label: {label}, servers: [{{port: 0}}], httpAccessLog: '{}'}}\n",
            log.display()
        )
    };
    let routers =
        [router("a", "shared.log"), router("b", "./shared.log"), router("c", "own/own.log")].concat();
    let app = TestApp::start_workers(&format!("admin: {{port: 0}}\nrouters:\n{routers}"), 2).await;
    let agent = "x".repeat(3000);
    let flood = async |router: &'static str| {
        let mut client = app.client_of(router, 0).await;
        for _ in 0..200 {
            client.get(router, &format!("User-Agent: {agent}\r\n")).await.assert_status(502);
        }
    };
    tokio::join!(flood("a"), flood("b"), flood("c"));
    app.stop().await;
    let count = |name: &str, router: &str| {
        let (start, end) = (format!("{router} 127.0.0.1 - - ["), format!("\"{agent}\""));
        folder.text(name).lines().filter(|line| line.starts_with(&start) && line.ends_with(&end)).count()
    };
    assert_eq!(
        (count("shared.log", "a"), count("shared.log", "b"), count("own/own.log", "c")),
        (200, 200, 200)
    );
    let lines = |name| folder.text(name).lines().count();
    assert_eq!((lines("shared.log"), lines("own/own.log")), (400, 200));
}

#[tokio::test(flavor = "local")]
async fn a_log_that_cannot_be_opened_fails_the_start() {
    let folder = Folder::new();
    fs::create_dir(folder.path("access.log")).expect("a folder");
    let config = read(&folder.config("", ""));
    let started = within("failing", App::start(config, Threads::Here)).await;
    let text = started.expect_err("it is a folder").to_string();
    assert!(
        text.starts_with("test.yaml:6:18: routers[0].httpAccessLog: router http: the access log "),
        "{text}"
    );
    assert!(text.contains("directory"), "{text}");
}

/// A caller that is cut off by the end of the grace has its line in time.
#[tokio::test(flavor = "local")]
async fn lines_are_written_before_the_end_also_by_force() {
    let folder = Folder::new();
    let upstream = Upstream::start().await;
    let config = folder.config(&format!("/svc/* => {}", upstream.path()), JSON);
    let app =
        TestApp::start_here(&config.replace("{port: 0}\nrouters", "{port: 0, shutdownGraceMs: 1}\nrouters"))
            .await;
    let mut client = app.client().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut conn = upstream.accept().await;
    conn.request().await;
    assert!(!app.stop_in_time().await, "a request was under way");
    assert_eq!(folder.objects()[0]["status"], 499);
    client.assert_gone().await;
}
