//! Deployments, services and namespaces that change.

use super::{CONVERGED, ROLLOUT, stage, until_ready};
use crate::cluster::{Cluster, until};
use crate::load::Load;
use crate::way::Way;

pub(super) async fn scale_up_and_down(cluster: &Cluster) {
    stage(cluster, "scale", 2).await;
    let way = Way::to("scale");
    let load = Load::start(&way);
    for pods in [6, 1, 4, 2] {
        cluster.scale("scale", pods).await;
        until_ready(cluster, "scale", pods).await;
        way.until_pods("web", pods, CONVERGED).await;
    }
    let answers = load.stop().await;
    answers.assert_served();
    assert!(answers.texts.len() >= 6, "{:?}", answers.texts);
    // With nothing left it falls back, and returns.
    let load = Load::start(&way);
    cluster.scale("scale", 0).await;
    way.until_rest(ROLLOUT).await;
    cluster.scale("scale", 2).await;
    until_ready(cluster, "scale", 2).await;
    way.until_pods("web", 2, CONVERGED).await;
    load.stop().await.assert_good();
}

pub(super) async fn rollout_restart(cluster: &Cluster) {
    stage(cluster, "rollout", 20).await;
    let way = Way::to("rollout");
    let load = Load::start(&way);
    for mark in ["first", "second"] {
        let before = way.answers().await;
        cluster.restart("rollout", mark).await;
        until("the rollout is done", ROLLOUT, async || cluster.is_rolled_out("rollout", 20).await).await;
        way.until_pods("web", 20, CONVERGED).await;
        assert!(before.is_disjoint(&way.answers().await), "every pod is a new one");
    }
    load.stop().await.assert_served();
}

pub(super) async fn delete_and_recreate_the_service(cluster: &Cluster) {
    stage(cluster, "service", 2).await;
    let way = Way::to("service");
    let load = Load::start(&way);
    for _ in 0..2 {
        cluster.delete_service("service").await;
        way.until_rest(CONVERGED).await;
        cluster.service("service").await;
        way.until_pods("web", 2, ROLLOUT).await;
    }
    load.stop().await.assert_good();
}

pub(super) async fn delete_and_recreate_the_namespace(cluster: &Cluster) {
    stage(cluster, "space", 2).await;
    let way = Way::to("space");
    let load = Load::start(&way);
    cluster.delete_namespace("space").await;
    way.until_rest(CONVERGED).await;
    stage(cluster, "space", 3).await;
    load.stop().await.assert_good();
}
