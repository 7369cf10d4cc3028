//! What sandboxes cost a router: the memory of each, the table after a change, the look-up of a key, and the time until a
//! change is routed by.
//!
//! `benches/README.md` says what the figures mean and which aims they have.

use criterion::Criterion;
use serde_json::json;
use signpost::kubernetes::WatchedObject;
use signpost::sandbox::kubernetes::{SandboxJudgements, WatchedSandbox};
use signpost::sandbox::{
    NamespaceRoot, SandboxRules, SandboxTable, StoreObjects, StoreState, WorkerSandboxes,
};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// How many sandboxes there are.
const COUNT: usize = 10_000;

/// How many changes are followed to the worker, and how many come in a second.
const CHANGES: usize = 1_000;
const PER_SECOND: u32 = 100;

fn main() {
    memory();
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    change(&mut criterion);
    lookup(&mut criterion);
    criterion.final_summary();
    until_routed();
}

/// Returns a usual sandbox, as the API server sends it: two entries, two labels, an owner, a value.
fn sandbox(number: usize, version: &str) -> Arc<WatchedSandbox> {
    let object = json!({
        "metadata": {
            "namespace": "team-a",
            "name": format!("pr-{number:05}"),
            "uid": "7c1f5b0e-6f0c-4c3a-9b63-0f6a3c1d2e4f",
            "resourceVersion": "123456",
            "creationTimestamp": "2026-11-29T12:00:00Z",
            "labels": { "app.kubernetes.io/part-of": "shop", "branch": format!("feature-{number}") },
        },
        "spec": {
            "dtab": format!(
                "# Of the pull request.\n/svc/users => /#/io.l5d.k8s/team-a/http/users-{number}-{version} ;\n\
                 /svc/world => /#/io.l5d.k8s/team-a/http/world-{number}-{version} ;\n"
            ),
            "owner": "anna@example.org",
            "ttl": "24h",
            "values": { "database": format!("pr_{number}") },
        },
        "status": { "key": format!("pr-{number:05}"), "expiresAt": "2126-11-30T12:00:00Z", "observedGeneration": 1 },
    });
    Arc::new(WatchedSandbox::from_api(serde_json::from_value(object).expect("a sandbox")))
}

/// Returns the rules of a cluster: entries lead to the sandbox's own namespace.
fn rules() -> Arc<SandboxRules> {
    let root = NamespaceRoot { prefix: "/#/io.l5d.k8s".parse().expect("a path"), namespace: None };
    // The end is far away, so that it does not come while this runs.
    let century = Duration::from_secs(200 * 366 * 24 * 60 * 60);
    Arc::new(SandboxRules::new(None, None, century, vec![root]))
}

/// A router's sandboxes: what it watches, and what it makes of that.
struct Sandboxes {
    watched: Vec<Arc<WatchedSandbox>>,
    judged: SandboxJudgements<WatchedSandbox>,
}

impl Sandboxes {
    fn new() -> Self {
        let watched = (0..COUNT).map(|number| sandbox(number, "v1")).collect();
        Self { watched, judged: SandboxJudgements::new(rules()) }
    }

    /// Makes the table of the present objects.
    fn table(&mut self) -> SandboxTable {
        let sandboxes = self.judged.update(&self.watched);
        let store = StoreState::Ready(Arc::new(StoreObjects { sandboxes, groups: Vec::new() }));
        SandboxTable::new([&store], jiff::Timestamp::now())
    }
}

/// Prints the bytes of each sandbox: the watched part, the judgement, and its entry in the table.
fn memory() {
    let mut held = None;
    let counted = allocation_counter::measure(|| {
        let mut sandboxes = Sandboxes::new();
        let table = sandboxes.table();
        held = Some((sandboxes, table));
    });
    assert!(held.is_some_and(|(_, table)| table.get("pr-00042").is_some()));
    println!("memory/sandbox          {} bytes", counted.bytes_current / COUNT as i64);
}

/// One sandbox of all changes: it is judged, and the table is made anew.
fn change(criterion: &mut Criterion) {
    let mut sandboxes = Sandboxes::new();
    drop(sandboxes.table());
    let mut turn = 0;
    criterion.bench_function("table/after a change", |bencher| {
        bencher.iter(|| {
            turn += 1;
            let number = turn % COUNT;
            sandboxes.watched[number] = sandbox(number, &format!("v{turn}"));
            sandboxes.table()
        });
    });
}

fn lookup(criterion: &mut Criterion) {
    let table = Arc::new(Sandboxes::new().table());
    criterion.bench_function("look-up/table", |bencher| {
        bencher.iter(|| table.get(black_box("pr-00042")).is_some());
    });
    // It goes on while its sender is there.
    let (_sender, live) = watch::channel(Arc::clone(&table));
    let worker = WorkerSandboxes::new(live);
    criterion.bench_function("look-up/worker, cached", |bencher| {
        bencher.iter(|| worker.overlay(black_box("pr-00042")));
    });
    criterion.bench_function("look-up/worker, two keys, cached", |bencher| {
        bencher.iter(|| worker.overlay(black_box("pr-00042+pr-00043")));
    });
}

/// Prints how long it takes from a changed object to its entries on a worker of another thread, at a steady pace.
fn until_routed() {
    let mut sandboxes = Sandboxes::new();
    let (sender, live) = watch::channel(Arc::new(sandboxes.table()));
    let (began, changes) = std::sync::mpsc::channel::<(Instant, usize, String)>();
    let worker = std::thread::spawn(move || {
        let worker = WorkerSandboxes::new(live);
        let mut times = Vec::new();
        for (began, number, entry) in changes {
            let key = format!("pr-{number:05}");
            while !format!("{:#}", worker.overlay(&key).dtab()).contains(&entry) {
                std::thread::yield_now();
            }
            times.push(began.elapsed());
        }
        times
    });
    let start = Instant::now();
    for turn in 0..CHANGES {
        let due = Duration::from_secs(1) / PER_SECOND * u32::try_from(turn).expect("a few");
        #[expect(clippy::disallowed_methods, reason = "changes come at a steady pace, by the clock")]
        std::thread::sleep(due.saturating_sub(start.elapsed()));
        let (number, version) = (turn * 7 % COUNT, format!("changed{turn}"));
        let object = sandbox(number, &version);
        let now = Instant::now();
        began.send((now, number, version)).expect("the worker runs");
        sandboxes.watched[number] = object;
        sender.send_replace(Arc::new(sandboxes.table()));
    }
    drop(began);
    let mut times = worker.join().expect("it does not panic");
    times.sort_unstable();
    let at = |share: usize| times[(times.len() - 1) * share / 100];
    println!("until routed            p50 {:?}, p99 {:?}, most {:?}", at(50), at(99), at(100));
}
