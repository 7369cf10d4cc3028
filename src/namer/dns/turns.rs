//! The turns of questions to DNS servers: how many are asked at once, of which zones, and which go first.

use hickory_resolver::proto::rr::Name;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// How many questions hold a place at one time.
const PLACES: usize = 32;

/// How many of the places are kept for names that had an answer before, and as many for those of which nothing is known.
const KEPT_PLACES: usize = 8;

/// How many of the places questions may hold for which no request waits.
const UNASKED_PLACES: usize = 4;

/// How many questions of one class under one registered domain hold a place at one time.
const PLACES_PER_DOMAIN: usize = 4;

/// How many questions may be without an answer at one time, with or without a place.
const MAX_OPEN: usize = 256;

/// How many of these are kept for names that had an answer before, and as many for those of which nothing is known.
const KEPT_OPEN: usize = 64;

/// How many of these may be questions for which no request waits.
const MAX_OPEN_UNASKED: usize = 32;

/// The classes of questions; an earlier one goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum QuestionClass {
    /// The name had an answer before, or is that of a DNS server.
    Known,
    /// Any other name that requests ask for.
    First,
    /// The name had no answer, and no request has asked for it since.
    Unasked,
}

/// The registered domain of a name, as far as it can be told without a list: its last two labels, in lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct RegisteredDomain(Box<[u8]>);

impl RegisteredDomain {
    fn of(name: &Name) -> Self {
        let labels: Vec<&[u8]> = name.iter().collect();
        let last = &labels[labels.len().saturating_sub(2)..];
        Self(last.join(&b'.').to_ascii_lowercase().into())
    }
}

/// The turns of all questions to one set of servers. Cheap to clone.
///
/// A question of a zone that does not answer holds a place for a while and then none, and at most a few questions of one
/// registered domain hold places: others are asked beside it. Waiting domains take turns.
#[derive(Clone, Debug, Default)]
pub(super) struct QueryTurns(Arc<Mutex<TurnState>>);

#[derive(Debug, Default)]
struct TurnState {
    known: ClassState,
    first: ClassState,
    unasked: ClassState,
}

/// The questions of one class.
#[derive(Debug, Default)]
struct ClassState {
    /// How many hold a place.
    holding: usize,
    /// How many have no answer yet.
    open: usize,
    domains: HashMap<RegisteredDomain, DomainState>,
    /// The domains with questions that wait, in the order of their turns.
    waiting: VecDeque<RegisteredDomain>,
}

/// The questions of one class under one domain.
#[derive(Debug, Default)]
struct DomainState {
    holding: usize,
    waiting: VecDeque<oneshot::Sender<QueryTurn>>,
}

/// The turn of one question, from when it is asked until its end.
#[derive(Debug)]
pub(super) struct QueryTurn {
    turns: QueryTurns,
    class: QuestionClass,
    /// The domain under which it holds a place; none when it has given the place back.
    domain: Option<RegisteredDomain>,
}

impl QueryTurns {
    /// Waits until a question about a name may be asked. Dropping the future gives its turn up.
    pub(super) async fn begin(&self, name: &Name, class: QuestionClass) -> QueryTurn {
        let domain = RegisteredDomain::of(name);
        let (turn, begun) = oneshot::channel();
        self.change(|state| state.class(class).enqueue(&domain, turn));
        match begun.await {
            Ok(turn) => turn,
            // The end of the runtime.
            Err(_) => std::future::pending().await,
        }
    }

