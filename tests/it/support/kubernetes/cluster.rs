//! The objects of a cluster, their history, and their watchers.

use super::{Manners, Streams, cluster_status};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::sync::mpsc;

/// The resources: kind, plural and version.
const RESOURCES: [(&str, &str, &str); 11] = [
    ("Secret", "secrets", "v1"),
    ("Service", "services", "v1"),
    ("Endpoints", "endpoints", "v1"),
    ("Pod", "pods", "v1"),
    ("EndpointSlice", "endpointslices", "discovery.k8s.io/v1"),
    ("ConfigMap", "configmaps", "v1"),
    ("Dtab", "dtabs", "signpost.dev/v1alpha1"),
    ("DTab", "dtabs", "l5d.io/v1alpha1"),
    ("Sandbox", "sandboxes", "signpost.dev/v1alpha1"),
    ("SandboxGroup", "sandboxgroups", "signpost.dev/v1alpha1"),
    ("Ingress", "ingresses", "networking.k8s.io/v1"),
];

/// A Service with named ports.
pub(crate) fn service(namespace: &str, name: &str, ports: &[(&str, u16)]) -> Value {
    let port = |(name, port): &(&str, u16)| json!({ "name": name, "port": port });
    let ports: Vec<Value> = ports.iter().map(port).collect();
    json!({ "kind": "Service", "metadata": { "namespace": namespace, "name": name }, "spec": { "ports": ports } })
}

/// An EndpointSlice of a service with one port; each address is ready.
///
/// Each address has its own port here, because a test's pods all live on loopback: there is a slice for each.
pub(crate) fn slice(namespace: &str, service: &str, port: &str, address: SocketAddr) -> Value {
    let name = format!("{service}-{}", address.port());
    json!({
        "kind": "EndpointSlice",
        "metadata": { "namespace": namespace, "name": name, "labels": { "kubernetes.io/service-name": service } },
        "addressType": "IPv4",
        "ports": [{ "name": port, "port": address.port(), "protocol": "TCP" }],
        "endpoints": [{
            "addresses": [address.ip()],
            "conditions": { "ready": true },
            "targetRef": { "kind": "Pod", "name": format!("pod-{}", address.port()) },
        }],
    })
}

/// An Endpoints object with a subset for each address.
pub(crate) fn endpoints(namespace: &str, name: &str, port: &str, addresses: &[SocketAddr]) -> Value {
    let subset = |address: &SocketAddr| json!({ "addresses": [{ "ip": address.ip() }], "ports": [{ "name": port, "port": address.port() }] });
    let subsets: Vec<Value> = addresses.iter().map(subset).collect();
    json!({ "kind": "Endpoints", "metadata": { "namespace": namespace, "name": name }, "subsets": subsets })
}

/// An Ingress.
pub(crate) fn ingress(namespace: &str, name: &str, spec: &Value) -> Value {
    json!({ "kind": "Ingress", "metadata": { "namespace": namespace, "name": name }, "spec": spec })
}

/// A Secret with a certificate and its key.
pub(crate) fn tls_secret(namespace: &str, name: &str, cert: &str, key: &str) -> Value {
    use base64::Engine as _;
    let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    json!({
        "kind": "Secret",
        "metadata": { "namespace": namespace, "name": name, "uid": format!("uid-of-{name}") },
        "type": "kubernetes.io/tls",
        "data": { "tls.crt": encode(cert), "tls.key": encode(key) },
    })
}

/// The pod of a slice, with a label.
pub(crate) fn pod(namespace: &str, address: SocketAddr, label: (&str, &str)) -> Value {
    let name = format!("pod-{}", address.port());
    json!({ "kind": "Pod", "metadata": { "namespace": namespace, "name": name, "labels": { label.0: label.1 } } })
}

/// A ConfigMap with one key.
pub(crate) fn config_map(namespace: &str, name: &str, key: &str, text: &str) -> Value {
    json!({ "kind": "ConfigMap", "metadata": { "namespace": namespace, "name": name }, "data": { key: text } })
}

/// A `Sandbox`.
pub(crate) fn sandbox(namespace: &str, name: &str, dtab: &str) -> Value {
    json!({ "kind": "Sandbox", "metadata": { "namespace": namespace, "name": name }, "spec": { "dtab": dtab } })
}

/// A `Dtab` of our own group.
pub(crate) fn dtab(namespace: &str, name: &str, text: &str) -> Value {
    json!({ "kind": "Dtab", "metadata": { "namespace": namespace, "name": name }, "spec": { "dtab": text } })
}

/// What a request asks for.
#[derive(Clone, Debug)]
pub(super) struct Question {
    plural: String,
    /// `v1`, `discovery.k8s.io/v1`
    version: String,
    namespace: Option<String>,
    parameters: HashMap<String, String>,
    pub(super) watch: bool,
    /// A streamed list.
    pub(super) stream: bool,
}

