//! The sandboxes of a namespace of Kubernetes, as the command line changes them.

use super::stored::{ItemState, StoredItem};
use crate::kubernetes::{Access, ApiClient, ApiClients, Config, WriteError};
use crate::sandbox::kubernetes::{ACCEPTED, GroupResource, READY, SandboxResource};
use crate::sandbox::{DEFAULT_TTL, GroupSpec, Item, SandboxId, SandboxSpec, Written, parse_ttl};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// How often a change is tried again that meets another one: the controller writes at the same time.
const ATTEMPTS: usize = 5;

/// The sandboxes of one namespace.
pub(super) struct ClusterStore {
    client: ApiClient,
    namespace: String,
}

/// An object of the cluster, as it was read.
pub(super) enum Object {
    /// A sandbox.
    Sandbox(SandboxResource),
    /// A group.
    Group(GroupResource),
}

impl ClusterStore {
    /// Connects to the API server of a kubeconfig, or of the pod.
    pub(super) async fn open(
        kubeconfig: Option<PathBuf>,
        context: Option<String>,
        namespace: Option<String>,
    ) -> Result<Self, String> {
        let access = match (kubeconfig, context) {
            (None, None) => Access::Found,
            (file, context) => Access::Kubeconfig { file, context },
        };
        let config = Config::from(access);
        config.check().map_err(|error| error.to_string())?;
        let client = ApiClients::default().get(&config);
        let namespace = match namespace {
            Some(namespace) => namespace,
            None => client.default_namespace().await.map_err(|error| error.to_string())?,
        };
        Ok(Self { client, namespace })
    }

    /// Returns the place in words.
    pub(super) fn place(&self) -> String {
        format!("namespace {}", self.namespace)
    }

    /// Returns all sandboxes, then all groups.
    pub(super) async fn items(&self) -> Result<Vec<StoredItem>, String> {
        let said = |error| match error {
            WriteError::Outdated => UNDEFINED.to_owned(),
            error => error.to_string(),
        };
        let sandboxes = self.client.list::<SandboxResource>(&self.namespace).await.map_err(said)?;
        let groups = self.client.list::<GroupResource>(&self.namespace).await.map_err(said)?;
        let now = Timestamp::now();
        let all = sandboxes.into_iter().map(Object::Sandbox).chain(groups.into_iter().map(Object::Group));
        Ok(all.map(|object| object.stored(now)).collect())
    }

    /// Returns the sandbox of this name, or else the group.
    pub(super) async fn find(&self, name: &str) -> Result<Option<Object>, String> {
        let said = |error: WriteError| error.to_string();
        if let Some(sandbox) = self.client.get(&self.namespace, name).await.map_err(said)? {
            return Ok(Some(Object::Sandbox(sandbox)));
        }
        let group = self.client.get(&self.namespace, name).await.map_err(said)?;
        Ok(group.map(Object::Group))
    }

    /// Removes the object of this name; returns whether it was there.
    pub(super) async fn delete(&self, name: &str) -> Result<bool, String> {
        for _ in 0..ATTEMPTS {
            let Some(object) = self.find(name).await? else { return Ok(false) };
            match self.remove(name, &object).await {
                Ok(()) => return Ok(true),
                Err(WriteError::Outdated) => {}
                Err(error) => return Err(error.to_string()),
            }
        }
        Err(format!("{name} changes all the time: try again"))
    }

    async fn remove(&self, name: &str, object: &Object) -> Result<(), WriteError> {
        let ObjectMeta { uid, resource_version, .. } = object.metadata().clone();
        let version = (uid, resource_version);
        match object {
            Object::Sandbox(_) => self.client.delete::<SandboxResource>(&self.namespace, name, version).await,
            Object::Group(_) => self.client.delete::<GroupResource>(&self.namespace, name, version).await,
        }
    }

    /// Makes an object, or changes the one with its name; returns a line that says what has changed.
    pub(super) async fn put(&self, item: &Item) -> Result<String, String> {
        let name = item.name();
        if let Item::Sandbox(Written { created: Some(_), .. }) = item {
            return Err(format!("{name}: leave `createdAt` out: in a cluster, the API server writes it"));
        }
        for _ in 0..ATTEMPTS {
            let done = match item {
                Item::Sandbox(wanted) => self.put_sandbox(wanted).await,
                Item::Group(wanted) => self.put_group(wanted).await,
            };
            match done {
                Ok(told) => return Ok(format!("{}/{name}: {told}", self.namespace)),
                Err(WriteError::Outdated) => {}
                Err(error) => return Err(format!("{name}: {error}")),
            }
        }
        // A creation that is refused like this again and again meets no other object.
        match self.find(name).await? {
            Some(_) => Err(format!("{name} changes all the time: try again")),
            None => Err(format!("{name}: there is no {}, or {UNDEFINED}", self.place())),
        }
    }

    async fn put_sandbox(&self, wanted: &Written<SandboxSpec>) -> Result<String, WriteError> {
        let (namespace, name) = (&self.namespace, &*wanted.id.name);
        let before: Option<SandboxResource> = self.client.get(namespace, name).await?;
        let has_ended = |object: &SandboxResource| end(object).is_some_and(|end| end <= Timestamp::now());
        let mut object = match before {
            Some(object) if has_ended(&object) => {
                self.remove(name, &Object::Sandbox(object)).await?;
                return self.create_sandbox(wanted).await;
            }
            Some(object) => object,
            None => return self.create_sandbox(wanted).await,
        };
        let changed = changes(&object.spec, &wanted.spec, &object.metadata, &wanted.labels);
        if changed.is_empty() {
            return Ok("unchanged".to_owned());
        }
        object.spec = wanted.spec.clone();
        object.metadata.labels.get_or_insert_default().extend(wanted.labels.clone());
        self.client.replace(namespace, name, &object).await?;
        Ok(format!("updated ({changed})"))
    }

