//! The parts of both resources that a router keeps: enough to judge them, and nothing that the controller writes but the
//! end, so that a written status changes nothing.

use super::judgements::Judgeable;
use super::resource::{GroupResource, SandboxResource};
use crate::kubernetes::WatchedObject;
use crate::sandbox::{GroupSpec, SandboxId, SandboxSpec, Written};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A `Sandbox`, as a router keeps it. The values of its spec stand beside it, as a list.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchedSandbox(WatchedParts<SandboxSpec>, Box<[(Box<str>, Box<str>)]>);

/// A `SandboxGroup`, as a router keeps it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchedGroup(WatchedParts<GroupSpec>);

/// The parts that both have.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct WatchedParts<S> {
    namespace: Arc<str>,
    name: Arc<str>,
    created: Option<Timestamp>,
    expires: Option<Timestamp>,
    /// In the order of their names: a list of a few takes a fraction of the memory of a map.
    labels: Box<[(Box<str>, Box<str>)]>,
    spec: S,
}

impl<S> WatchedParts<S> {
    fn new(Written { id, labels, created, expires, spec }: Written<S>) -> Self {
        let namespace = id.namespace.unwrap_or_else(|| "".into());
        let labels = labels.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        Self { namespace, name: id.name, created, expires, labels, spec }
    }
}

impl<S: Clone> WatchedParts<S> {
    fn written(&self) -> Written<S> {
        let (namespace, name) = (Some(Arc::clone(&self.namespace)), Arc::clone(&self.name));
        Written {
            id: SandboxId { namespace, name },
            labels: self.labels.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect(),
            created: self.created,
            expires: self.expires,
            spec: self.spec.clone(),
        }
    }
}

impl WatchedObject for WatchedSandbox {
    type ApiObject = SandboxResource;

    fn from_api(object: Self::ApiObject) -> Self {
        let mut written = object.written();
        let values = std::mem::take(&mut written.spec.values);
        let values = values.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        Self(WatchedParts::new(written), values)
    }
}

impl WatchedObject for WatchedGroup {
    type ApiObject = GroupResource;

    fn from_api(object: Self::ApiObject) -> Self {
        // Its labels say nothing to a router.
        Self(WatchedParts::new(Written { labels: BTreeMap::new(), ..object.written() }))
    }
}

impl Judgeable for WatchedSandbox {
    type Spec = SandboxSpec;

    fn name(&self) -> &str {
        &self.0.name
    }

    fn written(&self) -> Written<SandboxSpec> {
        let mut written = self.0.written();
        written.spec.values =
            self.1.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
        written
    }
}

impl Judgeable for WatchedGroup {
    type Spec = GroupSpec;

    fn name(&self) -> &str {
        &self.0.name
    }

    fn written(&self) -> Written<GroupSpec> {
        self.0.written()
    }
}
