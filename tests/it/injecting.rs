//! Rules by which a listener gives overrides to requests, over the wire.

use crate::support::http2::H2Client;
use crate::support::{Service, TestApp, Wire, one_router, with_servers};
use std::net::{Ipv4Addr, SocketAddr};

/// The services that answer a request with these header lines, over HTTP/1 and HTTP/2.
async fn answers(caller: Ipv4Addr, listener: SocketAddr, fields: &[(&str, &str)]) -> [String; 2] {
    let lines: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let http1 = Wire::connect_from(caller.into(), listener).await.get("world", &lines).await;
    let http2 = H2Client::connect_from(caller.into(), listener).await.get("world", fields).await;
    [http1.text().to_owned(), http2.text().to_owned()]
}

/// The dogfood edge: a stranger's own override is removed, and the rule's entries steer and travel on.
#[tokio::test(flavor = "local")]
async fn a_cookie_leads_a_stranger_to_another_version() {
    let (base, v2) = (Service::saying("base").await, Service::saying("v2").await);
    let rule = format!("/svc/world => {}", v2.path());
    let yaml = one_router(
        &format!("/svc/world => {}", base.path()),
        &format!(", trust: nobody, inject: [{{when: {{cookie: {{dogfood: on}}}}, dtab: '{rule}'}}]"),
    );
    let app = TestApp::start(&yaml).await;
    let (listener, stranger) = (app.first_address(), Ipv4Addr::LOCALHOST);
    let own = format!("/svc/world => {}", base.path());
    for (fields, expected) in [
        (&[][..], "base"),
        (&[("cookie", "dogfood=off")], "base"),
        (&[("cookie", "dogfood=on")], "v2"),
        (&[("cookie", "dogfood=on"), ("l5d-dtab", &*own), ("l5d-ctx-dtab", &*own)], "v2"),
    ] {
        assert_eq!(answers(stranger, listener, fields).await, [expected; 2], "{fields:?}");
    }
    let told = v2.take_requests();
    assert_eq!(told.len(), 4);
    for request in told {
        assert_eq!(request.field("l5d-ctx-dtab"), Some(&*rule.replace(" => ", "=>")), "{request:?}");
    }
    assert!(base.take_requests().iter().all(|request| request.field("l5d-ctx-dtab").is_none()));
    app.stop().await;
}

/// A workload that starts requests itself is known by its address; its own override comes after the rule's entries.
#[tokio::test(flavor = "local")]
async fn a_caller_is_chosen_by_its_address() {
    let (base, v2, own) =
        (Service::saying("base").await, Service::saying("v2").await, Service::saying("own").await);
    let job = Ipv4Addr::new(127, 0, 0, 9);
    let yaml = one_router(
        &format!("/svc/world => {}", base.path()),
        &format!(", inject: [{{when: {{from: [{job}]}}, dtab: '/svc/world => {}'}}]", v2.path()),
    );
    let app = TestApp::start(&yaml).await;
    let listener = app.first_address();
    assert_eq!(answers(Ipv4Addr::LOCALHOST, listener, &[]).await, ["base"; 2]);
    assert_eq!(answers(job, listener, &[]).await, ["v2"; 2]);
    let entry = format!("/svc/world => {}", own.path());
    assert_eq!(answers(job, listener, &[("l5d-dtab", &entry)]).await, ["own"; 2]);
    let member = format!("dtab={}", entry.replace(' ', "%20"));
    assert_eq!(answers(job, listener, &[("baggage", &member)]).await, ["v2"; 2], "baggage comes before");
    app.stop().await;
}

/// Limits hold for callers, and not for the configuration. A router behind does not inject a second time.
#[tokio::test(flavor = "local")]
async fn injected_entries_are_not_limited_and_do_not_grow_from_hop_to_hop() {
    let (base, v2) = (Service::saying("base").await, Service::saying("v2").await);
    let rule = format!(
        ", overrides: {{prefixes: [/none], destinations: []}}, inject: [{{when: {{}}, dtab: '/svc/world => {}'}}]",
        v2.path()
    );
    let dtab = format!("/svc/world => {}", base.path());
    let app = TestApp::start(&with_servers(
        &dtab,
        &[&rule, &rule.replace(", overrides: {prefixes: [/none], destinations: []}", "")],
    ))
    .await;
    assert_eq!(answers(Ipv4Addr::LOCALHOST, app.address("http", 0), &[]).await, ["v2"; 2]);
    let ctx = v2.take_requests()[0].field("l5d-ctx-dtab").unwrap().to_owned();
    let again = answers(Ipv4Addr::LOCALHOST, app.address("http", 1), &[("l5d-ctx-dtab", &ctx)]).await;
    assert_eq!(again, ["v2"; 2]);
    for request in v2.take_requests() {
        assert_eq!(request.field("l5d-ctx-dtab"), Some(&*ctx));
    }
    app.stop().await;
}

/// A tenant is written into `baggage`, under the first of the tenancy keys, unless a trusted caller names one.
#[tokio::test(flavor = "local")]
async fn a_tenant_is_given_to_requests_without_one() {
    let base = Service::saying("base").await;
    let rules = "inject: [{when: {header: {x-job: \"*\"}}, sandbox: pr-7+job}, {when: {}, sandbox: other}]";
    let servers = [format!(", trust: nobody, {rules}"), format!(", trust: everybody, {rules}")];
    let yaml =
        with_servers(&format!("/svc/world => {}", base.path()), &servers.each_ref().map(|server| &**server));
    let app = TestApp::start(&yaml).await;
    for (server, fields, expected) in [
        (0, &[][..], "sd-routing-key=other"),
        (0, &[("x-job", "1")], "sd-routing-key=pr-7%2Bjob"),
        (
            0,
            &[("x-job", "1"), ("baggage", "a=b,okteto-divert=mine,c=d")],
            "a=b,c=d | sd-routing-key=pr-7%2Bjob",
        ),
        (1, &[("x-job", "1"), ("baggage", "a=b")], "a=b | sd-routing-key=pr-7%2Bjob"),
        (1, &[("x-job", "1"), ("baggage", "a=b,okteto-divert=mine,c=d")], "a=b,okteto-divert=mine,c=d"),
    ] {
        assert_eq!(answers(Ipv4Addr::LOCALHOST, app.address("http", server), fields).await, ["base"; 2]);
        for request in base.take_requests() {
            assert_eq!(request.all("baggage").join(" | "), expected, "{server} {fields:?}");
        }
    }
    app.stop().await;
}
