//! A watch that goes on from a version that etcd has forgotten: 410, inside of the answer.

use super::{CONVERGED, OWN, behind, stage, until_fresh, until_ready};
use crate::cluster::{Cluster, until};
use crate::etcd;
use crate::gate::Gate;
use crate::load::Load;
use crate::way::Way;
use tokio::time::Instant;

pub(super) async fn history_that_is_gone(cluster: &Cluster) {
    let config = cluster.control_plane.lock().await.start_forgetful("router").await;
    stage(cluster, "history", 3).await;
    let gate = Gate::start(&config).await;
    let router = behind(cluster, "history", &gate).await;
    let way = Way::to("history").by(OWN);
    way.until_pods("web", 3, CONVERGED).await;
    let load = Load::start(&way);
    let of_slices = r#"resource="endpointslices""#;
    let lists = router.total("kubernetes_lists", of_slices).await;

    // Else it would be a watch that ends as soon as it began, and everything would be listed again.
    until("the watches have lasted", CONVERGED, async || router.watched_for(1.5).await).await;
    gate.hold().await;
    cluster.scale("history", 5).await;
    until_ready(cluster, "history", 5).await;
    etcd::compact().await;
    assert_eq!(way.answers().await.len(), 3, "no watch can have told of more");
    gate.open();
    let returned = Instant::now();
    way.until_pods("web", 5, CONVERGED).await;
    until_fresh(&router, "/history/http/web", CONVERGED).await;
    assert!(returned.elapsed() < CONVERGED, "it took {:?}", returned.elapsed());
    for resource in ["services", "endpointslices"] {
        let said = format!("{resource} in history: 410 Expired: ");
        assert!(router.said().contains(&said), "{}", router.said());
    }
    assert_eq!(router.total("kubernetes_lists", of_slices).await, lists + 1.0);
    assert_eq!(router.total("kubernetes_watch_failures", of_slices).await, 1.0);

    // It watches again.
    cluster.scale("history", 2).await;
    until_ready(cluster, "history", 2).await;
    way.until_pods("web", 2, CONVERGED).await;
    load.stop().await.assert_served();
    router.stop().await;
    cluster.control_plane.lock().await.kill_forgetful();
}