    /// Changes the state, and then begins every question that may begin now.
    fn change(&self, change: impl FnOnce(&mut TurnState)) {
        // A turn for which no question waits any more is dropped outside of the lock.
        let mut given_up = Vec::new();
        {
            let mut state = self.lock();
            change(&mut state);
            while let Some((turn, class, domain)) = state.next() {
                let begun = QueryTurn { turns: self.clone(), class, domain: Some(domain) };
                given_up.extend(turn.send(begun).err());
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, TurnState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TurnState {
    const fn class(&mut self, class: QuestionClass) -> &mut ClassState {
        match class {
            QuestionClass::Known => &mut self.known,
            QuestionClass::First => &mut self.first,
            QuestionClass::Unasked => &mut self.unasked,
        }
    }

    /// Returns whether one more question of a class may hold a place. What is kept for one class, no other may take.
    fn has_place(&self, class: QuestionClass) -> bool {
        let Self { known, first, unasked } = self;
        let beside = |one: &ClassState| {
            one.holding + unasked.holding < PLACES - KEPT_PLACES
                && one.open + unasked.open < MAX_OPEN - KEPT_OPEN
        };
        let (holding, open) = (known.holding + first.holding, known.open + first.open);
        let is_any_left = holding + unasked.holding < PLACES && open + unasked.open < MAX_OPEN;
        is_any_left
            && match class {
                QuestionClass::Known => beside(known),
                QuestionClass::First => beside(first),
                QuestionClass::Unasked => {
                    unasked.holding < UNASKED_PLACES
                        && unasked.open < MAX_OPEN_UNASKED
                        && beside(known)
                        && beside(first)
                }
            }
    }

    /// Takes the next question that may begin, with its class and its domain; it holds a place from then on.
    fn next(&mut self) -> Option<(oneshot::Sender<QueryTurn>, QuestionClass, RegisteredDomain)> {
        [QuestionClass::Known, QuestionClass::First, QuestionClass::Unasked].into_iter().find_map(|class| {
            let next = if self.has_place(class) { self.class(class).next() } else { None };
            next.map(|(turn, domain)| (turn, class, domain))
        })
    }
}

impl ClassState {
    /// Adds a question that waits.
    fn enqueue(&mut self, domain: &RegisteredDomain, turn: oneshot::Sender<QueryTurn>) {
        let state = self.domains.entry(domain.clone()).or_default();
        if state.waiting.is_empty() {
            self.waiting.push_back(domain.clone());
        }
        state.waiting.push_back(turn);
    }

    /// Takes the next question of the next domain that has a place left.
    fn next(&mut self) -> Option<(oneshot::Sender<QueryTurn>, RegisteredDomain)> {
        // At most as many domains as there are places divided by those of one have none left.
        for _ in 0..self.waiting.len() {
            let domain = self.waiting.pop_front()?;
            let state = self.domains.get_mut(&domain)?;
            if state.holding >= PLACES_PER_DOMAIN {
                self.waiting.push_back(domain);
                continue;
            }
            let turn = state.waiting.pop_front()?;
            state.holding += 1;
            self.holding += 1;
            self.open += 1;
            if !state.waiting.is_empty() {
                self.waiting.push_back(domain.clone());
            }
            return Some((turn, domain));
        }
        None
    }

    /// Takes a place back.
    fn release(&mut self, domain: &RegisteredDomain) {
        self.holding -= 1;
        if let Some(state) = self.domains.get_mut(domain) {
            state.holding -= 1;
            if state.holding == 0 && state.waiting.is_empty() {
                self.domains.remove(domain);
            }
        }
    }
}

impl QueryTurn {
    /// Gives the place back: the question goes on without one.
    pub(super) fn give_place_back(&mut self) {
        if let Some(domain) = self.domain.take() {
            self.turns.change(|state| state.class(self.class).release(&domain));
        }
    }
}

impl Drop for QueryTurn {
    fn drop(&mut self) {
        let (class, domain) = (self.class, self.domain.take());
        self.turns.change(|state| {
            let state = state.class(class);
            state.open -= 1;
            if let Some(domain) = domain {
                state.release(&domain);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Poll;

    /// Begins a question, if it may begin now.
    fn begin(turns: &QueryTurns, name: &str, class: QuestionClass) -> Option<QueryTurn> {
        let name = Name::from_ascii(name).unwrap();
        let turn = tokio_test_poll(turns.begin(&name, class));
        match turn {
            Poll::Ready(turn) => Some(turn),
            Poll::Pending => None,
        }
    }

    /// Polls a future once, and drops it.
    fn tokio_test_poll<T>(future: impl Future<Output = T>) -> Poll<T> {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        std::pin::pin!(future).poll(&mut context)
    }

    use QuestionClass::{First, Known, Unasked};

    #[test]
    fn a_domain_has_few_places_and_others_go_on_beside_it() {
        let turns = QueryTurns::default();
        let mut held: Vec<_> =
            (0..4).map(|at| begin(&turns, &format!("{at}.a.Silent.test."), First).unwrap()).collect();
        assert!(begin(&turns, "x.b.silent.TEST.", First).is_none(), "the same last two labels");
        assert!(begin(&turns, "silent.test.", First).is_none());
        assert!(begin(&turns, "test.", First).is_some());
        assert!(begin(&turns, "x.other.test.", First).is_some());
        assert!(begin(&turns, "x.silent.test.", Known).is_some(), "names that had an answer have their own");
        held[0].give_place_back();
        assert!(begin(&turns, "x.silent.test.", First).is_some());
        drop(held);
        assert_eq!(turns.lock().first.domains.len(), 0);
        let first = &turns.lock().first;
        assert_eq!((first.holding, first.open), (0, 0));
    }

    #[test]
    fn some_places_are_for_names_that_had_an_answer_and_some_for_new_ones() {
        let turns = QueryTurns::default();
        let first: Vec<_> =
            (0..).map_while(|at| begin(&turns, &format!("x.d{at}.test{at}."), First)).collect();
        assert_eq!(first.len(), PLACES - KEPT_PLACES);
        let known: Vec<_> =
            (0..).map_while(|at| begin(&turns, &format!("x.d{at}.test{at}."), Known)).collect();
        assert_eq!(known.len(), KEPT_PLACES);
        drop(first);
        let more: Vec<_> =
            (0..).map_while(|at| begin(&turns, &format!("x.e{at}.test{at}."), Known)).collect();
        assert_eq!(known.len() + more.len(), PLACES - KEPT_PLACES, "the others are for new names");
    }

    #[test]
    fn open_questions_are_bounded_also_without_places() {
        let turns = QueryTurns::default();
        let begin_all = |class| {
            let turns = &turns;
            (0..).map_while(move |at| {
                let mut turn = begin(turns, &format!("x.d{at}.test."), class)?;
                turn.give_place_back();
                Some(turn)
            })
        };
        let first: Vec<_> = begin_all(First).collect();
        assert_eq!(first.len(), MAX_OPEN - KEPT_OPEN);
        let known: Vec<_> = begin_all(Known).collect();
        assert_eq!(known.len(), KEPT_OPEN);
        drop((first, known));
        // The other way round.
        let known: Vec<_> = begin_all(Known).collect();
        assert_eq!(known.len(), MAX_OPEN - KEPT_OPEN);
        let first: Vec<_> = begin_all(First).collect();
        assert_eq!(first.len(), KEPT_OPEN, "kept for names of which nothing is known");
    }

    #[test]
    fn questions_for_which_no_request_waits_take_little_and_nothing_that_is_kept() {
        let turns = QueryTurns::default();
        let begin_all = |class, gives_back: bool| -> Vec<QueryTurn> {
            let begin = |at| {
                let mut turn = begin(&turns, &format!("x.d{at}.test{at}."), class)?;
                if gives_back {
                    turn.give_place_back();
                }
                Some(turn)
            };
            (0..).map_while(begin).collect()
        };
        let held = begin_all(Unasked, false);
        assert_eq!(held.len(), UNASKED_PLACES);
        assert_eq!(begin_all(First, false).len(), PLACES - KEPT_PLACES - UNASKED_PLACES);
        drop(held);
        let open = begin_all(Unasked, true);
        assert_eq!(open.len(), MAX_OPEN_UNASKED);
        let first = begin_all(First, true);
        assert_eq!(first.len(), MAX_OPEN - KEPT_OPEN - MAX_OPEN_UNASKED);
        assert_eq!(begin_all(Known, true).len(), KEPT_OPEN);
        drop(open);
        let more = begin_all(First, true);
        assert_eq!(more.len(), MAX_OPEN_UNASKED);
        assert!(begin_all(Unasked, true).is_empty(), "it would be one of those kept for others");
    }

    #[tokio::test]
    async fn what_was_known_goes_first_and_domains_take_turns() {
        let turns = QueryTurns::default();
        let mut held: Vec<_> =
            (0..).map_while(|at| begin(&turns, &format!("x.d{at}.test{at}."), First)).collect();
        held.extend((0..).map_while(|at| begin(&turns, &format!("x.d{at}.test{at}."), Known)));
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = tokio::task::JoinSet::new();
        for (name, class) in [
            ("6.g.h.", Unasked),
            ("1.a.b.", First),
            ("2.a.b.", First),
            ("3.a.b.", First),
            ("4.c.d.", First),
            ("5.e.f.", Known),
        ] {
            let (turns, order) = (turns.clone(), Arc::clone(&order));
            tasks.spawn(async move {
                let turn = turns.begin(&Name::from_ascii(name).unwrap(), class).await;
                order.lock().unwrap().push(name);
                tokio::task::yield_now().await;
                drop(turn);
            });
        }
        tokio::task::yield_now().await;
        assert!(order.lock().unwrap().is_empty());
        for _ in 0..5 {
            // One place at a time, of those for all.
            drop(held.pop());
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
        }
        drop(held);
        tasks.join_all().await;
        let order = order.lock().unwrap().clone();
        assert_eq!(order[0], "5.e.f.");
        assert_eq!(order.iter().position(|name| *name == "4.c.d."), Some(2), "{order:?}");
        assert_eq!(order.last(), Some(&"6.g.h."), "{order:?}");
    }
}
