//! What happens in a cluster, each under load: no request fails that has an endpoint, or a fallback, to go to.

use super::cluster::{Cluster, path, until};
use super::load::Load;
use super::manifests::manifests;
use super::router::ROUTER;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long the controllers may take on a machine that is busy; after an outage they wait for up to half a minute.
const ROLLOUT: Duration = Duration::from_secs(120);

/// How long the router may take after the API server has returned.
const CONVERGED: Duration = Duration::from_secs(5);

type Scenario = for<'a> fn(&'a Cluster) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

/// Every scenario, by name.
pub(crate) const ALL: &[(&str, Scenario)] = &[
    ("scale_up_and_down", |cluster| Box::pin(scale_up_and_down(cluster))),
    ("rollout_restart", |cluster| Box::pin(rollout_restart(cluster))),
    ("delete_and_recreate_the_service", |cluster| Box::pin(delete_and_recreate_the_service(cluster))),
    ("delete_and_recreate_the_namespace", |cluster| Box::pin(delete_and_recreate_the_namespace(cluster))),
    ("manifests", |cluster| Box::pin(manifests(cluster))),
    ("stored_dtabs", |cluster| Box::pin(super::stored::stored_dtabs(cluster))),
    ("start_without_the_api_server", |cluster| {
        Box::pin(super::snapshots::start_without_the_api_server(cluster))
    }),
    ("restart_of_the_api_server", |cluster| Box::pin(restart_of_the_api_server(cluster))),
];

/// A namespace with a service of so many pods, which serve.
async fn stage(cluster: &Cluster, namespace: &str, pods: usize) {
    cluster.namespace(namespace).await;
    cluster.service(namespace).await;
    cluster.deployment(namespace, pods).await;
    cluster.until_served_by(namespace, pods, ROLLOUT).await;
}

async fn scale_up_and_down(cluster: &Cluster) {
    stage(cluster, "scale", 2).await;
    let load = Load::start(ROUTER, &path("scale"));
    for pods in [6, 1, 4, 2] {
        cluster.scale("scale", pods).await;
        cluster.until_served_by("scale", pods, ROLLOUT).await;
    }
    let answers = load.stop().await;
    answers.assert_good();
    assert!(answers.texts.len() >= 6 && !answers.texts.contains_key("rest"), "{:?}", answers.texts);
    // With nothing left it falls back, and returns.
    let load = Load::start(ROUTER, &path("scale"));
    cluster.scale("scale", 0).await;
    cluster.until_rest("scale", ROLLOUT).await;
    cluster.scale("scale", 2).await;
    cluster.until_served_by("scale", 2, ROLLOUT).await;
    load.stop().await.assert_good();
}

async fn rollout_restart(cluster: &Cluster) {
    stage(cluster, "rollout", 20).await;
    let load = Load::start(ROUTER, &path("rollout"));
    for mark in ["first", "second"] {
        let before = cluster.answers("rollout").await;
        cluster.restart("rollout", mark).await;
        until("the rollout is done", ROLLOUT, async || cluster.is_rolled_out("rollout", 20).await).await;
        cluster.until_served_by("rollout", 20, CONVERGED).await;
        let after = cluster.answers("rollout").await;
        assert!(before.iter().all(|pod| !after.contains(pod)), "every pod is a new one");
    }
    let answers = load.stop().await;
    answers.assert_good();
    assert!(!answers.texts.contains_key("rest"), "{:?}", answers.texts);
}

async fn delete_and_recreate_the_service(cluster: &Cluster) {
    stage(cluster, "service", 2).await;
    let load = Load::start(ROUTER, &path("service"));
    for _ in 0..2 {
        cluster.delete_service("service").await;
        cluster.until_rest("service", CONVERGED).await;
        cluster.service("service").await;
        cluster.until_served_by("service", 2, ROLLOUT).await;
    }
    load.stop().await.assert_good();
}

async fn delete_and_recreate_the_namespace(cluster: &Cluster) {
    stage(cluster, "space", 2).await;
    let load = Load::start(ROUTER, &path("space"));
    cluster.delete_namespace("space").await;
    cluster.until_rest("space", CONVERGED).await;
    stage(cluster, "space", 3).await;
    load.stop().await.assert_good();
}

async fn restart_of_the_api_server(cluster: &Cluster) {
    stage(cluster, "outage", 3).await;
    let mut load = Load::start(ROUTER, &path("outage"));
    let before = cluster.answers("outage").await.len();
    cluster.control_plane.lock().await.kill_api_server();
    // Longer than any pause between attempts.
    sleep(Duration::from_secs(8)).await;
    let state = cluster.router.state().await;
    assert!(
        state["names"]["/outage/http/web"]["staleSeconds"].as_f64().is_some_and(|age| age > 5.0),
        "{state:#}"
    );
    assert_eq!(cluster.answers("outage").await.len(), before, "the last good endpoints stay");
    load.take().assert_good();

    cluster.control_plane.lock().await.revive_api_server().await;
    let returned = Instant::now();
    until("the router is up to date", CONVERGED, async || {
        let state = cluster.router.state().await;
        state["names"]["/outage/http/web"]["staleSeconds"].is_null()
    })
    .await;
    assert!(returned.elapsed() < CONVERGED);
    cluster.scale("outage", 1).await;
    cluster.until_served_by("outage", 1, ROLLOUT).await;
    let answers = load.stop().await;
    answers.assert_good();
    assert!(!answers.texts.contains_key("rest"), "{:?}", answers.texts);
}
