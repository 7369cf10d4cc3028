//! Picks an endpoint by weight, and by load: the less loaded of two.
//!
//! Endpoints of one weight form a class. A class is drawn by its weight times the number of its endpoints, as Finagle's
//! weighted balancers do. Inside the class, the less loaded of two random endpoints is picked ("power of two choices").

use super::endpoint::WorkerEndpoint;
use crate::interpret::{Endpoint, EndpointSet};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;

/// The endpoints of one client on one worker, grouped by weight.
#[derive(Debug, Default)]
pub(crate) struct Balancer {
    classes: Vec<Class>,
}

/// The endpoints of one weight.
#[derive(Debug)]
struct Class {
    weight: f64,
    endpoints: Vec<Rc<WorkerEndpoint>>,
}

impl Class {
    /// Returns the part of the traffic that the class gets, not yet divided by the sum over all classes.
    fn share(&self) -> f64 {
        // A set of endpoints is far smaller than the largest count that a double holds exactly.
        self.weight * self.endpoints.len() as f64
    }

    /// Returns the less loaded of two random endpoints, or the least loaded of those that are not in `tried`.
    fn less_loaded_of_two(&self, tried: &[SocketAddr]) -> Option<&Rc<WorkerEndpoint>> {
        let untried = |endpoint: &&Rc<WorkerEndpoint>| !tried.contains(&endpoint.address());
        if !tried.is_empty() {
            return self.endpoints.iter().filter(untried).min_by_key(|endpoint| endpoint.in_flight());
        }
        let count = self.endpoints.len();
        let first = fastrand::usize(..count);
        if count == 1 {
            return self.endpoints.first();
        }
        let second = (first + fastrand::usize(1..count)) % count;
        let (first, second) = (self.endpoints.get(first)?, self.endpoints.get(second)?);
        Some(if second.in_flight() < first.in_flight() { second } else { first })
    }
}

impl Balancer {
    /// Replaces the set of endpoints. Those in both sets keep their connections and their load; `make` makes the new
    /// ones.
    pub(crate) fn update(&mut self, set: &EndpointSet, make: impl Fn(&Endpoint) -> WorkerEndpoint) {
        let old: HashMap<_, _> = std::mem::take(&mut self.classes)
            .into_iter()
            .flat_map(|class| class.endpoints)
            .map(|endpoint| ((endpoint.address(), endpoint.hint()), endpoint))
            .collect();
        for endpoint in Endpoint::preferred(set) {
            let existing = old.get(&(endpoint.address, endpoint.hint)).cloned();
            let worker_endpoint = existing.unwrap_or_else(|| Rc::new(make(endpoint)));
            match self.classes.iter_mut().find(|class| class.weight.to_bits() == endpoint.weight.to_bits()) {
                Some(class) => class.endpoints.push(worker_endpoint),
                None => {
                    self.classes.push(Class { weight: endpoint.weight, endpoints: vec![worker_endpoint] });
                }
            }
        }
    }

    /// Draws an endpoint that is not in `tried`; None when there is no other.
    pub(crate) fn pick(&self, tried: &[SocketAddr]) -> Option<Rc<WorkerEndpoint>> {
        let total: f64 = self.classes.iter().map(Class::share).sum();
        let mut draw = if self.classes.len() > 1 { fastrand::f64() * total } else { 0.0 };
        let drawn = self.classes.iter().find(|class| {
            draw -= class.share();
            draw < 0.0
        });
        // When all weights are zero, or every endpoint of the class was tried, any class will do.
        let any = || self.classes.iter().find_map(|class| class.less_loaded_of_two(tried));
        drawn.and_then(|class| class.less_loaded_of_two(tried)).or_else(any).cloned()
    }

