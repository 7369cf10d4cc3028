//! Transformers that change the addresses behind a name, again whenever these change.

use super::reference::{ReferenceName, endpoints_changed};
use crate::interpret::{Answer, AnswerState, Bound, Endpoint, EndpointSet, Leaf, Target, Transformer};
use crate::name::{NameTree, Path};
use crate::namer::publisher::{AnswerPublisher, NameState};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::watch;

/// A change of the endpoints of a name, given those of the reference name, if there is one. A name of which no endpoint
/// is left is Neg.
pub(super) type EndpointChange = Arc<dyn Fn(&[Endpoint], &[Endpoint]) -> Vec<Endpoint> + Send + Sync>;

/// A transformer that changes the addresses behind names.
pub(super) struct AddressTransformer {
    prefix: Path,
    reference: Option<ReferenceName>,
    change: EndpointChange,
    control: Handle,
}

impl AddressTransformer {
    /// Makes the transformer; `control` runs a task for each name.
    pub(super) fn new(
        prefix: Path,
        reference: Option<ReferenceName>,
        change: EndpointChange,
        control: &Handle,
    ) -> Self {
        Self { prefix, reference, change, control: control.clone() }
    }
}

impl Transformer for AddressTransformer {
    fn prefix(&self) -> &Path {
        &self.prefix
    }

    fn transform(&self, bound: &Bound) -> Answer {
        let Target::Endpoints(source) = &bound.target else {
            // The router itself answers; there is no address.
            return Answer::fixed(AnswerState::Ready(NameTree::Leaf(Leaf::Bound(bound.clone()))));
        };
        let (writer, answer) = Answer::pending();
        let publisher = AnswerPublisher::new(bound.id.clone(), bound.residual.clone(), writer);
        let reference = self.reference.as_ref().map(ReferenceName::join);
        let mut task =
            AddressTask { source: source.clone(), reference, change: Arc::clone(&self.change), publisher };
        // Endpoints that are known already need not be waited for.
        task.publish();
        self.control.spawn(task.run());
        answer
    }
}

/// A task that keeps the changed addresses of one name up to date while the answer is in use.
struct AddressTask {
    source: watch::Receiver<EndpointSet>,
    reference: Option<super::reference::ReferenceEndpoints>,
    change: EndpointChange,
    publisher: AnswerPublisher,
}

impl AddressTask {
    /// Publishes each change, until the answer is no longer in use.
    async fn run(mut self) {
        loop {
            let reference = async {
                match &mut self.reference {
                    Some(reference) => reference.changed().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = endpoints_changed(&mut self.source) => {}
                () = reference => {}
                () = self.publisher.released() => return,
            }
            self.publish();
        }
    }

    /// Publishes the present state.
    fn publish(&mut self) {
        let state = self.state();
        self.publisher.publish(state);
    }

    /// Returns the present state.
    fn state(&mut self) -> NameState {
        let (others, stale) = match self.reference.as_mut().map(|reference| reference.look()) {
            None => (EndpointSet::default(), false),
            Some(Ok(known)) => known,
            Some(Err(state)) => return state,
        };
        let left = (self.change)(&self.source.borrow_and_update(), &others);
        if left.is_empty() {
            NameState::Neg { stale }
        } else {
            NameState::Endpoints { set: EndpointSet::new(left), stale }
        }
    }
}

/// Returns the endpoints that are wanted.
pub(super) fn retained(endpoints: &[Endpoint], wanted: impl Fn(&Endpoint) -> bool) -> Vec<Endpoint> {
    endpoints.iter().filter(|endpoint| wanted(endpoint)).cloned().collect()
}

/// Returns the endpoints at the addresses of `hosts`, whose ports do not count.
pub(super) fn on_hosts(endpoints: &[Endpoint], hosts: &[Endpoint]) -> Vec<Endpoint> {
    let ip = |endpoint: &Endpoint| endpoint.address.ip().to_canonical();
    let hosts: HashSet<IpAddr> = hosts.iter().map(ip).collect();
    retained(endpoints, |endpoint| hosts.contains(&ip(endpoint)))
}

/// Returns the same addresses with another port. The protocol known for the old port does not hold for this one.
pub(super) fn on_port(endpoints: &[Endpoint], port: u16) -> Vec<Endpoint> {
    let there = |endpoint: &Endpoint| Endpoint {
        address: SocketAddr::new(endpoint.address.ip(), port),
        hint: None,
        ..endpoint.clone()
    };
    merged(endpoints.iter().map(there))
}

/// Returns the gateways on the nodes of the endpoints.
///
/// The gateways of a node share the weight of its endpoints; one that is about to end gets none beside another of its
/// node. The balancer decides whether requests go to such a gateway while other nodes have better ones, as it does for
/// all endpoints.
pub(super) fn on_nodes(endpoints: &[Endpoint], gateways: &[Endpoint]) -> Vec<Endpoint> {
    let mut shares: HashMap<&str, f64> = HashMap::new();
    for endpoint in Endpoint::preferred(endpoints) {
        if let Some(node) = &endpoint.node {
            *shares.entry(node).or_default() += endpoint.weight;
        }
    }
    let mut of_nodes: BTreeMap<&str, Vec<Endpoint>> = BTreeMap::new();
    for gateway in gateways {
        if let Some(node) = &gateway.node {
            of_nodes.entry(node).or_default().push(gateway.clone());
        }
    }
    let mut shared = Vec::new();
    for (node, of_node) in of_nodes {
        let Some(share) = shares.get(node) else { continue };
        let weight = share / Endpoint::preferred(&of_node).count() as f64;
        shared.extend(Endpoint::preferred(&of_node).map(|gateway| Endpoint { weight, ..gateway.clone() }));
    }
    shared
}

/// Returns each address once. Endpoints with the same address add their weights; those that are about to end add none
/// to one that is not.
pub(super) fn merged(endpoints: impl Iterator<Item = Endpoint>) -> Vec<Endpoint> {
    let mut merged: Vec<Endpoint> = Vec::new();
    let mut places = HashMap::new();
    for endpoint in endpoints {
        let at = *places.entry(endpoint.address).or_insert(merged.len());
        match merged.get_mut(at) {
            Some(known) if known.terminating == endpoint.terminating => known.weight += endpoint.weight,
            Some(known) if known.terminating => *known = endpoint,
            Some(_) => {}
            None => merged.push(endpoint),
        }
    }
    merged
}
