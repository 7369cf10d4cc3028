//! The objects, their changes, and their watchers.

use super::{Bytes, Question, Resource, status};
use crate::cluster::{Service, Size};
use serde_json::json;
use std::ops::Range;
use std::sync::{Arc, OnceLock};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::Instant;

/// What a watch is told.
#[derive(Clone)]
pub(super) struct Event {
    pub(super) line: Bytes,
    /// When it was first written.
    pub(super) written: Arc<OnceLock<Instant>>,
}

impl Event {
    fn new(kind: &str, object: &str) -> Self {
        let line = format!("{{\"type\":\"{kind}\",\"object\":{object}}}\n");
        Self { line: line.into(), written: Arc::default() }
    }
}

/// The cluster, as its API server holds it.
pub(super) struct State {
    size: Size,
    port: u16,
    pub(super) streams: bool,
    /// Complete lists that were sent.
    pub(super) lists: usize,
    /// Of the last change.
    version: u64,
    /// Changes up to this one are forgotten.
    forgotten: u64,
    services: Vec<Arc<str>>,
    slices: Vec<Arc<str>>,
    /// All changes are of slices.
    changes: Vec<(u64, usize, Event)>,
    watches: Vec<(Resource, Range<usize>, UnboundedSender<Event>)>,
}

impl State {
    pub(super) fn new(size: Size, port: u16) -> Self {
        let version = 1;
        let all = (0..size.services).map(|number| Service { number, size, port });
        Self {
            services: all.clone().map(|service| service.service(version).to_string().into()).collect(),
            slices: all.map(|service| service.slice(version, 0).to_string().into()).collect(),
            size,
            port,
            streams: true,
            lists: 0,
            version,
            forgotten: 0,
            changes: Vec::new(),
            watches: Vec::new(),
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.services.iter().chain(&self.slices).map(|object| object.len()).sum()
    }

    /// Moves a service, and tells its watchers.
    pub(super) fn change(&mut self, number: usize, generation: u16) -> Arc<OnceLock<Instant>> {
        self.version += 1;
        let service = Service { number, size: self.size, port: self.port };
        let slice = service.slice(self.version, generation).to_string();
        let event = Event::new("MODIFIED", &slice);
        self.slices[number] = slice.into();
        self.changes.push((self.version, number, event.clone()));
        self.watches.retain(|(resource, numbers, watch)| {
            let told = *resource == Resource::Slices && numbers.contains(&number);
            if told { watch.send(event.clone()).is_ok() } else { !watch.is_closed() }
        });
        event.written
    }

    pub(super) fn forget(&mut self) {
        self.version += 1;
        self.forgotten = self.version;
        self.changes.clear();
        self.watches.clear();
    }

    /// A page of a list.
    pub(super) fn page(&mut self, question: &Question) -> String {
        let (first, limit) = question.page;
        let (numbers, objects) = self.objects(question);
        let begin = numbers.start + first;
        let end = numbers.end.min(begin.saturating_add(limit));
        let mut metadata = json!({ "resourceVersion": self.version.to_string() });
        let items = objects[begin..end].join(",");
        if end < numbers.end {
            metadata["continue"] = (end - numbers.start).to_string().into();
        } else {
            self.lists += 1;
        }
        format!(r#"{{"kind":"List","apiVersion":"v1","metadata":{metadata},"items":[{items}]}}"#)
    }

    /// Begins a watch; gives what it is told at once as well.
    pub(super) fn watch(&mut self, question: &Question) -> (Vec<Event>, UnboundedReceiver<Event>) {
        let (sender, receiver) = unbounded_channel();
        let (numbers, objects) = self.objects(question);
        if !question.stream && question.version < self.forgotten {
            // Without a sender, the watch ends behind this.
            return (vec![Event::new("ERROR", &status(410, "Expired"))], receiver);
        }
        let first = if question.stream {
            let listed = objects[numbers.clone()].iter().map(|object| Event::new("ADDED", object));
            listed.chain([self.end_of_list()]).collect()
        } else {
            let missed = self.changes.iter().filter(|(version, number, _)| {
                *version > question.version
                    && question.resource == Resource::Slices
                    && numbers.contains(number)
            });
            missed.map(|(.., event)| event.clone()).collect()
        };
        self.watches.push((question.resource, numbers, sender));
        (first, receiver)
    }

    fn end_of_list(&self) -> Event {
        let annotations = json!({ "k8s.io/initial-events-end": "true" });
        let metadata = json!({ "resourceVersion": self.version.to_string(), "annotations": annotations });
        let mark = json!({ "kind": "Any", "apiVersion": "v1", "metadata": metadata });
        Event::new("BOOKMARK", &mark.to_string())
    }

    /// All objects of the resource, and which of them are in the namespace.
    fn objects(&self, question: &Question) -> (Range<usize>, &[Arc<str>]) {
        let objects = match question.resource {
            Resource::Services => &self.services,
            Resource::Slices => &self.slices,
        };
        let each = self.size.in_each();
        let name_of = |at: usize| Service { number: at * each, size: self.size, port: self.port }.namespace();
        let numbers = match &question.namespace {
            None => 0..objects.len(),
            Some(namespace) => {
                let at = (0..self.size.namespaces).find(|&at| name_of(at) == *namespace);
                at.map_or(0..0, |at| at * each..(at + 1) * each)
            }
        };
        (numbers, objects)
    }
}