impl Question {
    pub(super) fn of(target: &str) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let segments: Vec<&str> = path.split('/').collect();
        let namespace =
            segments.iter().position(|segment| *segment == "namespaces").map(|at| segments[at + 1]);
        let parameters: HashMap<_, _> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let is = |name: &str| parameters.get(name).is_some_and(|value| value == "true");
        let version = match segments.as_slice() {
            ["", "api", version, ..] => (*version).to_owned(),
            ["", "apis", group, version, ..] => format!("{group}/{version}"),
            _ => String::new(),
        };
        Self {
            plural: segments.last().copied().unwrap_or_default().to_owned(),
            version,
            namespace: namespace.map(str::to_owned),
            watch: is("watch"),
            stream: is("sendInitialEvents"),
            parameters,
        }
    }

    /// Whether it asks about a namespace that begins so.
    pub(super) fn is_in(&self, prefix: &str) -> bool {
        self.namespace.as_ref().is_some_and(|namespace| namespace.starts_with(prefix))
    }

    /// Whether it asks for this resource.
    pub(super) fn is_of(&self, plural: &str) -> bool {
        self.plural == plural
    }

    /// How long a watch is to last.
    pub(super) fn life(&self) -> Duration {
        Duration::from_secs(self.number("timeoutSeconds").expect("a watch says how long it lasts"))
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.parameters
            .get(name)
            .filter(|value| !value.is_empty())
            .map(|value| value.parse().expect("a number"))
    }

    /// Whether it asks for this object.
    fn takes(&self, object: &Value) -> bool {
        let metadata = &object["metadata"];
        let here = self.namespace.as_ref().is_none_or(|namespace| metadata["namespace"] == **namespace);
        let label = self.parameters.get("labelSelector").is_none_or(|key| !metadata["labels"][key].is_null());
        let field = self.parameters.get("fieldSelector").is_none_or(|selector| {
            let (field, value) = selector.split_once('=').expect("a selector has a value");
            object.pointer(&format!("/{}", field.replace('.', "/"))).is_some_and(|found| *found == *value)
        });
        plural(object) == self.plural && object["apiVersion"] == *self.version && here && label && field
    }
}

/// Which object it is: kind, namespace and name.
fn key(object: &Value) -> (String, String, String) {
    let text = |value: &Value| value.as_str().expect("objects have names").to_owned();
    let metadata = &object["metadata"];
    (text(&object["kind"]), text(&metadata["namespace"]), text(&metadata["name"]))
}

/// The namespace and the name of the object whose status this is.
fn status_of(target: &str) -> Option<(String, String)> {
    let path = target.split('?').next()?.strip_suffix("/status")?;
    let mut segments = path.rsplit('/');
    let (name, _, namespace) = (segments.next()?, segments.next()?, segments.next()?);
    Some((namespace.to_owned(), name.to_owned()))
}

fn resource(kind: &str) -> (&'static str, &'static str) {
    let found = RESOURCES.iter().find(|(known, ..)| *known == kind);
    found.map(|(_, plural, version)| (*plural, *version)).expect("a kind that is known")
}

fn plural(object: &Value) -> &'static str {
    resource(object["kind"].as_str().expect("an object has a kind")).0
}

/// What a watch is told.
#[derive(Clone, Debug)]
pub(super) enum Told {
    Line(String),
    End,
}

/// The objects and their history.
#[derive(Debug, Default)]
pub(super) struct Cluster {
    /// Of the last change.
    version: u64,
    /// Changes up to this one are forgotten.
    forgotten: u64,
    objects: BTreeMap<(String, String, String), Value>,
    history: Vec<(u64, &'static str, Value)>,
    watches: Vec<(Question, mpsc::UnboundedSender<Told>)>,
    /// Watches that are told nothing more.
    dark: Vec<mpsc::UnboundedSender<Told>>,
}

impl Cluster {
    /// Takes an object; without a status it keeps the one it has.
    pub(super) fn put(&mut self, mut object: Value) {
        let old = self.objects.get(&key(&object));
        let generation = old.map(|old| old["metadata"]["generation"].as_u64().expect("a generation") + 1);
        object["metadata"]["generation"] = generation.unwrap_or(1).into();
        if let (None, Some(status)) = (object.get("status"), old.and_then(|old| old.get("status"))) {
            object["status"] = status.clone();
        }
        self.change(object);
    }

    pub(super) fn object(&self, kind: &str, namespace: &str, name: &str) -> Value {
        let key = (kind.to_owned(), namespace.to_owned(), name.to_owned());
        self.objects.get(&key).expect("it is there").clone()
    }

