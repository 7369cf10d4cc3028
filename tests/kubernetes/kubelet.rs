//! A kubelet whose pods are sockets: a pod is a server at an address of its own, which answers with the pod's name. Pods
//! of our own image are containers.

use super::container::{self, Container, Host};
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchParams};
use kube::core::WatchEvent;
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::{AbortHandle, JoinHandle, spawn_local};
use tokio::time::{Instant, sleep};

/// The port of every pod.
const PORT: u16 = 8080;

/// How long a pod that is to end still serves: as long as its template grants. The EndpointSlice controller may take
/// more than a second to say that it is to end, because it repeats what it did on stale knowledge only after one.
pub(crate) const GRACE: Duration = Duration::from_secs(5);

/// How long the API server may refuse what the kubelet asks for: what that needs may still be on its way.
const REFUSED: Duration = Duration::from_secs(60);

/// The only node, unless a scenario adds another one for its pods that say so, and its address.
pub(crate) const NODE: &str = "node-1";
pub(crate) const NODE_ADDRESS: Ipv4Addr = Ipv4Addr::new(172, 18, 0, 2);

/// A kubelet; it and its pods end when it is dropped.
#[derive(Debug)]
pub(crate) struct Kubelet {
    task: JoinHandle<()>,
    logs: PathBuf,
    failures: Rc<RefCell<Vec<String>>>,
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The pods that run, by UID.
#[derive(Clone)]
struct Pods {
    client: kube::Client,
    host: Host,
    running: Rc<RefCell<HashMap<String, Running>>>,
    last_address: Rc<Cell<u16>>,
    failures: Rc<RefCell<Vec<String>>>,
}

/// What a pod is.
enum Running {
    /// A socket.
    Serving(AbortHandle),
    /// A container; it is told to end.
    Container(oneshot::Sender<()>),
}

impl Kubelet {
    /// Registers the node and runs its pods from now on.
    pub(crate) async fn start(client: kube::Client, host: Host) -> Self {
        register(&client, NODE, &json!({ "kubernetes.io/os": "linux" })).await;
        let addresses = json!([{ "type": "InternalIP", "address": NODE_ADDRESS }]);
        let status = Patch::Merge(json!({ "status": { "addresses": addresses } }));
        let nodes = Api::<Node>::all(client.clone());
        nodes.patch_status(NODE, &PatchParams::default(), &status).await.expect("it is there");
        let logs = host.folder.clone();
        let (running, last_address, failures) = (Rc::default(), Rc::new(Cell::new(10)), Rc::default());
        let pods = Pods { client, host, running, last_address, failures: Rc::clone(&failures) };
        let task = spawn_local(async move {
            loop {
                // An error is an API server that is away.
                if pods.follow().await.is_err() {
                    sleep(Duration::from_millis(100)).await;
                }
            }
        });
        Self { task, logs, failures }
    }

    /// What the containers of pods have logged whose names begin so.
    pub(crate) fn said(&self, prefix: &str) -> String {
        let files = std::fs::read_dir(&self.logs)
            .expect("pods were run")
            .map(|file| file.expect("it can be read").path());
        let is_wanted = |file: &PathBuf| {
            let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            name.starts_with(prefix) && name.ends_with(".log")
        };
        files.filter(is_wanted).map(|file| std::fs::read_to_string(file).expect("it is text")).collect()
    }

    /// Pods that the API server did not take as they are, and containers that ended by themselves, or not as they should.
    pub(crate) fn failures(&self) -> Vec<String> {
        self.failures.borrow().clone()
    }
}

impl Pods {
    async fn follow(&self) -> kube::Result<()> {
        let api = Api::<Pod>::all(self.client.clone());
        let list = api.list(&ListParams::default()).await?;
        list.items.into_iter().for_each(|pod| self.see(&pod));
        let version = list.metadata.resource_version.unwrap_or_default();
        let mut events = api.watch(&WatchParams::default().timeout(60), &version).await?.boxed();
        while let Some(event) = events.try_next().await? {
            match event {
                WatchEvent::Added(pod) | WatchEvent::Modified(pod) => self.see(&pod),
                WatchEvent::Error(error) => return Err(kube::Error::Api(error)),
                WatchEvent::Deleted(_) | WatchEvent::Bookmark(_) => {}
            }
        }
        Ok(())
    }

