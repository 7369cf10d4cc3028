//! Requests stay in the zone of the router, by the hints of the endpoint slice controller.

use super::nodes::on_node;
use super::{CONVERGED, OWN, OWN_ADMIN, ROLLOUT, router_files};
use crate::cluster::objects::{restarted, service};
use crate::cluster::{Cluster, until};
use crate::kubelet::{NODE, register};
use crate::load::Load;
use crate::router::{Router, by_path};
use crate::way::Way;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;
use serde_json::json;

/// The namespace of the scenario.
const NAMESPACE: &str = "zones";

/// The zone of the router and of [`NODE`], and another one.
const ZONE: &str = "zone-1";
const OTHER_ZONE: &str = "zone-2";

pub(super) async fn zone_of_the_router(cluster: &Cluster) {
    // It comes behind the node of the suite, whose address README's commands ask for.
    let far = "node-3";
    register(&cluster.client, far, &json!({ "topology.kubernetes.io/zone": OTHER_ZONE })).await;
    cluster.namespace(NAMESPACE).await;
    let mut web = service("web", "web");
    web["spec"]["selector"] = json!({ "behind": "web" });
    web["spec"]["trafficDistribution"] = "PreferClose".into();
    cluster.create::<Service>(NAMESPACE, web).await;
    for (name, node) in [("near", NODE), ("far", far)] {
        cluster.create::<Deployment>(NAMESPACE, on_node(name, node)).await;
    }
    let way = Way::of(OWN, &format!("/{NAMESPACE}/http/web"));
    let router = router_in(cluster, ZONE).await;
    way.until_pods("near", 2, ROLLOUT).await;
    let load = Load::start(&way);
    let before = way.answers().await;
    cluster.patch::<Deployment>(NAMESPACE, "near", restarted("now")).await;
    until("every pod of the zone is a new one", ROLLOUT, async || {
        let now = way.answers().await;
        now.len() == 2 && now.is_disjoint(&before) && now.iter().all(|pod| pod.starts_with("near-"))
    })
    .await;
    // Without an endpoint in its zone, the router uses those of others.
    for (replicas, pods) in [(0, "far"), (2, "near")] {
        cluster.patch::<Deployment>(NAMESPACE, "near", json!({ "spec": { "replicas": replicas } })).await;
        way.until_pods(pods, 2, ROLLOUT).await;
    }
    load.stop().await.assert_served();
    router.stop().await;

    let router = router_in(cluster, OTHER_ZONE).await;
    way.until_pods("far", 2, CONVERGED).await;
    // Without hints, all endpoints are alike.
    cluster.patch::<Service>(NAMESPACE, "web", json!({ "spec": { "trafficDistribution": null } })).await;
    until("all four pods serve", ROLLOUT, async || way.answers().await.len() == 4).await;
    router.stop().await;
}

/// A router in a zone, which prefers it.
async fn router_in(cluster: &Cluster, zone: &str) -> Router {
    let (folder, kubeconfig) = router_files(cluster).await;
    let yaml = by_path(OWN_ADMIN, OWN, &format!("kubeconfig: '{}'", kubeconfig.display()))
        + "  client: {loadBalancer: {kind: p2c, preferZone: true}}\n";
    Router::run_with(&folder, zone, &yaml, OWN_ADMIN, &[("NODE_ZONE", zone)]).await
}
