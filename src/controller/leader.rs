//! The work of the leader: a pass over all objects after each change.

use super::ControllerParts;
use super::metrics::Metrics;
use super::observed::{ObservedGroup, ObservedSandbox};
use super::readiness::{ReadinessTable, SandboxReadiness};
use super::verdict::{self, own_conditions};
use super::write::Writer;
use crate::kubernetes::{GroupState, Watches};
use crate::sandbox::kubernetes::{
    GroupJudgements, GroupResource, GroupStatus, SandboxJudgements, SandboxResource, SandboxStatus,
    WatchMetrics,
};
use crate::sandbox::{Group, Sandbox, SandboxTable, StoreObjects, StoreState};
use futures_util::future::select_all;
use jiff::Timestamp;
use std::collections::HashSet;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

/// The time between two passes at least: many changes are looked at together.
const PAUSE: Duration = Duration::from_millis(200);

/// How long to wait for the first lists. A namespace that has none then is left out, so that it does not hold up others.
const FIRST_LISTS: Duration = Duration::from_secs(10);

/// How long a pass may take. What is left over is for the next one, which looks at the objects as they are then.
const LONGEST_PASS: Duration = Duration::from_secs(2);

/// The longest time between two passes: the clock of the machine may be set.
const LONGEST: Duration = Duration::from_secs(60);

/// The work of the leader.
pub(super) struct Leader {
    namespaces: Vec<ObservedNamespace>,
    embedded: Option<watch::Receiver<StoreState>>,
    readiness: ReadinessTable,
    writer: Writer,
    metrics: Metrics,
}

/// The objects of one namespace.
struct ObservedNamespace {
    name: String,
    sandboxes: watch::Receiver<GroupState<ObservedSandbox>>,
    groups: watch::Receiver<GroupState<ObservedGroup>>,
    judged_sandboxes: SandboxJudgements<ObservedSandbox>,
    judged_groups: GroupJudgements<ObservedGroup>,
    /// The reason why there is no list, which was logged last.
    failed: Option<Arc<str>>,
}

/// All objects as of one moment, each with its judgement.
#[derive(Default)]
struct ObservedObjects {
    sandboxes: Vec<(Arc<ObservedSandbox>, Arc<Sandbox>)>,
    groups: Vec<(Arc<ObservedGroup>, Arc<Group>)>,
    stores: Vec<StoreState>,
}

impl Leader {
    pub(super) fn new(
        parts: &ControllerParts,
        metrics: &Metrics,
        leading: watch::Receiver<Option<Instant>>,
    ) -> Self {
        let ControllerParts { client, naming, namer_handle, control, .. } = parts;
        let watches = WatchMetrics::new(&parts.registry);
        let namespaces = parts.namespaces.iter().map(|name| ObservedNamespace::new(name, parts, &watches));
        Self {
            namespaces: namespaces.collect(),
            embedded: parts.embedded.clone(),
            readiness: ReadinessTable::new(
                naming.clone(),
                namer_handle.clone(),
                metrics.clone(),
                control.clone(),
            ),
            writer: Writer::new(client.clone(), metrics.clone(), leading),
            metrics: metrics.clone(),
        }
    }

    /// Looks at everything after each change, and writes what differs, for ever.
    pub(super) async fn run(mut self) {
        let _ = tokio::time::timeout(FIRST_LISTS, self.first_lists()).await;
        loop {
            let objects = self.objects();
            let next_end = self.pass(&objects).await;
            let began = Instant::now();
            self.wait(next_end).await;
            sleep_until(began + PAUSE).await;
        }
    }

    /// Waits until every namespace has a list, or a reason why it has none.
    async fn first_lists(&mut self) {
        for namespace in &mut self.namespaces {
            let _ = namespace.sandboxes.wait_for(|state| !matches!(state, GroupState::Pending)).await;
            let _ = namespace.groups.wait_for(|state| !matches!(state, GroupState::Pending)).await;
        }
    }

