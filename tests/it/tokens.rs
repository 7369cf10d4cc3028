//! Signed overrides over the wire: a token steers for whoever presents it, reaches no service, and grants nothing else.

use crate::support::either::{Caller, Echo, Speaks, router};
use crate::support::http2::H2Client;
use crate::support::{Service, Team, TestApp, Wire, one_router, speaking, until};
use Speaks::{Http1, Http2};
use signpost::context::token::{GeneratedKey, KeyKind};
use std::fs;
use std::net::Ipv4Addr;

#[tokio::test(flavor = "local")]
async fn a_token_steers_for_a_stranger_and_reaches_no_service() {
    for (caller, service, kind) in [
        (Http1, Http1, KeyKind::Ed25519),
        (Http1, Http2, KeyKind::Es256),
        (Http2, Http1, KeyKind::Hs256),
        (Http2, Http2, KeyKind::Ed25519),
    ] {
        let team = Team::new(kind);
        let (base, staged) = (Echo::start(service).await, Echo::start(service).await);
        let dtab = format!("/svc/* => /stage ; /stage => {}", base.path());
        let app = TestApp::start(&speaking(router(service), &dtab, &team.trust(""))).await;
        let mut client = Caller::connect(&app, caller).await;
        let entry = format!("/stage=>{}", staged.path());
        let token = team.sign(&entry, Some("pr-17+a"), 60);
        let beside = [
            ("l5d-dtab", "/stage => /$/fail"),
            ("baggage", "a=b,sd-sandbox=x"),
            ("l5d-dtab-token", token.as_str()),
            ("l5d-ctx-trace", "x"),
        ];
        for fields in [&[("l5d-dtab-token", token.as_str())][..], &beside] {
            let answer = client.get(fields).await;
            assert_eq!(answer.status, 200, "{caller:?} {service:?} {}", answer.text());
            assert!(answer.fields.iter().all(|(name, _)| !name.starts_with("l5d-")), "{answer:?}");
            let request = staged.take_request();
            assert_eq!(request.field("l5d-ctx-dtab"), Some(entry.as_str()));
            assert_eq!(request.all("baggage").last(), Some(&"sd-routing-key=pr-17%2Ba"));
            assert_eq!(request.all("baggage").len(), fields.len().min(2));
            let has_token =
                |(name, value): &(String, String)| name.contains("token") || value.contains(&token);
            assert!(!request.fields.iter().any(has_token), "{request:?}");
        }
        assert_eq!(client.get(&beside[..2]).await.status, 200);
        let request = base.take_request();
        assert_eq!((request.field("l5d-ctx-dtab"), request.all("baggage")), (None, vec!["a=b"]));

        let (expired, forged) = (team.sign(&entry, None, -60), Team::new(kind).sign(&entry, None, 60));
        for (fields, told) in [
            (&[("l5d-dtab-token", expired.as_str())][..], "has expired"),
            (&[("l5d-dtab-token", forged.as_str())], "not signed by a key"),
            (&[("l5d-dtab-token", &token), ("l5d_dtab_token", &token)], "more than one"),
            (&[("l5d-dtab-token", "none")], "not a token"),
        ] {
            let answer = client.get(fields).await;
            assert!(answer.status == 403 && answer.text().contains(told), "{told}: {answer:?}");
            assert!(answer.fields.iter().all(|(name, _)| !name.starts_with("l5d-")), "{answer:?}");
        }
        if caller == Http2 {
            let call = [("content-type", "application/grpc"), ("te", "trailers"), ("l5d-dtab-token", "x")];
            let answer = client.get(&call).await;
            assert_eq!((answer.status, answer.field("grpc-status")), (200, Some("7")));
        }
        app.stop().await;
    }
}

/// Without keys it is removed unread, whoever sent it; the look-alikes too.
#[tokio::test(flavor = "local")]
async fn a_listener_without_keys_passes_no_token_on() {
    let service = Service::saying("hi").await;
    for trust in ["", ", trust: nobody"] {
        let app = TestApp::start(&one_router(&format!("/svc/* => {}", service.path()), trust)).await;
        let mut client = app.client().await;
        let fields =
            "l5d-dtab-token: x\r\nL5D_DTAB_TOKEN: y\r\nl5d-dtab-token: z\r\nConnection: l5d-dtab-token\r\n";
        client.get("world", fields).await.assert_status(200);
        let request = service.take_requests().remove(0);
        assert!(!request.field_names().iter().any(|name| name.contains("token")), "{request:?}");
        app.stop().await;
    }
}

