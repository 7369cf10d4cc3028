//! Names from DNS under a running app, with a DNS server on loopback.

use crate::support::{DnsServer, Service, TestApp, Wire, one_router, until};

/// A name that falls back, and a namer of services that asks this server.
fn config(dns: &DnsServer, rest: &Service) -> String {
    let rest = format!("/$/inet/{}/{}", rest.address().ip(), rest.address().port());
    let namers = format!(
        "namers: [{{kind: io.l5d.dnssrv, prefix: /srv, dnsHosts: ['{}'], domain: test, refreshIntervalSeconds: 1}}]\n",
        dns.address()
    );
    one_router(&format!("/svc => /#/srv/_http._tcp.web | {rest}; /svc/none => /#/srv/_http._tcp.web | !"), "")
        + &namers
}

/// Asks until this text answers.
async fn until_answered(client: &mut Wire, text: &str) {
    until(&format!("{text} answers"), async || client.get("web", "").await.text() == text).await;
}

#[tokio::test(flavor = "local")]
async fn routing_follows_srv_records() {
    let (v1, v2, rest) =
        (Service::saying("v1").await, Service::saying("v2").await, Service::saying("rest").await);
    let dns = DnsServer::start().await;
    let app = TestApp::start(&config(&dns, &rest)).await;
    let mut client = app.client().await;
    let port = |service: &Service| service.address().port();
    let service = "_http._tcp.web.test. SRV";

    assert_eq!(client.get("web", "").await.text(), "rest", "there is no such service yet");
    client.get("none", "").await.assert_status(502);

    dns.says("a.test. A", "1 127.0.0.1");
    dns.says(service, &format!("1 1 5 {} a.test., 2 5 {} a.test.", port(&v1), port(&v2)));
    until_answered(&mut client, "v1").await;
    dns.says(service, &format!("1 1 5 {} a.test.", port(&v2)));
    until_answered(&mut client, "v2").await;

    dns.says(service, "SERVFAIL");
    dns.says("a.test. A", "SERVFAIL");
    dns.asked();
    let failing = async || {
        assert_eq!(client.get("web", "").await.text(), "v2", "the last good addresses stay");
        dns.asked().iter().any(|asked| asked == service)
    };
    until("the server is asked again", failing).await;
    assert_eq!(client.get("web", "").await.text(), "v2");

    dns.says(service, "1 0 0 0 .");
    until_answered(&mut client, "rest").await;
    dns.says("a.test. A", "1 127.0.0.1");
    dns.says(service, &format!("1 1 5 {} a.test.", port(&v1)));
    until_answered(&mut client, "v1").await;
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_dns_server_that_fails_is_no_reason_to_fall_back() {
    let rest = Service::saying("rest").await;
    let dns = DnsServer::start().await;
    dns.says("_http._tcp.web.test. SRV", "REFUSED");
    let app = TestApp::start(&config(&dns, &rest)).await;
    let mut client = app.client().await;
    let refused = client.get("web", "").await;
    refused.assert_status(502);
    assert!(refused.text().contains("looking up _http._tcp.web.test."), "{}", refused.text());
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn names_under_a_zone_that_does_not_answer_hold_up_no_other() {
    let v1 = Service::saying("v1").await;
    let dns = DnsServer::start().await;
    dns.silence("silent.test.");
    dns.says("a.test. A", "1 127.0.0.1");
    for name in ["web", "late"] {
        dns.says(&format!("{name}.test. SRV"), &format!("1 1 5 {} a.test.", v1.address().port()));
    }
    let namers = format!(
        "namers: [{{kind: io.l5d.dnssrv, prefix: /srv, dnsHosts: ['{}'], domain: test, refreshIntervalSeconds: 1}}]\n",
        dns.address()
    );
    let app = TestApp::start(&(one_router("/svc => /#/srv", "") + &namers)).await;
    let mut customer = app.client().await;
    assert_eq!(customer.get("web", "").await.text(), "v1");
    let mut waiting = Vec::new();
    for at in 0..100 {
        let mut hostile = app.client().await;
        hostile.send(&format!("GET / HTTP/1.1\r\nHost: h{at}.silent\r\n\r\n")).await;
        waiting.push(hostile);
    }
    until("the zone is asked", async || {
        customer.get("web", "").await.assert_status(200);
        dns.asked().iter().any(|asked| asked.contains("silent"))
    })
    .await;
    // No time has to pass for it: no question under the zone ends before 5 s.
    assert_eq!(customer.get("late", "").await.text(), "v1", "a name that was never asked for");
    assert_eq!(customer.get("web", "").await.text(), "v1");
    drop(waiting);
    app.stop_in_time().await;
}
