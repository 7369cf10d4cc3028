//! What a request costs the proxy on loopback: CPU time per request and memory per idle connection, beside a bare
//! hyper pass-through measured in the same run. `benches/README.md` says what the figures mean.
//!
//! Every part is a process of its own, this binary with another argument, so that the CPU time of the proxy is counted
//! apart from that of the load and of the upstream. `cargo bench --bench loopback` prints the table; without
//! `--bench`, as `cargo test --benches` runs it, a few requests only show that all of it works.

mod child;
mod figures;
mod load;
mod passthrough;
mod signpost;
mod upstream;

use self::child::{Child, Core};
use self::figures::{Cost, Table};
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::Duration;

/// The longest the whole run may take before it is given up: a bench that hangs says so.
const PATIENCE: Duration = Duration::from_secs(300);

/// How much is measured.
struct Plan {
    rounds: usize,
    connections: usize,
    warm_up: usize,
    requests: usize,
    idle: usize,
}

const BENCH: Plan = Plan { rounds: 15, connections: 32, warm_up: 3_200, requests: 40_000, idle: 2_000 };
const SMOKE: Plan = Plan { rounds: 1, connections: 4, warm_up: 8, requests: 80, idle: 20 };

/// A proxy under one kind of request.
struct Subject<'a> {
    name: &'static str,
    proxy: &'a Child,
    address: &'a str,
    request: load::Kind,
}

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let result = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["upstream"] => upstream::run(),
        ["load"] => load::run(),
        ["passthrough", upstream] => passthrough::run(upstream),
        ["signpost", stable, staged] => signpost::run(stable, staged),
        ["--bench", ..] => measure(&BENCH),
        _ => measure(&SMOKE),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("loopback: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Starts every part, measures in turn, prints the table.
fn measure(plan: &Plan) -> Result<(), child::Error> {
    let _watched = watch();
    let mut upstream = Child::start(Core::Others, &["upstream"])?;
    let (stable, staged) = (upstream.line()?, upstream.line()?);
    let mut load = Child::start(Core::Others, &["load"])?;
    let mut passthrough = Child::start(Core::Proxy, &["passthrough", &stable])?;
    let mut signpost = Child::start(Core::Proxy, &["signpost", &stable, &staged])?;
    let (bare, routed) = (passthrough.line()?, signpost.line()?);
    let (plain, overriding) = (load::Kind::Plain, load::Kind::Overriding);
    let subjects = [
        Subject { name: "hyper pass-through", proxy: &passthrough, address: &bare, request: plain },
        Subject { name: "signpost", proxy: &signpost, address: &routed, request: plain },
        Subject { name: "signpost, override", proxy: &signpost, address: &routed, request: overriding },
    ];
    let mut table = Table::new(subjects.iter().map(|subject| subject.name));
    for round in 0..plan.rounds {
        // Each goes first as often as last, so that what drifts does not favour one.
        for turn in 0..subjects.len() {
            let at = (round + turn) % subjects.len();
            table.add(at, cost(&subjects[at], &mut load, plan)?);
        }
    }
    let idle = [
        idle(&["passthrough", &stable], &mut load, plan)?,
        idle(&["signpost", &stable, &staged], &mut load, plan)?,
    ];
    println!("{}", table.shown(plan.connections, plan.requests, idle));
    Ok(())
}

/// The CPU time that one round of requests costs the proxy.
fn cost(subject: &Subject<'_>, load: &mut Child, plan: &Plan) -> Result<Cost, child::Error> {
    load.ask(&format!("open {} {} {}", subject.address, subject.request, plan.connections))?;
    load.ask(&format!("run {}", plan.warm_up))?;
    let before = subject.proxy.cpu()?;
    load.ask(&format!("run {}", plan.requests))?;
    let used = subject.proxy.cpu()?.since(&before);
    load.ask("close")?;
    Ok(Cost::of(&used, plan.requests))
}

/// How much memory a fresh proxy takes for each connection that made one request and waits, in bytes.
///
/// Some connections come before, so that what is made once, or lent from connection to connection, is not counted.
fn idle(role: &[&str], load: &mut Child, plan: &Plan) -> Result<f64, child::Error> {
    let mut proxy = Child::start(Core::Proxy, role)?;
    let address = proxy.line()?;
    let open = |count: usize| format!("open {address} {} {count}", load::Kind::Plain);
    load.ask(&open(plan.idle / 10))?;
    let before = proxy.resident()?;
    load.ask(&open(plan.idle))?;
    let grown = proxy.resident()?.saturating_sub(before);
    load.ask("close")?;
    Ok(grown as f64 / plan.idle as f64)
}

/// Ends the process when the run takes too long; the children end when their standard input does.
fn watch() -> mpsc::Sender<()> {
    let (running, ended) = mpsc::channel();
    std::thread::spawn(move || {
        if ended.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
            eprintln!("loopback: given up after {PATIENCE:?}");
            std::process::exit(1);
        }
    });
    running
}
