//! A router that is killed, and started again while there is no API server.

use super::cluster::{Cluster, path, until};
use super::load::Load;
use super::router::{REST, Router};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;
use tokio::time::sleep;

/// How long the controllers, and the router's disk, may take.
const SOON: Duration = Duration::from_secs(120);

/// How long the router may take after the API server has returned.
const CONVERGED: Duration = Duration::from_secs(5);

/// Where this router listens, and its admin server.
const ROUTER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 4160);
const ADMIN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9993);

/// What was known is served from the start on, and given up as soon as the server says otherwise.
pub(crate) async fn start_without_the_api_server(cluster: &Cluster) {
    cluster.namespace("known").await;
    cluster.service("known").await;
    cluster.deployment("known", 3).await;
    cluster.until_served_by("known", 3, SOON).await;
    let (folder, kubeconfig) = {
        let control_plane = cluster.control_plane.lock().await;
        (control_plane.folder().to_owned(), control_plane.kubeconfig("router"))
    };
    let saved = folder.join("snapshots");
    let yaml = configuration(&kubeconfig, &saved);

    let router = Router::run(&folder, "known", &yaml, ADMIN).await;
    let load = Load::start(ROUTER, &path("known"));
    until("both watches are saved", SOON, async || files(&saved) == 2).await;
    let before = load.stop().await;
    before.assert_good();
    assert_eq!(before.texts.len(), 3, "{:?}", before.texts);
    // Killed, as if its machine had lost power.
    drop(router);

    cluster.delete_service("known").await;
    cluster.control_plane.lock().await.kill_api_server();
    let router = Router::run(&folder, "known", &yaml, ADMIN).await;
    let mut load = Load::start(ROUTER, &path("known"));
    sleep(Duration::from_secs(5)).await;
    let answers = load.take();
    answers.assert_good();
    assert!(answers.texts.keys().eq(before.texts.keys()), "{:?} {:?}", answers.texts, before.texts);
    let state = router.state().await;
    for what in ["services in known", "endpointslices in known"] {
        let watch = &state["watches"][what];
        assert!(watch["snapshot"].is_string() && watch["staleSeconds"].is_number(), "{state:#}");
    }
    assert!(router.said().contains("services in known: served from the snapshot of "), "{}", router.said());

    cluster.control_plane.lock().await.revive_api_server().await;
    until("the router is up to date", CONVERGED, async || {
        let state = router.state().await;
        let watch = &state["watches"]["services in known"];
        watch["snapshot"].is_null() && watch["staleSeconds"].is_null()
    })
    .await;
    load.take().assert_good();
    sleep(Duration::from_secs(1)).await;
    let answers = load.stop().await;
    answers.assert_good();
    assert!(answers.texts.keys().eq(["rest"]), "the service is gone: {:?}", answers.texts);
    router.stop().await;
}

/// As the other router, with a folder for snapshots.
fn configuration(kubeconfig: &Path, saved: &Path) -> String {
    let (host, port) = REST.split_once(':').expect("an address");
    format!(
        "admin: {{port: {}}}\nnamers: [{{kind: io.l5d.k8s, kubeconfig: '{}', snapshot: '{}'}}]\nrouters:\n- protocol: http\n  \
         identifier: {{kind: io.l5d.path, segments: 3}}\n  dtab: /rest => /$/inet/{host}/{port}; /svc => /#/io.l5d.k8s | /rest\n  \
         servers: [{{port: {}}}]\n",
        ADMIN.port(),
        kubeconfig.display(),
        saved.display(),
        ROUTER.port(),
    )
}

/// How many snapshots there are.
fn files(folder: &Path) -> usize {
    let is_snapshot = |name: &Path| name.extension().is_some_and(|extension| extension == "jsonl");
    std::fs::read_dir(folder).map_or(0, |entries| {
        entries.filter(|entry| entry.as_ref().is_ok_and(|entry| is_snapshot(&entry.path()))).count()
    })
}
