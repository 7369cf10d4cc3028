//! Picks an endpoint: by weight, by failure accrual, and by the algorithm of the client.
//!
//! Endpoints of one weight form a class. A class is drawn by its weight times the number of its endpoints, as Finagle's
//! weighted balancers do. Inside the class, the algorithm picks an endpoint that failure accrual has not shut. When there
//! is none, another class has the request; when all are shut, one is used anyway. Where endpoints are hinted for the zone
//! of the process, and that is wanted, those of other zones are classes without a share.

mod aperture;
mod choice;
mod ewma;
mod heap;
mod p2c;
mod round_robin;
mod settings;

pub(crate) use self::choice::PickedEndpoint;
pub use self::settings::{ApertureSettings, BalancerAlgorithm, BalancerSettings};

use self::aperture::Aperture;
use self::choice::{Choice, from_random};
use self::round_robin::RoundRobin;
use super::endpoint::WorkerEndpoint;
use super::registry::{EndpointKey, EndpointStates, SharedClient};
use super::settings::ClientSettings;
use crate::interpret::{Endpoint, EndpointSet};
use crate::proxy::exchange::{AttemptTime, Standing};
use crate::proxy::metrics::ClientCounters;
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

/// How many endpoints that their namer no longer has are kept, with `enable_probation`: more of them are dropped at once.
const MOST_ON_PROBATION: usize = 1000;

/// The endpoints of one client on one worker, grouped by weight.
#[derive(Debug)]
pub(crate) struct Balancer {
    client: Arc<SharedClient>,
    counters: Rc<ClientCounters>,
    settings: BalancerSettings,
    classes: Vec<Class>,
}

/// The endpoints of one weight, near or remote, with what the algorithms remember of them.
#[derive(Debug, Default)]
struct Class {
    weight: f64,
    /// Whether others are preferred, because they are hinted for the zone of the process.
    is_remote: bool,
    endpoints: Vec<Rc<WorkerEndpoint>>,
    aperture: Aperture,
    round_robin: RoundRobin,
}

/// The weight of a class, and whether it is remote.
type ClassKind = (f64, bool);

impl Class {
    fn kind(&self) -> ClassKind {
        (self.weight, self.is_remote)
    }

    /// Returns the part of the traffic that the class gets, not yet divided by the sum over all classes.
    fn share(&self) -> f64 {
        // A set of endpoints is far smaller than the largest count that a double holds exactly.
        if self.is_remote { 0.0 } else { self.weight * self.endpoints.len() as f64 }
    }

    /// Picks an endpoint that can be used.
    fn pick(&self, algorithm: &BalancerAlgorithm, time: &AttemptTime) -> Option<Choice<'_>> {
        let all = &*self.endpoints;
        let picked = match algorithm {
            BalancerAlgorithm::P2c { max_effort } => {
                p2c::pick(all, *max_effort, time, WorkerEndpoint::in_flight)
            }
            BalancerAlgorithm::Ewma { max_effort, decay } => ewma::pick(all, *max_effort, *decay, time),
            BalancerAlgorithm::Aperture(settings) => self.aperture.pick(all, settings, time),
            BalancerAlgorithm::Heap => heap::pick(all, time),
            BalancerAlgorithm::RoundRobin { max_effort } => self.round_robin.pick(all, *max_effort, time),
        };
        picked.or_else(|| Choice::first_usable(from_random(all), time))
    }

    /// Picks the less loaded of two endpoints, whatever their health.
    fn pick_any(&self) -> Option<Choice<'_>> {
        let (first, second) = p2c::draw(&self.endpoints)?;
        Some(Choice::shut(if second.in_flight() < first.in_flight() { second } else { first }))
    }

    /// Picks the least loaded endpoint that is not in `tried`; one that is alive, if there is one.
    fn pick_untried(&self, tried: &[SocketAddr]) -> Option<Choice<'_>> {
        let untried = self.endpoints.iter().filter(|endpoint| !tried.contains(&endpoint.address()));
        untried.min_by_key(|endpoint| (!endpoint.is_alive(), endpoint.in_flight())).map(Choice::shut)
    }
}

