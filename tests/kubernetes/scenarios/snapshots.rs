//! A router that is killed, and started again while there is no API server.

use super::{CONVERGED, OWN, OWN_ADMIN, ROLLOUT, router_files, stage};
use crate::cluster::{Cluster, until};
use crate::load::Load;
use crate::router::{Router, by_path};
use crate::way::Way;
use std::path::Path;
use tokio::time::Instant;

/// What was known is served from the start on, and given up as soon as the server says otherwise.
pub(super) async fn start_without_the_api_server(cluster: &Cluster) {
    stage(cluster, "known", 3).await;
    let (folder, kubeconfig) = router_files(cluster).await;
    let saved = folder.join("snapshots");
    let keys = format!("kubeconfig: '{}', snapshot: '{}'", kubeconfig.display(), saved.display());
    let yaml = by_path(OWN_ADMIN, OWN, &keys);
    let way = Way::to("known").by(OWN);

    let router = Router::run(&folder, "known", &yaml, OWN_ADMIN).await;
    let load = Load::start(&way);
    until("both watches are saved", ROLLOUT, async || files(&saved) == 2).await;
    let before = load.stop().await;
    before.assert_served();
    assert_eq!(before.texts.len(), 3, "{:?}", before.texts);
    // Killed, as if its machine had lost power.
    drop(router);

    cluster.delete_service("known").await;
    let mut control_plane = cluster.control_plane.lock().await;
    control_plane.kill_api_server();
    let router = Router::run(&folder, "known", &yaml, OWN_ADMIN).await;
    let answers = Load::start(&way).stop().await;
    answers.assert_good();
    assert!(answers.texts.keys().eq(before.texts.keys()), "{:?} {:?}", answers.texts, before.texts);
    let state = router.state().await;
    for what in ["services in known", "endpointslices in known"] {
        let watch = &state["watches"][what];
        assert!(watch["snapshot"].is_string() && watch["staleSeconds"].is_number(), "{state:#}");
    }
    assert!(router.said().contains("services in known: served from the snapshot of "), "{}", router.said());

    let load = Load::start(&way);
    control_plane.revive_api_server().await;
    let returned = Instant::now();
    until("the router is up to date", CONVERGED, async || {
        let state = router.state().await;
        let watch = &state["watches"]["services in known"];
        watch["snapshot"].is_null() && watch["staleSeconds"].is_null()
    })
    .await;
    way.until_rest(CONVERGED).await;
    assert!(returned.elapsed() < CONVERGED, "it took {:?}", returned.elapsed());
    load.stop().await.assert_good();
    let answers = Load::start(&way).stop().await;
    answers.assert_good();
    assert!(answers.texts.keys().eq(["rest"]), "the service is gone: {:?}", answers.texts);
    router.stop().await;
}

/// How many snapshots there are.
fn files(folder: &Path) -> usize {
    let is_snapshot = |name: &Path| name.extension().is_some_and(|extension| extension == "jsonl");
    std::fs::read_dir(folder).map_or(0, |entries| {
        entries.filter(|entry| entry.as_ref().is_ok_and(|entry| is_snapshot(&entry.path()))).count()
    })
}
