//! The caches of bindings, answers and clients against a naive model, over random orders of requests, changes of answers,
//! sweeps and new bounds.

use super::tests::{client_ids, endpoint, settings};
use super::*;
use crate::interpret::{Answer, AnswerState, AnswerWriter, Namer, NamerRegistry, Namers};
use proptest::prelude::*;
use std::collections::{BTreeSet, HashMap};
use std::sync::Mutex;

/// How many names there are.
const NAMES: usize = 24;

/// One step of a run.
#[derive(Clone, Debug)]
enum Operation {
    /// A request for a name, with an override or without. Its binding is in use until it is released.
    Bind { name: usize, is_overridden: bool, is_held: bool },
    /// The namer has another answer for a name, or for its staged version.
    Publish { name: usize, is_staged: bool, leads_somewhere: bool },
    /// All requests that are under way end.
    Release,
    /// Some seconds pass, and a sweep follows.
    Sweep { seconds: u64 },
    /// A reload brings other bounds.
    Configure { names: usize, clients: usize },
}

fn operation() -> impl Strategy<Value = Operation> {
    let name = 0..NAMES;
    prop_oneof![
        8 => (name.clone(), any::<bool>(), any::<bool>())
            .prop_map(|(name, is_overridden, is_held)| Operation::Bind { name, is_overridden, is_held }),
        3 => (name, any::<bool>(), any::<bool>()).prop_map(|(name, is_staged, leads_somewhere)| {
            Operation::Publish { name, is_staged, leads_somewhere }
        }),
        1 => Just(Operation::Release),
        1 => (1u64..40).prop_map(|seconds| Operation::Sweep { seconds }),
        1 => (1usize..12, prop_oneof![1usize..20, Just(1000)])
            .prop_map(|(names, clients)| Operation::Configure { names, clients }),
    ]
}

/// A namer whose answers the model knows: a path leads somewhere or nowhere, and each change has a number.
#[derive(Default)]
struct KnownNamer(Mutex<HashMap<Path, KnownAnswer>>);

#[derive(Default)]
struct KnownAnswer {
    leads_nowhere: bool,
    changes: u64,
    writers: Vec<AnswerWriter>,
}

fn state(path: &Path, leads_nowhere: bool) -> AnswerState {
    if leads_nowhere { AnswerState::Ready(NameTree::Neg) } else { endpoint(path) }
}

impl Namer for KnownNamer {
    fn lookup(&self, path: &Path) -> Answer {
        let (writer, answer) = Answer::pending();
        let known = &mut *self.0.lock().unwrap();
        let known = known.entry(path.clone()).or_default();
        writer.publish(state(path, known.leads_nowhere));
        known.writers.push(writer);
        answer
    }
}

impl KnownNamer {
    fn publish(&self, path: &Path, leads_nowhere: bool) {
        let known = &mut *self.0.lock().unwrap();
        let known = known.entry(path.clone()).or_default();
        known.leads_nowhere = leads_nowhere;
        known.changes += 1;
        known.writers.retain(|writer| !writer.is_closed());
        known.writers.iter().for_each(|writer| writer.publish(state(path, leads_nowhere)));
    }

    /// Returns whether a path leads nowhere, and how often its answer has changed.
    fn known(&self, path: &Path) -> (bool, u64) {
        let known = self.0.lock().unwrap();
        known.get(path).map_or((false, 0), |known| (known.leads_nowhere, known.changes))
    }
}

/// An entry of the naive cache: a list in the order of use, looked through from its beginning.
struct NaiveEntry {
    key: (usize, bool),
    is_routable: bool,
    used: Instant,
    /// The answers that it depends on, each with its change.
    answers: Vec<(Path, u64)>,
}

