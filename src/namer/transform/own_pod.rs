//! The node of the pod that the process runs in, as the API server knows it.

use super::own_node::{network_of, node_name};
use crate::interpret::{Answer, AnswerState, Endpoint, EndpointSet, Namer};
use crate::kubernetes::{Access, ApiClient, ApiClients, Config};
use crate::name::{NameTree, Path};
use crate::namer::publisher::{AnswerPublisher, NameState};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::Value;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::sleep;

/// The variable that holds the namespace of the pod, as `io.l5d.k8s.ns` reads it too.
const NAMESPACE: &str = "POD_NAMESPACE";

/// The file in each pod that holds its namespace.
const NAMESPACE_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// How long an answer may take; there are two questions. Names wait meanwhile, for less than their binding may take.
const LIMIT: Duration = Duration::from_millis(1_500);

/// The pause after a first failure; each further failure doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause: a right that is given later counts within a minute.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A namer of pods by their address, `/10.244.1.7`: an endpoint with the node of the pod. While the API server does not
/// tell it, and has been asked, the endpoint is without a node; for a pod with an IPv6 address, of which the network says
/// nothing, the name fails.
///
/// A pod stays on its node: once it is known, nothing is asked any more.
pub(in crate::namer) struct OwnPod {
    clients: ApiClients,
    /// The API server to ask, if there is one.
    server: Arc<Mutex<Option<Config>>>,
    control: Handle,
}

impl OwnPod {
    /// Makes the namer, without an API server to ask.
    pub(in crate::namer) fn new(clients: &ApiClients, control: &Handle) -> Self {
        Self { clients: clients.clone(), server: Arc::default(), control: control.clone() }
    }

    /// Takes the API servers of the namers. That of the cluster which the process runs in is asked, or else the first.
    pub(in crate::namer) fn set_servers<'a>(&self, mut servers: impl Iterator<Item = &'a Config> + Clone) {
        let own = servers.clone().find(|config| config.access == Access::Found);
        *self.server() = own.or_else(|| servers.next()).cloned();
    }

    /// Returns whether there is an API server to ask.
    pub(super) fn has_server(&self) -> bool {
        self.server().is_some()
    }

    fn server(&self) -> std::sync::MutexGuard<'_, Option<Config>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Namer for OwnPod {
    fn lookup(&self, path: &Path) -> Answer {
        let address = path.elems().next().and_then(|elem| std::str::from_utf8(elem).ok()?.parse().ok());
        let Some(address) = address else { return Answer::fixed(AnswerState::Ready(NameTree::Neg)) };
        let (writer, answer) = Answer::pending();
        let publisher = AnswerPublisher::new(path.clone(), Path::empty(), writer);
        let (clients, server) = (self.clients.clone(), Arc::clone(&self.server));
        self.control.spawn(async move {
            let client = || {
                let config = server.lock().unwrap_or_else(PoisonError::into_inner);
                Some(clients.get(config.as_ref()?))
            };
            publish_node(publisher, address, client).await;
        });
        answer
    }
}

