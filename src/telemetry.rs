//! Logging, the metric registry.
//!
//! A metric's meaning is not known here. Each worker counts in cells of its own, so that counting is one plain store;
//! a reader sums the cells of one name and label set.

use std::collections::BTreeMap;
use std::env;
use std::io::{self, IsTerminal as _};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

/// A metric's name and labels, in the order they are shown.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Series {
    /// What is counted, such as `requests`.
    pub name: &'static str,
    /// Of what, such as `router` `outgoing`.
    pub labels: Vec<(&'static str, String)>,
}

/// A number that only grows, counted by one thread.
#[derive(Clone, Debug, Default)]
pub struct Counter(Arc<AtomicU64>);

/// Every series of the process.
#[derive(Clone, Debug, Default)]
pub struct Registry(Arc<Mutex<BTreeMap<Series, Vec<Counter>>>>);

impl Counter {
    /// Counts one more.
    pub fn increment(&self) {
        self.add(1);
    }

    /// Counts `n` more.
    ///
    /// A load and a store, not an atomic addition: each cell has one writer.
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }
}

impl Registry {
    /// Makes a new cell of a series, for one worker.
    pub fn counter(&self, name: &'static str, labels: &[(&'static str, &str)]) -> Counter {
        let labels = labels.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
        let cell = Counter::default();
        let mut series = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        series.entry(Series { name, labels }).or_default().push(cell.clone());
        cell
    }

    /// Sums every series.
    pub fn totals(&self) -> BTreeMap<Series, u64> {
        let series = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        series.iter().map(|(key, cells)| (key.clone(), sum(cells))).collect()
    }

    /// Sums the cells of every series of that name that has all of the given labels.
    pub fn total(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let wanted = |key: &Series| {
            key.name == name
                && labels.iter().all(|(k, v)| key.labels.iter().any(|(key, value)| key == k && value == v))
        };
        let series = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        series.iter().filter(|(key, _)| wanted(key)).map(|(_, cells)| sum(cells)).sum()
    }
}

fn sum(cells: &[Counter]) -> u64 {
    cells.iter().map(|cell| cell.0.load(Relaxed)).sum()
}

/// Starts logging to standard error; `SIGNPOST_LOG` (in `tracing`'s filter syntax) says how much, `info` by default.
///
/// A second call in one process changes nothing.
pub fn start_logging() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("SIGNPOST_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    // What is written to a file or a journal is searched by text, and escapes would stand between.
    let colours = io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    // An error says that logging was started before.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_ansi(colours)
        .with_writer(io::stderr)
        .try_init();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_of_one_series_are_summed() {
        let registry = Registry::default();
        let here = registry.counter("requests", &[("router", "in"), ("server", "a")]);
        let there = registry.counter("requests", &[("router", "in"), ("server", "a")]);
        let other = registry.counter("requests", &[("router", "in"), ("server", "b")]);
        here.increment();
        there.add(2);
        other.add(10);
        assert_eq!(registry.total("requests", &[("server", "a")]), 3);
        assert_eq!(registry.total("requests", &[("router", "in")]), 13);
        assert_eq!(registry.total("responses", &[]), 0);
        assert_eq!(registry.totals().len(), 2);
    }
}
