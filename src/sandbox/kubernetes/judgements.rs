//! The judged objects of a watch, each beside the object that it was made of: what has not changed is not judged again.

use crate::sandbox::{Group, GroupSpec, Sandbox, SandboxRules, SandboxSpec, Written};
use std::sync::Arc;

/// An object of a watch that can be judged.
pub trait Judgeable {
    /// The part that its owner writes.
    type Spec;

    /// Returns its name, by which the objects of a watch are ordered.
    fn name(&self) -> &str;

    /// Returns the object as it was written.
    fn written(&self) -> Written<Self::Spec>;
}

/// The sandboxes of a watch, judged.
#[derive(Debug)]
pub struct SandboxJudgements<T> {
    rules: Arc<SandboxRules>,
    judged: Judgements<T, Sandbox>,
}

/// The groups of a watch, judged.
#[derive(Debug)]
pub struct GroupJudgements<T>(Judgements<T, Group>);

/// The judged objects of a watch, in the order of the names of those that they were made of.
#[derive(Debug)]
struct Judgements<T, J>(Vec<(Arc<T>, Arc<J>)>);

impl<T: Judgeable<Spec = SandboxSpec>> SandboxJudgements<T> {
    /// Makes an empty list of sandboxes, which are judged under these rules.
    pub const fn new(rules: Arc<SandboxRules>) -> Self {
        Self { rules, judged: Judgements(Vec::new()) }
    }

    /// Takes the present objects, in the order of their names, and returns all of them judged, in this order.
    ///
    /// A sandbox stays the same value, in the same version, for as long as it says the same: also when the controller
    /// has written the end that was known already.
    pub fn update(&mut self, objects: &[Arc<T>]) -> Vec<Arc<Sandbox>> {
        let rules = &self.rules;
        self.judged.update(objects, |object, before| {
            let sandbox = Sandbox::new(&object.written(), rules);
            before.filter(|before| before.is_same(&sandbox)).map_or_else(|| Arc::new(sandbox), Arc::clone)
        })
    }
}

impl<T: Judgeable<Spec = GroupSpec>> GroupJudgements<T> {
    /// Takes the present objects, in the order of their names, and returns all of them judged, in this order.
    pub fn update(&mut self, objects: &[Arc<T>]) -> Vec<Arc<Group>> {
        self.0.update(objects, |object, _| Arc::new(Group::new(&object.written())))
    }
}

impl<T> Default for GroupJudgements<T> {
    fn default() -> Self {
        Self(Judgements(Vec::new()))
    }
}

impl<T: Judgeable, J> Judgements<T, J> {
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
