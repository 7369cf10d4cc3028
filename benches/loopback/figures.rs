//! The figures and the table they make.

use super::child::Cpu;
use std::fmt::Write as _;

/// What one round of requests cost, in microseconds per request.
pub(crate) struct Cost {
    total: f64,
    user: f64,
    system: f64,
}

impl Cost {
    /// The scheduler's clock says how much, the clock tick how it was divided.
    pub(crate) fn of(used: &Cpu, requests: usize) -> Self {
        let total = used.nanoseconds as f64 / 1_000.0 / requests as f64;
        let ticks = (used.user + used.system).max(1) as f64;
        Self { total, user: total * used.user as f64 / ticks, system: total * used.system as f64 / ticks }
    }
}

/// The rounds of every subject; the first is what the others are compared with.
pub(crate) struct Table {
    subjects: Vec<(&'static str, Vec<Cost>)>,
}

impl Table {
    pub(crate) fn new(names: impl Iterator<Item = &'static str>) -> Self {
        Self { subjects: names.map(|name| (name, Vec::new())).collect() }
    }

    /// Adds a round of the subject at a position.
    pub(crate) fn add(&mut self, at: usize, cost: Cost) {
        self.subjects[at].1.push(cost);
    }

    /// The table as text. `idle` is what an idle connection takes, in bytes: at the pass-through, at the router.
    pub(crate) fn shown(&self, connections: usize, requests: usize, idle: [f64; 2]) -> String {
        let (_, reference) = &self.subjects[0];
        let rounds = reference.len();
        let mut text = format!(
            "CPU time per request: {connections} keep-alive connections, 1 KiB responses, one worker,\n\
             {rounds} rounds of {requests} requests. Medians; the ratio is that of rounds side by side.\n\n\
             {:<24}{:>7}{:>9}{:>9}{:>9}\n",
            "", "ratio", "us", "user", "system"
        );
        for (name, costs) in &self.subjects {
            let ratio =
                median(costs.iter().zip(reference).map(|(cost, reference)| cost.total / reference.total));
            let total = median(costs.iter().map(|cost| cost.total));
            // The tick is too coarse for a median of rounds.
            let mean = |part: fn(&Cost) -> f64| costs.iter().map(part).sum::<f64>() / rounds as f64;
            let (user, system) = (mean(|cost| cost.user), mean(|cost| cost.system));
            // Writing to a string does not fail.
            let _ = writeln!(text, "{name:<24}{ratio:>7.3}{total:>9.2}{user:>9.2}{system:>9.2}");
        }
        let [bare, routed] = idle;
        let _ = write!(
            text,
            "\nBytes per idle connection after one request\n\n\
             {:<24}{:>7}{:>9}\nhyper pass-through      {:>7.3}{bare:>9.0}\nsignpost                {:>7.3}{routed:>9.0}\n",
            "",
            "ratio",
            "bytes",
            1.0,
            routed / bare
        );
        text
    }
}

fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<_> = figures.collect();
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    if figures.len() % 2 == 1 { figures[middle] } else { (figures[middle - 1] + figures[middle]) / 2.0 }
}
