//! An endpoint that fails: who is still sent to it, and how it comes back.

use crate::support::{Names, Service, TestApp, Wire, dead_address, ok, one_router, time_flies, until};
use serde_json::{Value, json};
use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::net::TcpListener;

/// A service of four endpoints, behind the router. The fourth is for the test to play.
struct FourEndpoints {
    app: TestApp,
    names: Names,
    well: Vec<Service>,
    fourth: SocketAddr,
    caller: Wire,
}

impl FourEndpoints {
    async fn start(fourth: SocketAddr, keys: &str) -> Self {
        let names = Names::new();
        let mut well = Vec::new();
        for _ in 0..3 {
            well.push(Service::saying("well").await);
        }
        names.write("web", &Self::addresses(&well, fourth));
        let yaml = one_router("/svc => /#/io.l5d.fs", "") + keys + &names.namer();
        let app = TestApp::start_here(&yaml).await;
        let caller = app.client().await;
        Self { app, names, well, fourth, caller }
    }

    fn addresses(well: &[Service], fourth: SocketAddr) -> Vec<SocketAddr> {
        well.iter().map(Service::address).chain([fourth]).collect()
    }

    /// Sends some requests, one after the other; returns how many were answered with this status.
    async fn ask(&mut self, count: usize, status: u16) -> usize {
        let mut answered = 0;
        for _ in 0..count {
            answered += usize::from(self.caller.get("web", "").await.status() == status);
        }
        answered
    }

    /// Returns the state of the fourth endpoint, as the admin server shows it.
    async fn state(&self) -> Value {
        let clients = self.app.json("/client_state.json").await;
        clients["/#/io.l5d.fs/web"]["failing"][self.fourth.to_string()].clone()
    }
}

/// An endpoint that answers with the status that is set.
async fn endpoint_with(status: &Rc<Cell<u16>>) -> Service {
    let status = Rc::clone(status);
    Service::start(async move |_| match status.get() {
        200 => ok("well"),
        status => format!("HTTP/1.1 {status} Failing\r\nContent-Length: 0\r\n\r\n"),
    })
    .await
}

/// Lets so many seconds pass.
async fn pass(seconds: u64) {
    time_flies(tokio::time::sleep(Duration::from_secs(seconds))).await;
}

