//! Series of a part of the process that may go while the process runs.

use super::metrics::{self, Counter, Durations, Gauge, Registry, Series, SharedCounter};
use std::sync::{Mutex, PoisonError};

/// The series of a part of the process, such as a listener. Its drop removes its cells; a series whose last cell is
/// removed is gone. While other cells count in a series, it keeps what the removed ones have counted.
#[derive(Debug)]
pub struct SeriesScope {
    registry: Registry,
    /// Each cell by its series and its address.
    cells: Mutex<Vec<(Series, usize)>>,
}

impl SeriesScope {
    /// Makes a scope without series.
    pub fn new(registry: &Registry) -> Self {
        Self { registry: registry.clone(), cells: Mutex::default() }
    }

    /// Makes a new cell of a counter, as [`Registry::counter`] does.
    pub fn counter(&self, name: &'static str, labels: &[(&'static str, &str)]) -> Counter {
        let counter = self.registry.counter(name, labels);
        self.note(name, labels, metrics::address(&counter.cell));
        counter
    }

    /// Makes a new cell of a counter, as [`Registry::shared_counter`] does.
    pub fn shared_counter(&self, name: &'static str, labels: &[(&'static str, &str)]) -> SharedCounter {
        let counter = self.registry.shared_counter(name, labels);
        self.note(name, labels, metrics::address(&counter.0));
        counter
    }

    /// Makes a new cell of a gauge, as [`Registry::gauge`] does.
    pub fn gauge(&self, name: &'static str, labels: &[(&'static str, &str)]) -> Gauge {
        let gauge = self.registry.gauge(name, labels);
        self.note(name, labels, metrics::address(&gauge.0));
        gauge
    }

    /// Makes new cells of durations, as [`Registry::durations`] does.
    pub fn durations(&self, name: &'static str, labels: &[(&'static str, &str)]) -> Durations {
        let durations = self.registry.durations(name, labels);
        self.note(name, labels, metrics::address(&durations.buckets));
        durations
    }

    fn note(&self, name: &'static str, labels: &[(&'static str, &str)], cell: usize) {
        let mut cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        cells.push((metrics::series(name, labels), cell));
    }
}

impl Drop for SeriesScope {
    fn drop(&mut self) {
        let cells = std::mem::take(self.cells.get_mut().unwrap_or_else(PoisonError::into_inner));
        let mut table = self.registry.table();
        for (series, cell) in cells {
            if table.series.get_mut(&series).is_some_and(|cells| !cells.remove(cell)) {
                table.series.remove(&series);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn series_go_with_the_last_scope_that_counts_in_them() {
        let registry = Registry::default();
        let labels = [("server", "a")];
        let (first, second) = (SeriesScope::new(&registry), SeriesScope::new(&registry));
        let gauges = [first.gauge("open", &labels), second.gauge("open", &labels)];
        let counter = first.counter("requests", &labels);
        counter.add(3);
        second.counter("requests", &labels).add(4);
        first.shared_counter("refused", &labels).add(5);
        for scope in [&first, &second] {
            scope.durations("time", &labels).record(Duration::from_secs(1));
        }
        gauges.iter().for_each(|gauge| gauge.add(1));
        registry.counter("requests", &[("server", "b")]).increment();
        let total = |name| registry.total(name, &labels);
        assert_eq!(["requests", "refused", "time", "open"].map(total), [7, 5, 2, 2]);
        drop(first);
        counter.increment();
        assert_eq!(["requests", "refused", "time", "open"].map(total), [7, 0, 2, 1]);
        drop(second);
        assert_eq!(registry.series_count(), 1, "that which no scope has made");
    }

    #[test]
    fn what_a_gauge_counts_can_move() {
        let (here, there) = (Gauge::default(), Gauge::default());
        here.add(3);
        there.add(1);
        here.move_to(&there);
        assert_eq!([here, there].map(|gauge| gauge.0.load(std::sync::atomic::Ordering::Relaxed)), [0, 4]);
    }
}
