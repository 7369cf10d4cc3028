//! Hostile loads beside a steady customer: the failures and times of the customer while nothing else happens, and under
//! each load; and the memory of the router. `benches/README.md` says what the figures mean.
//!
//! The router is the real binary, on one core; the customer, the strangers and the endpoints share the other.
//! `cargo bench --bench hostile` prints a table, and with `-- <text>` the rows alone whose name has that text; without
//! `--bench`, as `cargo test --benches` runs it, each load lasts a moment.

mod api;
mod connections;
mod customer;
mod endpoint;
mod frames;
mod load;
#[path = "../shared/process.rs"]
mod process;
mod requests;
mod router;
#[path = "../shared/started.rs"]
#[allow(dead_code, reason = "the start is not measured here")]
mod started;

use self::customer::{Customer, Seen};
use self::load::{LOADS, Load};
use self::process::{Error, on_one_thread};
use self::router::{Router, Upstreams};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::watch;

/// How long the customer asks, alone and under each load.
struct Plan {
    quiet: Duration,
    loaded: Duration,
}

const BENCH: Plan = Plan { quiet: Duration::from_secs(5), loaded: Duration::from_secs(20) };
const SMOKE: Plan = Plan { quiet: Duration::from_millis(300), loaded: Duration::from_millis(700) };

/// The core of the router, and that of everything else, where there are two.
const CORES: [&str; 2] = ["0", "1"];

/// The variable by which the bench knows that it runs on its core already.
const PINNED: &str = "HOSTILE_PINNED";

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    if has_cores() && std::env::var_os(PINNED).is_none() {
        let own = std::env::current_exe().unwrap_or_default();
        // The limit on open files is raised by the shell: it cannot be set from here without unsafe code.
        const BECOME: &str = "ulimit -n $(ulimit -H -n); exec taskset -c $0 \"$@\"";
        let mut pinned = Command::new("sh");
        // It returns when it fails; then nothing is pinned.
        let _ = pinned.args(["-c", BECOME, CORES[1]]).arg(own).args(&arguments).env(PINNED, "1").exec();
    }
    let plan = if arguments.iter().any(|argument| argument == "--bench") { &BENCH } else { &SMOKE };
    let text = arguments.iter().find(|argument| !argument.starts_with("--"));
    match measure(plan, text.map_or("", String::as_str)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hostile: {error}");
            ExitCode::FAILURE
        }
    }
}

fn has_cores() -> bool {
    let pinned = Command::new("taskset").args(["-c", CORES[1], "true"]).status();
    pinned.is_ok_and(|status| status.success())
}

/// Runs a part on a thread of its own.
fn spawn<W: Future<Output = Result<(), Error>>>(
    work: impl FnOnce() -> W + Send + 'static,
) -> JoinHandle<Result<(), Error>> {
    std::thread::spawn(|| on_one_thread(work()))
}

fn measure(plan: &Plan, text: &str) -> Result<(), Error> {
    let (sender, addresses) = mpsc::channel();
    spawn(move || endpoint::run(sender));
    let next = || addresses.recv();
    let upstreams = Upstreams { old: next()?, new: next()?, silent: next()?, api: next()? };
    println!(
        "| load | done | customer failed | p50, p99, most in ms: quiet | loaded | `/admin/live`: most | a change \
         routed: quiet | loaded | memory grew |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for load in LOADS.iter().filter(|load| load.name.contains(text)) {
        on_one_thread(row(plan, load, upstreams))?;
    }
    Ok(())
}

/// Measures one load with a router of its own.
async fn row(plan: &Plan, load: &'static Load, upstreams: Upstreams) -> Result<(), Error> {
    let router = Router::start(upstreams, std::env::var_os(PINNED).map(|_| CORES[0]))?;
    let customer = Customer { router: &router, upstreams };
    let quiet = customer.ask_for(plan.quiet).await;
    let before = process::resident(router.id())?;
    let (stop, stopped) = watch::channel(false);
    let (sender, counts) = mpsc::channel();
    let target = if load.is_trusted { router.trusting } else { router.listener };
    let attack = spawn(move || async move {
        let count = load.run(target, stopped).await;
        sender.send(count)?;
        Ok(())
    });
    let loaded = customer.ask_for(plan.loaded * load.times).await;
    let grew = process::most_resident(router.id())?.saturating_sub(before);
    stop.send(true)?;
    let done = counts.recv()?;
    attack.join().map_err(|_| "a load panicked")??;
    print_row(load, done, [&quiet, &loaded], grew);
    if quiet.failed > 0 {
        return Err("the customer failed without any load".into());
    }
    Ok(())
}

fn print_row(load: &Load, done: u64, [quiet, loaded]: [&Seen; 2], grew: u64) {
    println!(
        "| {} | {done} | {} of {} | {} | {} | {:.1} | {} | {} | {:.1} MB |",
        load.name,
        loaded.failed,
        loaded.asked(),
        quiet.answered.shares(),
        loaded.answered.shares(),
        loaded.live.longest(),
        quiet.moved.shares(),
        loaded.moved.shares(),
        grew as f64 / 1e6,
    );
}
