//! Many namespaces of Kubernetes: what a customer's name gets beside those that are wanted for nothing.

use crate::support::{ApiServer, Service, TestApp, Wire, one_router, service, slice, soon, time_flies};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

/// The bound on watched namespaces.
const BOUND: usize = 500;

/// A server that refuses the namespaces `bogus-<n>`, and the app that routes to `web` in `default`.
async fn scene(attempts: u32, router: &str) -> (ApiServer, Service, TestApp) {
    let (api, v1) = (ApiServer::start().await, Service::saying("v1").await);
    api.behave(|manners| manners.refuses_namespaces = Some("bogus-"));
    for namespace in ["default", "other", "bogus-1"] {
        api.put(service(namespace, "web", &[("http", 80)]));
        api.put(slice(namespace, "web", "http", v1.address()));
    }
    let yaml = one_router("/svc => /#/io.l5d.k8s/default/http", "")
        + router
        + &api.namer("io.l5d.k8s", "")
        + &format!("kubernetes: {{watchAttemptsPerSecond: {attempts}}}\n");
    let app = TestApp::start_here(&yaml).await;
    (api, v1, app)
}

/// Asks for `web` in a namespace, by an override.
async fn ask(client: &mut Wire, namespace: &str) -> u16 {
    let dtab = format!("l5d-dtab: /svc => /#/io.l5d.k8s/{namespace}/http\r\n");
    client.get("web", &dtab).await.status()
}

#[tokio::test(flavor = "local")]
async fn bogus_namespaces_of_one_caller_cost_no_other_name_its_watch() {
    let (api, _v1, app) = scene(10_000, "").await;
    let mut hostile = app.client().await;
    for at in 0..BOUND {
        assert_eq!(ask(&mut hostile, &format!("bogus-{at}")).await, 502);
    }
    // Connected now: its first request is due in 10 s.
    let mut customer = app.client().await;
    assert_eq!(app.total("kubernetes_watches", &[]), 2 * BOUND as u64);
    assert_eq!(customer.get("web", "").await.text(), "v1", "a healthy name, asked for first after them");
    // They are asked for again, each once in 10 s; the customer asks once a second, and for another name at the end.
    let asked = async {
        for second in 0..20 {
            for at in 0..BOUND / 10 {
                let name = (second * BOUND / 10 + at) % BOUND;
                assert_eq!(ask(&mut hostile, &format!("bogus-{name}")).await, 502);
            }
            sleep(Duration::from_secs(1)).await;
            assert_eq!(customer.get("web", "").await.text(), "v1", "after {second} s");
        }
        assert_eq!(ask(&mut customer, "other").await, 200);
    };
    time_flies(asked).await;
    assert!(api.watches() <= 2 * BOUND);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_namespace_that_is_asked_for_once_a_second_is_served_beside_new_ones_all_the_time() {
    let (api, _v1, app) = scene(5, "  bindingTimeoutMs: 500\n").await;
    // 100 new names a second, each of which waits for half a second, where 5 attempts a second may be made.
    let mut hostile = JoinSet::new();
    let named = Rc::new(Cell::new(0));
    for _ in 0..50 {
        let (mut client, named) = (app.client().await, Rc::clone(&named));
        hostile.spawn_local(async move {
            loop {
                named.set(named.get() + 1);
                assert_ne!(ask(&mut client, &format!("bogus-{}", named.get())).await, 200);
            }
        });
    }
    let asked = async {
        sleep(Duration::from_secs(6)).await;
        let mut customer = app.client().await;
        let mut seconds = 0;
        while ask(&mut customer, "other").await != 200 {
            sleep(Duration::from_millis(500)).await;
            seconds += 1;
        }
        for _ in 0..5 {
            sleep(Duration::from_secs(1)).await;
            assert_eq!(ask(&mut customer, "other").await, 200, "it stays");
        }
        seconds
    };
    let (seconds, _) = time_flies(asked).await;
    assert!(seconds <= 4, "{seconds}");
    assert!(named.get() > 2 * BOUND, "{}", named.get());
    assert!(api.watches() <= 2 * BOUND);
    hostile.shutdown().await;
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_namespace_without_rights_is_asked_for_seldom_and_at_once_when_it_is_wanted() {
    let (api, _v1, app) = scene(10_000, "").await;
    let mut client = app.client().await;
    assert_eq!(ask(&mut client, "bogus-1").await, 502);
    let asks_bogus = || api.requests().iter().filter(|target| target.contains("bogus-1")).count();
    // The name is held for a minute after its last request; a request now and then holds it.
    let ((), _) = time_flies(async {
        for _ in 0..20 {
            sleep(Duration::from_secs(50)).await;
            ask(&mut client, "bogus-1").await;
        }
    })
    .await;
    let asked = asks_bogus();
    assert!((40..200).contains(&asked), "{asked} in 1,000 s, for two resources");
    api.behave(|manners| manners.refuses_namespaces = None);
    let began = Instant::now();
    soon(async || ask(&mut client, "bogus-1").await == 200).await;
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    app.stop().await;
}
