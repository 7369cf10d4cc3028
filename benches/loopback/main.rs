//! What the proxy costs on loopback: CPU time per request, memory, and the time from its start to its first answer,
//! beside a bare hyper pass-through measured in the same run. `benches/README.md` says what the figures mean.
//!
//! Every part is a process of its own, this binary with another argument, so that the CPU time of the proxy is counted
//! apart from that of the load and of the upstream. `cargo bench --bench loopback` prints the tables, and with
//! `-- <text>` the rows alone whose name has that text; without `--bench`, as `cargo test --benches` runs it, a few
//! requests only show that all of it works.

#[path = "../shared/child.rs"]
mod child;
mod cost;
mod exchange;
mod figures;
mod load;
#[path = "../shared/median.rs"]
mod median;
mod memory;
mod passthrough;
#[path = "../shared/process.rs"]
mod process;
mod signpost;
mod start;
#[path = "../shared/started.rs"]
mod started;
mod streams;
mod upstream;

use self::child::{Child, Core, Error};
use self::cost::{CASES, Subject};
use self::exchange::Protocol;
use self::load::Load;
use mimalloc::MiMalloc;
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::Duration;

/// The allocator of the binary: what is measured is what ships.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// The longest the whole run may take before it is given up: a bench that hangs says so.
const PATIENCE: Duration = Duration::from_secs(900);

/// How much is measured.
struct Plan {
    rounds: usize,
    /// Which part of a case's requests is made.
    part: usize,
    idle: usize,
    starts: usize,
}

const BENCH: Plan = Plan { rounds: 15, part: 1, idle: 1_000, starts: 20 };
const SMOKE: Plan = Plan { rounds: 1, part: 100, idle: 20, starts: 1 };

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let result = match arguments[..] {
        ["upstream"] => upstream::run(),
        ["load"] => load::run(),
        ["passthrough", from, to, upstream] => passthrough::run(from, to, upstream),
        ["signpost", stable, staged, http2] => signpost::run([stable, staged, http2]),
        _ => {
            let plan = if arguments.contains(&"--bench") { &BENCH } else { &SMOKE };
            measure(plan, arguments.iter().find(|argument| !argument.starts_with("--")).copied())
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("loopback: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Starts the load and the upstream, and measures what was asked for: everything, or the costs whose name has a text.
fn measure(plan: &Plan, text: Option<&str>) -> Result<(), Error> {
    let _watched = watch();
    let mut upstream = Child::start(Core::Others, &["upstream"])?;
    let upstreams = Upstreams([upstream.line()?, upstream.line()?, upstream.line()?]);
    let mut load = Load::start()?;
    measure_costs(plan, text.unwrap_or_default(), &upstreams, &mut load)?;
    if text.is_some() {
        return Ok(());
    }
    figures::starts(&start::starts(plan.starts, upstreams.addresses())?);
    let requests = CASES[0].requests / plan.part;
    let bare = |protocol| upstreams.passthrough(protocol, protocol);
    let routed = |protocol| upstreams.signpost(protocol);
    let bare = memory::measure(&mut load, bare, plan.idle, requests)?;
    let routed = memory::measure(&mut load, routed, plan.idle, requests)?;
    figures::memory(plan.idle, &[bare, routed]);
    Ok(())
}

fn measure_costs(plan: &Plan, text: &str, upstreams: &Upstreams, load: &mut Load) -> Result<(), Error> {
    figures::cost_head(plan.rounds);
    for case in CASES.iter().filter(|case| case.name.contains(text)) {
        let (passthrough, bare) = upstreams.passthrough(case.from, case.to)?;
        let (signpost, routed) = upstreams.signpost(case.to)?;
        let exchange = case.callers.exchange;
        let mut subjects = vec![
            Subject { name: "hyper pass-through", proxy: &passthrough, address: &bare, exchange },
            Subject { name: "signpost", proxy: &signpost, address: &routed, exchange },
        ];
        if case.overriding {
            let exchange = exchange.overriding();
            subjects.push(Subject {
                name: "signpost, override",
                proxy: &signpost,
                address: &routed,
                exchange,
            });
        }
        let costs = cost::measure(case, &subjects, load, plan.rounds, plan.part)?;
        figures::costs(case, &subjects, &costs);
    }
    Ok(())
}

/// Where the upstream serves: its stable version over HTTP/1, its staged one, its stable one over HTTP/2.
struct Upstreams([String; 3]);

impl Upstreams {
    fn addresses(&self) -> [&str; 3] {
        self.0.each_ref().map(String::as_str)
    }

    /// Starts a pass-through from one protocol to another.
    fn passthrough(&self, from: Protocol, to: Protocol) -> Result<(Child, String), Error> {
        let [stable, _, http2] = self.addresses();
        let upstream = if to == Protocol::Http1 { stable } else { http2 };
        let mut proxy = Child::start(Core::Proxy, &["passthrough", from.name(), to.name(), upstream])?;
        let address = proxy.line()?;
        Ok((proxy, address))
    }

    /// Starts the router; gives where the one to upstreams of a protocol is, which takes callers of either.
    fn signpost(&self, to: Protocol) -> Result<(Child, String), Error> {
        let [stable, staged, http2] = self.addresses();
        let mut proxy = Child::start(Core::Proxy, &["signpost", stable, staged, http2])?;
        let (to_http1, to_http2) = (proxy.line()?, proxy.line()?);
        Ok((proxy, if to == Protocol::Http1 { to_http1 } else { to_http2 }))
    }
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