    /// Applies a status; says with which status this is refused, if it is.
    pub(super) fn apply_status(&mut self, target: &str, patch: &Value) -> Result<Value, u16> {
        let (namespace, name) = status_of(target).ok_or(404_u16)?;
        let kind = patch["kind"].as_str().unwrap_or_default().to_owned();
        let old = self.objects.get(&(kind, namespace, name)).ok_or(404_u16)?;
        if patch["metadata"]["resourceVersion"] != old["metadata"]["resourceVersion"] {
            return Err(409);
        }
        let mut object = old.clone();
        object["status"] = patch["status"].clone();
        self.change(object.clone());
        Ok(object)
    }

    fn change(&mut self, mut object: Value) {
        self.version += 1;
        object["apiVersion"] = resource(object["kind"].as_str().expect("an object has a kind")).1.into();
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        let old = self.objects.insert(key(&object), object.clone());
        self.happen(if old.is_some() { "MODIFIED" } else { "ADDED" }, object);
    }

    pub(super) fn delete(&mut self, kind: &str, namespace: &str, name: &str) {
        self.version += 1;
        let key = (kind.to_owned(), namespace.to_owned(), name.to_owned());
        let mut object = self.objects.remove(&key).expect("it is there");
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.happen("DELETED", object);
    }

    fn happen(&mut self, what: &'static str, object: Value) {
        let line = event(what, &object);
        for (question, sender) in &self.watches {
            if question.takes(&object) {
                let _ = sender.send(line.clone());
            }
        }
        self.history.push((self.version, what, object));
    }

    pub(super) fn compact(&mut self) {
        self.version += 1;
        self.forgotten = self.version;
        self.history.clear();
    }

    pub(super) fn tell_all(&mut self, told: &Told) {
        for (_, sender) in &self.watches {
            let _ = sender.send(told.clone());
        }
        if matches!(told, Told::End) {
            self.watches.clear();
        }
    }

    pub(super) fn forget_watches(&mut self) {
        self.watches.clear();
        self.dark.clear();
    }

    pub(super) fn keep_watches_in_the_dark(&mut self) {
        self.dark.extend(self.watches.drain(..).map(|(_, sender)| sender));
    }

    pub(super) fn open_watches(&mut self) -> usize {
        self.watches.retain(|(_, sender)| !sender.is_closed());
        self.watches.len()
    }

    pub(super) fn has_forgotten(&self, question: &Question) -> bool {
        question.number("resourceVersion").is_some_and(|version| version < self.forgotten)
    }

    /// A page of a list; the token that leads on is where it goes on.
    pub(super) fn list(&self, question: &Question, page: usize) -> Value {
        let first = question.number("continue").unwrap_or(0) as usize;
        let limit = question.number("limit").map_or(page, |limit| page.min(limit as usize));
        let all: Vec<&Value> = self.objects.values().filter(|object| question.takes(object)).collect();
        let items: Vec<&Value> = all.iter().copied().skip(first).take(limit).collect();
        let mut metadata = json!({ "resourceVersion": self.version.to_string() });
        if first + items.len() < all.len() {
            metadata["continue"] = (first + items.len()).to_string().into();
        }
        json!({ "kind": "List", "apiVersion": "v1", "metadata": metadata, "items": items })
    }

    /// Begins a watch.
    pub(super) fn watch(&mut self, question: &Question, manners: &Manners) -> mpsc::UnboundedReceiver<Told> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let tell = |told: Told| drop(sender.send(told));
        let from = question.number("resourceVersion");
        if self.has_forgotten(question) {
            tell(event("ERROR", &cluster_status(410, "Expired", "too old resource version")));
            tell(Told::End);
            return receiver;
        }
        match from {
            Some(from) => {
                let missed = self.history.iter().filter(|(version, ..)| *version > from);
                missed
                    .filter(|(.., object)| question.takes(object))
                    .for_each(|(_, what, object)| tell(event(what, object)));
            }
            None => {
                let objects = self.objects.values().filter(|object| question.takes(object));
                objects.for_each(|object| tell(event("ADDED", object)));
                if question.stream && manners.streams == Streams::Yes {
                    tell(self.bookmark(&json!({ "k8s.io/initial-events-end": "true" })));
                }
            }
        }
        if manners.bookmarks && from.is_some() {
            tell(self.bookmark(&json!({})));
        }
        if manners.ends_watches {
            tell(Told::End);
        } else {
            self.watches.push((question.clone(), sender));
        }
        receiver
    }

    fn bookmark(&self, annotations: &Value) -> Told {
        let metadata = json!({ "resourceVersion": self.version.to_string(), "annotations": annotations });
        event("BOOKMARK", &json!({ "kind": "Any", "apiVersion": "v1", "metadata": metadata }))
    }
}

fn event(what: &str, object: &Value) -> Told {
    Told::Line(format!("{}\n", json!({ "type": what, "object": object })))
}