struct Model {
    namer: Arc<KnownNamer>,
    bindings: Bindings,
    /// From the one used least recently to the one used last.
    naive: Vec<NaiveEntry>,
    bounds: (usize, usize),
    last_sweep: Instant,
    held: Vec<Rc<Binding>>,
    /// How many clients there may be until the next sweep. A bound that a reload lowers does not end the clients of requests
    /// that are under way.
    most_clients: usize,
    /// Whether there was a bound below which a binding may have a client that is not cached.
    has_lacked_room: bool,
}

const IDLE: Duration = Duration::from_secs(60);

fn path_of(name: usize, is_staged: bool) -> Path {
    let name = format!("n{name}");
    if is_staged { Path::from_elems(["staged", &name]) } else { Path::from_elems([name]) }
}

impl Model {
    fn new() -> Self {
        let namer = Arc::new(KnownNamer::default());
        let namers = Namers::new(vec![(Path::from_elems(["#", "all"]), namer.clone() as Arc<dyn Namer>)]);
        let (namer_registry, namer_handle) = NamerRegistry::new(Duration::from_secs(1));
        tokio::spawn(namer_registry.run());
        let dtab = "/svc => /#/all".parse().unwrap();
        // The sender may be gone: the naming does not change.
        let (_, naming) = watch::channel(Naming { dtab, namers });
        let bounds = (8, 1000);
        let bindings = Bindings::new(naming, &Self::settings(bounds), namer_handle);
        let (naive, held, last_sweep) = (Vec::new(), Vec::new(), Instant::now());
        Self {
            namer,
            bindings,
            naive,
            bounds,
            last_sweep,
            held,
            most_clients: bounds.1,
            has_lacked_room: false,
        }
    }

    fn settings((names, clients): (usize, usize)) -> BindingSettings {
        let [names, clients] = [names, clients].map(|count| NonZeroUsize::new(count).unwrap());
        settings(Duration::from_secs(5), CacheConfig { names, clients, idle: IDLE, ..CacheConfig::default() })
    }

    async fn perform(&mut self, operation: Operation) {
        match operation {
            Operation::Bind { name, is_overridden, is_held } => {
                let binding = self.bind(name, is_overridden).await;
                if is_held {
                    self.held.push(binding);
                }
            }
            Operation::Publish { name, is_staged, leads_somewhere } => {
                self.namer.publish(&path_of(name, is_staged), !leads_somewhere);
            }
            Operation::Release => self.held.clear(),
            Operation::Sweep { seconds } => {
                tokio::time::advance(Duration::from_secs(seconds)).await;
                self.bindings.sweep().await;
                self.last_sweep = Instant::now();
                self.naive.retain(|entry| entry.used.elapsed() < IDLE);
                let held: BTreeSet<String> =
                    self.held.iter().flat_map(|binding| client_ids(binding)).collect();
                self.most_clients = self.bounds.1.max(held.len());
            }
            Operation::Configure { names, clients } => {
                self.bounds = (names, clients);
                self.most_clients = self.most_clients.max(clients);
                self.has_lacked_room |= !self.has_all_clients();
                self.bindings.configure(&Self::settings(self.bounds));
                self.shrink();
            }
        }
        self.check();
    }

    async fn bind(&mut self, name: usize, is_overridden: bool) -> Rc<Binding> {
        let overrides: &[u8] = if is_overridden { b"/svc => /#/all/staged" } else { b"" };
        let mut path = PathBuf::default();
        path.extend(&format!("/svc/n{name}").parse().unwrap());
        let dtab = self.bindings.overrides(overrides, &OverrideLimits::default()).unwrap();
        let binding = self.bindings.bind(&path, &dtab).await.unwrap();

        // By the table: an override that leads nowhere falls back to the base.
        let (mut answers, mut expected) = (Vec::new(), None);
        for path in is_overridden.then(|| path_of(name, true)).into_iter().chain([path_of(name, false)]) {
            let (leads_nowhere, change) = self.namer.known(&path);
            answers.push((path.clone(), change));
            if !leads_nowhere {
                expected = Some(format!("/#/all{path}"));
                break;
            }
        }
        assert_eq!(client_ids(&binding), expected.iter().cloned().collect::<Vec<_>>());

        let key = (name, is_overridden);
        self.naive.retain(|entry| entry.key != key);
        let (is_routable, used) = (expected.is_some(), self.last_sweep);
        self.naive.push(NaiveEntry { key, is_routable, used, answers });
        self.shrink();
        binding
    }

