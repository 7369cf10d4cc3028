//! What happens in a cluster, each under load: no request fails that has an endpoint, or a fallback, to go to.

mod bogus;
mod history;
mod ingress;
mod ingress_tls;
mod nodes;
mod outages;
mod rights;
mod snapshots;
mod sources;
mod workloads;
mod zones;

use super::cluster::{Cluster, until};
use super::gate::Gate;
use super::manifests::manifests;
use super::router::{Router, by_path};
use super::sandbox_command::sandbox_command;
use super::sandboxes::sandboxes;
use super::stored::stored_dtabs;
use super::way::Way;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

/// How long the controllers may take on a machine that is busy.
const ROLLOUT: Duration = Duration::from_secs(120);

/// How long the router may take after the API server has told, or has returned.
const CONVERGED: Duration = Duration::from_secs(5);

/// How long names are stale at least before what failed returns, in seconds: the pauses between attempts have become the
/// longest then.
const AWAY: f64 = 4.0;

/// Where the router that a scenario has of its own listens, and its admin server.
const OWN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 4160);
const OWN_ADMIN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9992);

type Scenario = for<'a> fn(&'a Cluster) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

/// Every scenario, by name.
pub(crate) const ALL: &[(&str, Scenario)] = &[
    ("scale_up_and_down", |cluster| Box::pin(workloads::scale_up_and_down(cluster))),
    ("rollout_restart", |cluster| Box::pin(workloads::rollout_restart(cluster))),
    ("delete_and_recreate_the_service", |cluster| {
        Box::pin(workloads::delete_and_recreate_the_service(cluster))
    }),
    ("delete_and_recreate_the_namespace", |cluster| {
        Box::pin(workloads::delete_and_recreate_the_namespace(cluster))
    }),
    ("sources_of_endpoints", |cluster| Box::pin(sources::sources_of_endpoints(cluster))),
    ("daemon_set_and_local_node", |cluster| Box::pin(nodes::daemon_set_and_local_node(cluster))),
    ("zone_of_the_router", |cluster| Box::pin(zones::zone_of_the_router(cluster))),
    ("ingress", |cluster| Box::pin(ingress::ingress(cluster))),
    ("ingress_tls", |cluster| Box::pin(ingress_tls::ingress_tls(cluster))),
    ("manifests", |cluster| Box::pin(manifests(cluster))),
    ("sandbox_command", |cluster| Box::pin(sandbox_command(cluster))),
    ("stored_dtabs", |cluster| Box::pin(stored_dtabs(cluster))),
    ("sandboxes", |cluster| Box::pin(sandboxes(cluster))),
    ("start_without_the_api_server", |cluster| Box::pin(snapshots::start_without_the_api_server(cluster))),
    ("rights_revoked_and_restored", |cluster| Box::pin(rights::rights_revoked_and_restored(cluster))),
    ("bogus_namespaces", |cluster| Box::pin(bogus::bogus_namespaces(cluster))),
    ("history_that_is_gone", |cluster| Box::pin(history::history_that_is_gone(cluster))),
    ("restart_of_etcd", |cluster| Box::pin(outages::restart_of_etcd(cluster))),
    ("restart_of_the_api_server", |cluster| Box::pin(outages::restart_of_the_api_server(cluster))),
    ("restart_of_the_control_plane", |cluster| Box::pin(outages::restart_of_the_control_plane(cluster))),
];

/// A namespace with a service of so many pods, which serve.
async fn stage(cluster: &Cluster, namespace: &str, pods: usize) {
    cluster.namespace(namespace).await;
    cluster.service(namespace).await;
    cluster.deployment(namespace, pods).await;
    until_ready(cluster, namespace, pods).await;
    Way::to(namespace).until_pods("web", pods, CONVERGED).await;
}

/// Waits until the controllers have come to so many pods of the service `web`.
async fn until_ready(cluster: &Cluster, namespace: &str, pods: usize) {
    let ready = async || cluster.ready_pods(namespace).await.len() == pods;
    until(&format!("{pods} pods of {namespace} are ready"), ROLLOUT, ready).await;
}

/// The folder for the files of a router that a scenario has of its own, and the kubeconfig with its rights.
async fn router_files(cluster: &Cluster) -> (PathBuf, PathBuf) {
    let control_plane = cluster.control_plane.lock().await;
    (control_plane.folder().to_owned(), control_plane.kubeconfig("router"))
}

/// Starts a router of a scenario's own, which asks the API server through a gate; its names are those of the router of
/// the suite. It logs what it has to say of watches.
async fn behind(cluster: &Cluster, name: &str, gate: &Gate) -> Router {
    let yaml = by_path(OWN_ADMIN, OWN, &gate.keys());
    let folder = cluster.control_plane.lock().await.folder().to_owned();
    let environment = [("SIGNPOST_LOG", "info,signpost::kubernetes=debug")];
    Router::run_with(&folder, name, &yaml, OWN_ADMIN, &environment).await
}

/// Waits until the names of a router are up to date.
async fn until_fresh(router: &Router, name: &str, limit: Duration) {
    until(&format!("{name} is up to date"), limit, async || router.stale_seconds(name).await.is_none()).await;
}

/// Waits until a name has been stale for so long.
async fn until_stale(router: &Router, name: &str, seconds: f64) {
    let stale = async || router.stale_seconds(name).await.is_some_and(|stale| stale > seconds);
    until(&format!("{name} is stale for {seconds} s"), ROLLOUT, stale).await;
}
