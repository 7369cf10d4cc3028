//! The objects of a cluster, their history, and who watches them.

use super::{Manners, Streams, cluster_status};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use tokio::sync::mpsc;

/// The resources: kind, plural and version.
const RESOURCES: [(&str, &str, &str); 5] = [
    ("Service", "services", "v1"),
    ("Endpoints", "endpoints", "v1"),
    ("Pod", "pods", "v1"),
    ("EndpointSlice", "endpointslices", "discovery.k8s.io/v1"),
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

/// The pod of a slice, with a label.
pub(crate) fn pod(namespace: &str, address: SocketAddr, label: (&str, &str)) -> Value {
    let name = format!("pod-{}", address.port());
    json!({ "kind": "Pod", "metadata": { "namespace": namespace, "name": name, "labels": { label.0: label.1 } } })
}

/// What a request asks for.
#[derive(Clone, Debug)]
pub(super) struct Question {
    plural: String,
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
        Self {
            plural: segments.last().copied().unwrap_or_default().to_owned(),
            namespace: namespace.map(str::to_owned),
            watch: is("watch"),
            stream: is("sendInitialEvents"),
            parameters,
        }
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
        plural(object) == self.plural && here && label
    }
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
    pub(super) fn put(&mut self, mut object: Value) {
        self.version += 1;
        object["apiVersion"] = resource(object["kind"].as_str().expect("an object has a kind")).1.into();
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        let text = |value: &Value| value.as_str().expect("objects have names").to_owned();
        let metadata = &object["metadata"];
        let key = (plural(&object).to_owned(), text(&metadata["namespace"]), text(&metadata["name"]));
        let old = self.objects.insert(key, object.clone());
        self.happen(if old.is_some() { "MODIFIED" } else { "ADDED" }, object);
    }

    pub(super) fn delete(&mut self, kind: &str, namespace: &str, name: &str) {
        self.version += 1;
        let key = (resource(kind).0.to_owned(), namespace.to_owned(), name.to_owned());
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