impl Balancer {
    /// Makes the balancer of a client, without endpoints.
    pub(crate) fn new(
        client: Arc<SharedClient>,
        counters: &Rc<ClientCounters>,
        settings: &ClientSettings,
    ) -> Self {
        Self { client, counters: Rc::clone(counters), settings: settings.balancer, classes: Vec::new() }
    }

    /// Replaces the settings of the balancer and of its endpoints.
    pub(crate) fn configure(&mut self, settings: &Rc<ClientSettings>) {
        self.settings = settings.balancer;
        self.endpoints().for_each(|endpoint| endpoint.configure(settings));
        if !self.settings.enable_probation {
            self.retire(|endpoint| endpoint.is_on_probation());
        }
        self.arrange();
    }

    /// Replaces the set of endpoints. Those in both sets keep their connections and their load.
    pub(crate) fn update(&mut self, set: &EndpointSet, settings: &Rc<ClientSettings>) {
        let mut classes = std::mem::take(&mut self.classes);
        let old: HashMap<_, _> = classes
            .iter_mut()
            .flat_map(|class| std::mem::take(&mut class.endpoints).into_iter().map(|one| (class.kind(), one)))
            .map(|(kind, endpoint)| ((endpoint.key(), endpoint.hint()), (kind, endpoint)))
            .collect();
        self.classes = classes;
        let client = Arc::clone(&self.client);
        let mut states = client.states();
        let mut present = HashSet::new();
        let zone = client.zone().filter(|_| self.settings.prefer_zone);
        let zone = zone.filter(|zone| Endpoint::preferred(set).any(|endpoint| endpoint.is_for(zone)));
        for endpoint in Endpoint::preferred(set) {
            let key = EndpointKey::of(endpoint);
            present.insert(key);
            let state = states.state(key);
            let existing = old.get(&(key, endpoint.hint)).map(|(_, existing)| existing);
            // Another worker has seen the endpoint go and come back: it is new.
            let existing = existing.filter(|existing| Arc::ptr_eq(existing.state(), &state)).cloned();
            let worker_endpoint = existing.unwrap_or_else(|| {
                Rc::new(WorkerEndpoint::new(endpoint, (state, &self.counters), Rc::clone(settings)))
            });
            worker_endpoint.set_on_probation(false);
            let is_remote = zone.is_some_and(|zone| !endpoint.is_for(zone));
            self.class((endpoint.weight, is_remote)).push(worker_endpoint);
        }
        let gone = old.into_values().filter(|(_, endpoint)| !present.contains(&endpoint.key()));
        self.dismiss(gone, set, &mut states);
        self.classes.retain(|class| !class.endpoints.is_empty());
        self.arrange();
    }

    /// Drops endpoints that have left the set, or keeps them on probation.
    ///
    /// One is kept as long as it answers, if the set does not say that it ends, and nothing else has its address.
    fn dismiss(
        &mut self,
        gone: impl Iterator<Item = (ClassKind, Rc<WorkerEndpoint>)>,
        set: &EndpointSet,
        states: &mut EndpointStates<'_>,
    ) {
        let keeps = self.settings.enable_probation;
        let addresses: HashSet<_> =
            if keeps { set.iter().map(|endpoint| endpoint.address).collect() } else { HashSet::new() };
        let mut kept = 0;
        for (kind, endpoint) in gone {
            let is_kept = keeps
                && kept < MOST_ON_PROBATION
                && endpoint.state().accrual().is_well()
                && !addresses.contains(&endpoint.address());
            if is_kept {
                kept += 1;
                endpoint.set_on_probation(true);
                self.class(kind).push(endpoint);
            } else {
                states.forget(endpoint.key(), endpoint.state());
            }
        }
    }

