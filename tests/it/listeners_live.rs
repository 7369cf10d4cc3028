//! Listeners, routers and access logs that come, go and move while the app runs.

use crate::reloading::Load;
use crate::support::either::{Caller, Echo, Speaks, router};
use crate::support::http2::H2Client;
use crate::support::{Service, TestApp, Upstream, Wire, ok, time_flies, until};
use signpost::telemetry::GroupSeries;
use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::rc::Rc;
use tempfile::TempDir;
use tokio::net::TcpStream;

const BOTH: [Speaks; 2] = [Speaks::Http1, Speaks::Http2];

/// Addresses of this machine that no other process uses, of a loopback network of their own.
fn free_addresses<const N: usize>(network: u8) -> [SocketAddr; N] {
    let bind = || TcpListener::bind((Ipv4Addr::new(127, 0, network, 1), 0)).expect("loopback has free ports");
    let bound = [(); N].map(|()| bind());
    bound.map(|socket| socket.local_addr().expect("it is bound"))
}

/// A server at an address, with more of its keys.
fn at(address: SocketAddr, keys: &str) -> String {
    format!("{{ip: {}, port: {}{keys}}}", address.ip(), address.port())
}

/// A router of this label and dtab with these servers.
fn labelled(label: &str, dtab: &str, servers: &[String]) -> String {
    let servers = servers.join(", ");
    format!("- {{protocol: http, label: {label}, dtab: '{dtab}', servers: [{servers}]}}\n")
}

fn config(routers: &[String]) -> String {
    format!("admin: {{port: 0}}\nrouters:\n{}", routers.concat())
}

fn status(code: u16) -> String {
    format!("/svc => /$/io.buoyant.http.status/{code}")
}

async fn reload(app: &mut TestApp, yaml: &str) {
    let left = app.reload(yaml).await;
    assert!(left.is_empty(), "{left:?}");
}

async fn is_closed(address: SocketAddr) -> bool {
    TcpStream::connect(address).await.is_err()
}

/// The callers of both protocols that have a connection to an address.
async fn callers(address: SocketAddr) -> [Caller; 2] {
    [Caller::connect_to(address, Speaks::Http1).await, Caller::connect_to(address, Speaks::Http2).await]
}

async fn expect(callers: &mut [Caller; 2], status: u16) {
    for caller in callers {
        until("the answer changes", async || caller.get(&[]).await.status == status).await;
    }
}

/// Returns all series, with their labels.
fn series(app: &TestApp) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for table in app.running().registry().sums() {
        for row in &table.rows {
            let labels: String = row.labels.iter().map(|(key, value)| format!(" {key}={value:?}")).collect();
            let series = table.columns.iter().zip(&row.totals);
            all.extend(series.map(|(GroupSeries { name, kind, .. }, _)| {
                let kind = kind.map(|kind| format!(" kind={kind:?}")).unwrap_or_default();
                format!("{name}{labels}{kind}")
            }));
        }
    }
    all
}

#[tokio::test(flavor = "local")]
async fn a_load_on_a_listener_that_moves_loses_nothing() {
    let (one, two) = (Service::saying("one").await, Service::saying("two").await);
    let dtab = format!("/svc => 1 * {} & 1 * {}", one.path(), two.path());
    let [stays, addresses @ ..] = free_addresses::<4>(81);
    let yaml = |address| config(&[labelled("in", &dtab, &[at(stays, ""), at(address, "")])]);
    let mut app = TestApp::start(&yaml(addresses[0])).await;
    let (load, staying) = (Load::default(), Load::default());
    let mut clients = Vec::new();
    for _ in 0..Load::CLIENTS {
        for speaks in BOTH {
            let (load, staying) = (load.clone(), staying.clone());
            clients.push(tokio::task::spawn_local(async move {
                for address in addresses {
                    until("it listens", async || !is_closed(address).await).await;
                    load.clone().ask(address, speaks).await;
                }
            }));
            clients.push(tokio::task::spawn_local(staying.ask(stays, speaks)));
        }
    }
    load.go_on(50).await;
    for (moves, pair) in addresses.windows(2).enumerate() {
        reload(&mut app, &yaml(pair[1])).await;
        assert!(is_closed(pair[0]).await, "the old one is closed when the reload is done");
        until("all have moved", async || load.last.get() == (moves + 1) * 2 * Load::CLIENTS).await;
        load.go_on(50).await;
        staying.go_on(50).await;
    }
    assert_eq!(staying.last.get(), 0, "the connections of the other listener stay");
    app.running().leave().await;
    app.stop().await;
    for client in clients {
        client.await.expect("no answer is lost");
    }
    for load in [&load, &staying] {
        let lost = load.lost.borrow();
        assert!(lost.is_empty(), "{} of {}: {}", lost.len(), load.answered.get(), lost[0]);
    }
    assert_eq!(one.count() + two.count(), load.answered.get() + staying.answered.get());
}

