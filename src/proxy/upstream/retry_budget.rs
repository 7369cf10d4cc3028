//! The budget of a client's repeats: a share of its requests, so that retries cannot multiply the load on endpoints that
//! fail.

use crate::telemetry::GroupSource;
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::time::Instant;

/// How many windows a budget's time has.
const WINDOWS: u32 = 10;

/// The cost of a repeat: the unit in which deposits are counted.
const COST: i32 = 1000;

/// The settings of a budget: Linkerd's `requeueBudget` (`RetryBudgetModule.scala`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BudgetSettings {
    /// How long a request counts, from 1 to 60 s: 10 s.
    pub ttl: Duration,
    /// How many repeats each second may have, whatever the number of requests: 10. They may come all at once.
    pub min_per_second: u32,
    /// How many repeats each request allows beside those, from 0 to 1000: 0.2.
    pub share: f64,
}

impl Default for BudgetSettings {
    fn default() -> Self {
        Self { ttl: Duration::from_secs(10), min_per_second: 10, share: 0.2 }
    }
}

/// The budget of one client's repeats, over all workers.
///
/// Each request makes a deposit, and each repeat a withdrawal; both are forgotten after the time to live. There is no
/// lock: the time is cut into windows, and each has an atomic balance. Workers that meet at the end of a window may
/// overdraw it by a repeat each.
#[derive(Debug)]
pub(crate) struct RetryBudget {
    settings: BudgetSettings,
    began: Instant,
    /// The length of a window, in milliseconds.
    window: u64,
    /// The deposit of one request.
    deposit: i32,
    /// The balance that is there without any deposit.
    reserve: i64,
    /// The present window and those before it, by their number: one more than the time to live has, because the present
    /// one is not over.
    slots: [AtomicU64; WINDOWS as usize + 1],
}

/// The balance of one window, as it stands in a slot.
#[derive(Clone, Copy, PartialEq, Eq)]
struct WindowBalance {
    /// The number of the window since the budget was made.
    number: u32,
    balance: i32,
}

impl WindowBalance {
    fn unpack(bits: u64) -> Self {
        Self { number: (bits >> 32) as u32, balance: bits as u32 as i32 }
    }

    fn pack(self) -> u64 {
        u64::from(self.number) << 32 | u64::from(self.balance as u32)
    }

    /// Adds to the balance of a window. A slot of an older window begins anew; one of a newer window is left alone.
    fn add(self, number: u32, amount: i32) -> Option<Self> {
        match self.number {
            of_now if of_now == number => Some(Self { balance: self.balance.saturating_add(amount), ..self }),
            older if older < number => Some(Self { number, balance: amount }),
            _ => None,
        }
    }
}

impl RetryBudget {
    pub(crate) fn new(settings: BudgetSettings) -> Self {
        let BudgetSettings { ttl, min_per_second, share } = settings;
        Self {
            settings,
            began: Instant::now(),
            window: milliseconds(ttl / WINDOWS).max(1),
            deposit: (share * f64::from(COST)).round() as i32,
            reserve: i64::from(min_per_second) * ttl.as_secs() as i64 * i64::from(COST),
            slots: Default::default(),
        }
    }

    /// Returns the settings of which it was made.
    pub(crate) fn settings(&self) -> BudgetSettings {
        self.settings
    }

    /// Counts a request of the window with this number.
    fn deposit(&self, number: u32) {
        // A request of a window that is over long since is not counted.
        let _ = self.slot(number).fetch_update(Relaxed, Relaxed, |bits| {
            WindowBalance::unpack(bits).add(number, self.deposit).map(WindowBalance::pack)
        });
    }

    /// Pays for one repeat; returns whether the balance sufficed.
    fn withdraw(&self, now: Instant) -> bool {
        let number = self.number(now);
        let paid = self.slot(number).fetch_update(Relaxed, Relaxed, |bits| {
            let is_paid = self.balance(number) >= i64::from(COST);
            is_paid.then(|| WindowBalance::unpack(bits).add(number, -COST).map(WindowBalance::pack)).flatten()
        });
        paid.is_ok()
    }

    /// Returns the sum of the windows that count at the time of this one.
    fn balance(&self, number: u32) -> i64 {
        let windows = self.slots.iter().map(|slot| WindowBalance::unpack(slot.load(Relaxed)));
        let counted = windows.filter(|window| window.number <= number && number - window.number <= WINDOWS);
        self.reserve + counted.map(|window| i64::from(window.balance)).sum::<i64>()
    }

    fn number(&self, now: Instant) -> u32 {
        let number = milliseconds(now.saturating_duration_since(self.began)) / self.window;
        // A process lives for less than the 13 years that this is at the shortest window.
        number as u32
    }

    fn slot(&self, number: u32) -> &AtomicU64 {
        &self.slots[number as usize % self.slots.len()]
    }
}

/// A budget as one worker uses it. It remembers the present window, so that a deposit calculates none.
#[derive(Debug)]
pub(crate) struct WorkerBudget {
    budget: Arc<RetryBudget>,
    /// The number of the window, and the time at which it begins and ends.
    number: Cell<u32>,
    begin: Cell<Instant>,
    end: Cell<Instant>,
}