    /// Returns the endpoints of a class.
    fn class(&mut self, kind: ClassKind) -> &mut Vec<Rc<WorkerEndpoint>> {
        let found = self.classes.iter().position(|class| class.kind() == kind);
        let at = found.unwrap_or_else(|| {
            let (weight, is_remote) = kind;
            self.classes.push(Class { weight, is_remote, ..Class::default() });
            self.classes.len() - 1
        });
        &mut self.classes[at].endpoints
    }

    /// Puts the endpoints into the order that the algorithm wants.
    fn arrange(&mut self) {
        if let BalancerAlgorithm::Aperture(_) = self.settings.algorithm {
            for class in &mut self.classes {
                class.endpoints.sort_by_cached_key(|endpoint| self.client.place(endpoint.address()));
            }
        }
    }

    /// Drops endpoints that their namer no longer has.
    fn retire(&mut self, is_retired: impl Fn(&WorkerEndpoint) -> bool) {
        let client = Arc::clone(&self.client);
        let mut states = client.states();
        for class in &mut self.classes {
            for endpoint in class.endpoints.extract_if(.., |endpoint| is_retired(endpoint)) {
                states.forget(endpoint.key(), endpoint.state());
            }
        }
        self.classes.retain(|class| !class.endpoints.is_empty());
    }

    /// Draws an endpoint that is not in `tried`; None when there is no other.
    pub(crate) fn pick(&mut self, tried: &[SocketAddr], time: &AttemptTime) -> Option<PickedEndpoint> {
        loop {
            let picked = PickedEndpoint::from(self.choose(tried, time)?);
            if !picked.is_on_probation() || picked.state().accrual().is_well() {
                return Some(picked);
            }
            // An attempt at it has failed since its namer dropped it.
            self.retire(|endpoint| endpoint.is_on_probation() && !endpoint.state().accrual().is_well());
        }
    }

    /// Chooses an endpoint that is not in `tried`.
    fn choose(&self, tried: &[SocketAddr], time: &AttemptTime) -> Option<Choice<'_>> {
        let drawn = self.draw();
        if !tried.is_empty() {
            return self.choose_untried(drawn, tried);
        }
        let algorithm = &self.settings.algorithm;
        // When all weights are zero, any class will do.
        let class = drawn.or_else(|| self.classes.first())?;
        class.pick(algorithm, time).or_else(|| {
            let others = self.classes.iter().filter(|other| other.weight > 0.0);
            others.filter_map(|other| other.pick(algorithm, time)).next().or_else(|| class.pick_any())
        })
    }

    /// Chooses an endpoint that is not in `tried`: of the drawn class if one is alive there, or else of another class.
    fn choose_untried<'a>(&'a self, drawn: Option<&'a Class>, tried: &[SocketAddr]) -> Option<Choice<'a>> {
        let weighted = self.classes.iter().filter(|class| class.weight > 0.0);
        let mut shut = None;
        for choice in drawn.into_iter().chain(weighted).filter_map(|class| class.pick_untried(tried)) {
            if choice.standing == Standing::Alive {
                return Some(choice);
            }
            shut = shut.or(Some(choice));
        }
        shut.or_else(|| self.classes.iter().find_map(|class| class.pick_untried(tried)))
    }

    /// Draws a class by its share; `None` when no class has one.
    fn draw(&self) -> Option<&Class> {
        if let [class] = &*self.classes {
            return Some(class);
        }
        let total: f64 = self.classes.iter().map(Class::share).sum();
        let mut draw = fastrand::f64() * total;
        self.classes.iter().find(|class| {
            draw -= class.share();
            draw < 0.0
        })
    }

    /// Returns every endpoint.
    pub(crate) fn endpoints(&self) -> impl Iterator<Item = &Rc<WorkerEndpoint>> {
        self.classes.iter().flat_map(|class| &class.endpoints)
    }
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