    /// Returns every endpoint.
    pub(crate) fn endpoints(&self) -> impl Iterator<Item = &Rc<WorkerEndpoint>> {
        self.classes.iter().flat_map(|class| &class.endpoints)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::HeadLimits;
    use crate::name::Path;
    use crate::proxy::upstream::endpoint::EndpointRegistry;
    use crate::proxy::upstream::settings::ClientSettings;
    use crate::proxy::wire::WireProtocol;
    use std::collections::{BTreeMap, BTreeSet};

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    /// Replaces the set as a client with an empty id does.
    fn update(balancer: &mut Balancer, set: &EndpointSet, registry: &EndpointRegistry) {
        let heads = HeadLimits { line: 1000, fields_bytes: 1000, fields: 10 };
        let settings = Rc::new(ClientSettings::new(WireProtocol::Http1, heads));
        balancer.update(set, |endpoint| {
            let state = registry.state(&Path::empty(), endpoint.address);
            WorkerEndpoint::new(endpoint, state, Rc::clone(&settings))
        });
    }

    fn balancer(weights: &[f64]) -> Balancer {
        let endpoints = weights
            .iter()
            .zip(1..)
            .map(|(weight, port)| Endpoint { weight: *weight, ..Endpoint::at(address(port)) });
        let mut balancer = Balancer::default();
        update(&mut balancer, &EndpointSet::new(endpoints.collect()), &EndpointRegistry::default());
        balancer
    }

    fn picks(balancer: &Balancer, draws: usize) -> HashMap<u16, usize> {
        let mut picks = HashMap::new();
        for _ in 0..draws {
            *picks.entry(balancer.pick(&[]).unwrap().address().port()).or_default() += 1;
        }
        picks
    }

    #[test]
    fn an_empty_set_has_no_pick() {
        assert!(balancer(&[]).pick(&[]).is_none());
    }

    #[test]
    fn terminating_endpoints_are_drawn_when_no_other_is_left() {
        let set = |terminating: [bool; 2]| {
            let endpoints = terminating
                .into_iter()
                .zip(1..)
                .map(|(terminating, port)| Endpoint { terminating, ..Endpoint::at(address(port)) });
            EndpointSet::new(endpoints.collect())
        };
        let mut balancer = Balancer::default();
        for (terminating, ports) in
            [([false, false], vec![1, 2]), ([true, false], vec![2]), ([true, true], vec![1, 2])]
        {
            update(&mut balancer, &set(terminating), &EndpointRegistry::default());
            let mut drawn: Vec<_> = picks(&balancer, 100).into_keys().collect();
            drawn.sort_unstable();
            assert_eq!(drawn, ports);
        }
    }

    #[test]
    fn the_less_loaded_of_two_wins() {
        let balancer = balancer(&[1.0, 1.0]);
        let busy = balancer.endpoints().next().unwrap().begin(None);
        assert_eq!(picks(&balancer, 50), HashMap::from([(2, 50)]), "two of two are compared each time");
        drop(busy);
        assert_eq!(picks(&balancer, 400).len(), 2, "both serve again");
    }

    #[test]
    fn classes_share_by_weight() {
        fastrand::seed(7);
        let picks = picks(&balancer(&[1.0, 1.0, 2.0]), 10_000);
        assert!((4_700..5_300).contains(&picks[&3]), "half of the traffic: {picks:?}");
        assert_eq!(picks.len(), 3);
    }

    #[test]
    fn weight_zero_gets_nothing_unless_all_are_zero() {
        assert_eq!(picks(&balancer(&[0.0, 1.0]), 200), HashMap::from([(2, 200)]));
        assert_eq!(picks(&balancer(&[0.0, 0.0]), 200).len(), 2);
    }

    #[test]
    fn tried_endpoints_are_not_drawn_again() {
        let balancer = balancer(&[1.0, 5.0]);
        assert_eq!(balancer.pick(&[address(2)]).unwrap().address(), address(1));
        assert!(balancer.pick(&[address(1), address(2)]).is_none());
    }

    #[test]
    fn endpoints_that_stay_keep_their_load_and_workers_share_it() {
        let endpoint_registry = EndpointRegistry::default();
        let (one, both) = (
            EndpointSet::new(vec![Endpoint::at(address(1))]),
            EndpointSet::new(vec![Endpoint::at(address(2)), Endpoint::at(address(1))]),
        );
        let (mut here, mut there) = (Balancer::default(), Balancer::default());
        update(&mut here, &one, &endpoint_registry);
        update(&mut there, &one, &endpoint_registry);
        let _load = here.pick(&[]).unwrap().begin(None);
        assert_eq!(there.endpoints().next().unwrap().in_flight(), 1, "seen by the other worker");
        update(&mut here, &both, &endpoint_registry);
        assert_eq!(picks(&here, 20), HashMap::from([(2, 20)]));
        assert_eq!(
            endpoint_registry.endpoints(),
            BTreeMap::from([(Path::empty(), BTreeSet::from([address(1), address(2)]))])
        );
        drop((here, there));
        assert_eq!(
            endpoint_registry.endpoints().get(&Path::empty()).map(BTreeSet::len),
            Some(1),
            "one request is under way"
        );
    }
}