/// Asks for the node of a pod until it is known, and publishes it.
async fn publish_node(
    mut publisher: AnswerPublisher,
    address: IpAddr,
    client: impl Fn() -> Option<ApiClient>,
) {
    let (mut pause, mut said) = (FIRST_PAUSE, String::new());
    loop {
        let asking = async {
            match client() {
                Some(client) => ask(&client, address).await.map_err(Some),
                // The start has warned of that.
                None => Err(None),
            }
        };
        let told = tokio::select! {
            told = asking => told,
            () = publisher.released() => return,
        };
        match told {
            Ok(node) => {
                tracing::info!(%address, node, "the API server tells the node of this pod");
                publisher.publish(pod(address, Some(node)));
                return publisher.released().await;
            }
            Err(reason) => {
                let reason = reason.unwrap_or_default();
                if !reason.is_empty() && reason != said {
                    tracing::warn!(%address, reason, "{}", untold(address));
                    said = reason;
                }
                publisher.publish(pod(address, None));
            }
        }
        tokio::select! {
            () = sleep(pause) => {}
            () = publisher.released() => return,
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Returns what follows from a node that is not told, and the way out.
fn untold(address: IpAddr) -> String {
    let follows = match network_of(address) {
        Some(network) => format!("endpoints of {network}/24 count as those of this node"),
        None => "names behind io.l5d.k8s.localnode fail".to_owned(),
    };
    format!(
        "the API server does not tell the node of this pod, so {follows}: set `NODE_NAME` from `spec.nodeName` in the pod's manifest"
    )
}

/// Returns the state of the name of a pod.
fn pod(address: IpAddr, node: Option<String>) -> NameState {
    if node.is_none() && network_of(address).is_none() {
        return NameState::Failed(untold(address).into());
    }
    // Nothing connects to it, so its port has no meaning.
    let endpoint = Endpoint { node: node.map(Into::into), ..Endpoint::at(SocketAddr::new(address, 0)) };
    NameState::Endpoints { set: EndpointSet::new(vec![endpoint]), stale: false }
}

/// Asks for the node of the pod with this address, in the namespace of the process if that is known: of its Pod, and of
/// an EndpointSlice that has it, for a router may read those when it may not read pods.
async fn ask(client: &ApiClient, address: IpAddr) -> Result<String, String> {
    let namespace = tokio::task::spawn_blocking(own_namespace).await.ok().flatten();
    let place = namespace.as_ref().map_or("all namespaces".to_owned(), |name| format!("namespace {name}"));
    let namespace = namespace.as_deref();
    let fields = format!("status.podIP={address}");
    let of_pod =
        client.find::<Pod, _>(namespace, Some(&fields), LIMIT, |pod| node_of_pod(pod, address)).await;
    let of_pod = match of_pod {
        Ok(Some(node)) => return Ok(node),
        Ok(None) => "no pod has the address".to_owned(),
        Err(reason) => reason,
    };
    let of_slice = match namespace {
        Some(_) => {
            client
                .find::<EndpointSlice, _>(namespace, None, LIMIT, |slice| node_of_slice(slice, address))
                .await
        }
        // All slices of a cluster are too many for one address.
        None => Err(format!("the namespace is not known: set `{NAMESPACE}` from `metadata.namespace`")),
    };
    let of_slice = match of_slice {
        Ok(Some(node)) => return Ok(node),
        Ok(None) => "no endpoint has the address".to_owned(),
        Err(reason) => reason,
    };
    Err(format!("pods of {place}: {of_pod}; endpointslices of {place}: {of_slice}"))
}

/// Returns the namespace of the pod that the process runs in.
fn own_namespace() -> Option<String> {
    let named = |name: String| Some(name.trim().to_owned()).filter(|name| !name.is_empty());
    let of_variable = std::env::var(NAMESPACE).ok().and_then(named);
    of_variable.or_else(|| named(std::fs::read_to_string(NAMESPACE_FILE).ok()?))
}

/// Returns the node of a Pod, if it has the address and has not ended: another may have its address then.
fn node_of_pod(pod: &Value, address: IpAddr) -> Option<String> {
    let status = &pod["status"];
    let is_over = matches!(status["phase"].as_str(), Some("Succeeded" | "Failed"));
    let node = || node_name(pod["spec"]["nodeName"].as_str()?);
    let found = !is_over && is_at(&status["podIP"], address);
    found.then(node)?.map(str::to_owned)
}

/// Returns the node of the endpoint with the address.
fn node_of_slice(slice: &Value, address: IpAddr) -> Option<String> {
    let endpoints = slice["endpoints"].as_array()?;
    let own = endpoints.iter().find(|endpoint| is_at(&endpoint["addresses"][0], address))?;
    node_name(own["nodeName"].as_str()?).map(str::to_owned)
}

/// Returns whether a text is the address.
fn is_at(text: &Value, address: IpAddr) -> bool {
    text.as_str().and_then(|text| text.parse().ok()) == Some(address)
}

#[cfg(test)]
mod tests {
    use super::{node_of_pod, node_of_slice, pod};
    use crate::namer::publisher::NameState;
    use serde_json::json;

    #[test]
    fn a_pod_is_found_by_its_address() {
        let pod = |ip: &str, phase: &str, node: &str| {
            let pod = json!({ "spec": { "nodeName": node }, "status": { "podIP": ip, "phase": phase } });
            node_of_pod(&pod, "10.244.1.7".parse().expect("an address"))
        };
        assert_eq!(pod("10.244.1.7", "Running", "node-1").as_deref(), Some("node-1"));
        assert_eq!(pod("10.244.1.8", "Running", "node-1"), None, "a server that ignores the selector");
        assert_eq!(pod("10.244.1.7", "Succeeded", "node-1"), None);
        assert_eq!(pod("10.244.1.7", "Running", ""), None);
        assert_eq!(node_of_pod(&json!({}), "::1".parse().expect("an address")), None);
    }

    #[test]
    fn an_endpoint_is_found_by_its_address() {
        let endpoint = |address: &str, node: &str| json!({ "addresses": [address], "nodeName": node });
        let slice = json!({ "endpoints": [endpoint("fd00::8", "node-2"), endpoint("fd00:0::7", "node-1")] });
        assert_eq!(node_of_slice(&slice, "fd00::7".parse().expect("an address")).as_deref(), Some("node-1"));
        assert_eq!(node_of_slice(&slice, "fd00::9".parse().expect("an address")), None);
        assert_eq!(node_of_slice(&json!({ "endpoints": null }), "::1".parse().expect("an address")), None);
    }

    #[test]
    fn a_network_stands_for_a_node_that_is_not_told() {
        let state = |address: &str, node: Option<&str>| {
            pod(address.parse().expect("an address"), node.map(str::to_owned))
        };
        assert!(matches!(state("10.244.1.7", None), NameState::Endpoints { .. }));
        assert!(matches!(state("fd00::7", Some("node-1")), NameState::Endpoints { .. }));
        let NameState::Failed(reason) = state("fd00::7", None) else { panic!("it is not known") };
        assert!(reason.contains("NODE_NAME"), "{reason}");
    }
}
