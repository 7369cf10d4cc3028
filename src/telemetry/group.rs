//! Series of things that come and go, such as clients: they are there for as long as any thread counts in them.

use super::metrics::{Buckets, Distribution, Series, Total};
use std::collections::{BTreeMap, HashMap};
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

/// A part of the process that knows numbers of a group: each is read when the metrics are.
pub trait GroupSource: Send + Sync {
    /// Returns the number at this place of [`GroupKind::sources`].
    fn read(&self, at: usize) -> u64;
}

/// The labels of a group.
type Labels = Vec<(&'static str, String)>;

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

/// All groups.
#[derive(Default)]
pub(super) struct Groups(HashMap<(usize, Labels), Weak<GroupScope>>);

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

    fn series(&self, series: &GroupSeries) -> Series {
        let kind = series.kind.map(|kind| ("kind", kind.to_owned()));
        Series { name: series.name, labels: self.labels.iter().cloned().chain(kind).collect() }
    }

    /// Adds the sum of each series.
    pub(super) fn add_totals(&self, totals: &mut BTreeMap<Series, Total>) {
        let state = self.state();
        for (at, series) in self.kind.counters.iter().enumerate() {
            let live = state.cells.iter().filter_map(|cells| cells.counts.get(at));
            let live: u64 = live.map(|count| count.load(Relaxed)).sum();
            let gone = state.counts.get(at).copied().unwrap_or_default();
            totals.insert(self.series(series), Total::Counter(gone + live));
        }
        let mut durations = state.durations.clone();
        state.cells.iter().for_each(|cells| cells.durations.add_to(&mut durations));
        totals.insert(self.series(&self.kind.durations), Total::Durations(durations));
        let Some(source) = state.source.as_ref().and_then(Weak::upgrade) else { return };
        for (at, (series, kind)) in self.kind.sources.iter().enumerate() {
            let number = source.read(at);
            let total = match kind {
                SourceKind::Counter => Total::Counter(number),
                SourceKind::Gauge => Total::Gauge(number.try_into().unwrap_or(i64::MAX)),
            };
            totals.insert(self.series(series), total);
        }
    }
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
        let known = self.0.get(&key).and_then(Weak::upgrade);
        let scope = known.unwrap_or_else(|| {
            if self.0.len() == self.0.capacity() {
                self.0.retain(|_, scope| scope.strong_count() > 0);
            }
            let state = ScopeState {
                cells: Vec::new(),
                counts: vec![0; kind.counters.len()].into(),
                durations: Distribution::default(),
                source: None,
            };
            let scope = Arc::new(GroupScope { kind, labels: key.1.clone(), state: Mutex::new(state) });
            self.0.insert(key, Arc::downgrade(&scope));
            scope
        });
        let counts = kind.counters.iter().map(|_| AtomicU64::new(0)).collect();
        let cells = Arc::new(GroupCells { counts, durations: Buckets::default() });
        scope.state().cells.push(Arc::clone(&cells));
        CounterGroup { cells, scope, one_thread: PhantomData }
    }

    /// Returns the groups that are there.
    pub(super) fn scopes(&self) -> Vec<Arc<GroupScope>> {
        self.0.values().filter_map(Weak::upgrade).collect()
    }

    /// Returns the meaning of the series of a name.
    pub(super) fn meaning(&self, name: &str) -> Option<&'static str> {
        self.0.values().filter_map(Weak::upgrade).find_map(|scope| {
            let kind = scope.kind;
            let sources = kind.sources.iter().map(|(series, _)| series);
            let all = kind.counters.iter().chain([&kind.durations]).chain(sources);
            all.into_iter().find(|series| series.name == name).map(|series| series.meaning)
        })
    }
}

impl std::fmt::Debug for Groups {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Groups").field("count", &self.0.len()).finish()
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
        assert_eq!(registry.meaning("ends"), "Ends");
        let source: Arc<dyn GroupSource> = Arc::new(Size);
        here.set_source(Arc::downgrade(&source));
        assert_eq!(registry.total("size", &labels), 7);
        drop(source);
        assert_eq!(registry.total("size", &labels), 0);
        drop(here);
        assert_eq!(registry.total("things", &[]), 1);
        assert!(registry.totals().keys().all(|series| series.labels[0].1 == "b"));
    }
}
