//! Publishes the pods behind a name while it is in use.

use super::external_name::WatchedService;
use super::name_table::NameEntry;
use super::pod::Pod;
use super::resolve::resolve;
use super::service::KubernetesService;
use super::service_name::Port;
use super::slice::Slices;
use crate::interpret::DEMAND_PACE;
use crate::kubernetes::{Demand, GroupState, GroupView, Lost};
use crate::namer::publisher::{AnswerPublisher, NameState};
use jiff::Timestamp;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// How often at most the watches of a name are told that requests ask for it, while all is well.
const USUAL: Duration = Duration::from_secs(30);

/// The publisher of one name: its answer, and its entry in the list for people.
#[derive(Debug)]
pub(super) struct NamePublisher {
    pub(super) publisher: AnswerPublisher,
    entry: NameEntry,
    /// The watches behind the name.
    demands: Vec<Demand>,
    /// The time from which on the watches are told of a request.
    quiet_until: Instant,
}

/// The pods with one value of a label.
#[derive(Debug)]
pub(super) struct LabelledPods {
    pub(super) key: Arc<str>,
    pub(super) value: Arc<str>,
    pub(super) pods: watch::Receiver<GroupState<Pod>>,
}

impl NamePublisher {
    /// Makes the publisher of a name with no watch behind it yet.
    pub(super) fn new(publisher: AnswerPublisher, entry: NameEntry) -> Self {
        Self { publisher, entry, demands: Vec::new(), quiet_until: Instant::now() }
    }

    /// Has a watch be told that requests ask for the name.
    pub(super) fn add_demand(&mut self, demand: Demand) {
        self.demands.push(demand);
    }

    /// Waits until requests ask for the name and its watches should be told. Dropping the future loses nothing.
    pub(super) async fn demanded(&self) {
        self.publisher.demanded_after(self.quiet_until).await;
    }

    /// Tells the watches that requests ask for the name.
    pub(super) fn pass_demand_on(&mut self) {
        let pause = if self.publisher.is_settled() { USUAL } else { DEMAND_PACE };
        self.quiet_until = Instant::now() + pause;
        self.demands.iter().for_each(Demand::pass_on);
    }

    /// Returns the service of the name as it is now. When it has come to stand for something else, forgets what was
    /// published.
    pub(super) fn update(&mut self, service: &mut WatchedService) -> GroupState<KubernetesService> {
        let services = service.known.borrow_and_update().clone();
        if service.external.update(&services) {
            self.publisher.forget();
        }
        services
    }

    /// Publishes a state, as far as it differs from the last one. It rests on a snapshot of the time `before`, if the
    /// process has not seen the cluster since.
    pub(super) fn publish(&mut self, state: NameState, before: Option<Timestamp>) {
        self.publisher.publish(state);
        self.entry.update(&self.publisher, before);
    }
}

/// Publishes the endpoints of the pods of a service, again whenever they change.
pub(super) async fn publish_endpoints<T: Slices>(
    mut publisher: NamePublisher,
    mut service: WatchedService,
    mut labelled: Option<LabelledPods>,
    mut slices: watch::Receiver<GroupState<T>>,
) {
    loop {
        let chosen = labelled
            .as_mut()
            .map(|labelled| (&*labelled.key, &*labelled.value, labelled.pods.borrow_and_update().clone()));
        let (state, before) = {
            let services = publisher.update(&mut service);
            let slices = slices.borrow_and_update();
            let pods = chosen.as_ref().and_then(|(.., pods)| pods.before());
            let before = [services.before(), slices.before(), pods].into_iter().flatten().min();
            let external = service.external_state(&services);
            let state =
                external.unwrap_or_else(|| state(&service.name.port, &services, &slices, chosen.as_ref()));
            (state, before)
        };
        publisher.publish(state, before);
        let pods = async {
            match &mut labelled {
                Some(labelled) => labelled.pods.changed().await,
                None => std::future::pending().await,
            }
        };
        let changed = tokio::select! {
            changed = service.known.changed() => changed,
            () = service.external.changed() => Ok(()),
            changed = slices.changed() => changed,
            changed = pods => changed,
            () = publisher.demanded() => {
                publisher.pass_demand_on();
                Ok(())
            }
            () = publisher.publisher.released() => return,
        };
        // The end of the process.
        if changed.is_err() {
            publisher.publisher.released().await;
            return;
        }
    }
}

/// Returns the objects of a complete list, or the state to publish without one.
pub(super) fn complete<T>(known: &GroupState<T>) -> Result<&GroupView<T>, NameState> {
    match known {
        GroupState::Pending => Err(NameState::Pending),
        GroupState::Failed(reason) => Err(NameState::Failed(Arc::clone(reason))),
        GroupState::Ready(view) => Ok(view),
    }
}

/// Returns the state of two incomplete lists: a failure rather than pending.
pub(super) fn worse(one: NameState, other: NameState) -> NameState {
    if matches!(one, NameState::Failed(_)) { one } else { other }
}

/// The key of a label, the wanted value, and the pods that have it.
type PodSelection<'a> = (&'a str, &'a str, GroupState<Pod>);

/// Returns the state of a name that stands for the pods of a service.
fn state<T: Slices>(
    port: &Port,
    services: &GroupState<KubernetesService>,
    slices: &GroupState<T>,
    chosen: Option<&PodSelection<'_>>,
) -> NameState {
    let (services, slices) = match (complete(services), complete(slices)) {
        (Ok(services), Ok(slices)) => (services, slices),
        (Err(one), Err(other)) => return worse(one, other),
        (Err(one), Ok(_)) | (Ok(_), Err(one)) => return one,
    };
    let mut stale = services.stale || slices.stale;
    let Some(service) = services.one() else { return absent(services.unreadable.as_ref(), stale) };
    let pods = match chosen {
        // The service itself has the label: so do all of its endpoints.
        Some((key, value, _)) if service.has_label(key, value) => None,
        None => None,
        Some((_, _, pods)) => match complete(pods) {
            Ok(view) => Some(view),
            Err(state) => return state,
        },
    };
    stale |= pods.is_some_and(|pods| pods.stale);
    let names = pods.map(|pods| pods.objects.iter().map(|pod| &*pod.0).collect::<HashSet<&str>>());
    let wanted =
        |pod: Option<&str>| names.as_ref().is_none_or(|names| pod.is_some_and(|pod| names.contains(pod)));
    let set = resolve(service, port, slices.objects.iter().flat_map(|slice| slice.slices()), wanted);
    if !set.is_empty() {
        return NameState::Endpoints { set, stale };
    }
    // What came after the last list of what belongs to it: that there is nothing is not known, and must not fall back.
    let unknown =
        |what: &str, Lost { reason, .. }: &Lost| NameState::Failed(format!("{what}: {reason}").into());
    if let Some(lost) = slices.unknown_since(services.newest) {
        return unknown("the endpoints of a service that is new are not known", lost);
    }
    if let Some(lost) = pods.and_then(|pods| pods.lost_before(slices.newest)) {
        return unknown("the labels of a pod that is new are not known", lost);
    }
    absent(slices.unreadable.as_ref(), stale)
}

/// Returns the state of a name that was not found: Neg, unless an object cannot be read that may hold it. That must not
/// fall back in silence.
pub(super) fn absent(unreadable: Option<&Arc<str>>, stale: bool) -> NameState {
    unreadable.map_or(NameState::Neg { stale }, |reason| NameState::Failed(Arc::clone(reason)))
}

#[cfg(test)]
mod tests;
