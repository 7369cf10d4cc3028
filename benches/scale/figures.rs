//! The figures as a table.

use super::changes::Changes;
use super::cluster::{ENDPOINTS, Size};
use super::median::median;
use super::{Measured, Start};
use std::time::Duration;

/// The head of the table.
pub(crate) fn head(size: Size, bytes: usize) {
    let (services, endpoints) = (size.services, size.services * ENDPOINTS);
    println!(
        "{services} services with {endpoints} endpoints in {} namespaces: {:.1} MB as the API server sends them",
        size.namespaces,
        megabytes(bytes as u64)
    );
}

/// The rows of one case.
pub(crate) fn case(measured: &Measured) {
    let starts = |of: &dyn Fn(&Start) -> f64| median(measured.starts.iter().map(of));
    let row = |name: &str, figure: f64, unit: &str| println!("  {name:<52}{figure:>8.1} {unit}");
    println!("\nwatch: {}", measured.case.name);
    row("start to the first answer", starts(&|start| milliseconds(start.took)), "ms");
    row("resident then", starts(&|start| megabytes(start.resident)), "MB");
    row("most until then", starts(&|start| megabytes(start.most)), "MB");
    row("resident after every name was asked for once", megabytes(measured.asked), "MB");
    row("most until then", megabytes(measured.asked_most), "MB");
    if let Some(seen) = &measured.changes {
        changes(seen);
    }
    row("most while all was listed anew", megabytes(measured.again_most), "MB");
    row("resident then", megabytes(measured.again), "MB");
}

/// The rows of changes: beside what the router takes, what a bare watch takes to read them.
fn changes(changes: &Changes) {
    let seconds = changes.lasted.as_secs_f64();
    println!(
        "  {} changes in {seconds:.0} s, {:.0} requests/s meanwhile, {} overtaken by the next",
        changes.routed.len(),
        changes.requests as f64 / seconds,
        changes.overtaken
    );
    for (name, part) in [("median", 0.5), ("p99", 0.99), ("most", 1.0)] {
        let quantile = |times: &[Duration]| milliseconds(times[((times.len() - 1) as f64 * part) as usize]);
        let (routed, read) = (quantile(&changes.routed), quantile(&changes.read));
        let name = format!("change to routed, {name}");
        println!("  {name:<52}{routed:>8.1} ms; read by a bare watch {read:.1} ms");
    }
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}