#[tokio::test(flavor = "local")]
async fn a_listener_goes_to_another_router_with_its_connections() {
    let [first, second, third] = free_addresses(82);
    let yaml = |routers: &[(&str, u16, &[String])]| {
        let routers: Vec<_> =
            routers.iter().map(|(label, code, servers)| labelled(label, &status(*code), servers)).collect();
        config(&routers)
    };
    let before = yaml(&[("a", 201, &[at(first, ""), at(second, "")]), ("b", 202, &[at(third, "")])]);
    let mut app = TestApp::start(&before).await;
    let mut moving = callers(second).await;
    let mut staying = callers(first).await;
    expect(&mut moving, 201).await;
    expect(&mut staying, 201).await;
    let count = |app: &TestApp, name, router, server: &str| {
        app.total(name, &[("router", router), ("server", server)])
    };
    let server = format!("{}/{}", second.ip(), second.port());
    assert_eq!(count(&app, "open_connections", "a", &server), 2);

    // All are in another order, too, and one has another label.
    let after =
        yaml(&[("b", 202, &[at(second, ""), at(third, "")]), ("a", 203, &[at(first, ", label: mine")])]);
    reload(&mut app, &after).await;
    expect(&mut moving, 202).await;
    expect(&mut staying, 203).await;
    assert_eq!(app.address("b", 0), second);
    assert_eq!(app.running().listeners()[2].server, "mine");
    until("the counts follow", async || {
        tokio::task::yield_now().await;
        count(&app, "open_connections", "b", &server) == 2
            && count(&app, "open_connections", "a", "mine") == 2
    })
    .await;
    assert!(count(&app, "requests", "b", &server) >= 2);
    let all = series(&app);
    let of_a = |label: &str| {
        let labels = [format!("router={:?}", "a"), format!("server={label:?}")];
        all.iter().filter(|series| labels.iter().all(|label| series.contains(label))).count()
    };
    assert_eq!(of_a(&server), 0, "its series of before are gone");
    assert!(of_a("mine") > 20);

    // The routers are renamed, and change to another protocol.
    let renamed = after.replace("label: b", "label: c").replace("label: a", "label: d");
    reload(&mut app, &renamed.replace("status/202", "status/204").replace("protocol: http", "protocol: h2"))
        .await;
    expect(&mut moving, 204).await;
    expect(&mut staying, 203).await;
    assert_eq!(count(&app, "connections", "c", &server) + count(&app, "connections", "d", "mine"), 0);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn the_protocol_of_a_router_changes_under_its_listener() {
    let echoes = [Echo::start(Speaks::Http1).await, Echo::start(Speaks::Http2).await];
    let [address] = free_addresses(83);
    let yaml = |at_: usize| {
        let dtab = format!("/svc/* => {}", echoes[at_].path());
        let protocol = format!("protocol: {}", router(BOTH[at_]));
        config(&[labelled("in", &dtab, &[at(address, "")]).replace("protocol: http", &protocol)])
    };
    let mut app = TestApp::start(&yaml(0)).await;
    let mut callers = callers(address).await;
    for round in 0..4 {
        if round > 0 {
            reload(&mut app, &yaml(round % 2)).await;
        }
        for caller in &mut callers {
            until("it answers", async || {
                let reached = echoes[round % 2].connections();
                caller.get(&[]).await.status == 200 && echoes[round % 2].connections() >= reached.max(1)
            })
            .await;
        }
    }
    for echo in &echoes {
        assert!(echo.connections() >= 2, "the second time it is another router");
    }
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn connections_of_a_router_that_goes_are_drained_and_its_series_go() {
    let upstream = Upstream::start().await;
    let [stays, goes] = free_addresses(84);
    let dtab = format!("/svc => {}", upstream.path());
    let one = config(&[labelled("stays", &status(204), &[at(stays, "")])]);
    let both = one.clone() + &labelled("goes", &dtab, &[at(goes, "")]);
    let mut app = TestApp::start(&one).await;
    let mut staying = callers(stays).await;
    expect(&mut staying, 204).await;
    let before = series(&app);

    reload(&mut app, &both).await;
    let mut held = Wire::connect(goes).await;
    held.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut conn = upstream.accept().await;
    conn.request().await;
    let mut h2_held = H2Client::connect(goes).await;
    let mut exchange = h2_held.begin(crate::support::http2::get("a", &[]), false).await;
    let mut h2_conn = upstream.accept().await;
    h2_conn.request().await;
    let (mut idle, h2_idle) = (Wire::connect(goes).await, H2Client::connect(goes).await);
    reload(&mut app, &one).await;
    assert!(is_closed(goes).await);
    idle.assert_ended().await;
    h2_idle.over().await.expect("it was told goodbye");
    assert!(app.total("open_connections", &[("router", "goes")]) > 0, "they are seen until they end");
    conn.send(ok("last")).await;
    let answer = held.response().await;
    assert_eq!((answer.text(), answer.field("connection")), ("last", Some("close")));
    held.assert_gone().await;
    h2_conn.send(ok("last")).await;
    assert_eq!(exchange.answer().await.text(), "last");
    drop(exchange);
    h2_held.over().await.expect("it was told goodbye");
    until("nothing of it is counted", async || {
        tokio::task::yield_now().await;
        series(&app) == before
    })
    .await;
    expect(&mut staying, 204).await;
    assert_eq!(app.total("connections", &[("router", "stays")]), 2);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn callers_that_the_system_has_accepted_for_a_listener_that_goes_are_served() {
    let [stays, goes] = free_addresses(92);
    let one = config(&[labelled("in", &status(204), &[at(stays, "")])]);
    let both = config(&[labelled("in", &status(204), &[at(stays, ""), at(goes, "")])]);
    let mut app = TestApp::start_here(&both).await;
    // All of this thread, so that the app accepts none of them meanwhile.
    let wait = || {
        let mut stream = std::net::TcpStream::connect(goes).expect("the system accepts it");
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").expect("there is room for it");
        stream.set_nonblocking(true).expect("the system can");
        stream
    };
    let waiting: Vec<_> = (0..50).map(|_| wait()).collect();
    reload(&mut app, &one).await;
    assert!(is_closed(goes).await);
    for stream in waiting {
        let answer = Wire::new(TcpStream::from_std(stream).expect("it is open")).response().await;
        assert_eq!((answer.status(), answer.field("connection")), (204, Some("close")));
    }
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn what_outlasts_the_grace_of_a_listener_that_goes_is_cut_off_alone() {
    let upstream = Upstream::start().await;
    let [stays, goes] = free_addresses(85);
    let dtab = format!("/svc => {}", upstream.path());
    let one = config(&[labelled("in", &dtab, &[at(stays, "")])])
        .replace("admin: {port: 0}", "admin: {port: 0, shutdownGraceMs: 3000}");
    let both = one.clone() + &labelled("goes", &dtab, &[at(goes, "")]);
    let mut app = TestApp::start_here(&both).await;
    let mut held = Vec::new();
    for address in [stays, goes] {
        let mut client = Wire::connect(address).await;
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let mut conn = upstream.accept().await;
        conn.request().await;
        held.push((client, conn));
    }
    let mut h2 = H2Client::connect(goes).await;
    let mut exchange = h2.begin(crate::support::http2::get("a", &[]), false).await;
    let mut h2_conn = upstream.accept().await;
    h2_conn.request().await;
    reload(&mut app, &one).await;
    let [(staying, staying_conn), (client, conn)] = &mut held[..] else { panic!("two are held") };
    let ((), passed) = time_flies(async {
        client.assert_gone().await;
        conn.assert_gone().await;
        h2_conn.assert_gone().await;
        exchange.head().await.expect_err("it is cut off");
    })
    .await;
    // Some of it has passed while the clock ran.
    assert!((2000..5000).contains(&passed.as_millis()), "{passed:?}");
    assert_eq!(app.total("abandoned", &[]), 0, "the series went with it");
    staying_conn.send(ok("whole")).await;
    assert_eq!(staying.response().await.text(), "whole");
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn an_address_comes_back_while_its_former_connections_are_drained_and_so_does_a_stop() {
    let upstream = Upstream::start().await;
    let [a, b] = free_addresses(86);
    let dtab = format!("/svc => {}; /svc/done => /$/io.buoyant.http.status/204", upstream.path());
    let yaml = |address| config(&[labelled("in", &dtab, &[at(address, "")])]);
    let mut app = TestApp::start(&yaml(a)).await;
    let mut held = Vec::new();
    for address in [a, b, a, b] {
        reload(&mut app, &yaml(address)).await;
        let mut client = Wire::connect(address).await;
        client.get("done", "").await.assert_status(204);
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let mut conn = upstream.accept().await;
        conn.request().await;
        held.push((client, conn));
    }
    reload(&mut app, &yaml(a)).await;
    reload(&mut app, &yaml(b)).await;
    assert!(is_closed(a).await);
    let finish = async {
        for (client, conn) in &mut held {
            conn.send(ok("finished")).await;
            assert_eq!(client.response().await.text(), "finished");
        }
    };
    let ((), ()) = tokio::join!(app.stop(), finish);
    assert!(is_closed(b).await);
}

#[tokio::test(flavor = "local")]
async fn a_reload_that_cannot_bind_or_open_changes_nothing() {
    let folder = TempDir::new().expect("a folder");
    let [kept, new, taken, metrics] = free_addresses(87);
    let occupant = TcpListener::bind(taken).expect("it was free");
    let log = folder.path().join("new.log");
    let of = |code: u16, servers: &[String], keys: &str| {
        config(&[labelled("in", &status(code), servers).replace("label: in", &format!("label: in{keys}"))])
    };
    let mut app = TestApp::start(&of(201, &[at(kept, "")], "")).await;
    let mut callers = callers(kept).await;
    expect(&mut callers, 201).await;
    let logged = format!(", httpAccessLog: '{}'", log.display());
    let both = [at(new, ""), at(taken, ", label: x")];
    let refused = [
        (of(202, &both, &logged), "test.yaml:3:", "servers[1].port: router in cannot listen on"),
        (
            of(202, &[at(new, "")], ", httpAccessLog: /dev/null/x"),
            "test.yaml:3:",
            "access log cannot be opened",
        ),
        (
            of(202, &[at(new, "")], &logged)
                .replace("admin: {port: 0}", &format!("admin: {{port: 0, metrics: {}}}", at(taken, ""))),
            "the listener for metrics cannot listen on",
            "stop it, or give this listener another `port`",
        ),
    ];
    for (yaml, begin, text) in refused {
        let error = app.try_reload(&yaml).await.expect_err("it is refused");
        assert!(error.starts_with(begin) && error.contains(text), "{error}");
        assert!(is_closed(new).await, "what was bound is closed again");
        assert!(!log.exists(), "a log is opened last");
        expect(&mut callers, 201).await;
        assert_eq!(app.json("/config.json").await["routers"][0]["servers"][0]["port"], kept.port());
    }
    assert_eq!(app.total("config_rejected", &[]), 1);
    drop(occupant);
    let yaml = of(202, &both, &logged)
        .replace("admin: {port: 0}", &format!("admin: {{port: 0, metrics: {}}}", at(metrics, "")));
    reload(&mut app, &yaml).await;
    assert!(is_closed(kept).await && log.exists());
    for address in [new, taken] {
        Wire::connect(address).await.get("a", "").await.assert_status(202);
    }
    assert_eq!(app.running().metrics_address(), Some(metrics));
    app.stop().await;
}

/// Its own sockets do not stand in the way: each of these takes a port from another that goes.
#[tokio::test(flavor = "local")]
async fn listeners_take_each_others_ports() {
    let [a, b] = free_addresses(88);
    let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, a.port()));
    let admin = |address, routers: &[String]| {
        config(routers).replace("admin: {port: 0}", &format!("admin: {}", at(address, "")))
    };
    let yamls = [
        admin(b, &[labelled("in", &status(201), &[at(a, "")])]),
        // At all addresses, one at a time, and at all again.
        admin(b, &[labelled("in", &status(202), &[at(any, "")])]),
        admin(b, &[labelled("in", &status(203), &[at(a, "")])]),
        // The port of the admin server, and the other way round.
        admin(a, &[labelled("in", &status(204), &[at(b, "")])]),
        admin(b, &[labelled("in", &status(205), &[at(a, "")])]),
    ];
    let places = [(a, b), (any, b), (a, b), (b, a), (a, b)];
    let mut app = TestApp::start(&yamls[0]).await;
    for (round, (yaml, (address, admin))) in yamls.iter().zip(places).enumerate() {
        if round > 0 {
            reload(&mut app, yaml).await;
        }
        assert_eq!((app.address("in", 0), app.running().admin()), (address, admin));
        let reached = if address == any { a } else { address };
        Wire::connect(reached).await.get("a", "").await.assert_status(201 + round as u16);
        assert_eq!(app.json("/config.json").await["admin"]["port"], admin.port());
    }
    // The port is not shared afterwards by a socket that does not say so.
    TcpListener::bind(a).expect_err("it is in use");
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn socket_options_change_on_a_socket_that_is_open() {
    use socket2::{Domain, Socket, Type};
    let [address] = free_addresses(89);
    let yaml = |options: &str| {
        let options = format!(", socketOptions: {{{options}}}");
        config(&[labelled("in", &status(204), &[at(address, &options)])])
    };
    let share = || {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("sockets are left");
        socket.set_reuse_address(true).expect("the system has it");
        socket.set_reuse_port(true).expect("the system has it");
        socket.bind(&address.into()).map(|()| socket)
    };
    let mut app = TestApp::start(&yaml("backlog: 1")).await;
    let mut callers = callers(address).await;
    share().expect_err("it is not shared");
    reload(&mut app, &yaml("reusePort: true, backlog: 100, noDelay: false, keepAlive: true")).await;
    drop(share().expect("it is shared"));
    expect(&mut callers, 204).await;
    Wire::connect(address).await.get("a", "").await.assert_status(204);
    reload(&mut app, &yaml("backlog: 50")).await;
    expect(&mut callers, 204).await;
    assert_eq!(app.total("connections", &[]), 3, "it is the same socket");
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn an_access_log_moves_under_load_without_a_lost_or_doubled_line() {
    let folder = TempDir::new().expect("a folder");
    let service = Service::saying("hi").await;
    let yaml = |log: &str| {
        let path = folder.path().join(log);
        let router = labelled("in", &format!("/svc => {}", service.path()), &["{port: 0}".to_owned()]);
        let log = format!("label: in, httpAccessLog: '{}'", path.display());
        config(&[if log.contains("none") { router } else { router.replace("label: in", &log) }])
    };
    let mut app = TestApp::start(&yaml("a")).await;
    let (asked, ended) = (Rc::new(std::cell::Cell::new(0)), Rc::new(std::cell::Cell::new(false)));
    let mut load = tokio::task::JoinSet::new();
    for speaks in BOTH.into_iter().cycle().take(6) {
        let (asked, ended) = (Rc::clone(&asked), Rc::clone(&ended));
        let mut caller = Caller::connect(&app, speaks).await;
        load.spawn_local(async move {
            while !ended.get() {
                let target = format!("/{}", asked.replace(asked.get() + 1));
                let ask =
                    crate::support::either::Ask { method: "GET", target: &target, ..Default::default() };
                assert_eq!(caller.ask(&ask).await.status, 200);
            }
        });
    }
    for log in ["b", "a", "c", "a", "b", "c", "b"] {
        let before = asked.get();
        until("it is under load", async || {
            tokio::time::sleep(std::time::Duration::ZERO).await;
            asked.get() > before + 50
        })
        .await;
        reload(&mut app, &yaml(log)).await;
    }
    ended.set(true);
    while let Some(done) = load.join_next().await {
        done.expect("every request is answered");
    }
    app.stop().await;
    let mut seen = Vec::new();
    for log in ["a", "b", "c"] {
        let text = fs::read_to_string(folder.path().join(log)).expect("it was written");
        let of_line = |line: &str| -> usize {
            let (_, target) = line.split_once("\"GET /").expect("a request");
            target.split(' ').next().unwrap_or_default().parse().expect("a number")
        };
        assert!(text.lines().count() > 50, "{log}");
        seen.extend(text.lines().map(of_line));
    }
    seen.sort_unstable();
    assert!(seen.into_iter().eq(0..asked.get()), "each has one line");
}

#[tokio::test(flavor = "local")]
async fn a_request_ends_in_the_log_and_the_format_it_began_with() {
    let folder = TempDir::new().expect("a folder");
    let upstream = Upstream::start().await;
    let dtab = format!("/svc => {}; /svc/done => /$/io.buoyant.http.status/204", upstream.path());
    let yaml = |keys: &str| {
        config(&[labelled("in", &dtab, &["{port: 0}".to_owned()])
            .replace("label: in", &format!("label: in{keys}"))])
    };
    let log = |name: &str| format!(", httpAccessLog: '{}'", folder.path().join(name).display());
    let text = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap_or_default();
    let mut app = TestApp::start(&yaml(&log("a"))).await;
    let (mut held, mut other) = (app.client().await, app.client().await);
    held.send("GET /held HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut conn = upstream.accept().await;
    conn.request().await;
    // To nothing, to another format of the same file, and to another file.
    let steps = [String::new(), log("a") + ", httpAccessLogFormat: json", log("b")];
    for (at, keys) in steps.iter().enumerate() {
        reload(&mut app, &yaml(keys)).await;
        let count = at as u64 + 2;
        other.ask(format!("GET /{at} HTTP/1.1\r\nHost: done\r\n\r\n")).await.assert_status(204);
        until("it is counted", async || {
            tokio::task::yield_now().await;
            app.total("requests", &[]) >= count
        })
        .await;
    }
    conn.send(ok("done")).await;
    assert_eq!(held.response().await.text(), "done");
    app.stop().await;
    let (a, b) = (text("a"), text("b"));
    let lines: Vec<_> = a.lines().collect();
    assert_eq!(lines.len(), 2, "{a}");
    assert!(lines[0].contains("\"path\":\"/1\"") && lines[1].contains("\"GET /held HTTP/1.1\" 200"), "{a}");
    assert!(b.contains("\"GET /2 HTTP/1.1\" 204") && b.lines().count() == 1, "{b}");
}

#[tokio::test(flavor = "local")]
async fn the_admin_server_and_the_port_for_metrics_move() {
    let [one, two, three, four] = free_addresses(90);
    let dtab = |address: SocketAddr| format!("/svc => /$/inet/{}/{}", address.ip(), address.port());
    let yaml = |admin: SocketAddr, metrics: Option<SocketAddr>, to: SocketAddr| {
        let metrics = metrics.map_or(String::new(), |metrics| format!(", metrics: {}", at(metrics, "")));
        config(&[labelled("in", &dtab(to), &["{port: 0}".to_owned()])])
            .replace("admin: {port: 0}", &format!("admin: {}", at(admin, &metrics)))
    };
    let ping = "GET /admin/ping HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut app = TestApp::start(&yaml(one, Some(two), one)).await;
    let mut client = app.client().await;
    client.get("a", "").await.assert_status(403);
    let (mut open, mut idle) = (Wire::connect(one).await, Wire::connect(two).await);
    idle.ask(ping).await.assert_status(200);
    let body = "{\"path\": \"/svc/a\"}";
    let head = format!("Content-Type: application/json\r\nContent-Length: {}", body.len());
    open.send(format!(
        "POST /delegator.json HTTP/1.1\r\nHost: localhost\r\n{head}\r\nExpect: 100-continue\r\n\r\n"
    ))
    .await;
    open.expect("HTTP/1.1 100 Continue\r\n\r\n").await;
    reload(&mut app, &yaml(three, Some(four), three)).await;
    assert_eq!((app.running().admin(), app.running().metrics_address()), (three, Some(four)));
    assert!(is_closed(one).await && is_closed(two).await);
    until("the new one is not dialled", async || client.get("a", "").await.status() == 403).await;
    for address in [three, four] {
        Wire::connect(address).await.ask(ping).await.assert_status(200);
    }
    idle.assert_ended().await;
    open.send(body).await;
    open.response().await.assert_status(200);
    open.assert_ended().await;
    reload(&mut app, &yaml(one, None, four)).await;
    assert_eq!((app.running().admin(), app.running().metrics_address()), (one, None));
    assert!(is_closed(three).await && is_closed(four).await);
    until("its former socket is any other port", async || client.get("a", "").await.status() == 502).await;
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn listeners_that_come_and_go_leave_nothing_behind() {
    const ROUNDS: usize = 200;
    let folder = TempDir::new().expect("a folder");
    let own = Ipv4Addr::new(127, 0, 91, 1);
    let ip = IpAddr::from(own);
    let stays = labelled("stays", &status(204), &["{port: 0}".to_owned()]);
    let comes = labelled("comes", &status(204), &[format!("{{ip: {ip}, port: 0}}")]).replace(
        "label: comes",
        &format!("label: comes, httpAccessLog: '{}'", folder.path().join("log").display()),
    );
    let mut app = TestApp::start_here(&config(std::slice::from_ref(&stays))).await;
    let sockets = || {
        let table = fs::read_to_string("/proc/self/net/tcp").expect("the system has it");
        let address = format!(" {:08X}:", u32::from_le_bytes(own.octets()));
        table.lines().filter(|line| line.contains(&address) && line.contains(" 0A ")).count()
    };
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let series = |app: &TestApp| series(app).len();
    reload(&mut app, &config(&[stays.clone(), comes.clone()])).await;
    assert_eq!(sockets(), 1);
    let mut first = callers(app.address("comes", 0)).await;
    expect(&mut first, 204).await;
    let with_it = series(&app);
    drop(first);
    reload(&mut app, &config(std::slice::from_ref(&stays))).await;
    until("it has ended", async || {
        tokio::time::sleep(std::time::Duration::ZERO).await;
        series(&app) < with_it - 20
    })
    .await;
    let before = (tasks(), series(&app));
    for _ in 0..ROUNDS {
        reload(&mut app, &config(&[stays.clone(), comes.clone()])).await;
        let mut callers = callers(app.address("comes", 0)).await;
        expect(&mut callers, 204).await;
        drop(callers);
        reload(&mut app, &config(std::slice::from_ref(&stays))).await;
    }
    until("all of them have ended", async || {
        tokio::time::sleep(std::time::Duration::ZERO).await;
        tasks() <= before.0 && series(&app) <= before.1
    })
    .await;
    assert_eq!(sockets(), 0);
    app.stop().await;
    let lines = fs::read_to_string(folder.path().join("log")).expect("it was written").lines().count();
    assert_eq!(lines, 2 * ROUNDS + 2);
}