    /// Returns whether every name can have a client.
    fn has_all_clients(&self) -> bool {
        self.bounds.1 >= 2 * NAMES
    }

    /// Returns the cached binding under a key.
    fn cached(&self, (name, is_overridden): (usize, bool)) -> Option<Rc<Binding>> {
        let mut path = PathBuf::default();
        path.extend(&format!("/svc/n{name}").parse().unwrap());
        let overrides: &[u8] = if is_overridden { b"/svc => /#/all/staged" } else { b"" };
        let overrides = decode_overrides(overrides, &OverrideLimits::default()).unwrap();
        let mut key = Vec::new();
        write_key(&mut key, &path, &RequestDtab::new(&Rc::default(), overrides, 0));
        self.bindings.state.borrow().names.peek(&key).cloned()
    }

    /// Drops what is beyond the bound on names. Without room for all clients, which names go with them is not modelled: they
    /// are those that are gone.
    fn shrink(&mut self) {
        if !self.has_all_clients() {
            let naive = std::mem::take(&mut self.naive);
            self.naive = naive.into_iter().filter(|entry| self.cached(entry.key).is_some()).collect();
        }
        while self.naive.len() > self.bounds.0 {
            let first = self.naive.iter().position(|entry| !entry.is_routable).unwrap_or(0);
            self.naive.remove(first);
        }
    }

    fn check(&self) {
        let most_names = self.bounds.0;
        for entry in &self.naive {
            let binding = self.cached(entry.key).unwrap_or_else(|| panic!("{:?} is missing", entry.key));
            assert_eq!(binding.is_routable(), entry.is_routable);
            let has_changed = entry.answers.iter().any(|(path, change)| self.namer.known(path).1 != *change);
            assert_eq!(!binding.is_current(self.last_sweep), has_changed, "{:?}", entry.key);
        }
        let state = &mut *self.bindings.state.borrow_mut();
        assert!(state.names.len() <= most_names && state.dtabs.len() <= most_names);
        assert!(state.clients.len() <= self.most_clients);
        assert_eq!(state.names.len(), self.naive.len(), "there are no others");
        // An answer is there while a binding depends on it, in the cache or in use, and no longer.
        state.answers.prune();
        let cached = state.names.all().map(|binding| &**binding);
        let in_use: Vec<&Binding> = cached.chain(self.held.iter().map(|binding| &**binding)).collect();
        let most: usize = in_use.iter().map(|binding| binding.answers.len()).sum();
        let names: BTreeSet<&str> = in_use.iter().map(|binding| &*binding.service).collect();
        assert!((names.len()..=most).contains(&state.answers.len()));
        // Names that lead to one id share its client.
        let ids: BTreeSet<String> = state.names.routable().flat_map(|binding| client_ids(binding)).collect();
        assert!(self.has_lacked_room || state.clients.len() >= ids.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn the_caches_do_as_a_naive_one_does(operations in proptest::collection::vec(operation(), 1..80)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build_local(tokio::runtime::LocalOptions::default())
            .unwrap();
        runtime.block_on(async {
            let mut model = Model::new();
            for operation in operations {
                model.perform(operation).await;
            }
            // Nothing is left when all of it is idle.
            model.held.clear();
            tokio::time::advance(IDLE).await;
            model.bindings.sweep().await;
            model.bindings.sweep().await;
            let state = model.bindings.state.borrow();
            assert_eq!((state.names.len(), state.clients.len(), state.answers.len()), (0, 0, 0));
            assert_eq!(state.bytes(), 0);
        });
    }
}
