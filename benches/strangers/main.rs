//! Hostile loads beside a steady customer: the failures and times of the customer while nothing else happens, and under
//! each load; and the memory of the router. `benches/README.md` says what the figures mean.
//!
//! The router is the real binary, on one core; the customer, the strangers and the endpoints share the other.
//! `cargo bench --bench strangers` prints a table, and with `-- <text>` the rows alone whose name has that text; without
//! `--bench`, as `cargo test --benches` runs it, each load lasts a moment.

mod customer;
mod endpoint;
mod frames;
mod loads;
#[path = "../shared/process.rs"]
mod process;
#[path = "../shared/started.rs"]
#[allow(dead_code, reason = "the start is not measured here")]
mod started;

use self::customer::Figures;
use self::loads::{LOADS, Load};
use self::process::{Error, on_one_thread};
use self::started::Started;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::watch;

/// How long the customer asks, alone and under each load; and how long a load runs before that.
struct Plan {
    quiet: Duration,
    ahead: Duration,
    loaded: Duration,
}

const BENCH: Plan =
    Plan { quiet: Duration::from_secs(10), ahead: Duration::from_secs(5), loaded: Duration::from_secs(20) };
const SMOKE: Plan = Plan {
    quiet: Duration::from_millis(300),
    ahead: Duration::from_millis(100),
    loaded: Duration::from_millis(500),
};

/// The core of the router, and that of everything else.
const CORES: [&str; 2] = ["0", "1"];

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    if has_cores() && std::env::var_os("STRANGERS_PINNED").is_none() {
        let own = std::env::current_exe().unwrap_or_default();
        let mut pinned = Command::new("taskset");
        // It returns when it fails; then nothing is pinned.
        let _ = pinned.args(["-c", CORES[1]]).arg(own).args(&arguments).env("STRANGERS_PINNED", "1").exec();
    }
    let plan = if arguments.iter().any(|argument| argument == "--bench") { &BENCH } else { &SMOKE };
    let text = arguments.iter().find(|argument| !argument.starts_with("--"));
    match measure(plan, text.map_or("", String::as_str)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("strangers: {error}");
            ExitCode::FAILURE
        }
    }
}

fn has_cores() -> bool {
    let pinned = Command::new("taskset").args(["-c", CORES[1], "true"]).stderr(Stdio::null()).status();
    pinned.is_ok_and(|status| status.success())
}

/// Runs a part on a thread of its own, until it ends or `stop` says so.
fn spawn<W: Future<Output = Result<(), Error>>>(
    work: impl FnOnce() -> W + Send + 'static,
) -> JoinHandle<Result<(), Error>> {
    std::thread::spawn(|| on_one_thread(work()))
}

fn measure(plan: &Plan, text: &str) -> Result<(), Error> {
    let (sender, addresses) = mpsc::channel();
    spawn(move || endpoint::run(sender));
    let endpoints = [addresses.recv()?, addresses.recv()?];
    println!(
        "| load | failed, quiet | p50, p99, most in ms | failed, under load | p50, p99, most in ms | MB more | done |"
    );
    println!("|---|---|---|---|---|---|---|");
    for load in LOADS.iter().filter(|load| load.name.contains(text)) {
        row(plan, load, endpoints)?;
    }
    Ok(())
}

/// Measures one load with a router of its own.
fn row(plan: &Plan, load: &'static Load, endpoints: [SocketAddr; 2]) -> Result<(), Error> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("strangers.yaml");
    std::fs::write(&file, config(endpoints))?;
    let router = start(&file)?;
    let address = SocketAddr::from(([127, 0, 0, 1], router.address.port()));
    let quiet = customer::run(address, plan.quiet)?;
    let before = process::resident(router.id())?;
    let (stop, stopped) = watch::channel(false);
    let (sender, counts) = mpsc::channel();
    let attack = spawn(move || async move {
        let count = load.run(address, stopped).await;
        sender.send(count)?;
        Ok(())
    });
    // The load grows while the customer is not looked at.
    customer::run(address, plan.ahead)?;
    let loaded = customer::run(address, plan.loaded)?;
    let after = process::most_resident(router.id())?;
    stop.send(true)?;
    let done = counts.recv()?;
    attack.join().map_err(|_| "a load panicked")??;
    let Figures { asked, failed, .. } = quiet;
    println!(
        "| {} | {failed} of {asked} | {} | {} of {} | {} | {:.1} | {done} {} |",
        load.name,
        quiet.times(),
        loaded.failed,
        loaded.asked,
        loaded.times(),
        after.saturating_sub(before) as f64 / 1e6,
        load.unit,
    );
    Ok(())
}

/// A router whose listener trusts nobody: `world` is the endpoint of the customer, `silent` one that does not answer.
fn config([world, silent]: [SocketAddr; 2]) -> String {
    format!(
        "admin: {{port: 0}}\nworkers: 1\nrouters:\n- protocol: h2\n  dtab: /svc/world => /$/inet/{}/{}; /svc/silent => \
         /$/inet/{}/{}\n  servers:\n  - {{port: 0, ip: 0.0.0.0, trust: nobody}}\n",
        world.ip(),
        world.port(),
        silent.ip(),
        silent.port()
    )
}

/// Starts the router on its core.
fn start(file: &std::path::Path) -> Result<Started, Error> {
    let mut command = if has_cores() || std::env::var_os("STRANGERS_PINNED").is_some() {
        let mut command = Command::new("taskset");
        command.args(["-c", CORES[0], env!("CARGO_BIN_EXE_signpost")]);
        command
    } else {
        Command::new(env!("CARGO_BIN_EXE_signpost"))
    };
    command.arg("run").arg(file).env("SIGNPOST_LOG", "info").stderr(Stdio::piped());
    Started::start(command, |process| process.stderr.take(), |line| line.contains(" serving "))
}
