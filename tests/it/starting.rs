//! How the app comes up, and how it goes.

use crate::support::{
    Service, TestApp, Upstream, Wire, ok, one_router, read, routing_to, time_flies, until, with_servers,
    within,
};
use signpost::app::{App, Threads};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;
use tokio::net::TcpStream;

/// An address of this machine that no other process uses.
fn free_address(last: u8) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::new(127, 0, 77, last), 0)).expect("loopback has free ports");
    listener.local_addr().expect("it is bound")
}

fn two_routers(admin: SocketAddr, one: SocketAddr, two: SocketAddr) -> String {
    let at = |address: SocketAddr| format!("{{ip: {}, port: {}}}", address.ip(), address.port());
    format!(
        "admin: {}\nrouters:\n- {{protocol: http, label: one, servers: [{}]}}\n\
         - {{protocol: http, label: two, servers: [{}]}}\n",
        at(admin),
        at(one),
        at(two)
    )
}

#[tokio::test(flavor = "local")]
async fn a_port_that_is_taken_leaves_nothing_bound() {
    let free = [free_address(1), free_address(2), free_address(3)];
    for taken in 0..3 {
        let occupant = TcpListener::bind(free[taken]).expect("it was free");
        let config = read(&two_routers(free[0], free[1], free[2]));
        for threads in [Threads::Here, Threads::Workers(2)] {
            let error =
                within("failing", App::start(config.clone(), threads)).await.expect_err("it is taken");
            let text = error.to_string();
            let owner = ["admin", "router one", "router two"][taken];
            assert!(text.contains(owner) && text.contains(&free[taken].to_string()), "{text}");
            assert!(text.contains("in use"), "{text}");
        }
        for (at, address) in free.iter().enumerate().filter(|(at, _)| *at != taken) {
            drop(TcpListener::bind(address).unwrap_or_else(|error| panic!("{at} is free again: {error}")));
        }
        drop(occupant);
    }
    let app = TestApp::start_here(&two_routers(free[0], free[1], free[2])).await;
    assert_eq!(app.running().admin(), free[0]);
    assert_eq!((app.address("one", 0), app.address("two", 0)), (free[1], free[2]));
    app.stop().await;
}

#[test]
fn the_number_of_workers_is_configured() {
    let mut config = read(&format!("workers: 3\n{}", one_router("", "")));
    assert_eq!(Threads::configured(&config), Threads::Workers(3));
    config.workers = None;
    assert!(matches!(Threads::configured(&config), Threads::Workers(1..)));
}

#[tokio::test(flavor = "local")]
async fn an_address_of_another_machine_cannot_be_bound() {
    let config = read(&one_router("", ", ip: 192.0.2.1"));
    let error = within("failing", App::start(config, Threads::Here)).await.expect_err("it is not ours");
    assert!(error.to_string().contains("router http cannot listen on 192.0.2.1:0"), "{error}");
    assert!(error.to_string().contains("correct `ip`"), "{error}");
}

#[tokio::test(flavor = "local")]
async fn port_0_is_another_port_each_time() {
    let service = Service::saying("hi").await;
    let app =
        TestApp::start_here(&with_servers(&format!("/svc/* => {}", service.path()), &["", "", ""])).await;
    let mut ports: Vec<_> =
        app.running().listeners().iter().map(|listener| listener.address.port()).collect();
    ports.push(app.running().admin().port());
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), 4);
    for server in 0..3 {
        assert_eq!(app.client_of("http", server).await.get("a", "").await.text(), "hi");
    }
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_stop_finishes_what_was_begun_and_begins_nothing() {
    for workers in [0, 2] {
        let upstream = Upstream::start().await;
        let yaml = routing_to(&upstream.path());
        let app = match workers {
            0 => TestApp::start_here(&yaml).await,
            workers => TestApp::start_workers(&yaml, workers).await,
        };
        let (address, admin) = (app.address("http", 0), app.running().admin());
        let (mut idle, mut client) = (app.client().await, app.client().await);
        client.send("GET /begun HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let mut conn = upstream.accept().await;
        conn.request().await;
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel").await;
        client.head().await;

        let meanwhile = async {
            idle.assert_ended().await;
            until("no listener is left", async || TcpStream::connect(address).await.is_err()).await;
            let ready = Wire::connect(admin).await.ask("GET /admin/ready HTTP/1.1\r\nHost: a\r\n\r\n").await;
            assert_eq!((ready.status(), ready.text()), (503, "draining\n"));
            conn.send("lo").await;
            client.expect("hello").await;
            client.assert_ended().await;
        };
        tokio::join!(app.stop(), meanwhile);
        assert!(TcpStream::connect(admin).await.is_err(), "the admin server ends last");
        upstream.assert_unreached().await;
    }
}

#[tokio::test(flavor = "local")]
async fn a_response_that_begins_during_a_stop_says_that_it_is_the_last() {
    let upstream = Upstream::start().await;
    let app = TestApp::start_here(&routing_to(&upstream.path())).await;
    let (mut idle, mut client) = (app.client().await, app.client().await);
    // The second is never begun.
    client.send("GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut conn = upstream.accept().await;
    conn.request().await;
    let meanwhile = async {
        idle.assert_ended().await;
        conn.send(ok("last")).await;
        let response = client.response().await;
        assert_eq!((response.text(), response.field("connection")), ("last", Some("close")));
        client.assert_gone().await;
    };
    tokio::join!(app.stop(), meanwhile);
}

#[tokio::test(flavor = "local")]
async fn what_outlasts_the_grace_is_cut_off() {
    let upstream = Upstream::start().await;
    let yaml = routing_to(&upstream.path())
        .replace("{port: 0}\nrouters", "{port: 0, shutdownGraceMs: 3000}\nrouters");
    let app = TestApp::start_here(&yaml).await;
    let mut client = app.client().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut conn = upstream.accept().await;
    conn.request().await;
    let (in_time, passed) = time_flies(app.stop_in_time()).await;
    assert!(!in_time);
    assert!((3..5).contains(&passed.as_secs()), "{passed:?}");
    client.assert_gone().await;
    conn.assert_gone().await;
}

#[tokio::test(flavor = "local")]
async fn what_outlasts_the_grace_is_cut_off_on_every_worker() {
    let upstream = Upstream::start().await;
    let mut config = read(&routing_to(&upstream.path()));
    config.admin.shutdown_grace = Duration::ZERO;
    let app = TestApp::start_config(config, Threads::Workers(2)).await;
    let mut held = Vec::new();
    for _ in 0..4 {
        let mut client = app.client().await;
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let mut conn = upstream.accept().await;
        conn.request().await;
        held.push((client, conn));
    }
    assert!(!app.stop_in_time().await);
    for (client, conn) in &mut held {
        client.assert_gone().await;
        conn.assert_gone().await;
    }
}
