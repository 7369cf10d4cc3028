//! Names under a running app: files that change, weights, balancing, and many overrides over few connections.

use crate::support::{Names, Service, TestApp, Upstream, Wire, ok, one_router, until};
use std::fs;

/// Asks for the name until this text answers.
async fn until_answered(client: &mut Wire, host: &str, text: &str) {
    let what = format!("{host} is answered by {text}");
    until(&what, async || client.get(host, "").await.text() == text).await;
}

#[tokio::test(flavor = "local")]
async fn routing_follows_the_files() {
    let (v1, v2, rest) =
        (Service::saying("v1").await, Service::saying("v2").await, Service::saying("rest").await);
    let names = Names::new();
    names.write("rest", &[rest.address()]);
    let dtab = "/svc => /#/io.l5d.fs; /svc/world => /#/io.l5d.fs/world | /#/io.l5d.fs/rest";
    let app = TestApp::start(&(one_router(dtab, "") + &names.namer())).await;
    let mut client = app.client().await;

    assert_eq!(client.get("world", "").await.text(), "rest", "there is no such file yet");
    names.write("world", &[v1.address()]);
    until_answered(&mut client, "world", "v1").await;
    names.write("world", &[v2.address()]);
    until_answered(&mut client, "world", "v2").await;
    names.replace("world", &[v1.address()]);
    until_answered(&mut client, "world", "v1").await;
    names.remove("world");
    until_answered(&mut client, "world", "rest").await;
    names.replace("world", &[v2.address()]);
    until_answered(&mut client, "world", "v2").await;
    names.write("world", &[]);
    until_answered(&mut client, "world", "rest").await;
    let file = format!("# not\na bad line\n{} {}\n", v1.address().ip(), v1.address().port());
    fs::write(format!("{}/world", names.path()), file).expect("the folder is there");
    until_answered(&mut client, "world", "v1").await;

    names.write("late", &[v2.address()]);
    until_answered(&mut client, "late", "v2").await;
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn an_endpoint_that_leaves_its_file_gets_no_more() {
    let (stays, leaves) = (Service::saying("stays").await, Service::saying("leaves").await);
    let names = Names::new();
    names.write("world", &[leaves.address()]);
    let app = TestApp::start_workers(&(one_router("/svc => /#/io.l5d.fs", "") + &names.namer()), 2).await;
    let mut clients = [app.client().await, app.client().await];
    for client in &mut clients {
        assert_eq!(client.get("world", "").await.text(), "leaves");
    }
    names.write("world", &[stays.address(), leaves.address()]);
    for client in &mut clients {
        until_answered(client, "world", "stays").await;
    }
    names.write("world", &[stays.address()]);
    for client in &mut clients {
        // Twenty in a row: by chance alone that is one in a million.
        let mut row = 0;
        let in_a_row = async || {
            row = if client.get("world", "").await.text() == "stays" { row + 1 } else { 0 };
            row == 20
        };
        until("all go to the one that stays", in_a_row).await;
    }
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_union_is_shared_by_weight() {
    const REQUESTS: usize = 500;
    let (much, little) = (Service::saying("much").await, Service::saying("little").await);
    let dtab = format!("/svc/world => 9 * {} & {}", much.path(), little.path());
    let app = TestApp::start(&one_router(&dtab, "")).await;
    let mut client = app.client().await;
    for _ in 0..REQUESTS {
        client.get("world", "").await.assert_status(200);
    }
    assert_eq!(much.count() + little.count(), REQUESTS);
    // 50 are expected; the bounds are more than five standard deviations away.
    assert!((15..100).contains(&little.count()), "{} of {REQUESTS}", little.count());
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn an_empty_branch_takes_its_share_of_a_union() {
    let service = Service::saying("hi").await;
    let dtab = format!("/svc/world => {} & ~; /svc/half => {} & $", service.path(), service.path());
    let app = TestApp::start(&one_router(&dtab, "")).await;
    let mut client = app.client().await;
    let mut failed = 0;
    for _ in 0..100 {
        client.get("world", "").await.assert_status(200);
        failed += usize::from(client.get("half", "").await.status() == 502);
    }
    assert!((15..85).contains(&failed), "{failed} of 100");
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn the_less_busy_endpoint_is_preferred() {
    let (one, two) = (Upstream::start().await, Upstream::start().await);
    let names = Names::new();
    names.write("world", &[one.address(), two.address()]);
    let app = TestApp::start_here(&(one_router("/svc => /#/io.l5d.fs", "") + &names.namer())).await;
    let get = "GET / HTTP/1.1\r\nHost: world\r\n\r\n";
    let (mut held, mut client) = (app.client().await, app.client().await);
    held.send(get).await;
    let (busy, idle, mut busy_conn) = tokio::select! {
        conn = one.accept() => (&one, &two, conn),
        conn = two.accept() => (&two, &one, conn),
    };
    busy_conn.request().await;
    client.send(get).await;
    let mut idle_conn = idle.accept().await;
    for _ in 0..20 {
        idle_conn.request().await;
        idle_conn.send(ok("idle")).await;
        assert_eq!(client.response().await.text(), "idle");
        client.send(get).await;
    }
    busy.assert_unreached().await;
    busy_conn.send(ok("busy")).await;
    assert_eq!(held.response().await.text(), "busy");
    idle_conn.request().await;
    idle_conn.send(ok("idle")).await;
    client.response().await.assert_status(200);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn many_overrides_share_few_connections() {
    let service = Service::saying("hi").await;
    let small = "  bindingCache: {paths: 10, trees: 10, bounds: 10, clients: 2}\n";
    for cache in ["", small] {
        let yaml = one_router(&format!("/svc/* => {}", service.path()), "") + cache;
        let app = TestApp::start_workers(&yaml, 2).await;
        let before = service.connections();
        let mut clients = [app.client().await, app.client().await];
        for at in 0..1000 {
            for (which, client) in clients.iter_mut().enumerate() {
                let response =
                    client.get(&format!("a{at}"), &format!("l5d-dtab: /x{which}/{at} => /y\r\n")).await;
                assert_eq!(response.text(), "hi");
            }
        }
        assert_eq!(
            service.connections() - before,
            2,
            "one for each worker, whatever the names and overrides"
        );
        app.stop().await;
    }
    assert_eq!(service.count(), 4000);
}

#[tokio::test(flavor = "local")]
async fn more_clients_than_are_remembered_still_serve() {
    let mut services = Vec::new();
    for at in 0..5 {
        services.push(Service::saying(&format!("service {at}")).await);
    }
    let dtab: String =
        services.iter().enumerate().map(|(at, to)| format!("/svc/{at} => {};", to.path())).collect();
    let app = TestApp::start(&(one_router(&dtab, "") + "  bindingCache: {paths: 2, clients: 2}\n")).await;
    let mut client = app.client().await;
    for round in 0..20 {
        let at = round % services.len();
        assert_eq!(client.get(&at.to_string(), "").await.text(), format!("service {at}"));
    }
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_method_can_go_elsewhere() {
    let (all, writes) = (Service::saying("all").await, Service::saying("writes").await);
    let dtab = format!("/host => {}; /svc/1.1/* => /host; /svc/1.1/POST => {}", all.path(), writes.path());
    let yaml = one_router(&dtab, "") + "  identifier: {kind: io.l5d.methodAndHost}\n";
    let app = TestApp::start(&yaml).await;
    let mut client = app.client().await;
    for (method, service) in [("GET", "all"), ("POST", "writes"), ("PUT", "all")] {
        let response = client.ask(format!("{method} / HTTP/1.1\r\nHost: world\r\n\r\n")).await;
        assert_eq!(response.text(), service, "{method}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_path_can_name_and_be_consumed() {
    let service = Service::start(async |request| ok(request.first_line())).await;
    let yaml = one_router(&format!("/svc/a/b => {}", service.path()), "")
        + "  identifier: [{kind: io.l5d.header.token, header: x-who}, {kind: io.l5d.path, segments: 2, consume: true}]\n";
    let app = TestApp::start(&yaml).await;
    let mut client = app.client().await;
    let response = client.ask("GET /a/b/c?d=e HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(response.text(), "GET /c?d=e HTTP/1.1");
    let response = client.ask("GET /a HTTP/1.1\r\nHost: x\r\n\r\n").await;
    response.assert_status(400);
    assert!(response.text().contains("not enough segments in path"), "{response:?}");
    app.stop().await;
}