    /// Takes the present objects of all namespaces, and judges those that have changed.
    fn objects(&mut self) -> ObservedObjects {
        let mut objects = ObservedObjects::default();
        if let Some(embedded) = &mut self.embedded {
            objects.stores.push(embedded.borrow_and_update().clone());
        }
        for namespace in &mut self.namespaces {
            namespace.take(&mut objects);
        }
        objects
    }

    /// Writes each status that differs, and deletes each sandbox that has ended. Returns the next end.
    async fn pass(&mut self, objects: &ObservedObjects) -> Option<Timestamp> {
        let now = Timestamp::now();
        let table = SandboxTable::new(&objects.stores, now);
        let is_used = |sandbox: &Sandbox| {
            sandbox.dtab.is_ok() && !sandbox.is_expired(now) && table.sandbox_key_taken(sandbox).is_none()
        };
        let used = objects.sandboxes.iter().map(|(_, sandbox)| sandbox).filter(|sandbox| is_used(sandbox));
        self.readiness.follow(used);
        self.forget(objects);
        self.count(objects, &table, is_used);
        let began = Instant::now();
        let is_late = || began.elapsed() > LONGEST_PASS;
        for (observed, _) in objects.sandboxes.iter().filter(|(_, sandbox)| sandbox.is_expired(now)) {
            if is_late() {
                return Some(now);
            }
            self.end(&observed.0).await;
        }
        for (observed, sandbox) in objects.sandboxes.iter().filter(|(_, sandbox)| !sandbox.is_expired(now)) {
            if is_late() {
                return Some(now);
            }
            let readiness = self.readiness.get(sandbox);
            let status = verdict::sandbox_status(&observed.0, sandbox, &table, readiness, now);
            self.write_sandbox(&observed.0, &status).await;
        }
        for (observed, group) in &objects.groups {
            if is_late() {
                return Some(now);
            }
            let readiness = |member: &Sandbox| self.readiness.get(member);
            let status = verdict::group_status(&observed.0, group, &table, readiness, now);
            self.write_group(&observed.0, &status).await;
        }
        let ends = objects.sandboxes.iter().filter_map(|(_, sandbox)| sandbox.expires);
        ends.filter(|end| *end > now).min()
    }

    /// Counts the objects that are not accepted, or not ready.
    fn count(&self, objects: &ObservedObjects, table: &SandboxTable, is_used: impl Fn(&Sandbox) -> bool) {
        let sandboxes = || objects.sandboxes.iter().map(|(_, sandbox)| sandbox);
        let unused = sandboxes().filter(|sandbox| !is_used(sandbox)).count();
        let is_free = |group: &Group| group.members.is_ok() && table.group_key_taken(group).is_none();
        let free = objects.groups.iter().filter(|(_, group)| is_free(group)).count();
        let is_unready =
            |sandbox: &Sandbox| matches!(self.readiness.get(sandbox), SandboxReadiness::NotReady(..));
        let unready = sandboxes().filter(|sandbox| is_unready(sandbox)).count();
        let gauge = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.metrics.not_accepted.set(gauge(unused + objects.groups.len() - free));
        self.metrics.not_ready.set(gauge(unready));
    }

    /// Forgets what was written to objects that are gone.
    fn forget(&mut self, objects: &ObservedObjects) {
        let sandboxes = objects.sandboxes.iter().map(|(observed, _)| &observed.0.metadata);
        let groups = objects.groups.iter().map(|(observed, _)| &observed.0.metadata);
        let uids: HashSet<&str> = sandboxes.chain(groups).filter_map(|meta| meta.uid.as_deref()).collect();
        self.writer.retain(|uid| uids.contains(uid));
    }

    async fn end(&mut self, resource: &SandboxResource) {
        let metadata = &resource.metadata;
        if metadata.deletion_timestamp.is_none() && self.writer.may_write(metadata) {
            self.writer.delete::<SandboxResource>(metadata).await;
        }
    }

