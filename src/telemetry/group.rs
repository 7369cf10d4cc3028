//! Series of things that come and go, such as clients: they are there for as long as any thread counts in them.

use super::metrics::{Buckets, Labels};
use super::sums::{Distribution, SumRow, SumTable, Total};
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

/// The series of one kind of thing.
#[derive(Debug)]
pub struct GroupKind {
    /// The counters, in the order in which they are counted.
    pub counters: &'static [GroupSeries],
    /// The durations.
    pub durations: GroupSeries,
    /// The numbers that are read from a [`GroupSource`].
    pub sources: &'static [(GroupSeries, SourceKind)],
}

/// One series of a group.
#[derive(Clone, Copy, Debug)]
pub struct GroupSeries {
    /// The name, such as `client_requests`.
    pub name: &'static str,
    /// The value of the label `kind`, if several series have one name.
    pub kind: Option<&'static str>,
    /// The meaning, in a sentence without its full stop.
    pub meaning: &'static str,
}

/// The kind of a number that is read from a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceKind {
    /// It only grows.
    Counter,
    /// It grows and shrinks.
    Gauge,
}

impl GroupKind {
    /// Returns all series: the counters, the durations, and those that are read from a source.
    fn series(&'static self) -> impl Iterator<Item = &'static GroupSeries> {
        let sources = self.sources.iter().map(|(series, _)| series);
        self.counters.iter().chain([&self.durations]).chain(sources)
    }
}

/// A part of the process that knows numbers of a group: each is read when the metrics are.
pub trait GroupSource: Send + Sync {
    /// Returns the number at this place of [`GroupKind::sources`].
    fn read(&self, at: usize) -> u64;
}

/// One thread's counters of a group. They cannot leave that thread.
pub struct CounterGroup {
    cells: Arc<GroupCells>,
    scope: Arc<GroupScope>,
    one_thread: PhantomData<Rc<()>>,
}

/// The cells of one thread.
#[derive(Debug)]
struct GroupCells {
    counts: Box<[AtomicU64]>,
    durations: Buckets,
}

/// A group of series, which all threads share. It is gone when none of them counts in it.
pub(super) struct GroupScope {
    kind: &'static GroupKind,
    labels: Labels,
    state: Mutex<ScopeState>,
}

struct ScopeState {
    cells: Vec<Arc<GroupCells>>,
    /// The sums of the threads that count no longer.
    counts: Box<[u64]>,
    durations: Distribution,
    source: Option<Weak<dyn GroupSource>>,
}

/// All groups, by the addresses of their kinds and their labels.
#[derive(Default)]
pub(super) struct Groups {
    scopes: BTreeMap<(usize, Labels), Weak<GroupScope>>,
    /// How many there may be before those that are gone are removed.
    limit: usize,
}

impl CounterGroup {
    /// Counts one more of the counter at this place.
    pub fn increment(&self, at: usize) {
        if let Some(cell) = self.cells.counts.get(at) {
            // Each cell has one writer.
            cell.store(cell.load(Relaxed).wrapping_add(1), Relaxed);
        }
    }

    /// Records one duration.
    pub fn record(&self, duration: Duration) {
        self.cells.durations.record(duration);
    }

    /// Sets where the numbers are read that nothing here counts.
    pub fn set_source(&self, source: Weak<dyn GroupSource>) {
        self.scope.state().source = Some(source);
    }
}

impl Drop for CounterGroup {
    fn drop(&mut self) {
        let state = &mut *self.scope.state();
        state.cells.retain(|cells| !Arc::ptr_eq(cells, &self.cells));
        for (sum, count) in state.counts.iter_mut().zip(&self.cells.counts) {
            *sum += count.load(Relaxed);
        }
        self.cells.durations.add_to(&mut state.durations);
    }
}

impl std::fmt::Debug for CounterGroup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CounterGroup").field("labels", &self.scope.labels).finish_non_exhaustive()
    }
}

impl GroupScope {
    fn state(&self) -> MutexGuard<'_, ScopeState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the sums, as [`GroupKind::series`] has them.
    fn sums(&self) -> SumRow {
        let state = self.state();
        let mut totals = Vec::with_capacity(self.kind.counters.len() + 1 + self.kind.sources.len());
        totals.extend(state.counts.iter().enumerate().map(|(at, gone)| {
            let live = state.cells.iter().filter_map(|cells| cells.counts.get(at));
            Total::Counter(gone + live.map(|count| count.load(Relaxed)).sum::<u64>())
        }));
        let mut durations = Box::new(state.durations.clone());
        state.cells.iter().for_each(|cells| cells.durations.add_to(&mut durations));
        totals.push(Total::Durations(durations));
        if let Some(source) = state.source.as_ref().and_then(Weak::upgrade) {
            totals.extend(self.kind.sources.iter().enumerate().map(|(at, (_, kind))| {
                let number = source.read(at);
                match kind {
                    SourceKind::Counter => Total::Counter(number),
                    SourceKind::Gauge => Total::Gauge(number.try_into().unwrap_or(i64::MAX)),
                }
            }));
        }
        SumRow { labels: Arc::clone(&self.labels), totals }
    }
}