#[tokio::test(flavor = "local")]
async fn keys_change_while_connections_are_open() {
    let (mut team, staged) = (Team::new(KeyKind::Ed25519), Service::saying("staged").await);
    let config = one_router("/svc/* => /$/io.buoyant.http.status/204", &team.trust(""));
    let app = TestApp::start(&config).await;
    let mut client = app.client().await;
    let entry = format!("/svc/world => {}", staged.path());
    let field = |team: &Team| format!("l5d-dtab-token: {}\r\n", team.sign(&entry, None, 60));
    let old = field(&team);
    assert_eq!(client.get("world", &old).await.text(), "staged");

    fs::write(team.path(), "{\"keys\": [{\"kty\": \"oct\", \"kid\": \"a\", \"k\": \"c2hvcnQ\"}]}").unwrap();
    until("the bad file is counted", async || {
        client.get("world", &old).await.assert_status(200);
        app.total("token_keys_rejected", &[]) == 1
    })
    .await;
    team.key = GeneratedKey::new(KeyKind::Es256).unwrap();
    let new = field(&team);
    client.get("world", &new).await.assert_status(403);
    team.publish();
    until("the old key is gone", async || client.get("world", &old).await.status() == 403).await;
    assert_eq!(client.get("world", &new).await.text(), "staged");
    assert_eq!(app.total("token_keys_rejected", &[]), 0);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_reload_revokes_and_a_bad_key_file_changes_nothing() {
    let (team, staged) = (Team::new(KeyKind::Hs256), Service::saying("staged").await);
    let dtab = "/svc/* => /$/io.buoyant.http.status/204";
    let mut app = TestApp::start(&one_router(dtab, &team.trust(""))).await;
    let mut client = app.client().await;
    let field =
        format!("l5d-dtab-token: {}\r\n", team.sign(&format!("/svc/world => {}", staged.path()), None, 60));
    assert_eq!(client.get("world", &field).await.text(), "staged");
    let missing = one_router(dtab, ", trust: {signed: {keys: [/nowhere/team.pem]}}");
    let error = app.try_reload(&missing).await.expect_err("there is no such file");
    assert!(error.contains("/nowhere/team.pem: cannot be read"), "{error}");
    assert_eq!(client.get("world", &field).await.text(), "staged");
    let others = team.trust("").replace("}}", ", audience: [other]}}");
    assert!(app.reload(&one_router(dtab, &others)).await.is_empty());
    until("it is for another audience", async || client.get("world", &field).await.status() == 403).await;
    assert!(app.reload(&one_router(dtab, ", trust: nobody")).await.is_empty());
    until("tokens are removed unread", async || client.get("world", &field).await.status() == 204).await;
    app.stop().await;
}

/// The signer may grant no more than the listener allows to be overridden.
#[tokio::test(flavor = "local")]
async fn limits_on_overrides_hold_for_tokens() {
    let team = Team::new(KeyKind::Ed25519);
    let limits = ", overrides: {prefixes: [/stage], maxBytes: 60}";
    let dtab = "/svc/* => /stage ; /stage => /$/io.buoyant.http.status/204";
    let app = TestApp::start(&one_router(dtab, &(team.trust("") + limits))).await;
    let mut client = app.client().await;
    for (granted, status) in [
        ("/stage => /$/io.buoyant.http.status/205".to_owned(), 205),
        ("/svc => /$/io.buoyant.http.status/205".to_owned(), 403),
        (format!("/stage => /{}", "a".repeat(60)), 400),
    ] {
        let field = format!("l5d-dtab-token: {}\r\n", team.sign(&granted, None, 60));
        let answer = client.get("world", &field).await;
        assert_eq!(answer.status(), status, "{granted}");
        assert!(!answer.text().contains("/stage"), "a stranger is told nothing internal");
    }
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn addresses_and_tokens_are_combined_as_required() {
    const POD: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
    const STRANGER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);
    let team = Team::new(KeyKind::Ed25519);
    let token = team.sign("/t => /x", None, 60);
    let token = [("l5d-dtab-token", token.as_str())];
    let user = [("l5d-dtab", "/svc/web => /$/io.buoyant.http.status/205")];
    let own = team.sign("/svc/web => /$/io.buoyant.http.status/206", None, 60);
    let own = [("l5d-dtab-token", own.as_str())];
    for (require, caller, [by_header, by_token, by_own]) in [
        ("any", POD, [205, 204, 206]),
        ("any", STRANGER, [204, 204, 206]),
        ("all", POD, [204, 204, 206]),
        ("all", STRANGER, [204, 403, 403]),
    ] {
        let trust = team.trust(&format!(", from: [127.0.0.2], require: {require}"));
        let app = TestApp::start(&one_router("/svc/* => /$/io.buoyant.http.status/204", &trust)).await;
        let mut http1 = Caller::Http1(Wire::connect_from(caller.into(), app.first_address()).await);
        let mut http2 = Caller::Http2(H2Client::connect_from(caller.into(), app.first_address()).await);
        for client in [&mut http1, &mut http2] {
            for (fields, expected) in [(&user, by_header), (&token, by_token), (&own, by_own)] {
                assert_eq!(client.get(fields).await.status, expected, "{require} {caller} {fields:?}");
            }
        }
        app.stop().await;
    }
}