    async fn write_sandbox(&mut self, resource: &SandboxResource, status: &SandboxStatus) {
        let mut before = resource.status.clone().unwrap_or_default();
        before.conditions = own_conditions(&before.conditions);
        if before != *status && self.writer.may_write(&resource.metadata) {
            let now = (status, &*status.conditions);
            self.writer.write_status::<SandboxResource>(&resource.metadata, &before.conditions, now).await;
        }
    }

    async fn write_group(&mut self, resource: &GroupResource, status: &GroupStatus) {
        let mut before = resource.status.clone().unwrap_or_default();
        before.conditions = own_conditions(&before.conditions);
        if before != *status && self.writer.may_write(&resource.metadata) {
            let now = (status, &*status.conditions);
            self.writer.write_status::<GroupResource>(&resource.metadata, &before.conditions, now).await;
        }
    }

    /// Waits until an object, an answer or the clock asks for another pass.
    async fn wait(&mut self, next_end: Option<Timestamp>) {
        let left =
            next_end.map(|end| Duration::try_from(end.duration_since(Timestamp::now())).unwrap_or_default());
        let pause = left.unwrap_or(LONGEST).min(LONGEST);
        let next_attempt = self.writer.next_attempt();
        let attempt = async {
            match next_attempt {
                Some(at) => sleep_until(at).await,
                None => pending().await,
            }
        };
        let embedded = async {
            let changed = match &mut self.embedded {
                Some(embedded) => embedded.changed().await.is_ok(),
                None => false,
            };
            // A store that has ended does not change again.
            if !changed {
                pending::<()>().await;
            }
        };
        let changes = self.namespaces.iter_mut().map(|namespace| Box::pin(namespace.changed()));
        let changes: Vec<_> = changes.collect();
        let changed = async {
            if changes.is_empty() {
                return pending().await;
            }
            select_all(changes).await;
        };
        tokio::select! {
            () = changed => {}
            () = embedded => {}
            () = self.readiness.changed() => {}
            () = attempt => {}
            () = sleep(pause) => {}
        }
    }
}

impl ObservedNamespace {
    fn new(name: &str, parts: &ControllerParts, metrics: &WatchMetrics) -> Self {
        let ControllerParts { client, rules, control, .. } = parts;
        Self {
            name: name.to_owned(),
            sandboxes: Watches::watch_all(client.clone(), Some(name), metrics.sandboxes().clone(), control),
            groups: Watches::watch_all(client.clone(), Some(name), metrics.groups().clone(), control),
            judged_sandboxes: SandboxJudgements::new(Arc::clone(rules)),
            judged_groups: GroupJudgements::default(),
            failed: None,
        }
    }

    /// Adds the present objects.
    fn take(&mut self, objects: &mut ObservedObjects) {
        let (sandboxes, groups) = (self.sandboxes.borrow_and_update(), self.groups.borrow_and_update());
        let state = match (&*sandboxes, &*groups) {
            (GroupState::Failed(reason), _) | (_, GroupState::Failed(reason)) => {
                if self.failed.as_ref() != Some(reason) {
                    tracing::warn!("namespace {} is left out: {reason}", self.name);
                    self.failed = Some(Arc::clone(reason));
                }
                StoreState::Failed(Arc::clone(reason))
            }
            (GroupState::Pending, _) | (_, GroupState::Pending) => StoreState::Pending,
            (GroupState::Ready(sandboxes), GroupState::Ready(groups)) => {
                self.failed = None;
                let (observed, observed_groups) = (&sandboxes.objects, &groups.objects);
                let sandboxes = self.judged_sandboxes.update(observed);
                let groups = self.judged_groups.update(observed_groups);
                objects.sandboxes.extend(observed.iter().cloned().zip(sandboxes.iter().cloned()));
                objects.groups.extend(observed_groups.iter().cloned().zip(groups.iter().cloned()));
                StoreState::Ready(Arc::new(StoreObjects { sandboxes, groups }))
            }
        };
        objects.stores.push(state);
    }

    /// Waits until one of its lists has changed.
    async fn changed(&mut self) {
        tokio::select! {
            Ok(()) = self.sandboxes.changed() => {}
            Ok(()) = self.groups.changed() => {}
            else => pending().await,
        }
    }
}
