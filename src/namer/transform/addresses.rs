//! Transformers that change the addresses behind a name, and go on doing so.

use super::beside::{Beside, changes};
use crate::interpret::{Answer, Bound, Endpoint, EndpointSet, Leaf, State, Target, Transformer};
use crate::name::{NameTree, Path};
use crate::namer::published::{Published, Verdict};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::watch;

/// What becomes of the endpoints of a name, and of those of another name beside it, if there is one. Nothing left is
/// Neg.
pub(super) type Change = Arc<dyn Fn(&[Endpoint], &[Endpoint]) -> Vec<Endpoint> + Send + Sync>;

/// Changes the addresses behind names.
pub(super) struct Addresses {
    prefix: Path,
    beside: Option<Beside>,
    change: Change,
    control: Handle,
}

impl Addresses {
    pub(super) fn new(prefix: Path, beside: Option<Beside>, change: Change, control: &Handle) -> Self {
        Self { prefix, beside, change, control: control.clone() }
    }
}

impl Transformer for Addresses {
    fn prefix(&self) -> &Path {
        &self.prefix
    }

    fn transform(&self, bound: &Bound) -> Answer {
        let Target::Endpoints(source) = &bound.target else {
            // It is answered here and goes to no address.
            return Answer::fixed(State::Ready(NameTree::Leaf(Leaf::Bound(bound.clone()))));
        };
        let (writer, answer) = Answer::pending();
        let published = Published::new(bound.id.clone(), bound.residual.clone(), writer);
        let beside = self.beside.as_ref().map(Beside::join);
        let mut following =
            Following { source: source.clone(), beside, change: Arc::clone(&self.change), published };
        // What is known already need not be waited for.
        following.say();
        self.control.spawn(following.run());
        answer
    }
}

/// A name whose addresses are changed for as long as anybody wants to know.
struct Following {
    source: watch::Receiver<EndpointSet>,
    beside: Option<super::beside::Joined>,
    change: Change,
    published: Published,
}

impl Following {
    async fn run(mut self) {
        loop {
            let beside = async {
                match &mut self.beside {
                    Some(beside) => beside.changed().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = changes(&mut self.source) => {}
                () = beside => {}
                () = self.published.released() => return,
            }
            self.say();
        }
    }

    fn say(&mut self) {
        let verdict = self.verdict();
        self.published.say(verdict);
    }

    fn verdict(&mut self) -> Verdict {
        let (others, stale) = match self.beside.as_mut().map(|beside| beside.look()) {
            None => (EndpointSet::default(), false),
            Some(Ok(known)) => known,
            Some(Err(verdict)) => return verdict,
        };
        let left = (self.change)(&self.source.borrow_and_update(), &others);
        if left.is_empty() {
            Verdict::Neg { stale }
        } else {
            Verdict::Endpoints { set: EndpointSet::new(left), stale }
        }
    }
}

/// Those that are wanted.
pub(super) fn kept(endpoints: &[Endpoint], wanted: impl Fn(&Endpoint) -> bool) -> Vec<Endpoint> {
    endpoints.iter().filter(|endpoint| wanted(endpoint)).cloned().collect()
}

/// Those at the addresses of `hosts`, whose ports do not count.
pub(super) fn on_hosts(endpoints: &[Endpoint], hosts: &[Endpoint]) -> Vec<Endpoint> {
    let ip = |endpoint: &Endpoint| endpoint.address.ip().to_canonical();
    let hosts: HashSet<IpAddr> = hosts.iter().map(ip).collect();
    kept(endpoints, |endpoint| hosts.contains(&ip(endpoint)))
}

/// The same addresses with another port. What is known of the port that a name had says nothing of this one.
pub(super) fn on_port(endpoints: &[Endpoint], port: u16) -> Vec<Endpoint> {
    let there = |endpoint: &Endpoint| Endpoint {
        address: SocketAddr::new(endpoint.address.ip(), port),
        hint: None,
        ..endpoint.clone()
    };
    merged(endpoints.iter().map(there))
}

/// The gateways on the nodes where endpoints are. Those of a node have the share of its endpoints together; one that is
/// about to end has none beside another of its node. Whether requests go to one that is, while other nodes have better
/// ones, is the balancer's to say, as it is of all endpoints.
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

/// Each address once: where several have come to be one, it has the share of all; those that are about to end have none
/// beside one that is not.
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
