//! Where else names come from: Endpoints, one watch for all namespaces, labels, a fixed namespace, load balancers.

use super::{CONVERGED, OWN, OWN_ADMIN, ROLLOUT, router_files};
use crate::cluster::objects::{deployment, restarted, service};
use crate::cluster::{Cluster, until};
use crate::kubelet::serve;
use crate::load::Load;
use crate::router::{Router, admin_at, rest};
use crate::way::Way;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::{Value, json};
use tokio::task::spawn_local;

/// Addresses of a load balancer, of which the router is told.
const BALANCERS: [&str; 2] = ["10.244.0.2", "10.244.0.3"];

/// An address outside of the cluster. Nothing is sent there.
const FOREIGN: &str = "203.0.113.1";

pub(super) async fn sources_of_endpoints(cluster: &Cluster) {
    let namespace = "sources";
    let balancers = BALANCERS.map(|ip| {
        let address = format!("{ip}:80").parse().expect("an address");
        spawn_local(serve(address, ip.to_owned())).abort_handle()
    });
    cluster.grant("router", &[("", "endpoints"), ("", "pods")]).await;
    cluster.namespace(namespace).await;
    let mut web = service("web", "web");
    web["spec"]["selector"] = json!({ "behind": "web" });
    web["spec"]["type"] = "LoadBalancer".into();
    cluster.create::<Service>(namespace, web).await;
    for version in ["v1", "v2"] {
        let labels = json!({ "behind": "web", "version": version });
        cluster.create::<Deployment>(namespace, deployment(&format!("web-{version}"), 2, &labels)).await;
    }
    let router = router(cluster, namespace).await;
    let way = |path: &str| Way::of(OWN, path);
    let endpoints = way("/endpoints/sources/http/web");
    endpoints.until_pods("web", 4, ROLLOUT).await;
    for path in ["/endpoints/sources/80/web", "/cluster/sources/http/web", "/cluster/sources/80/web"] {
        way(path).until_pods("web", 4, CONVERGED).await;
    }
    // What is left of the path is the request's.
    way("/namespaced/http/web/left").until_pods("web", 4, CONVERGED).await;
    for version in ["v1", "v2"] {
        let labelled = way(&format!("/labelled/sources/http/web/{version}"));
        labelled.until_pods(&format!("web-{version}"), 2, CONVERGED).await;
    }
    way("/labelled/sources/http/web/v3").until_rest(CONVERGED).await;

    for (path, deployment) in
        [("/endpoints/sources/http/web", "web-v1"), ("/cluster/sources/http/web", "web-v2")]
    {
        let way = way(path);
        let load = Load::start(&way);
        let before = way.answers().await;
        cluster.patch::<Deployment>(namespace, deployment, restarted("now")).await;
        until("two pods are new", ROLLOUT, async || {
            let now = way.answers().await;
            now.len() == 4 && now.intersection(&before).count() == 2
        })
        .await;
        load.stop().await.assert_served();
    }

    let external = way("/external/sources/http/web");
    external.until_rest(CONVERGED).await;
    let load = Load::start(&external);
    for count in [1, 2, 1] {
        let ingress: Vec<_> = BALANCERS.iter().take(count).map(|ip| json!({ "ip": ip })).collect();
        let status = json!({ "loadBalancer": { "ingress": ingress } });
        cluster.patch_status::<Service>(namespace, "web", status).await;
        external.until_answers(&BALANCERS[..count], CONVERGED).await;
    }
    load.stop().await.assert_good();
    written_by_hand(cluster, namespace, &way("/cluster/sources/http/hand")).await;
    external_names(cluster, namespace, &router).await;
    router.stop().await;
    balancers.iter().for_each(tokio::task::AbortHandle::abort);
}