impl From<Arc<RetryBudget>> for WorkerBudget {
    fn from(budget: Arc<RetryBudget>) -> Self {
        // A window without any time in it.
        let [begin, end] = [budget.began; 2].map(Cell::new);
        Self { budget, number: Cell::new(0), begin, end }
    }
}

impl WorkerBudget {
    /// Counts a request that began at `now`.
    pub(crate) fn deposit(&self, now: Instant) {
        if now < self.begin.get() || now >= self.end.get() {
            self.remember_window(now);
        }
        self.budget.deposit(self.number.get());
    }

    #[cold]
    fn remember_window(&self, now: Instant) {
        let number = self.budget.number(now);
        let length = self.budget.window;
        let begin = self.budget.began + Duration::from_millis(u64::from(number) * length);
        self.number.set(number);
        self.begin.set(begin);
        self.end.set(begin + Duration::from_millis(length));
    }

    /// Pays for one repeat; returns whether the balance sufficed.
    pub(crate) fn withdraw(&self, now: Instant) -> bool {
        self.budget.withdraw(now)
    }
}

impl GroupSource for RetryBudget {
    fn read(&self, _at: usize) -> u64 {
        let left = self.balance(self.number(Instant::now())) / i64::from(COST);
        left.try_into().unwrap_or_default()
    }
}

/// Returns a duration in milliseconds. One that is too long for that is a number that is no less wrong than any.
fn milliseconds(duration: Duration) -> u64 {
    duration.as_millis() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::thread;
    use tower::retry::budget::{Budget as _, TpsBudget};

    /// A step in the life of a budget.
    #[derive(Clone, Copy, Debug)]
    enum BudgetStep {
        Deposit(u16),
        Withdraw(u16),
        /// So many windows pass.
        Wait(u8),
    }

    fn step() -> impl Strategy<Value = BudgetStep> {
        prop_oneof![
            (1..400_u16).prop_map(BudgetStep::Deposit),
            (1..200_u16).prop_map(BudgetStep::Withdraw),
            (0..15_u8).prop_map(BudgetStep::Wait),
        ]
    }

    fn settings() -> impl Strategy<Value = BudgetSettings> {
        // Shares of which the reference, which counts in whole deposits, has no other opinion.
        let share = prop::sample::select(vec![0.1, 0.2, 0.25, 0.5, 1.0]);
        (1..=60_u64, 0..30_u32, share).prop_map(|(ttl, min_per_second, share)| BudgetSettings {
            ttl: Duration::from_secs(ttl),
            min_per_second,
            share,
        })
    }

    proptest! {
        #[test]
        fn the_budget_is_towers(settings in settings(), steps in prop::collection::vec(step(), 1..60)) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
            runtime.expect("a runtime").block_on(async {
                let budget = WorkerBudget::from(Arc::new(RetryBudget::new(settings)));
                let BudgetSettings { ttl, min_per_second, share } = settings;
                let reference = TpsBudget::new(ttl, min_per_second, share as f32);
                for (at, step) in steps.iter().enumerate() {
                    match *step {
                        BudgetStep::Deposit(count) => (0..count).for_each(|_| {
                            budget.deposit(Instant::now());
                            reference.deposit();
                        }),
                        BudgetStep::Withdraw(count) => {
                            for _ in 0..count {
                                let paid = budget.withdraw(Instant::now());
                                prop_assert_eq!(paid, reference.withdraw(), "step {} of {:?}", at, &steps);
                            }
                        }
                        BudgetStep::Wait(windows) => tokio::time::advance(ttl / WINDOWS * u32::from(windows)).await,
                    }
                }
                Ok(())
            })?;
        }
    }

    #[test]
    fn workers_share_a_budget_and_do_not_overdraw_a_window() {
        const WORKERS: usize = 4;
        let settings = BudgetSettings { min_per_second: 10, ..BudgetSettings::default() };
        let budget = Arc::new(RetryBudget::new(settings));
        let now = budget.began;
        let repeats = thread::scope(|scope| {
            let work = || {
                let (mut paid, budget) = (0, WorkerBudget::from(Arc::clone(&budget)));
                for _ in 0..1000 {
                    budget.deposit(now);
                    paid += usize::from(budget.withdraw(now));
                }
                paid
            };
            let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(work)).collect();
            workers.into_iter().map(|worker| worker.join().expect("it does not panic")).sum::<usize>()
        });
        assert!((100..=100 + WORKERS * 1000 / 5).contains(&repeats), "{repeats}");
    }

    #[test]
    fn a_request_of_long_ago_is_not_counted_now() {
        let budget = RetryBudget::new(BudgetSettings { min_per_second: 0, ..BudgetSettings::default() });
        let began = budget.began;
        let budget = WorkerBudget::from(Arc::new(budget));
        let late = began + Duration::from_secs(60);
        budget.deposit(late);
        (0..100).for_each(|_| budget.deposit(began + Duration::from_secs(60 - 11)));
        assert!(!budget.withdraw(late));
        (0..4).for_each(|_| budget.deposit(late));
        assert!(budget.withdraw(late));
        assert!(!budget.withdraw(late));
    }
}