    async fn create_sandbox(&self, wanted: &Written<SandboxSpec>) -> Result<String, WriteError> {
        let metadata = self.metadata(&wanted.id, &wanted.labels);
        let object = SandboxResource { metadata, spec: wanted.spec.clone(), status: None };
        self.client.create(&self.namespace, &object).await?;
        Ok("created".to_owned())
    }

    async fn put_group(&self, wanted: &Written<GroupSpec>) -> Result<String, WriteError> {
        let (namespace, name) = (&self.namespace, &*wanted.id.name);
        let before: Option<GroupResource> = self.client.get(namespace, name).await?;
        let Some(mut object) = before else {
            let metadata = self.metadata(&wanted.id, &wanted.labels);
            let object = GroupResource { metadata, spec: wanted.spec.clone(), status: None };
            self.client.create(namespace, &object).await?;
            return Ok("created".to_owned());
        };
        let changed = changes(&object.spec, &wanted.spec, &object.metadata, &wanted.labels);
        if changed.is_empty() {
            return Ok("unchanged".to_owned());
        }
        object.spec = wanted.spec.clone();
        self.client.replace(namespace, name, &object).await?;
        Ok(format!("updated ({changed})"))
    }

    fn metadata(&self, id: &SandboxId, labels: &BTreeMap<String, String>) -> ObjectMeta {
        ObjectMeta {
            name: Some(id.name.to_string()),
            namespace: Some(self.namespace.clone()),
            labels: (!labels.is_empty()).then(|| labels.clone()),
            ..ObjectMeta::default()
        }
    }
}

/// Returns the keys in which an object differs from the wanted one, in words. Labels of others do not count.
fn changes<S: serde::Serialize>(
    before: &S,
    wanted: &S,
    metadata: &ObjectMeta,
    labels: &BTreeMap<String, String>,
) -> String {
    let mut changed = super::create::changed_keys(before, wanted);
    let known = |(key, value): (&String, &String)| {
        metadata.labels.as_ref().and_then(|labels| labels.get(key)) == Some(value)
    };
    if !labels.iter().all(known) {
        changed.push("labels".to_owned());
    }
    changed.join(", ")
}

/// Returns the end of a sandbox: the one that the controller has written, or the one that it will write.
fn end(SandboxResource { metadata, spec, status }: &SandboxResource) -> Option<Timestamp> {
    let written = status.as_ref().and_then(|status| status.expires_at).or(spec.expires_at);
    written.or_else(|| {
        let created = metadata.creation_timestamp.as_ref()?.0;
        let ttl = spec.ttl.as_deref().map_or(Ok(DEFAULT_TTL), parse_ttl).ok()?;
        created.checked_add(SignedDuration::try_from(ttl).ok()?).ok()
    })
}

impl Object {
    const fn metadata(&self) -> &ObjectMeta {
        match self {
            Self::Sandbox(sandbox) => &sandbox.metadata,
            Self::Group(group) => &group.metadata,
        }
    }

    /// Returns the object with its state at `now`.
    pub(super) fn stored(self, now: Timestamp) -> StoredItem {
        let (observed, conditions) = match &self {
            Self::Sandbox(SandboxResource { status: Some(status), .. }) => {
                (status.observed_generation, &*status.conditions)
            }
            Self::Group(GroupResource { status: Some(status), .. }) => {
                (status.observed_generation, &*status.conditions)
            }
            _ => (None, &[][..]),
        };
        let is_judged = observed.is_some() && observed == self.metadata().generation;
        let state = if is_judged { judged(conditions) } else { ItemState::Waiting(UNJUDGED.to_owned()) };
        let ObjectMeta { namespace, name, labels, creation_timestamp, .. } = self.metadata().clone();
        let id = SandboxId { namespace: None, name: name.unwrap_or_default().into() };
        let (created, labels) = (creation_timestamp.map(|time| time.0), labels.unwrap_or_default());
        let (item, end) = match self {
            Self::Sandbox(sandbox) => {
                let end = end(&sandbox);
                let spec = sandbox.spec;
                (Item::Sandbox(Written { id, labels, created, expires: end, spec }), end)
            }
            Self::Group(group) => {
                (Item::Group(Written { id, labels, created, expires: None, spec: group.spec }), None)
            }
        };
        let state = if end.is_some_and(|end| end <= now) { ItemState::Ended } else { state };
        StoredItem { namespace, item, state, end }
    }
}

/// The advice when the API server does not know the resources.
const UNDEFINED: &str = "the cluster has no sandboxes: define them (`kubectl apply --filename examples/kubernetes/sandbox-crds.yaml`)";

/// The reason why an object is not ready before the controller has said anything.
const UNJUDGED: &str = "nothing has judged it yet: `signpost controller` must run in the cluster";

/// Returns the state that the controller's conditions say.
fn judged(conditions: &[Condition]) -> ItemState {
    let find = |kind: &str| conditions.iter().find(|condition| condition.type_ == kind);
    let text = |condition: &Condition| format!("{}: {}", condition.reason, condition.message);
    match (find(ACCEPTED), find(READY)) {
        (Some(accepted), _) if accepted.status == "False" => ItemState::Refused(text(accepted)),
        (_, Some(ready)) if ready.status == "True" => ItemState::Ready,
        (_, Some(ready)) => ItemState::Waiting(text(ready)),
        _ => ItemState::Waiting(UNJUDGED.to_owned()),
    }
}