/// Returns the sums of groups, those of one kind as a table.
pub(super) fn group_sums(scopes: &[Arc<GroupScope>]) -> impl Iterator<Item = SumTable> {
    let alike = scopes.chunk_by(|one, next| std::ptr::eq(one.kind, next.kind));
    alike.map(|scopes| SumTable {
        columns: scopes.first().into_iter().flat_map(|scope| scope.kind.series()).copied().collect(),
        rows: scopes.iter().map(|scope| scope.sums()).collect(),
    })
}

impl Groups {
    /// Makes one thread's counters of a group.
    pub(super) fn group(
        &mut self,
        kind: &'static GroupKind,
        labels: &[(&'static str, &str)],
    ) -> CounterGroup {
        let labels: Labels = labels.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
        let key = (std::ptr::from_ref(kind).addr(), labels);
        let known = self.scopes.get(&key).and_then(Weak::upgrade);
        let scope = known.unwrap_or_else(|| {
            if self.scopes.len() >= self.limit {
                self.scopes.retain(|_, scope| scope.strong_count() > 0);
                self.limit = 2 * self.scopes.len() + 16;
            }
            let state = ScopeState {
                cells: Vec::new(),
                counts: vec![0; kind.counters.len()].into(),
                durations: Distribution::default(),
                source: None,
            };
            let scope = Arc::new(GroupScope { kind, labels: key.1.clone(), state: Mutex::new(state) });
            self.scopes.insert(key, Arc::downgrade(&scope));
            scope
        });
        let counts = kind.counters.iter().map(|_| AtomicU64::new(0)).collect();
        let cells = Arc::new(GroupCells { counts, durations: Buckets::default() });
        scope.state().cells.push(Arc::clone(&cells));
        CounterGroup { cells, scope, one_thread: PhantomData }
    }

    /// Returns the groups that are there, those of one kind behind each other, in the order of their labels.
    pub(super) fn scopes(&self) -> Vec<Arc<GroupScope>> {
        self.scopes.values().filter_map(Weak::upgrade).collect()
    }
}

impl std::fmt::Debug for Groups {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Groups").field("count", &self.scopes.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Registry;
    use super::*;

    static KIND: GroupKind = GroupKind {
        counters: &[
            GroupSeries { name: "things", kind: None, meaning: "Things" },
            GroupSeries { name: "ends", kind: Some("bad"), meaning: "Ends" },
        ],
        durations: GroupSeries { name: "times", kind: None, meaning: "Times" },
        sources: &[(GroupSeries { name: "size", kind: None, meaning: "Size" }, SourceKind::Gauge)],
    };

    struct Size;

    impl GroupSource for Size {
        fn read(&self, at: usize) -> u64 {
            7 + at as u64
        }
    }

    #[test]
    fn what_a_thread_counted_stays_until_the_last_one_is_gone() {
        let registry = Registry::default();
        let labels = [("client", "a")];
        let here = registry.group(&KIND, &labels);
        let there = registry.group(&KIND, &labels);
        let other = registry.group(&KIND, &[("client", "b")]);
        here.increment(0);
        there.increment(0);
        there.increment(1);
        there.record(Duration::from_millis(3));
        other.increment(0);
        drop(there);
        assert_eq!(registry.total("things", &labels), 2);
        assert_eq!(registry.total("ends", &[("client", "a"), ("kind", "bad")]), 1);
        assert_eq!(registry.total("times", &labels), 1);
        assert_eq!(registry.total("things", &[]), 3);
        let sums = registry.sums();
        assert_eq!(sums.len(), 1);
        let columns = sums[0].columns.iter().map(|column| (column.name, column.kind, column.meaning));
        let expected = [
            ("things", None, "Things"),
            ("ends", Some("bad"), "Ends"),
            ("times", None, "Times"),
            ("size", None, "Size"),
        ];
        assert_eq!(columns.collect::<Vec<_>>(), expected);
        let rows = sums[0].rows.iter().map(|row| (row.labels[0].1.as_str(), row.totals.len()));
        assert_eq!(rows.collect::<Vec<_>>(), [("a", 3), ("b", 3)], "nothing tells the size");
        let source: Arc<dyn GroupSource> = Arc::new(Size);
        here.set_source(Arc::downgrade(&source));
        assert_eq!(registry.total("size", &labels), 7);
        drop(source);
        assert_eq!(registry.total("size", &labels), 0);
        drop(here);
        assert_eq!(registry.total("things", &[]), 1);
        let sums = registry.sums();
        assert_eq!(sums[0].rows.iter().map(|row| &*row.labels[0].1).collect::<Vec<_>>(), ["b"]);
    }

    #[test]
    fn groups_that_are_gone_are_removed() {
        let mut groups = Groups::default();
        let stays = groups.group(&KIND, &[("client", "stays")]);
        for at in 0..1_000 {
            drop(groups.group(&KIND, &[("client", &at.to_string())]));
        }
        assert!(groups.scopes.len() <= 18, "{groups:?}");
        assert_eq!(groups.scopes().len(), 1);
        drop(stays);
        assert!(groups.scopes().is_empty());
    }
}