    /// Starts a pod that is new, and ends one that is to end.
    fn see(&self, pod: &Pod) {
        let uid = pod.uid().expect("the server gives UIDs");
        let known = self.running.borrow().contains_key(&uid);
        let (namespace, name) = (pod.namespace().expect("pods have namespaces"), pod.name_any());
        match (pod.metadata.deletion_timestamp.is_some(), known) {
            (false, false) => {
                let address = self.last_address.get() + 1;
                self.last_address.set(address);
                let [high, low] = address.to_be_bytes();
                let address = SocketAddr::new(Ipv4Addr::new(10, 244, high + 1, low).into(), PORT);
                let pods = self.clone();
                if container::is_ours(pod) {
                    let (end, told) = oneshot::channel();
                    self.running.borrow_mut().insert(uid, Running::Container(end));
                    let pod = pod.clone();
                    spawn_local(async move { pods.run(&pod, address.ip(), told).await });
                    return;
                }
                let server = spawn_local(serve(address, name.clone()));
                self.running.borrow_mut().insert(uid, Running::Serving(server.abort_handle()));
                let node = node_of(pod);
                spawn_local(async move {
                    pods.bind(&namespace, &name, &node).await;
                    pods.begin(&namespace, &name, "main", address.ip()).await;
                });
            }
            (true, true) => {
                let server = match self.running.borrow_mut().remove(&uid).expect("it is known") {
                    Running::Serving(server) => server,
                    // One that is not there any more has ended by itself, and is removed.
                    Running::Container(end) => {
                        let _ = end.send(());
                        return;
                    }
                };
                let pods = self.clone();
                spawn_local(async move {
                    // First it is not ready any more, as a server that has been told to end says of itself: what is
                    // used last must not be used until it is gone.
                    sleep(GRACE / 2).await;
                    pods.report(&namespace, &name, &json!({ "status": { "conditions": conditions(false) } }))
                        .await;
                    sleep(GRACE / 2).await;
                    server.abort();
                    pods.remove(&namespace, &name).await;
                });
            }
            (true, false) | (false, true) => {}
        }
    }

    /// Runs the container of a pod to its end.
    async fn run(&self, pod: &Pod, address: IpAddr, mut told: oneshot::Receiver<()>) {
        let (namespace, name) = (pod.namespace().expect("pods have namespaces"), pod.name_any());
        self.bind(&namespace, &name, &node_of(pod)).await;
        let start = async || Container::start(&self.client, &self.host, pod, address).await;
        let started = tokio::select! {
            started = self.repeat(&name, "its container", start) => started,
            _ = &mut told => return self.remove(&namespace, &name).await,
        };
        let Some(mut container) = started else {
            drop(told.await);
            return self.remove(&namespace, &name).await;
        };
        let mut is_ready = false;
        while told.try_recv() == Err(oneshot::error::TryRecvError::Empty) {
            if let Some(status) = container.ended() {
                self.fail(&name, &format!("{status}: {}", container.said()));
                // As a kubelet that has given up: it is not started again.
                drop(told.await);
                return self.remove(&namespace, &name).await;
            }
            if !is_ready && container.is_ready().await {
                is_ready = true;
                self.begin(&namespace, &name, container.name(), address).await;
            }
            sleep(Duration::from_millis(100)).await;
        }
        let unready = json!({ "status": { "conditions": conditions(false) } });
        let ended = container.stop(async || self.report(&namespace, &name, &unready).await).await;
        ended.unwrap_or_else(|failure| self.fail(&name, &failure));
        self.remove(&namespace, &name).await;
    }

    /// Notes a failure, and prints it at once: a test may wait for this pod for long.
    fn fail(&self, name: &str, failure: &str) {
        let failure = format!("{name}: {failure}");
        eprintln!("kubelet: {failure}");
        self.failures.borrow_mut().push(failure);
    }

    /// Takes a pod.
    async fn bind(&self, namespace: &str, name: &str, node: &str) {
        let api = Api::<Pod>::namespaced(self.client.clone(), namespace);
        let binding = json!({
            "apiVersion": "v1", "kind": "Binding", "metadata": { "name": name },
            "target": { "apiVersion": "v1", "kind": "Node", "name": node },
        });
        self.insist(name, "its binding", async || {
            api.create_subresource::<_, Value>("binding", name, &PostParams::default(), &binding).await
        })
        .await;
    }

    /// Says that a pod runs and is ready.
    async fn begin(&self, namespace: &str, name: &str, container: &str, address: IpAddr) {
        let status = json!({ "status": {
            "phase": "Running", "podIP": address, "podIPs": [{ "ip": address }],
            "hostIP": NODE_ADDRESS, "hostIPs": [{ "ip": NODE_ADDRESS }],
            "conditions": conditions(true),
            "containerStatuses": [{
                "name": container, "ready": true, "started": true, "restartCount": 0, "image": "none", "imageID": "",
                "state": { "running": {} },
            }],
        } });
        self.report(namespace, name, &status).await;
    }