#[tokio::test(flavor = "local")]
async fn an_endpoint_that_answers_500_is_shut_after_five_and_probed() {
    let status = Rc::new(Cell::new(500));
    let failing = endpoint_with(&status).await;
    let mut four = FourEndpoints::start(failing.address(), "").await;
    assert_eq!(four.ask(200, 500).await, 5);
    assert_eq!((failing.count(), four.state().await), (5, json!({ "state": "shut" })));
    pass(5).await;
    assert_eq!(four.ask(200, 500).await, 1, "one probe");
    // Its second pause is longer.
    pass(4).await;
    assert_eq!(four.ask(100, 500).await, 0);
    status.set(200);
    pass(6).await;
    assert_eq!(four.ask(200, 200).await, 200);
    assert!(failing.count() > 6 + 20, "{} requests: it has its share again", failing.count());
    assert_eq!(four.state().await, Value::Null);
    four.app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn what_a_caller_does_wrong_shuts_no_endpoint() {
    let status = Rc::new(Cell::new(404));
    let failing = endpoint_with(&status).await;
    let mut four = FourEndpoints::start(failing.address(), "").await;
    assert!(four.ask(200, 404).await > 20);
    assert_eq!(four.state().await, Value::Null);
    four.app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn an_endpoint_that_dies_fails_no_request_and_comes_back() {
    let (address, socket) = dead_address();
    let mut four = FourEndpoints::start(address, "").await;
    assert_eq!(four.ask(100, 200).await, 100, "another endpoint takes each");
    assert_eq!(four.state().await, json!({ "state": "shut" }));
    socket.listen(16).expect("nothing else has the port");
    socket.set_nonblocking(true).expect("it is open");
    let listener = TcpListener::from_std(socket.into()).expect("the runtime watches it");
    assert_eq!(four.ask(100, 200).await, 100);
    assert!(tokio::time::timeout(Duration::ZERO, listener.accept()).await.is_err(), "it is not due");
    pass(5).await;
    let serving = async {
        let (stream, _) = listener.accept().await.expect("it is probed");
        let mut wire = Wire::new(stream);
        for _ in 0..10 {
            wire.request().await;
            wire.send(ok("back")).await;
        }
    };
    tokio::select! {
        () = serving => {}
        answered = four.ask(1000, 200) => panic!("{answered} requests, and it has not its share again"),
    }
    assert_eq!(four.state().await, Value::Null);
    four.app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn when_all_endpoints_fail_requests_are_sent_anyway() {
    let status = Rc::new(Cell::new(503));
    let only = endpoint_with(&status).await;
    let names = Names::new();
    names.write("web", &[only.address()]);
    let app = TestApp::start_here(&(one_router("/svc => /#/io.l5d.fs", "") + &names.namer())).await;
    let mut caller = app.client().await;
    for _ in 0..20 {
        caller.get("web", "").await.assert_status(503);
    }
    assert_eq!(only.count(), 20);
    status.set(200);
    caller.get("web", "").await.assert_status(200);
    let clients = app.json("/client_state.json").await;
    assert_eq!(clients["/#/io.l5d.fs/web"].get("failing"), None, "an answer is an answer");
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn an_endpoint_that_leaves_and_comes_back_starts_alive() {
    let status = Rc::new(Cell::new(500));
    let failing = endpoint_with(&status).await;
    let mut four = FourEndpoints::start(failing.address(), "").await;
    four.ask(200, 200).await;
    assert_eq!(four.state().await, json!({ "state": "shut" }));
    status.set(200);
    let addresses = FourEndpoints::addresses(&four.well, four.fourth);
    four.names.replace("web", &addresses[..3]);
    until("an endpoint leaves", async || {
        four.ask(1, 200).await;
        let clients = four.app.json("/client_state.json").await;
        clients["/#/io.l5d.fs/web"]["addresses"].as_array().is_some_and(|addresses| addresses.len() == 3)
    })
    .await;
    four.names.replace("web", &addresses);
    let before = failing.count();
    until("it has its share again", async || {
        four.ask(1, 200).await;
        failing.count() >= before + 10
    })
    .await;
    four.app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn each_client_has_the_balancer_and_the_accrual_that_are_configured() {
    let status = Rc::new(Cell::new(500));
    let failing = endpoint_with(&status).await;
    let accrual = "failureAccrual: {kind: io.l5d.consecutiveFailures, failures: 2, backoff: {kind: constant, ms: 60000}}";
    let keys = format!("  client: {{loadBalancer: {{kind: roundRobin}}, {accrual}}}\n");
    let mut four = FourEndpoints::start(failing.address(), &keys).await;
    assert_eq!(four.ask(8, 500).await, 2, "every fourth");
    pass(59).await;
    assert_eq!(four.ask(100, 500).await, 0);
    status.set(200);
    pass(1).await;
    assert_eq!(four.ask(100, 200).await, 100);
    four.app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_reload_changes_balancer_and_accrual_of_the_next_request() {
    let status = Rc::new(Cell::new(500));
    let failing = endpoint_with(&status).await;
    let mut four = FourEndpoints::start(failing.address(), "").await;
    four.ask(100, 200).await;
    assert_eq!(four.state().await, json!({ "state": "shut" }));
    let connections: Vec<_> = four.well.iter().map(Service::connections).collect();
    let keys = "  client: {loadBalancer: {kind: roundRobin}, failureAccrual: {kind: none}}\n";
    let yaml = one_router("/svc => /#/io.l5d.fs", "") + keys + &four.names.namer();
    four.app.reload(&yaml).await;
    assert_eq!(four.ask(100, 500).await, 25, "nothing is shut any more");
    let after: Vec<_> = four.well.iter().map(Service::connections).collect();
    assert_eq!(after, connections, "the pools stay");
    four.app.stop().await;
}
