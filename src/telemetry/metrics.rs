//! Metrics in cells: each worker has its own, so that counting is one plain store; a reader sums the cells of one name
//! and label set. What several threads count is counted by atomic additions.

use super::group::{CounterGroup, GroupKind, GroupSeries, Groups, group_sums};
use super::sums::{Distribution, SumRow, SumTable, Total};
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The labels of a series, such as `router` `outgoing`, in the order they are shown. Cheap to clone.
pub type Labels = Arc<[(&'static str, String)]>;

/// A metric's name and labels.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Series {
    name: &'static str,
    labels: Labels,
}

/// A number that only grows, counted by the thread that made it. It and its clones cannot leave that thread: two writers
/// of one cell would lose counts.
///
/// ```compile_fail
/// fn is_sent<T: Send>() {}
/// is_sent::<signpost::telemetry::Counter>();
/// ```
///
/// ```compile_fail
/// fn is_shared<T: Sync>() {}
/// is_shared::<signpost::telemetry::Counter>();
/// ```
#[derive(Clone, Debug, Default)]
pub struct Counter {
    pub(super) cell: Arc<AtomicU64>,
    one_thread: OneThread,
}

/// A mark of what cannot leave its thread.
type OneThread = PhantomData<Rc<()>>;

/// A number that only grows, counted by any thread.
#[derive(Clone, Debug, Default)]
pub struct SharedCounter(pub(super) Arc<AtomicU64>);

/// A number that grows and shrinks, counted by any thread.
#[derive(Clone, Debug, Default)]
pub struct Gauge(pub(super) Arc<AtomicI64>);

/// A histogram of durations with the bounds [`Durations::BOUNDS`], recorded by the thread that made it, as a
/// [`Counter`] is.
#[derive(Clone, Debug, Default)]
pub struct Durations {
    pub(super) buckets: Arc<Buckets>,
    one_thread: OneThread,
}

/// The buckets of a histogram.
#[derive(Debug, Default)]
pub(super) struct Buckets {
    /// One count for each bound, and one for the durations above them all.
    counts: [AtomicU64; Durations::BOUNDS.len() + 1],
    /// The sum of all durations, in microseconds.
    sum: AtomicU64,
}

/// The registry of every series of the process. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Registry(Arc<Mutex<SeriesTable>>);

/// The series of a registry, and their meanings.
#[derive(Debug, Default)]
pub(super) struct SeriesTable {
    pub(super) series: BTreeMap<Series, Cells>,
    meanings: BTreeMap<&'static str, &'static str>,
    groups: Groups,
}

/// The cells of one series, and the sum of those that are gone.
#[derive(Debug)]
pub(super) enum Cells {
    Counters(Vec<Arc<AtomicU64>>, u64),
    Gauges(Vec<Gauge>),
    Durations(Vec<Arc<Buckets>>, Distribution),
}

impl Counter {
    /// Counts one more.
    pub fn increment(&self) {
        self.add(1);
    }

    /// Counts `n` more.
    ///
    /// This is a load and a store, not an atomic addition: each cell has one writer.
    pub fn add(&self, n: u64) {
        add(&self.cell, n);
    }
}

impl SharedCounter {
    /// Counts one more.
    pub fn increment(&self) {
        self.add(1);
    }

    /// Counts `n` more.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }
}

impl Gauge {
    /// Counts `n` more, or fewer when it is negative.
    pub fn add(&self, n: i64) {
        self.0.fetch_add(n, Relaxed);
    }

    /// Moves what is counted here to another gauge.
    pub fn move_to(&self, other: &Self) {
        other.add(self.0.swap(0, Relaxed));
    }

    /// Sets the value to `n`.
    pub fn set(&self, n: i64) {
        self.0.store(n, Relaxed);
    }
}

impl Durations {
    /// The upper bounds of the buckets: 100 µs to 10 s.
    pub const BOUNDS: [Duration; 16] = [
        Duration::from_micros(100),
        Duration::from_micros(250),
        Duration::from_micros(500),
        Duration::from_millis(1),
        Duration::from_micros(2_500),
        Duration::from_millis(5),
        Duration::from_millis(10),
        Duration::from_millis(25),
        Duration::from_millis(50),
        Duration::from_millis(100),
        Duration::from_millis(250),
        Duration::from_millis(500),
        Duration::from_secs(1),
        Duration::from_millis(2_500),
        Duration::from_secs(5),
        Duration::from_secs(10),
    ];

    /// Records one duration.
    pub fn record(&self, duration: Duration) {
        self.buckets.record(duration);
    }
}

impl Buckets {
    /// Records one duration. They have one writer.
    pub(super) fn record(&self, duration: Duration) {
        let bucket = Durations::BOUNDS.partition_point(|bound| *bound < duration);
        if let Some(count) = self.counts.get(bucket) {
            add(count, 1);
        }
        add(&self.sum, duration.as_micros().try_into().unwrap_or(u64::MAX));
    }

    /// Adds the durations to a distribution.
    pub(super) fn add_to(&self, all: &mut Distribution) {
        for (sum, count) in all.counts.iter_mut().zip(&self.counts) {
            *sum += count.load(Relaxed);
        }
        all.sum += Duration::from_micros(self.sum.load(Relaxed));
    }
}

/// Adds to a cell that has one writer.
fn add(cell: &AtomicU64, n: u64) {
    cell.store(cell.load(Relaxed).wrapping_add(n), Relaxed);
}

impl Registry {
    /// Makes a new cell of a counter, for the thread that calls this.
    pub fn counter(&self, name: &'static str, labels: &[(&'static str, &str)]) -> Counter {
        Counter { cell: self.count(name, labels), one_thread: PhantomData }
    }

    /// Makes a new cell of a counter, for any number of threads.
    pub fn shared_counter(&self, name: &'static str, labels: &[(&'static str, &str)]) -> SharedCounter {
        SharedCounter(self.count(name, labels))
    }

    /// Makes a new cell of a series of counters.
    fn count(&self, name: &'static str, labels: &[(&'static str, &str)]) -> Arc<AtomicU64> {
        let cell = Arc::<AtomicU64>::default();
        match self
            .table()
            .series
            .entry(series(name, labels))
            .or_insert_with(|| Cells::Counters(Vec::new(), 0))
        {
            Cells::Counters(cells, _) => cells.push(Arc::clone(&cell)),
            _ => debug_assert!(false, "{name} is no counter"),
        }
        cell
    }

    /// Makes a new cell of a gauge.
    pub fn gauge(&self, name: &'static str, labels: &[(&'static str, &str)]) -> Gauge {
        let cell = Gauge::default();
        match self.table().series.entry(series(name, labels)).or_insert_with(|| Cells::Gauges(Vec::new())) {
            Cells::Gauges(cells) => cells.push(cell.clone()),
            _ => debug_assert!(false, "{name} is no gauge"),
        }
        cell
    }

    /// Removes a series whose subject is gone.
    pub fn remove(&self, name: &'static str, labels: &[(&'static str, &str)]) {
        self.table().series.remove(&series(name, labels));
    }

    /// Makes new cells of durations, for the thread that calls this.
    pub fn durations(&self, name: &'static str, labels: &[(&'static str, &str)]) -> Durations {
        let cell = Durations::default();
        let none = || Cells::Durations(Vec::new(), Distribution::default());
        match self.table().series.entry(series(name, labels)).or_insert_with(none) {
            Cells::Durations(cells, _) => cells.push(Arc::clone(&cell.buckets)),
            _ => debug_assert!(false, "{name} is no duration"),
        }
        cell
    }

    /// Sets the meaning of the series of a name, in a sentence without its full stop.
    pub fn describe(&self, name: &'static str, meaning: &'static str) {
        self.table().meanings.insert(name, meaning);
    }

    /// Makes new cells of a group of series, for the thread that calls this. The series are there until the last thread has
    /// dropped its cells.
    pub fn group(&self, kind: &'static GroupKind, labels: &[(&'static str, &str)]) -> CounterGroup {
        self.table().groups.group(kind, labels)
    }

    /// Sums every series. The tables of series that are in no group come first, in the order of their names.
    pub fn sums(&self) -> Vec<SumTable> {
        let mut tables: Vec<SumTable> = Vec::new();
        let scopes = {
            let table = self.table();
            for (Series { name, labels }, cells) in &table.series {
                let row = SumRow { labels: Arc::clone(labels), totals: vec![cells.total()] };
                match tables.last_mut() {
                    Some(last) if last.columns.iter().any(|column| column.name == *name) => {
                        last.rows.push(row);
                    }
                    _ => {
                        let meaning = table.meanings.get(name).copied().unwrap_or_default();
                        let column = GroupSeries { name, kind: None, meaning };
                        tables.push(SumTable { columns: vec![column], rows: vec![row] });
                    }
                }
            }
            table.groups.scopes()
        };
        // Without the lock: a worker that begins to count in a group does not wait for all others to be summed.
        tables.extend(group_sums(&scopes));
        tables
    }

    /// Returns how many series there are.
    #[cfg(test)]
    pub(super) fn series_count(&self) -> usize {
        self.sums().iter().flat_map(|table| &table.rows).map(|row| row.totals.len()).sum()
    }

    /// Sums the counters and gauges of that name in every series that has all of the given labels.
    pub fn total(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let mut sum = 0;
        for SumTable { columns, rows } in self.sums() {
            for (at, column) in columns.iter().enumerate().filter(|(_, column)| column.name == name) {
                let has = |row: &SumRow, (key, value): (&str, &str)| {
                    let is_it = |(own, label): &(&str, String)| *own == key && label == value;
                    row.labels.iter().any(is_it) || (key == "kind" && column.kind == Some(value))
                };
                let wanted = rows.iter().filter(|row| labels.iter().all(|label| has(row, *label)));
                sum += wanted.filter_map(|row| row.totals.get(at)).map(Total::number).sum::<u64>();
            }
        }
        sum
    }

    /// Locks the table.
    pub(super) fn table(&self) -> MutexGuard<'_, SeriesTable> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the series of a name and labels.
