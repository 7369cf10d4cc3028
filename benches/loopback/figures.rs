//! The figures as tables.

use super::cost::{Case, Cost, Subject};
use super::median::median;
use super::memory::Memory;
use super::start::Start;

/// The head of the table of costs.
pub(crate) fn cost_head(rounds: usize) {
    println!(
        "CPU time per request, one worker, {rounds} rounds. Medians; the ratio is that of rounds side by side.\n\n\
         {:<22}{:<20}{:>7}{:>10}{:>10}{:>10}{:>8}",
        "", "", "ratio", "us", "user", "system", "MB/s"
    );
}

/// The rows of one case; the first subject is what the others are compared with.
pub(crate) fn costs(case: &Case, subjects: &[Subject<'_>], costs: &[Vec<Cost>]) {
    let exchange = case.callers.exchange;
    let mut name = case.name;
    for (subject, rounds) in subjects.iter().zip(costs) {
        let ratio =
            median(rounds.iter().zip(&costs[0]).map(|(cost, reference)| cost.total / reference.total));
        let total = median(rounds.iter().map(|cost| cost.total));
        // The tick is too coarse for a median of rounds.
        let mean = |part: fn(&Cost) -> f64| rounds.iter().map(part).sum::<f64>() / rounds.len() as f64;
        let (user, system) = (mean(|cost| cost.user), mean(|cost| cost.system));
        // Bytes in a microsecond are megabytes in a second.
        let speed = (exchange.response + exchange.upload) as f64 / total;
        println!(
            "{name:<22}{:<20}{ratio:>7.3}{total:>10.2}{user:>10.2}{system:>10.2}{speed:>8.0}",
            subject.name
        );
        name = "";
    }
}

/// The table of starts: of the pass-through, of the router.
pub(crate) fn starts([bare, routed]: &[Vec<Start>; 2]) {
    println!("\nFrom start to first answer, {} starts\n\n{:<30}{:>7}{:>8}", bare.len(), "", "ms", "MB");
    for (name, starts) in [("pass-through", bare), ("signpost", routed)] {
        let took = median(starts.iter().map(|start| start.took.as_secs_f64() * 1_000.0));
        let resident = median(starts.iter().map(|start| megabytes(start.resident)));
        println!("{name:<30}{took:>7.1}{resident:>8.1}");
    }
}

/// The table of memory: of the pass-through, of the router.
pub(crate) fn memory(connections: usize, [bare, routed]: &[Memory; 2]) {
    println!(
        "\nResident memory, one worker\n\n{:<42}{:>13}{:>10}{:>7}",
        "", "pass-through", "signpost", "ratio"
    );
    let row = |name: &str, unit: &str, of: &dyn Fn(&Memory) -> f64, decimals: usize| {
        let (bare, routed) = (of(bare), of(routed));
        let name = format!("{name}, {unit}");
        println!("{name:<42}{bare:>13.decimals$}{routed:>10.decimals$}{:>7.2}", routed / bare);
    };
    row("after one request", "MB", &|memory| megabytes(memory.started), 1);
    for (at, protocol) in ["h1", "h2"].into_iter().enumerate() {
        let idle = format!("{connections} idle {protocol} connections");
        row(&idle, "MB", &|memory| megabytes(memory.idle[at]), 1);
        row("  for each of them", "bytes", &|memory| memory.each[at], 0);
    }
    row("at most, 32 connections, h1, 1 KiB", "MB", &|memory| megabytes(memory.loaded[0]), 1);
    row("at most, 64 streams, h2, 1 MiB", "MB", &|memory| megabytes(memory.loaded[1]), 1);
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
