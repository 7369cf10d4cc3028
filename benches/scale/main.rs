//! What a large cluster costs the router: 10,000 services with 100,000 endpoints. Memory, the time from the start to the
//! first answer, and how long a change takes to be routed. `benches/README.md` says what the figures mean.
//!
//! The router is the `signpost` binary, a process of its own. The API server, the pods and the callers are threads of
//! this one; the pods share a port on all of 127.0.0.0/8. `cargo bench --bench scale` prints the table; without
//! `--bench`, as `cargo test --benches` runs it, a small cluster only shows that all of it works.

mod api;
mod bare;
mod caller;
mod changes;
mod cluster;
mod figures;
#[path = "../shared/median.rs"]
mod median;
mod pods;
#[path = "../shared/process.rs"]
mod process;
#[path = "../shared/started.rs"]
mod started;

use self::api::Api;
use self::caller::Caller;
use self::changes::{Changes, path};
use self::cluster::Size;
use self::process::{Error, most_resident, on_one_thread, resident};
use self::started::Started;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// The longest the whole run may take before it is given up: a bench that hangs says so.
const PATIENCE: Duration = Duration::from_secs(300);

/// The callers that ask for every name once, together.
const CALLERS: usize = 8;

/// How much is measured.
struct Plan {
    size: Size,
    starts: usize,
    changes: usize,
}

const BENCH: Plan = Plan { size: Size { namespaces: 100, services: 10_000 }, starts: 5, changes: 6_000 };
const SMOKE: Plan = Plan { size: Size { namespaces: 10, services: 100 }, starts: 1, changes: 40 };

/// How the router watches, and how its lists come.
#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    /// The key `watch`.
    watch: &'static str,
    streams: bool,
    /// Whether changes are measured.
    changes: bool,
}

const CASES: [Case; 3] = [
    Case { name: "cluster", watch: "cluster", streams: true, changes: true },
    Case { name: "cluster, pages", watch: "cluster", streams: false, changes: false },
    Case { name: "namespace", watch: "namespace", streams: true, changes: false },
];

impl Case {
    /// How many watches the router has when every name was asked for: of services and of slices.
    fn watches(self, size: Size) -> usize {
        2 * if self.watch == "cluster" { 1 } else { size.namespaces }
    }
}

/// What was measured of one case. Memory is in bytes.
struct Measured {
    case: Case,
    starts: Vec<Start>,
    /// After every name was asked for once.
    asked: u64,
    asked_most: u64,
    /// The most while everything was listed anew, and what was left of it.
    again_most: u64,
    again: u64,
    changes: Option<Changes>,
}

/// One start.
struct Start {
    /// From the start of the process to the first answer.
    took: Duration,
    /// What was resident then.
    resident: u64,
    /// The most that was until then.
    most: u64,
}

fn main() -> ExitCode {
    let plan = if std::env::args().any(|argument| argument == "--bench") { &BENCH } else { &SMOKE };
    let run =
        async { timeout(PATIENCE, measure(plan)).await.map_err(|_| format!("given up after {PATIENCE:?}"))? };
    match on_one_thread(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("scale: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Measures one case after the other.
async fn measure(plan: &Plan) -> Result<(), Error> {
    let pods = pods::listen().await?;
    let api = Api::start(plan.size, pods.local_addr()?.port())?;
    tokio::task::spawn_local(pods::serve(pods));
    figures::head(plan.size, api.bytes());
    let mut after = 0;
    for case in CASES {
        let measured = measure_case(plan, case, &api, &mut after).await?;
        figures::case(&measured);
    }
    Ok(())
}

async fn measure_case(plan: &Plan, case: Case, api: &Api, after: &mut u16) -> Result<Measured, Error> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("scale.yaml");
    fs::write(&file, config(case, api.address))?;
    api.stream_lists(case.streams);
    let mut starts = Vec::new();
    for _ in 1..plan.starts {
        starts.push(start(&file, plan.size).await?.1);
    }
    let (router, last) = start(&file, plan.size).await?;
    starts.push(last);
    let id = router.id();

    ask_for_all(router.address, plan.size).await?;
    let (asked, asked_most) = (resident(id)?, most_resident(id)?);
    let mut move_services = async |changes| {
        let seen = changes::measure(api, router.address, plan.size, changes, *after).await?;
        *after = seen.generation;
        Ok::<_, Error>(seen)
    };
    let changes = if case.changes { Some(move_services(plan.changes).await?) } else { None };
    // The most that was resident is what is resident now.
    fs::write(format!("/proc/{id}/clear_refs"), "5")?;
    let complete = api.lists() + case.watches(plan.size);
    api.forget();
    while api.lists() < complete {
        sleep(Duration::from_millis(10)).await;
    }
    // Its changes are followed as soon as a list is complete for the router as well.
    move_services(cluster::CHANGING).await?;
    let (again, again_most) = (resident(id)?, most_resident(id)?);
    Ok(Measured { case, starts, asked, asked_most, again_most, again, changes })
}

/// Starts the router, and asks for one name.
async fn start(file: &Path, size: Size) -> Result<(Started, Start), Error> {
    let router = Started::router(file)?;
    let mut caller = Caller::connect(router.address).await?;
    caller.ask(&path(size, size.services / 2)).await?;
    let took = router.began.elapsed();
    let start = Start { took, resident: resident(router.id())?, most: most_resident(router.id())? };
    Ok((router, start))
}

/// Asks for every name once.
async fn ask_for_all(router: SocketAddr, size: Size) -> Result<(), Error> {
    let mut callers = JoinSet::new();
    for first in 0..CALLERS {
        let mut caller = Caller::connect(router).await?;
        callers.spawn_local(async move {
            for number in (first..size.services).step_by(CALLERS) {
                caller.ask(&path(size, number)).await?;
            }
            Ok::<_, Error>(())
        });
    }
    while let Some(ended) = callers.join_next().await {
        ended??;
    }
    Ok(())
}

fn config(case: Case, api: SocketAddr) -> String {
    format!(
        "
admin: {{ port: 0 }}
namers:
- kind: io.l5d.k8s
  host: {}
  port: {}
  watch: {}
routers:
- protocol: http
  identifier: {{ kind: io.l5d.path, segments: 3 }}
  dtab: /svc => /#/io.l5d.k8s
  servers:
  - port: 0
    ip: 127.0.0.1
",
        api.ip(),
        api.port(),
        case.watch
    )
}