/// Endpoints that are about to end serve as long as they can when there are no others.
async fn written_by_hand(cluster: &Cluster, namespace: &str, way: &Way) {
    let mut service = service("hand", "nothing");
    service["spec"].as_object_mut().expect("a map").remove("selector");
    cluster.create::<Service>(namespace, service).await;
    let ending = |serving| json!({ "ready": false, "serving": serving, "terminating": true });
    let ready = json!({ "ready": true, "serving": true, "terminating": false });
    let endpoint =
        |at: usize, conditions: &Value| json!({ "addresses": [BALANCERS[at]], "conditions": conditions });
    let slice = json!({
        "metadata": { "name": "hand", "labels": { "kubernetes.io/service-name": "hand" } },
        "addressType": "IPv4",
        "ports": [{ "name": "http", "port": 80 }],
        "endpoints": [endpoint(0, &ready)],
    });
    cluster.create::<EndpointSlice>(namespace, slice).await;
    way.until_answers(&[BALANCERS[0]], CONVERGED).await;
    let load = Load::start(way);
    for (first, second, answers) in [
        (&ending(true), None, BALANCERS[0]),
        (&ending(true), Some(&ready), BALANCERS[1]),
        (&ending(true), Some(&ending(false)), BALANCERS[0]),
        (&ready, Some(&ending(true)), BALANCERS[0]),
        (&ending(false), Some(&ending(true)), BALANCERS[1]),
    ] {
        let endpoints: Vec<_> = [Some(first), second]
            .into_iter()
            .flatten()
            .enumerate()
            .map(|(at, conditions)| endpoint(at, conditions))
            .collect();
        cluster.patch::<EndpointSlice>(namespace, "hand", json!({ "endpoints": endpoints })).await;
        way.until_answers(&[answers], CONVERGED).await;
    }
    load.stop().await.assert_served();
    cluster
        .patch::<EndpointSlice>(namespace, "hand", json!({ "endpoints": [endpoint(0, &ending(false))] }))
        .await;
    way.until_rest(CONVERGED).await;
}

/// The controllers leave the slices of a service as they are when it becomes an external name; they must not serve.
async fn external_names(cluster: &Cluster, namespace: &str, router: &Router) {
    let (refusing, following) =
        (Way::of(OWN, "/cluster/sources/http/web"), Way::of(OWN, "/followed/sources/http/web"));
    for way in [&refusing, &following] {
        way.until_pods("web", 4, CONVERGED).await;
    }
    let became = json!({ "spec": { "type": "ExternalName", "externalName": FOREIGN, "clusterIP": null, "clusterIPs": null } });
    cluster.patch::<Service>(namespace, "web", became).await;
    let state = async |prefix: &str| {
        let names = router.json(&format!("/namer_state/{prefix}.json")).await["names"].clone();
        let name = names["/sources/http/web"].clone();
        (name["state"].as_str().unwrap_or_default().to_owned(), name["endpoints"].as_u64())
    };
    until("the name fails", CONVERGED, async || {
        let (said, endpoints) = state("cluster").await;
        said.contains("the service sources/web is an ExternalName") && endpoints == Some(0)
    })
    .await;
    let at_once = async || state("followed").await == ("bound".to_owned(), Some(1));
    until("the name stands for the external one", CONVERGED, at_once).await;
    assert_eq!(refusing.status().await, 502, "neither the pods nor a fallback");
    let pods = json!({ "spec": { "type": "ClusterIP", "externalName": null } });
    cluster.patch::<Service>(namespace, "web", pods).await;
    for prefix in ["cluster", "followed"] {
        let is_back = async || state(prefix).await == ("bound".to_owned(), Some(4));
        until("the name stands for the pods", CONVERGED, is_back).await;
    }
    for way in [&refusing, &following] {
        way.until_pods("web", 4, CONVERGED).await;
    }
}

/// A router whose names say how they are found out.
async fn router(cluster: &Cluster, namespace: &str) -> Router {
    let (folder, kubeconfig) = router_files(cluster).await;
    let yaml = format!(
        "{}namers:\n\
         - {{kind: io.l5d.k8s, prefix: /endpoints, endpoints: v1}}\n\
         - {{kind: io.l5d.k8s, prefix: /cluster, watch: cluster}}\n\
         - {{kind: io.l5d.k8s, prefix: /followed, externalNames: true}}\n\
         - {{kind: io.l5d.k8s, prefix: /labelled, labelSelector: version}}\n\
         - {{kind: io.l5d.k8s.ns, prefix: /namespaced}}\n\
         - {{kind: io.l5d.k8s.external, prefix: /external}}\n\
         routers:\n- protocol: http\n  \
         identifier: [{{kind: io.l5d.path, segments: 5}}, {{kind: io.l5d.path, segments: 4}}]\n  \
         dtab: {}; /svc => /# | /rest\n  servers: [{{port: {}}}]\n",
        admin_at(OWN_ADMIN),
        rest(),
        OWN.port(),
    );
    let kubeconfig = kubeconfig.to_str().expect("it is a name");
    let environment = [("KUBECONFIG", kubeconfig), ("POD_NAMESPACE", namespace)];
    Router::run_with(&folder, "sources", &yaml, OWN_ADMIN, &environment).await
}
