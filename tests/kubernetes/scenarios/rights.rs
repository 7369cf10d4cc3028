//! The router loses its rights, and gets them back.

use super::{AWAY, CONVERGED, OWN, behind, stage, until_fresh, until_ready, until_stale};
use crate::cluster::{Cluster, SERVICES, until};
use crate::gate::Gate;
use crate::load::{Client, Load};
use crate::way::Way;
use tokio::time::Instant;

/// The account that the router uses here: the rights of others stay.
const VISITOR: &str = "visitor";

pub(super) async fn rights_revoked_and_restored(cluster: &Cluster) {
    stage(cluster, "rights", 3).await;
    let mut config = cluster.control_plane.lock().await.config("admin").await;
    config.auth_info.impersonate = Some(VISITOR.to_owned());
    let gate = Gate::start(&config).await;
    cluster.grant(VISITOR, &SERVICES).await;
    let router = behind(cluster, "rights", &gate).await;
    let way = Way::to("rights").by(OWN);
    way.until_pods("web", 3, CONVERGED).await;
    let mut load = Load::start(&way);

    cluster.revoke(VISITOR, &SERVICES).await;
    // The server lets watches go on that it has let begin.
    gate.hold().await;
    gate.open();
    let missing = |namespace: &str| {
        SERVICES.map(|(group, resource)| {
            format!("grant the verbs list and watch on resource `{resource}` of apiGroup \"{group}\" in the namespace {namespace}")
        })
    };
    let name = "/rights/http/web";
    until_stale(&router, name, 0.0).await;
    cluster.scale("rights", 5).await;
    for right in missing("rights") {
        until("the missing right is named", CONVERGED, async || {
            router.said().lines().any(|line| {
                line.contains("WARN") && line.contains(": 403 Forbidden: ") && line.contains(&right)
            })
        })
        .await;
        let trouble = router.state().await.to_string();
        assert!(trouble.contains(&right.replace('"', "\\\"")), "{trouble}");
    }
    // What was never known is not served by anything else.
    let (status, text) = Client::connect(OWN).await.get("/default/http/web").await.expect("it answers");
    assert_eq!(status, 502, "{text}");
    assert!(missing("default").iter().any(|right| text.contains(right)), "{text}");
    until_stale(&router, name, AWAY).await;
    until_ready(cluster, "rights", 5).await;
    assert_eq!(way.answers().await.len(), 3, "the last good endpoints stay");
    load.take().assert_served();

    cluster.grant(VISITOR, &SERVICES).await;
    let restored = Instant::now();
    way.until_pods("web", 5, CONVERGED).await;
    until_fresh(&router, name, CONVERGED).await;
    assert!(restored.elapsed() < CONVERGED, "it took {:?}", restored.elapsed());
    load.stop().await.assert_served();
    router.stop().await;
}
