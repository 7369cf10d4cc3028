//! The budget of attempts: how many watches may begin in a second, over all namespaces that one client asks about.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

/// How many attempts a second all watches of a client have by default.
pub const ATTEMPTS_PER_SECOND: NonZeroU32 = NonZeroU32::new(20).unwrap();

/// How many seconds' worth of attempts may be made at once after a quiet time: a router that starts with a hundred
/// namespaces begins at once.
const BURST: u32 = 5;

/// The classes of attempts; an earlier one goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum AttemptClass {
    /// The watch had a list, or the configuration names it.
    Renewal,
    /// Nothing is known of the namespace, which was wanted so many times lately: what is wanted again and again goes
    /// before any number of namespaces that are wanted once.
    First(Reverse<u8>),
    /// The server has refused the namespace before.
    Refused,
}

/// The budget of attempts of a client. Cheap to clone.
///
/// A watch that waits is served by class and then by time, the newest first: a request waits for the newest ones. An attempt that
/// lists an object gives its share back, so that neither a start nor the return of a server is slowed by those that
/// succeed.
#[derive(Clone, Debug)]
pub(super) struct AttemptBudget(Arc<BudgetInner>);

#[derive(Debug)]
struct BudgetInner {
    /// The attempts in a second, live.
    rate: Arc<AtomicU32>,
    state: Mutex<BudgetState>,
}

#[derive(Debug)]
struct BudgetState {
    /// The attempts that may begin now.
    available: f64,
    counted: Instant,
    waiting: BTreeMap<QueuePosition, oneshot::Sender<()>>,
    queued: u64,
    /// Whether a task hands out the budget to the watches that wait.
    is_served: bool,
}

/// The position of an attempt that waits: the smallest is served first.
type QueuePosition = (AttemptClass, Reverse<u64>);

/// An attempt that waits. Its drop gives the position up.
struct QueuedAttempt<'a> {
    budget: &'a BudgetInner,
    position: QueuePosition,
}

impl Drop for QueuedAttempt<'_> {
    fn drop(&mut self) {
        self.budget.lock().waiting.remove(&self.position);
    }
}

impl AttemptBudget {
    /// Makes the full budget of a client, with as many attempts a second as `rate` says.
    pub(super) fn new(rate: Arc<AtomicU32>) -> Self {
        let state = BudgetState {
            available: f64::MAX,
            counted: Instant::now(),
            waiting: BTreeMap::new(),
            queued: 0,
            is_served: false,
        };
        Self(Arc::new(BudgetInner { rate, state: Mutex::new(state) }))
    }

    /// Waits until an attempt may begin. Dropping the future gives its turn up.
    pub(super) async fn acquire(&self, class: AttemptClass) {
        let (turn, _queued) = {
            let mut state = self.0.lock();
            state.refill(self.0.rate.load(Relaxed));
            if state.waiting.is_empty() && state.take() {
                return;
            }
            let position = (class, Reverse(state.queued));
            let (sender, turn) = oneshot::channel();
            state.queued += 1;
            state.waiting.insert(position, sender);
            if !state.is_served {
                state.is_served = true;
                tokio::spawn(serve(Arc::clone(&self.0)));
            }
            (turn, QueuedAttempt { budget: &self.0, position })
        };
        // An error is the end of the runtime.
        let _ = turn.await;
    }

    /// Gives the share of an attempt back.
    pub(super) fn refund(&self) {
        self.0.lock().available += 1.0;
    }
}

impl BudgetInner {
    fn lock(&self) -> MutexGuard<'_, BudgetState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BudgetState {
    /// Adds what the time since the last count has brought.
    fn refill(&mut self, rate: u32) {
        let now = Instant::now();
        let gained = now.duration_since(self.counted).as_secs_f64() * f64::from(rate);
        self.available = (self.available + gained).min(f64::from(rate.saturating_mul(BURST)));
        self.counted = now;
    }

    /// Takes the share of one attempt, if there is one.
    fn take(&mut self) -> bool {
        let can = self.available >= 1.0;
        if can {
            self.available -= 1.0;
        }
        can
    }
}

/// Hands out the budget until no watch waits.
async fn serve(budget: Arc<BudgetInner>) {
    loop {
        let pause = {
            let mut state = budget.lock();
            let rate = budget.rate.load(Relaxed).max(1);
            state.refill(rate);
            while !state.waiting.is_empty() && state.take() {
                let taken = state.waiting.pop_first().is_some_and(|(_, turn)| turn.send(()).is_ok());
                if !taken {
                    state.available += 1.0;
                }
            }
            if state.waiting.is_empty() {
                state.is_served = false;
                return;
            }
            Duration::from_secs_f64((1.0 - state.available).max(0.0) / f64::from(rate))
        };
        // Timers are as exact as a millisecond.
        sleep(pause.max(Duration::from_millis(1))).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex as StdMutex;

    /// The class of a namespace that was wanted once.
    const ONCE: AttemptClass = AttemptClass::First(Reverse(1));

    fn budget(rate: u32) -> AttemptBudget {
        AttemptBudget::new(Arc::new(AtomicU32::new(rate)))
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_have_a_rate() {
        let budget = budget(20);
        let began = Instant::now();
        let mut seconds = Vec::new();
        for _ in 0..300 {
            budget.acquire(ONCE).await;
            seconds.push(began.elapsed().as_secs_f64());
        }
        assert!(seconds[99] < 0.001, "a burst: {}", seconds[99]);
        assert!((9.9..10.5).contains(&seconds[299]), "then 20 a second: {}", seconds[299]);
        sleep(Duration::from_secs(3600)).await;
        let began = Instant::now();
        for _ in 0..101 {
            budget.acquire(ONCE).await;
        }
        assert!(began.elapsed() >= Duration::from_millis(50), "no more than a burst is saved");
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_known_goes_first_then_what_is_wanted_again_and_then_the_newest() {
        use AttemptClass::{First, Refused, Renewal};
        let budget = budget(1);
        for _ in 0..BURST {
            budget.acquire(ONCE).await;
        }
        let again = First(Reverse(2));
        let order = Arc::new(StdMutex::new(Vec::new()));
        let mut tasks = tokio::task::JoinSet::new();
        for (name, class) in
            [("r1", Refused), ("f1", ONCE), ("a", again), ("k", Renewal), ("f2", ONCE), ("r2", Refused)]
        {
            let (budget, order) = (budget.clone(), Arc::clone(&order));
            tasks.spawn(async move {
                budget.acquire(class).await;
                order.lock().unwrap().push(name);
            });
            tokio::task::yield_now().await;
        }
        let gone = tokio::time::timeout(Duration::from_millis(1), budget.acquire(Renewal)).await;
        assert!(gone.is_err(), "its turn is given up");
        let began = Instant::now();
        tasks.join_all().await;
        assert_eq!(*order.lock().unwrap(), ["k", "a", "f2", "f1", "r2", "r1"]);
        assert!((5..=6).contains(&began.elapsed().as_secs()), "one a second: {:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn what_succeeds_gives_its_share_back() {
        let budget = budget(1);
        let began = Instant::now();
        for _ in 0..1000 {
            budget.acquire(ONCE).await;
            budget.refund();
        }
        assert!(began.elapsed() < Duration::from_millis(1));
        let soon = tokio::time::timeout(Duration::from_secs(2), budget.acquire(ONCE)).await;
        assert!(soon.is_ok());
    }
}