pub(super) fn series(name: &'static str, labels: &[(&'static str, &str)]) -> Series {
    Series { name, labels: labels.iter().map(|(key, value)| (*key, (*value).to_owned())).collect() }
}

impl Cells {
    /// Sums the cells.
    fn total(&self) -> Total {
        match self {
            Self::Counters(cells, gone) => {
                Total::Counter(gone + cells.iter().map(|cell| cell.load(Relaxed)).sum::<u64>())
            }
            Self::Gauges(cells) => Total::Gauge(cells.iter().map(|cell| cell.0.load(Relaxed)).sum()),
            Self::Durations(cells, gone) => {
                let mut all = Box::new(gone.clone());
                cells.iter().for_each(|buckets| buckets.add_to(&mut all));
                Total::Durations(all)
            }
        }
    }

    /// Removes the cell at this address, and keeps its count; returns whether other cells are left.
    pub(super) fn remove(&mut self, cell: usize) -> bool {
        match self {
            Self::Counters(cells, gone) => {
                let is_it = |count: &mut Arc<AtomicU64>| address(count) == cell;
                cells.extract_if(.., is_it).for_each(|count| *gone += count.load(Relaxed));
                !cells.is_empty()
            }
            Self::Gauges(cells) => {
                cells.retain(|gauge| address(&gauge.0) != cell);
                !cells.is_empty()
            }
            Self::Durations(cells, gone) => {
                let is_it = |buckets: &mut Arc<Buckets>| address(buckets) == cell;
                cells.extract_if(.., is_it).for_each(|buckets| buckets.add_to(gone));
                !cells.is_empty()
            }
        }
    }
}

