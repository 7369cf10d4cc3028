//! The control plane, or part of it, is away for a while.

use super::{AWAY, CONVERGED, OWN, ROLLOUT, behind, stage, until_fresh, until_ready, until_stale};
use crate::cluster::objects::service;
use crate::cluster::{Cluster, until};
use crate::etcd;
use crate::gate::Gate;
use crate::load::Load;
use crate::way::Way;
use k8s_openapi::api::core::v1::{Pod, Service};
use tokio::time::Instant;

pub(super) async fn restart_of_the_api_server(cluster: &Cluster) {
    outage(cluster, "outage", false).await;
}

pub(super) async fn restart_of_the_control_plane(cluster: &Cluster) {
    outage(cluster, "blackout", true).await;
}

/// The API server, and etcd if that is said, is away; meanwhile a service is deleted. At once when it is back more
/// changes.
async fn outage(cluster: &Cluster, namespace: &str, of_etcd: bool) {
    stage(cluster, namespace, 3).await;
    cluster.create::<Service>(namespace, service("gone", "web")).await;
    let (web, gone) = (Way::to(namespace), Way::service(namespace, "gone"));
    gone.until_pods("web", 3, ROLLOUT).await;
    let mut load = Load::start(&web);

    let mut control_plane = cluster.control_plane.lock().await;
    control_plane.kill_api_server();
    if of_etcd {
        control_plane.kill_etcd();
    }
    let name = format!("/{namespace}/http/web");
    until_stale(&cluster.router, &name, AWAY).await;
    for way in [&web, &gone] {
        assert_eq!(way.answers().await.len(), 3, "the last good endpoints stay");
    }
    load.take().assert_served();
    if of_etcd {
        control_plane.revive_etcd().await;
    }
    etcd::delete_service(namespace, "gone").await;

    control_plane.revive_api_server().await;
    let returned = Instant::now();
    // A server that has just returned may take its time for what it is asked here: that is none of the router's.
    let changes = async {
        cluster.scale(namespace, 4).await;
        let deleted = cluster.ready_pods(namespace).await.pop_first().expect("there are pods");
        cluster.delete::<Pod>(namespace, &deleted).await;
        deleted
    };
    let converges = async {
        until_fresh(&cluster.router, &name, CONVERGED).await;
        gone.until_rest(CONVERGED).await;
        assert!(returned.elapsed() < CONVERGED, "it took {:?}", returned.elapsed());
    };
    let (deleted, ()) = tokio::join!(changes, converges);

    let changed = async || {
        let ready = cluster.ready_pods(namespace).await;
        ready.len() == 4 && !ready.contains(&deleted)
    };
    until("the pods have changed", ROLLOUT, changed).await;
    web.until_pods("web", 4, CONVERGED).await;
    assert!(!web.answers().await.contains(&deleted));
    load.stop().await.assert_served();
}

/// The API server stays, and can answer nothing that it does not remember.
pub(super) async fn restart_of_etcd(cluster: &Cluster) {
    stage(cluster, "store", 3).await;
    let gate = Gate::start(&cluster.control_plane.lock().await.config("router").await).await;
    let router = behind(cluster, "store", &gate).await;
    let way = Way::to("store").by(OWN);
    way.until_pods("web", 3, CONVERGED).await;
    let mut load = Load::start(&way);

    let mut control_plane = cluster.control_plane.lock().await;
    control_plane.kill_etcd();
    until("the API server says so", ROLLOUT, async || !control_plane.is_ready().await).await;
    // A watch does not notice, nor does one that goes on from where another has ended. But one that ends as soon as it
    // began does not count: then all has to be listed.
    let name = "/store/http/web";
    until("all has to be listed", CONVERGED, async || {
        gate.hold().await;
        gate.open();
        router.stale_seconds(name).await.is_some()
    })
    .await;
    until_stale(&router, name, AWAY).await;
    assert_eq!(way.answers().await.len(), 3, "the last good endpoints stay");
    load.take().assert_served();

    control_plane.revive_etcd().await;
    control_plane.ready().await;
    tokio::join!(cluster.scale("store", 5), until_fresh(&router, name, CONVERGED));
    until_ready(cluster, "store", 5).await;
    way.until_pods("web", 5, CONVERGED).await;
    load.stop().await.assert_served();
    router.stop().await;
}
