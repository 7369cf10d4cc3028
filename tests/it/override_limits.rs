//! The limits that a listener sets to overrides, over the wire: they hold for trusted callers too.

use crate::support::http2::H2Client;
use crate::support::{Service, TestApp, Wire, one_router, with_servers};
use std::net::SocketAddr;

/// Asks for `world` with an override, over HTTP/1 and HTTP/2; both answers have the same status, and a text.
async fn answer(listener: SocketAddr, entry: &str) -> (u16, String) {
    let http1 = Wire::connect(listener).await.get("world", &format!("l5d-dtab: {entry}\r\n")).await;
    let http2 = H2Client::connect(listener).await.get("world", &[("l5d-dtab", entry)]).await;
    assert_eq!((http1.status(), http1.text()), (http2.status(), http2.text()), "{entry}");
    (http1.status(), http1.text().to_owned())
}

#[tokio::test(flavor = "local")]
async fn overrides_lead_to_allowed_destinations_only() {
    let (base, other) = (Service::saying("base").await, Service::saying("other").await);
    let allowed = format!("/$/inet/127.0.0.1/{}", other.address().port());
    let yaml = one_router(
        &format!("/svc/world => {}; /svc/loose => /svc/world", base.path()),
        &format!(", overrides: {{destinations: ['{allowed}'], prefixes: [/svc, /host]}}"),
    );
    let app = TestApp::start(&yaml).await;
    let listener = app.first_address();
    assert_eq!(
        answer(listener, "").await,
        (200, "base".to_owned()),
        "the router's own dtab may lead anywhere"
    );
    assert_eq!(answer(listener, &format!("/svc => {allowed}")).await, (200, "other".to_owned()));
    for (entry, reason) in [
        (format!("/svc => {}", base.path()), "overrides.destinations"),
        (format!("/svc/world => {} | {allowed}", base.path()), "overrides.destinations"),
        (format!("/svc => 1 * {allowed} & 1 * {}", base.path()), "overrides.destinations"),
        ("/svc => /$/io.buoyant.http.status/204".to_owned(), "overrides.destinations"),
        (format!("/ => {allowed}"), "overrides.prefixes"),
        (format!("/* => {allowed}"), "overrides.prefixes"),
        (format!("/svc => {allowed}; /$/inet => {}", base.path()), "overrides.prefixes"),
    ] {
        let (status, text) = answer(listener, &entry).await;
        assert_eq!(status, 403, "{entry}: {text}");
        assert!(text.contains(reason) && text.contains("=>"), "{entry}: {text}");
    }
    app.stop().await;
}

/// The page and `signpost delegate` count as a request does.
#[tokio::test(flavor = "local")]
async fn overrides_add_lookups_within_a_bound() {
    let base = Service::saying("base").await;
    let branches = |count: usize| vec!["/x"; count].join(" & ");
    let yaml =
        one_router(&format!("/svc/world => {0}; /x => {0}", base.path()), "") + "  maxOverrideLookups: 20\n";
    let app = TestApp::start(&yaml).await;
    let listener = app.first_address();
    // Each branch is looked up twice; without the override there are two lookups.
    assert_eq!(answer(listener, &format!("/svc => {}", branches(10))).await, (200, "base".to_owned()));
    let entry = format!("/svc => {}", branches(11));
    let (status, text) = answer(listener, &entry).await;
    assert_eq!(status, 400, "{text}");
    assert!(text.contains("the overrides add more than 20 lookups") && text.contains("maxOverrideLookups"));
    for (count, is_too_many) in [(10, false), (11, true)] {
        let dtab = format!("/svc%20=%3E%20{}", branches(count).replace('&', "%26").replace(' ', "%20"));
        let page = app.json(&format!("/delegator.json?path=/svc/world&dtab={dtab}")).await;
        assert_eq!(page.to_string().contains("add more than 20 lookups"), is_too_many, "{page}");
    }
    app.stop().await;
}

/// The same bytes to a limited and an unlimited listener of one router, which share its cache, in either order.
#[tokio::test(flavor = "local")]
async fn a_listener_never_uses_a_decision_of_another_one() {
    let (base, other) = (Service::saying("base").await, Service::saying("other").await);
    for limit in [
        "destinations: ['/#/io.l5d.fs/**']",
        "prefixes: [/host]",
        "maxEntries: 1",
        "maxBytes: 10",
        "addresses: {deny: [127.0.0.0/8]}",
    ] {
        for limited_first in [true, false] {
            let limited = format!(", overrides: {{{limit}}}");
            let mut servers = [limited.as_str(), ""];
            if !limited_first {
                servers.reverse();
            }
            let app =
                TestApp::start(&with_servers(&format!("/svc/world => {}", base.path()), &servers)).await;
            let entry = format!("/svc => {}; /x => /y", other.path());
            for _ in 0..2 {
                for at in [0, 1] {
                    let (status, text) = answer(app.address("http", at), &entry).await;
                    let is_limited = (at == 0) == limited_first;
                    let refused = if limit.starts_with("max") { 400 } else { 403 };
                    let expected = if is_limited { refused } else { 200 };
                    assert_eq!(status, expected, "{limit}, limited first: {limited_first}: {text}");
                }
            }
            app.stop().await;
        }
    }
}

/// A connection that the router's own dtab has opened is not used for an override that may not lead there.
#[tokio::test(flavor = "local")]
async fn denied_addresses_are_judged_where_they_are_used() {
    let base = Service::saying("base").await;
    let port = base.address().port();
    let yaml = one_router(
        &format!("/svc/world => {}", base.path()),
        ", overrides: {addresses: {deny: [127.0.0.0/8]}}",
    );
    let app = TestApp::start(&yaml).await;
    let listener = app.first_address();
    assert_eq!(answer(listener, "").await.0, 200);
    for host in ["127.0.0.1", "localhost", "127.1", "::ffff:127.0.0.1", "0.0.0.0", "0", "::ffff:0.0.0.0"] {
        let (status, text) = answer(listener, &format!("/svc => /$/inet/{host}/{port}")).await;
        assert_eq!(status, 403, "{host}: {text}");
        assert!(text.contains("overrides.addresses.deny"), "{text}");
    }
    assert_eq!(answer(listener, "").await.0, 200);
    assert_eq!(base.take_requests().len(), 4, "no refused request has arrived");
    // Link-local addresses are denied without a key.
    let app_by_default = TestApp::start(&one_router("", ", trust: everybody")).await;
    for host in ["169.254.169.254", "::ffff:169.254.169.254", "fd00:ec2::254"] {
        let entry = format!("/svc => /$/inet/{host}/80");
        let (status, text) = answer(app_by_default.first_address(), &entry).await;
        assert_eq!(status, 403, "{host}: {text}");
    }
    app_by_default.stop().await;
    app.stop().await;
}
