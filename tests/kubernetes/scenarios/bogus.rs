//! Many namespaces that are wanted for nothing.

use super::{CONVERGED, OWN, behind, stage};
use crate::cluster::Cluster;
use crate::gate::Gate;
use crate::load::Client;
use crate::way::Way;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

/// As many as the router watches at most.
const NAMESPACES: usize = 500;

/// How many callers ask for them.
const CALLERS: usize = 25;

/// How long a caller waits for an answer before it asks for the next.
const PATIENCE: Duration = Duration::from_millis(200);

/// How many attempts the watches of a client have in a second, and how many seconds' worth at once.
const ATTEMPTS: f64 = 20.0;
const BURST: f64 = 5.0;

/// The requests of an attempt: a list, and a watch after it.
const REQUESTS: f64 = 2.0;

pub(super) async fn bogus_namespaces(cluster: &Cluster) {
    stage(cluster, "wanted", 2).await;
    let config = cluster.control_plane.lock().await.config("router").await;
    let gate = Gate::start(&config).await;
    let router = behind(cluster, "bogus", &gate).await;
    let began = Instant::now();
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        callers.spawn_local(async move {
            for at in (caller..NAMESPACES).step_by(CALLERS) {
                let mut client = Client::connect(OWN).await;
                // An answer may take as long as the attempts of all that were asked for before.
                let _ = timeout(PATIENCE, client.get(&format!("/bogus-{at}/http/web"))).await;
            }
        });
    }
    callers.join_all().await;
    // It was never asked for before.
    let asked = Instant::now();
    Way::to("wanted").by(OWN).until_pods("web", 2, CONVERGED).await;
    assert!(asked.elapsed() < CONVERGED, "it took {:?}", asked.elapsed());
    let (requests, seconds) = (gate.asked() as f64, began.elapsed().as_secs_f64());
    let most = REQUESTS * ATTEMPTS * (BURST + seconds);
    assert!(requests <= most, "{requests} requests in {seconds:.1} s are more than {most:.0}");
    assert!(requests > ATTEMPTS * BURST, "{requests}: they are not asked for");
    router.stop().await;
}
