//! The pods behind one name, for as long as somebody wants to know.

use super::held::HeldName;
use super::name::{Name, Port};
use super::pod::Pod;
use super::resolve::resolve;
use super::service::Service;
use super::slice::Slices;
use crate::kubernetes::{GroupState, GroupView};
use crate::namer::published::{Published, Verdict};
use jiff::Timestamp;
use std::collections::HashSet;
use std::sync::Arc;
use tokio::sync::watch;

/// Who is told what becomes of a name.
#[derive(Debug)]
pub(super) struct Follower {
    pub(super) published: Published,
    pub(super) held: HeldName,
}

/// The pods whose label has a value.
#[derive(Debug)]
pub(super) struct Labelled {
    pub(super) key: Arc<str>,
    pub(super) value: Arc<str>,
    pub(super) pods: watch::Receiver<GroupState<Pod>>,
}

impl Follower {
    /// Says what has changed; it rests on what was known at `before`, if that was before the process began.
    pub(super) fn say(&mut self, verdict: Verdict, before: Option<Timestamp>) {
        self.published.say(verdict);
        self.held.show(&self.published, before);
    }
}

/// Says where the pods of a service are, whenever that changes.
pub(super) async fn follow<T: Slices>(
    mut follower: Follower,
    name: Name,
    mut labelled: Option<Labelled>,
    mut services: watch::Receiver<GroupState<Service>>,
    mut slices: watch::Receiver<GroupState<T>>,
) {
    loop {
        let chosen = labelled
            .as_mut()
            .map(|labelled| (&*labelled.key, &*labelled.value, labelled.pods.borrow_and_update().clone()));
        let (verdict, before) = {
            let (services, slices) = (services.borrow_and_update(), slices.borrow_and_update());
            let pods = chosen.as_ref().and_then(|(.., pods)| pods.before());
            let before = [services.before(), slices.before(), pods].into_iter().flatten().min();
            (verdict(&name.port, &services, &slices, chosen), before)
        };
        follower.say(verdict, before);
        let pods = async {
            match &mut labelled {
                Some(labelled) => labelled.pods.changed().await,
                None => std::future::pending().await,
            }
        };
        let changed = tokio::select! {
            changed = services.changed() => changed,
            changed = slices.changed() => changed,
            changed = pods => changed,
            () = follower.published.released() => return,
        };
        // A watch that was refused says nothing more.
        if changed.is_err() {
            follower.published.released().await;
            return;
        }
    }
}

/// The objects of a complete list, or what is to be said without one.
pub(super) fn complete<T>(known: &GroupState<T>) -> Result<&GroupView<T>, Verdict> {
    match known {
        GroupState::Pending => Err(Verdict::Pending),
        GroupState::Failed(reason) => Err(Verdict::Failed(Arc::clone(reason))),
        GroupState::Ready(view) => Ok(view),
    }
}

/// What of several lists that are needed decides: a failure before what is still to come.
pub(super) fn worse(one: Verdict, other: Verdict) -> Verdict {
    if matches!(one, Verdict::Failed(_)) { one } else { other }
}

/// A label's key, the value that is wanted, and the pods that have it.
type Chosen<'a> = (&'a str, &'a str, GroupState<Pod>);

fn verdict<T: Slices>(
    port: &Port,
    services: &GroupState<Service>,
    slices: &GroupState<T>,
    chosen: Option<Chosen<'_>>,
) -> Verdict {
    let (services, slices) = match (complete(services), complete(slices)) {
        (Ok(services), Ok(slices)) => (services, slices),
        (Err(one), Err(other)) => return worse(one, other),
        (Err(one), Ok(_)) | (Ok(_), Err(one)) => return one,
    };
    let mut stale = services.stale || slices.stale;
    let Some(service) = services.one() else { return absent(services.unreadable.as_ref(), stale) };
    let of_pods = match chosen {
        // The service itself has the label: so do all of its endpoints.
        Some((key, value, _)) if service.has_label(key, value) => None,
        None => None,
        Some((_, _, pods)) => match complete(&pods) {
            Ok(view) => {
                stale |= view.stale;
                Some(view.objects.iter().map(|pod| pod.0.to_string()).collect::<HashSet<_>>())
            }
            Err(verdict) => return verdict,
        },
    };
    let wanted =
        |pod: Option<&str>| of_pods.as_ref().is_none_or(|pods| pod.is_some_and(|pod| pods.contains(pod)));
    let set = resolve(service, port, slices.objects.iter().flat_map(|slice| slice.slices()), wanted);
    if set.is_empty() { absent(slices.unreadable.as_ref(), stale) } else { Verdict::Endpoints { set, stale } }
}

/// What is not there is Neg, unless it may be in something that cannot be read: that must not fall back in silence.
pub(super) fn absent(unreadable: Option<&Arc<str>>, stale: bool) -> Verdict {
    unreadable.map_or(Verdict::Neg { stale }, |reason| Verdict::Failed(Arc::clone(reason)))
}

#[cfg(test)]
mod tests;
