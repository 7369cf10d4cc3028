//! Tells whether the destinations of a sandbox have endpoints: each is asked as a router would, when it changes and every 60 s.

use super::metrics::Metrics;
use crate::interpret::{
    AnswerTable, Bound, Delegation, DelegationOutcome, Explore, NamerHandle, Naming, Target, any_changed,
    settle,
};
use crate::name::{Dentry, NameTree, Path};
use crate::sandbox::Sandbox;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, Notify, OwnedMutexGuard, watch};
use tokio::task::AbortHandle;
use tokio::time::{Interval, MissedTickBehavior, interval, sleep, timeout};

/// The time after which a destination is asked again though nothing has changed.
const PERIOD: Duration = Duration::from_secs(60);

/// How many destinations are asked in a second at most, of all sandboxes together.
const PER_SECOND: u32 = 50;

/// How long a namer may take to answer.
const ANSWER: Duration = Duration::from_secs(10);

/// How many destinations a message names.
const MOST_NAMED: usize = 5;

/// The readiness of a sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SandboxReadiness {
    /// Its destinations are being asked for the first time.
    Unknown,
    /// Each has endpoints; there are so many.
    Ready(usize),
    /// One has not: the reason in a word, and the text for people.
    NotReady(&'static str, String),
}

/// The readiness of every sandbox that is looked after.
#[derive(Debug)]
pub(super) struct ReadinessTable {
    naming: watch::Receiver<Naming>,
    handle: NamerHandle,
    control: Handle,
    metrics: Metrics,
    pace: Arc<Pace>,
    changed: Arc<Notify>,
    /// The tasks, by the version of their sandbox.
    tasks: HashMap<u64, ReadinessTask>,
}

/// The task that asks the destinations of one sandbox; its drop ends it.
#[derive(Debug)]
struct ReadinessTask {
    readiness: watch::Receiver<SandboxReadiness>,
    task: AbortHandle,
}

impl Drop for ReadinessTask {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The pace of all questions together.
#[derive(Debug)]
struct Pace {
    ticks: Mutex<Interval>,
    /// The one sandbox that is asked again though nothing has changed: thousands of them do not hold up one that is new.
    repeating: Arc<Mutex<()>>,
}

/// The work of one task.
struct DestinationProbe {
    sandbox: Arc<Sandbox>,
    naming: watch::Receiver<Naming>,
    answers: AnswerTable,
    pace: Arc<Pace>,
    metrics: Metrics,
}

impl ReadinessTable {
    /// Makes an empty table. Destinations are asked under `naming`, by tasks on `control`.
    pub(super) fn new(
        naming: watch::Receiver<Naming>,
        handle: NamerHandle,
        metrics: Metrics,
        control: Handle,
    ) -> Self {
        let mut ticks = interval(Duration::from_secs(1) / PER_SECOND);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (pace, changed) =
            (Arc::new(Pace { ticks: Mutex::new(ticks), repeating: Arc::default() }), Arc::default());
        Self { naming, handle, control, metrics, pace, changed, tasks: HashMap::new() }
    }

    /// Looks after these sandboxes from now on, and no others. One that is known in its version is not asked again.
    pub(super) fn follow<'a>(&mut self, sandboxes: impl Iterator<Item = &'a Arc<Sandbox>>) {
        let mut before = std::mem::take(&mut self.tasks);
        for sandbox in sandboxes {
            let version = sandbox.version();
            let task = before.remove(&version).unwrap_or_else(|| self.start(sandbox));
            self.tasks.insert(version, task);
        }
    }

    /// Returns the readiness of a sandbox; unknown if it is not looked after.
    pub(super) fn get(&self, sandbox: &Sandbox) -> SandboxReadiness {
        let task = self.tasks.get(&sandbox.version());
        task.map_or(SandboxReadiness::Unknown, |task| task.readiness.borrow().clone())
    }

    /// Waits until the readiness of one of them has changed.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    fn start(&self, sandbox: &Arc<Sandbox>) -> ReadinessTask {
        let (sender, readiness) = watch::channel(SandboxReadiness::Unknown);
        let mut probe = DestinationProbe {
            sandbox: Arc::clone(sandbox),
            naming: self.naming.clone(),
            answers: AnswerTable::new(self.handle.clone(), self.naming.borrow().namers.clone()),
            pace: Arc::clone(&self.pace),
            metrics: self.metrics.clone(),
        };
        let changed = Arc::clone(&self.changed);
        let task = self.control.spawn(async move {
            probe
                .run(|now| {
                    let is_new = sender.send_if_modified(|known| {
                        let is_new = *known != now;
                        *known = now;
                        is_new
                    });
                    if is_new {
                        changed.notify_one();
                    }
                })
                .await;
        });
        ReadinessTask { readiness, task: task.abort_handle() }
    }
}

impl Pace {
    /// Waits for a turn; turns are given in the order in which they are asked for.
    async fn turn(&self) {
        self.ticks.lock().await.tick().await;
    }

    /// Waits until [`PERIOD`] has passed, and until no other sandbox is about to be asked again for that reason.
    async fn repeat(&self) -> OwnedMutexGuard<()> {
        sleep(PERIOD).await;
        Arc::clone(&self.repeating).lock_owned().await
    }
}