    /// Says how a pod is doing.
    async fn report(&self, namespace: &str, name: &str, status: &Value) {
        let api = Api::<Pod>::namespaced(self.client.clone(), namespace);
        let patch = Patch::Merge(status);
        self.insist(name, "its status", async || {
            api.patch_status(name, &PatchParams::default(), &patch).await
        })
        .await;
    }

    /// Removes a pod that has ended.
    async fn remove(&self, namespace: &str, name: &str) {
        let api = Api::<Pod>::namespaced(self.client.clone(), namespace);
        let now = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
        self.insist(name, "its end", async || api.delete(name, &now).await).await;
    }

    /// Asks until the server has taken it, or knows better: the pod is gone, or was taken already.
    async fn insist<T>(&self, name: &str, what: &str, ask: impl AsyncFn() -> kube::Result<T>) {
        let ask = async || match ask().await {
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
            answer => answer.map(drop),
        };
        self.repeat(name, what, ask).await;
    }

    /// Asks until the server does as it is asked. Gives up, and notes why, when it has refused for [`REFUSED`]; while it
    /// is away it refuses nothing.
    async fn repeat<T>(&self, name: &str, what: &str, ask: impl AsyncFn() -> kube::Result<T>) -> Option<T> {
        let mut since = None;
        loop {
            match ask().await {
                Ok(answer) => return Some(answer),
                Err(error) if is_away(&error) => since = None,
                Err(error) => {
                    if since.get_or_insert_with(Instant::now).elapsed() > REFUSED {
                        self.fail(name, &format!("{what} was refused for {REFUSED:?}: {error}"));
                        return None;
                    }
                }
            }
            sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Returns whether a request got no verdict: the API server, or etcd behind it, is away or busy.
fn is_away(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => status.code >= 500 || status.code == 429,
        kube::Error::Service(_) | kube::Error::HyperError(_) => true,
        _ => false,
    }
}

/// Registers a node with these labels, in a zone, and says that it is ready by taking the taint away that it has until
/// then.
pub(crate) async fn register(client: &kube::Client, name: &str, labels: &Value) {
    let zone = json!({ "topology.kubernetes.io/zone": "zone-1" });
    let mut node = json!({ "metadata": { "name": name, "labels": zone } });
    node["metadata"]["labels"]
        .as_object_mut()
        .expect("a map")
        .extend(labels.as_object().expect("a map").clone());
    let node: Node = serde_json::from_value(node).expect("a node");
    let nodes = Api::all(client.clone());
    nodes.create(&PostParams::default(), &node).await.expect("nodes can be created");
    let ready = Patch::Merge(json!({ "spec": { "taints": null } }));
    nodes.patch(name, &PatchParams::default(), &ready).await.expect("it is there");
}

/// Where a pod is to run: a daemon set says it by affinity.
fn node_of(pod: &Pod) -> String {
    let spec = pod.spec.as_ref();
    let by_affinity = || {
        let affinity = spec?.affinity.as_ref()?.node_affinity.as_ref()?;
        let terms =
            &affinity.required_during_scheduling_ignored_during_execution.as_ref()?.node_selector_terms;
        terms.first()?.match_fields.as_ref()?.first()?.values.as_ref()?.first().cloned()
    };
    spec.and_then(|spec| spec.node_name.clone()).or_else(by_affinity).unwrap_or_else(|| NODE.to_owned())
}

/// The conditions of a pod that runs, as they are from now on.
fn conditions(ready: bool) -> Value {
    let status = if ready { "True" } else { "False" };
    ["Ready", "ContainersReady"]
        .map(|kind| json!({ "type": kind, "status": status, "lastTransitionTime": Time(Timestamp::now()) }))
        .into_iter()
        .collect()
}

/// Answers every request with this text, until it is aborted; then its connections end.
pub(crate) async fn serve(address: SocketAddr, text: String) {
    let listener = TcpListener::bind(address).await.expect("the address is free");
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.expect("files are left");
        let text = Bytes::from(text.clone());
        let answer = service_fn(move |_| {
            let response = hyper::Response::new(Full::new(text.clone()));
            std::future::ready(Ok::<_, Infallible>(response))
        });
        let mut server = http1::Builder::new();
        server.timer(TokioTimer::new());
        connections.spawn_local(server.serve_connection(TokioIo::new(stream), answer));
        while connections.try_join_next().is_some() {}
    }
}
