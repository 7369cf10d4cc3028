//! What strangers can do to a customer: a hostile load beside a steady caller, the router on one core and all else on the
//! others. `benches/README.md` says what the figures mean.
//!
//! `cargo bench --bench hostile` prints the table, and with `-- <text>` the rows alone whose name has that text; without
//! `--bench`, as `cargo test --benches` runs it, each row runs for a second and must only work.

mod api;
#[path = "../loopback/child.rs"]
#[expect(dead_code, reason = "the bench loopback also counts the time of processors")]
mod child;
mod customer;
mod endpoint;
#[path = "../shared/process.rs"]
mod process;
mod router;
mod stranger;

use self::child::{Child, Core, Error, on_one_thread};
use self::customer::{Customer, Seen};
use self::stranger::{ROWS, Row};
use mimalloc::MiMalloc;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;
use tokio::time::sleep;

/// The allocator of the binary: what is measured is what ships.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// How long a row takes: without the load, and under it.
struct Plan {
    quiet: Duration,
    loaded: Duration,
}

const BENCH: Plan = Plan { quiet: Duration::from_secs(5), loaded: Duration::from_secs(20) };
const SMOKE: Plan = Plan { quiet: Duration::from_millis(300), loaded: Duration::from_secs(1) };

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let result = match arguments[..] {
        ["endpoint"] => endpoint::run(),
        ["router", endpoint, api] => router::run(endpoint, api),
        _ => {
            let plan = if arguments.contains(&"--bench") { &BENCH } else { &SMOKE };
            let text = arguments.iter().find(|argument| !argument.starts_with("--")).copied();
            on_one_thread(measure(plan, text.unwrap_or_default()))
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hostile: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Measures the rows whose name has a text.
async fn measure(plan: &Plan, text: &str) -> Result<(), Error> {
    println!(
        "| load | answered/s | customer failed | p50, p99, most: quiet | loaded | `/admin/live`: most | memory grew |"
    );
    println!("|---|---|---|---|---|---|---|");
    for row in ROWS.iter().filter(|row| row.name.contains(text)) {
        measure_row(plan, row).await?;
    }
    Ok(())
}

/// Measures one row, with a router of its own.
async fn measure_row(plan: &Plan, row: &Row) -> Result<(), Error> {
    let mut endpoint = Child::start(Core::Others, &["endpoint"])?;
    let (at, api) = (endpoint.line()?, endpoint.line()?);
    let mut router = Child::start(Core::Proxy, &["router", &at, &api])?;
    let mut address = || -> Result<SocketAddr, Error> { Ok(router.line()?.parse()?) };
    let (listener, trusting, admin) = (address()?, address()?, address()?);
    let customer = Customer::new(listener, admin);
    let quiet = customer.ask_for(plan.quiet).await;
    let before = router.resident()?;
    let target = if row.is_trusted { trusting } else { listener };
    let load = tokio::task::spawn_local(row.run(target, plan.loaded));
    let loaded = customer.ask_for(plan.loaded).await;
    let answered = load.await??;
    // Connections that the load has left open end with its task.
    sleep(Duration::from_millis(100)).await;
    let grew = router.most_resident()?.saturating_sub(before);
    let rate = answered as f64 / plan.loaded.as_secs_f64();
    println!(
        "| {} | {rate:.0} | {} of {} | {} | {} | {:.1} ms | {:.1} MiB |",
        row.name,
        loaded.failed,
        loaded.asked(),
        quiet.requests(),
        loaded.requests(),
        Seen::millis(loaded.live.iter().max()),
        grew as f64 / f64::from(1 << 20),
    );
    if quiet.failed > 0 {
        return Err("the customer failed without any load".into());
    }
    Ok(())
}
