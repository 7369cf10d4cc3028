//! The judged objects of a watch, each beside the object that it was made of: what has not changed is not judged again.

use super::watched::{Judgeable, WatchedGroup, WatchedSandbox};
use crate::sandbox::{Group, Sandbox, SandboxRules};
use std::sync::Arc;

/// The sandboxes of a watch.
#[derive(Debug)]
pub(super) struct JudgedSandboxes {
    rules: Arc<SandboxRules>,
    judged: Judged<WatchedSandbox, Sandbox>,
}

/// The groups of a watch.
#[derive(Debug, Default)]
pub(super) struct JudgedGroups(Judged<WatchedGroup, Group>);

/// Judged objects, in the order of the names of those that they were made of.
#[derive(Debug)]
struct Judged<T, J>(Vec<(Arc<T>, Arc<J>)>);

impl<T, J> Default for Judged<T, J> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl JudgedSandboxes {
    pub(super) fn new(rules: Arc<SandboxRules>) -> Self {
        Self { rules, judged: Judged::default() }
    }

    /// Takes the present objects, in the order of their names, and returns all of them judged.
    pub(super) fn update(&mut self, objects: &[Arc<WatchedSandbox>]) -> Vec<Arc<Sandbox>> {
        let rules = &self.rules;
        self.judged.update(objects, |object, before| {
            let sandbox = Sandbox::new(&object.written(), rules);
            // The controller has written the end that was known already: bindings stay.
            before.filter(|before| before.is_same(&sandbox)).map_or_else(|| Arc::new(sandbox), Arc::clone)
        })
    }
}

impl JudgedGroups {
    /// Takes the present objects, in the order of their names, and returns all of them judged.
    pub(super) fn update(&mut self, objects: &[Arc<WatchedGroup>]) -> Vec<Arc<Group>> {
        self.0.update(objects, |object, _| Arc::new(Group::new(&object.written())))
    }
}

impl<T: Judgeable, J> Judged<T, J> {
    /// Judges each object that is not the same as before; `judge` is given the object's former judgement.
    fn update(&mut self, objects: &[Arc<T>], judge: impl Fn(&T, Option<&Arc<J>>) -> Arc<J>) -> Vec<Arc<J>> {
        let mut before = std::mem::take(&mut self.0).into_iter().peekable();
        self.0.reserve_exact(objects.len());
        for object in objects {
            // Both lists are in the order of names; most objects are the same, so the names are seldom compared.
            let is_earlier =
                |(known, _): &(Arc<T>, Arc<J>)| !Arc::ptr_eq(known, object) && known.name() < object.name();
            while before.next_if(is_earlier).is_some() {}
            let known =
                before.next_if(|(known, _)| Arc::ptr_eq(known, object) || known.name() == object.name());
            let judged = match known {
                Some((known, judged)) if Arc::ptr_eq(&known, object) => judged,
                Some((_, judged)) => judge(object, Some(&judged)),
                None => judge(object, None),
            };
            self.0.push((Arc::clone(object), judged));
        }
        self.0.iter().map(|(_, judged)| Arc::clone(judged)).collect()
    }
}
