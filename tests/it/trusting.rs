//! Listeners that trust by address, over the wire: callers from 127.0.0.2 and from 127.0.0.3.

use crate::support::http2::H2Client;
use crate::support::{Service, TestApp, Wire, one_router, with_servers};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

const TRUSTED: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const STRANGER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

/// Services to be told apart, and the override that leads from one to the other.
struct Stage {
    base: Service,
    other: Service,
    entry: String,
}

impl Stage {
    async fn start() -> Self {
        let (base, other) = (Service::saying("base").await, Service::saying("other").await);
        let entry = format!("/svc/world => {}", other.path());
        Self { base, other, entry }
    }

    /// A router that leads to the first, unless its caller may say otherwise.
    fn config(&self, server: &str) -> String {
        one_router(&format!("/svc/world => {}", self.base.path()), server)
    }

    /// The service that answers a caller that asks for the other one.
    async fn answering(&self, caller: IpAddr, listener: SocketAddr) -> [String; 2] {
        let mut http1 = Wire::connect_from(caller, listener).await;
        let http1 = http1.get("world", &format!("l5d-dtab: {}\r\n", self.entry)).await;
        assert_eq!(http1.field("l5d-dtab-unbound"), None);
        let mut http2 = H2Client::connect_from(caller, listener).await;
        let http2 = http2.get("world", &[("l5d-dtab", &self.entry)]).await;
        [http1.text().to_owned(), http2.text().to_owned()]
    }
}

#[tokio::test(flavor = "local")]
async fn callers_are_trusted_by_their_address() {
    let stage = Stage::start().await;
    for ranges in ["127.0.0.2", "127.0.0.2/32, 10.0.0.0/8", "\"::1\", 127.0.0.0/31, 127.0.0.2/32"] {
        let app = TestApp::start(&stage.config(&format!(", trust: {{from: [{ranges}]}}"))).await;
        let listener = app.first_address();
        assert_eq!(stage.answering(TRUSTED.into(), listener).await, ["other", "other"], "{ranges}");
        assert_eq!(app.total("dropped_overrides", &[]), 0);
        assert_eq!(stage.answering(STRANGER.into(), listener).await, ["base", "base"], "{ranges}");
        assert_eq!(app.total("dropped_overrides", &[]), 2);
        let told = stage.base.take_requests();
        assert!(told.iter().all(|request| request.field("l5d-ctx-dtab").is_none()), "{told:?}");
        let told = stage.other.take_requests();
        assert!(told.iter().all(|request| request.field("l5d-ctx-dtab").is_some()), "{told:?}");
        app.stop().await;
    }
}

#[tokio::test(flavor = "local")]
async fn an_untrusted_caller_cannot_claim_another_address() {
    let stage = Stage::start().await;
    let app = TestApp::start(&stage.config(", trust: {from: [127.0.0.2]}")).await;
    let mut client = Wire::connect_from(STRANGER.into(), app.first_address()).await;
    for claim in ["Forwarded: for=127.0.0.2", "X-Forwarded-For: 127.0.0.2", "X-Real-IP: 127.0.0.2"] {
        let answer = client.get("world", &format!("{claim}\r\nl5d-dtab: {}\r\n", stage.entry)).await;
        assert_eq!(answer.text(), "base", "{claim}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn errors_name_nothing_to_untrusted_callers() {
    let app = TestApp::start(&one_router("", ", trust: {from: [127.0.0.2]}")).await;
    let mut trusted = Wire::connect_from(TRUSTED.into(), app.first_address()).await;
    let told = trusted.get("world", "").await;
    assert!(told.status() == 502 && told.text().contains("/svc/world"), "{told:?}");
    let mut stranger = Wire::connect_from(STRANGER.into(), app.first_address()).await;
    let told = stranger.get("world", "").await;
    assert!(told.status() == 502 && !told.text().contains("/svc"), "{told:?}");
    assert!(told.field_names().iter().all(|name| !name.starts_with("l5d-")), "{told:?}");
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn callers_over_ipv4_are_known_on_sockets_for_both_families() {
    if std::net::TcpListener::bind("[::]:0").is_err() {
        return; // This machine has no IPv6, so there is no such socket.
    }
    let stage = Stage::start().await;
    let app = TestApp::start(&stage.config(", ip: '::', trust: {from: [127.0.0.2]}")).await;
    let listener = SocketAddr::from((Ipv4Addr::LOCALHOST, app.first_address().port()));
    assert_eq!(stage.answering(TRUSTED.into(), listener).await, ["other", "other"]);
    assert_eq!(stage.answering(STRANGER.into(), listener).await, ["base", "base"]);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn listeners_of_a_router_trust_each_for_itself_and_can_be_told_otherwise() {
    let stage = Stage::start().await;
    let dtab = format!("/svc/world => {}", stage.base.path());
    let servers = |first| with_servers(&dtab, &[first, ", trust: nobody"]);
    let mut app = TestApp::start(&servers(", trust: {from: [127.0.0.2]}")).await;
    let (open, closed) = (app.address("http", 0), app.address("http", 1));
    assert_eq!(stage.answering(TRUSTED.into(), closed).await, ["base", "base"]);
    let mut client = Wire::connect_from(TRUSTED.into(), open).await;
    let fields = format!("l5d-dtab: {}\r\n", stage.entry);
    assert_eq!(client.get("world", &fields).await.text(), "other");

    let error = app.try_reload(&servers(", trust: {from: [pods]}")).await.expect_err("it is wrong");
    assert!(error.contains("routers[0].servers[0].trust.from[0]"), "{error}");
    assert_eq!(client.get("world", &fields).await.text(), "other", "what was there stays");
    assert!(app.reload(&servers(", trust: {from: [127.0.0.3]}")).await.is_empty());
    assert_eq!(client.get("world", &fields).await.text(), "base", "on the connection that was open");
    assert_eq!(stage.answering(STRANGER.into(), open).await, ["other", "other"]);
    app.stop().await;
}
