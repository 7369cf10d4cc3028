//! What TLS costs a listener: CPU time of a handshake beside rustls by itself, CPU time of a request on a connection that is
//! kept beside nginx, and the memory of a connection that waits. `benches/README.md` says what the figures mean.
//!
//! Every part is a process of its own, this binary with another argument. `cargo bench --bench tls` prints the tables,
//! and with `-- TEXT` the costs that have that text; without `--bench`, as `cargo test --benches` runs it, a few connections
//! only show that all of it works.

#[allow(dead_code, reason = "other benches use the rest")]
#[path = "../shared/child.rs"]
mod child;
mod load;
#[path = "../shared/median.rs"]
mod median;
mod parts;
#[allow(dead_code, reason = "other benches use the rest")]
#[path = "../shared/process.rs"]
mod process;

use self::child::{Child, Core, Error};
use self::load::{Caller, Session};
use self::median::median;
use self::parts::Files;
use mimalloc::MiMalloc;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::process::ExitCode;

/// The allocator of the binary: what is measured is what ships.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// How much is measured.
struct Plan {
    rounds: usize,
    handshakes: usize,
    requests: usize,
    idle: usize,
}

const BENCH: Plan = Plan { rounds: 10, handshakes: 2_000, requests: 20_000, idle: 1_000 };
const SMOKE: Plan = Plan { rounds: 1, handshakes: 8, requests: 64, idle: 8 };

/// How many connections make requests, or handshakes, at the same time.
const CONNECTIONS: usize = 32;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let result = match arguments[..] {
        ["upstream"] => parts::run_upstream(),
        ["bare", folder] => parts::run_bare(folder),
        ["signpost", folder, upstream] => parts::run_signpost(folder, upstream),
        ["nginx", folder, upstream] => parts::run_nginx(folder, upstream),
        _ => {
            let plan = if arguments.contains(&"--bench") { BENCH } else { SMOKE };
            let text = arguments.iter().find(|argument| !argument.starts_with("--")).copied();
            child::on_one_thread(async move { measure(&plan, text).await })
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tls: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A server with TLS that is measured.
struct Subject {
    name: &'static str,
    process: Child,
    address: String,
}

impl Subject {
    fn start(name: &'static str, role: &[&str]) -> Result<Self, Error> {
        let mut process = Child::start(Core::Proxy, role)?;
        let address = process.line()?;
        Ok(Self { name, process, address })
    }
}

/// Measures everything, or the costs whose name has a text.
async fn measure(plan: &Plan, text: Option<&str>) -> Result<(), Error> {
    let is_wanted = |name: &str| text.is_none_or(|text| name.contains(text));
    let files = Files::write()?;
    let folder = files.folder();
    let mut upstream = Child::start(Core::Others, &["upstream"])?;
    let upstream_address = upstream.line()?;
    let signpost = Subject::start("signpost", &["signpost", folder, &upstream_address])?;
    let bare = Subject::start("rustls", &["bare", folder])?;
    println!(
        "CPU time, one worker, {} rounds in turn. Medians; the ratio is that of rounds side by side.\n\n\
         {:<34}{:<10}{:>9}{:>7}",
        plan.rounds, "", "", "us", "ratio"
    );
    for (name, is_old, session) in [
        ("handshake, TLS 1.3, full", false, Session::New),
        ("handshake, TLS 1.3, resumed", false, Session::Resumed),
        ("handshake, TLS 1.2, full", true, Session::New),
        ("handshake, TLS 1.2, resumed", true, Session::Resumed),
    ] {
        if !is_wanted(name) {
            continue;
        }
        let caller = Caller::new(files.authority(), is_old, session)?;
        let work = async |subject: &Subject, part: usize| {
            caller.handshakes(&subject.address, (plan.handshakes / part).max(1)).await
        };
        compare(name, [&bare, &signpost], plan.rounds, work).await?;
    }
    let nginx = if parts::has_nginx() {
        Some(Subject::start("nginx", &["nginx", folder, &upstream_address])?)
    } else {
        println!(
            "left out: requests beside nginx, which is missing (on Debian: apt-get install nginx-light)"
        );
        None
    };
    for (name, is_old) in [("request, TLS 1.3, 1 KiB", false), ("request, TLS 1.2, 1 KiB", true)] {
        let Some(nginx) = &nginx else { break };
        if !is_wanted(name) {
            continue;
        }
        let caller = Caller::new(files.authority(), is_old, Session::New)?;
        // Each subject keeps its connections from round to round: their handshakes are no part of a request.
        let open = RefCell::new(BTreeMap::new());
        let work = async |subject: &Subject, part: usize| {
            let kept = open.borrow_mut().remove(subject.name);
            let kept = match kept {
                Some(kept) => kept,
                None => caller.open(&subject.address, CONNECTIONS).await?,
            };
            let each = (plan.requests / part).div_ceil(CONNECTIONS);
            let kept = load::ask(kept, each).await?;
            open.borrow_mut().insert(subject.name, kept);
            Ok(each * CONNECTIONS)
        };
        compare(name, [nginx, &signpost], plan.rounds, work).await?;
    }
    if text.is_some() {
        return Ok(());
    }
    println!("\nResident memory of a connection that was served a request and waits, of {}\n", plan.idle);
    for (name, is_old) in [("TLS 1.3", false), ("TLS 1.2", true)] {
        let caller = Caller::new(files.authority(), is_old, Session::New)?;
        for name_of_part in nginx.iter().map(|_| "nginx").chain(["signpost"]) {
            // Another process for each: one that has had connections has memory left for more.
            let subject = Subject::start(name_of_part, &[name_of_part, folder, &upstream_address])?;
            // What all connections share comes with the first.
            let first = load::ask(caller.open(&subject.address, 1).await?, 1).await?;
            let before = subject.process.resident()?;
            let connections = load::ask(caller.open(&subject.address, plan.idle).await?, 1).await?;
            let grown = subject.process.resident()?.saturating_sub(before);
            println!("{name:<34}{name_of_part:<10}{:>9} bytes", grown / plan.idle as u64);
            drop((first, connections));
        }
    }
    drop(upstream);
    Ok(())
}

/// Has two subjects do the same work, in turn, and prints what it cost each; `work` does a part of it to begin with.
async fn compare(
    name: &str,
    subjects: [&Subject; 2],
    rounds: usize,
    work: impl AsyncFn(&Subject, usize) -> Result<usize, Error>,
) -> Result<(), Error> {
    let mut costs = [Vec::new(), Vec::new()];
    for round in 0..rounds {
        // Each goes first as often as last, so that what drifts does not favour one.
        for turn in 0..2 {
            let at = (round + turn) % 2;
            let subject = subjects[at];
            work(subject, 10).await?;
            let before = subject.process.cpu()?;
            let done = work(subject, 1).await?;
            let used = subject.process.cpu()?.since(&before);
            costs[at].push(used.nanoseconds as f64 / 1_000.0 / done as f64);
        }
    }
    let mut name = name;
    for (subject, cost) in subjects.iter().zip(&costs) {
        let ratio = median(cost.iter().zip(&costs[0]).map(|(cost, reference)| cost / reference));
        println!("{name:<34}{:<10}{:>9.1}{ratio:>7.3}", subject.name, median(cost.iter().copied()));
        name = "";
    }
    Ok(())
}
