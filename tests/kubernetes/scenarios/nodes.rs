//! Transformers that know nodes, over a daemon set.

use super::{CONVERGED, OWN, OWN_ADMIN, ROLLOUT, router_files};
use crate::cluster::objects::{deployment, restarted, service, template};
use crate::cluster::{Cluster, until};
use crate::kubelet::{NODE, register};
use crate::load::Load;
use crate::router::{Router, admin_at, rest};
use crate::way::Way;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::core::v1::{Pod, Service};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// A deployment of two pods behind the service `web`, all on one node.
pub(super) fn on_node(name: &str, node: &str) -> Value {
    let mut deployment = deployment(name, 2, &json!({ "behind": "web" }));
    deployment["spec"]["template"]["spec"]["nodeName"] = node.into();
    deployment
}

pub(super) async fn daemon_set_and_local_node(cluster: &Cluster) {
    let (here, there) = (NODE, "node-2");
    register(&cluster.client, there, &json!({})).await;
    cluster.namespace("nodes").await;
    let mut web = service("web", "web");
    web["spec"]["selector"] = json!({ "behind": "web" });
    cluster.create::<Service>("nodes", web).await;
    cluster.create::<Service>("nodes", service("gateway", "gateway")).await;
    cluster.create::<Deployment>("nodes", on_node("here", here)).await;
    let labels = json!({ "app": "gateway" });
    let gateway = json!({
        "metadata": { "name": "gateway" },
        "spec": { "selector": { "matchLabels": labels }, "template": template(&labels) },
    });
    cluster.create::<DaemonSet>("nodes", gateway).await;
    let router = router(cluster, here).await;
    let [by_gateway, local] =
        ["gateway", "local"].map(|prefix| Way::of(OWN, &format!("/{prefix}/nodes/http/web")));
    local.until_pods("here", 2, ROLLOUT).await;
    by_gateway.until_pods("gateway", 1, ROLLOUT).await;
    assert_eq!(nodes_of(cluster, &by_gateway.answers().await).await, BTreeSet::from([here.to_owned()]));

    let load = Load::start(&by_gateway);
    cluster.create::<Deployment>("nodes", on_node("there", there)).await;
    by_gateway.until_pods("gateway", 2, ROLLOUT).await;
    local.until_pods("here", 2, CONVERGED).await;
    let before = by_gateway.answers().await;
    cluster.patch::<DaemonSet>("nodes", "gateway", restarted("now")).await;
    until("the rollout is done", ROLLOUT, async || is_rolled_out(cluster).await).await;
    by_gateway.until_pods("gateway", 2, CONVERGED).await;
    assert!(before.is_disjoint(&by_gateway.answers().await), "every pod is a new one");
    load.stop().await.assert_served();

    let load = Load::start(&local);
    cluster.patch::<Deployment>("nodes", "here", json!({ "spec": { "replicas": 0 } })).await;
    local.until_rest(ROLLOUT).await;
    by_gateway.until_pods("gateway", 1, CONVERGED).await;
    assert_eq!(nodes_of(cluster, &by_gateway.answers().await).await, BTreeSet::from([there.to_owned()]));
    cluster.patch::<Deployment>("nodes", "here", json!({ "spec": { "replicas": 1 } })).await;
    local.until_pods("here", 1, ROLLOUT).await;
    by_gateway.until_pods("gateway", 2, CONVERGED).await;
    load.stop().await.assert_good();
    router.stop().await;
}

/// A router on a node, whose names say by which transformer they go. It finds the API server as `kubectl` does.
async fn router(cluster: &Cluster, node: &str) -> Router {
    let daemon_set = "{kind: io.l5d.k8s.daemonset, namespace: nodes, port: http, service: gateway}";
    let yaml = format!(
        "{}namers:\n\
         - {{kind: io.l5d.k8s, prefix: /gateway, transformers: [{daemon_set}]}}\n\
         - {{kind: io.l5d.k8s, prefix: /local, transformers: [{{kind: io.l5d.k8s.localnode}}]}}\n\
         routers:\n- protocol: http\n  identifier: {{kind: io.l5d.path, segments: 4}}\n  \
         dtab: {}; /svc => /# | /rest\n  servers: [{{port: {}}}]\n",
        admin_at(OWN_ADMIN),
        rest(),
        OWN.port(),
    );
    let (folder, kubeconfig) = router_files(cluster).await;
    let kubeconfig = kubeconfig.to_str().expect("it is a name");
    let environment = [("KUBECONFIG", kubeconfig), ("NODE_NAME", node)];
    Router::run_with(&folder, "nodes", &yaml, OWN_ADMIN, &environment).await
}

/// The nodes that these pods run on.
async fn nodes_of(cluster: &Cluster, pods: &BTreeSet<String>) -> BTreeSet<String> {
    let all = cluster.list::<Pod>("nodes").await.into_iter();
    let wanted = all.filter(|pod| pod.metadata.name.as_ref().is_some_and(|name| pods.contains(name)));
    wanted.filter_map(|pod| pod.spec?.node_name).collect()
}

/// Whether each node has a new pod of the daemon set, which is ready.
async fn is_rolled_out(cluster: &Cluster) -> bool {
    let set = cluster.get::<DaemonSet>("nodes", "gateway").await;
    let status = set.status.unwrap_or_default();
    let counts = [status.updated_number_scheduled.unwrap_or(0), status.number_available.unwrap_or(0)];
    status.observed_generation == set.metadata.generation
        && counts.iter().all(|count| *count == status.desired_number_scheduled)
}