/// Returns the address of a cell, by which it is found again.
pub(super) fn address<T>(cell: &Arc<T>) -> usize {
    Arc::as_ptr(cell).addr()
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
        let sums = registry.sums();
        assert_eq!((sums.len(), sums[0].rows.len()), (1, 2));
    }

    #[test]
    fn threads_that_share_a_counter_lose_nothing() {
        const EACH: u64 = 100_000;
        let registry = Registry::default();
        let (counter, gauge) = (registry.shared_counter("refused", &[]), registry.gauge("open", &[]));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..EACH {
                        counter.increment();
                        gauge.add(1);
                    }
                });
            }
        });
        assert_eq!((registry.total("refused", &[]), registry.total("open", &[])), (4 * EACH, 4 * EACH));
    }

    #[test]
    fn a_gauge_of_one_worker_may_be_negative() {
        let registry = Registry::default();
        let (here, there) = (registry.gauge("open", &[]), registry.gauge("open", &[]));
        here.add(3);
        there.add(-1);
        assert_eq!(registry.sums()[0].rows[0].totals[0], Total::Gauge(2));
    }

    #[test]
    fn durations_fall_into_buckets() {
        let registry = Registry::default();
        let cells = [registry.durations("took", &[]), registry.durations("took", &[])];
        for (at, micros) in [0, 100, 101, 1_000, 10_000_000, 10_000_001].into_iter().enumerate() {
            cells[at % 2].record(Duration::from_micros(micros));
        }
        let sums = registry.sums();
        let Total::Durations(all) = &sums[0].rows[0].totals[0] else { panic!() };
        assert_eq!(all.counts, [2, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!((all.count(), all.sum), (6, Duration::from_micros(20_001_202)));
    }
}