impl DestinationProbe {
    /// Asks each destination, and again whenever an answer or the naming has changed, or [`PERIOD`] has passed.
    async fn run(&mut self, publish: impl Fn(SandboxReadiness)) {
        let destinations = destinations(&self.sandbox);
        let mut repeating = None;
        loop {
            let naming = self.naming.borrow_and_update().clone();
            self.answers.replace_namers(&naming.namers);
            let dtab = match &self.sandbox.dtab {
                Ok(own) => naming.dtab.concat(own),
                // It is not accepted.
                Err(_) => return,
            };
            let (mut troubles, mut used) = (Vec::new(), Vec::new());
            for (destination, entry) in &destinations {
                self.pace.turn().await;
                drop(repeating.take());
                self.metrics.asked.increment();
                let settled =
                    timeout(ANSWER, settle(&dtab, destination, Explore::Deciding, &mut self.answers)).await;
                used.extend(self.answers.take_used_answers());
                let judged = match settled {
                    Ok(delegation) => judge(&self.sandbox, &delegation),
                    Err(_) => Err(("NoAnswer", format!("is not known after {} s", ANSWER.as_secs()))),
                };
                if let Err((reason, text)) = judged {
                    troubles.push((reason, format!("{destination} {text}, in the entry {entry:#}")));
                }
            }
            drop(repeating.take());
            self.answers.prune();
            publish(summary(&troubles, destinations.len()));
            let any_answer = async {
                if used.is_empty() {
                    std::future::pending::<()>().await;
                }
                any_changed(&mut used).await;
            };
            repeating = tokio::select! {
                () = any_answer => None,
                Ok(()) = self.naming.changed() => None,
                repeating = self.pace.repeat() => Some(repeating),
            };
        }
    }
}

/// Returns the paths to which the entries of a sandbox lead, each once, with the first such entry.
fn destinations(sandbox: &Sandbox) -> Vec<(Path, Dentry)> {
    let mut found: Vec<(Path, Dentry)> = Vec::new();
    for dentry in sandbox.dtab.iter().flat_map(|dtab| dtab.iter()) {
        collect(&dentry.dst, &mut |path| {
            if !found.iter().any(|(known, _)| known == path) {
                found.push((path.clone(), dentry.clone()));
            }
        });
    }
    found
}

/// Calls `take` with each name of a tree.
fn collect(tree: &NameTree<Path>, take: &mut impl FnMut(&Path)) {
    match tree {
        NameTree::Leaf(path) => take(path),
        NameTree::Alt(arms) => arms.iter().for_each(|arm| collect(arm, take)),
        NameTree::Union(branches) => branches.iter().for_each(|branch| collect(&branch.tree, take)),
        NameTree::Neg | NameTree::Fail | NameTree::Empty => {}
    }
}

/// Says why a destination is not ready, if that is so.
fn judge(sandbox: &Sandbox, delegation: &Delegation) -> Result<(), (&'static str, String)> {
    match &delegation.outcome {
        DelegationOutcome::Bound(tree) => judge_tree(sandbox, tree),
        DelegationOutcome::Failed(failure) => Err(("Failed", format!("failed ({failure})"))),
        DelegationOutcome::Pending => Err(("NoAnswer", "has no answer yet".to_owned())),
    }
}

fn judge_tree(sandbox: &Sandbox, tree: &NameTree<Bound>) -> Result<(), (&'static str, String)> {
    match tree {
        NameTree::Leaf(bound) if !sandbox.allows_destination(&bound.id) => {
            let allowed = sandbox.allowed_destinations();
            let text = format!("leads to {}, and this sandbox may lead to {allowed} alone", bound.id);
            Err(("DestinationNotAllowed", text))
        }
        NameTree::Leaf(bound) => match &bound.target {
            Target::Endpoints(endpoints) if endpoints.borrow().is_empty() => {
                Err(("NoEndpoints", format!("leads to {}, which has no endpoints", bound.id)))
            }
            Target::Endpoints(_) | Target::Status(_) => Ok(()),
        },
        NameTree::Alt(branches) => branches.iter().try_for_each(|branch| judge_tree(sandbox, branch)),
        NameTree::Union(branches) => branches.iter().try_for_each(|branch| judge_tree(sandbox, &branch.tree)),
        NameTree::Neg => Err(("NoEndpoints", "leads to no endpoint".to_owned())),
        NameTree::Empty => Err(("NoEndpoints", "has no members now".to_owned())),
        NameTree::Fail => Err(("Refused", "is refused (`!`)".to_owned())),
    }
}

/// Puts the troubles of all destinations together.
fn summary(troubles: &[(&'static str, String)], destinations: usize) -> SandboxReadiness {
    let Some((reason, _)) = troubles.first() else { return SandboxReadiness::Ready(destinations) };
    let named: Vec<&str> = troubles.iter().take(MOST_NAMED).map(|(_, text)| text.as_str()).collect();
    let more = match troubles.len().saturating_sub(MOST_NAMED) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    SandboxReadiness::NotReady(reason, named.join("; ") + &more)
}

#[cfg(test)]
mod tests;
