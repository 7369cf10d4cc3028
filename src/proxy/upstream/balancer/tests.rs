//! The balancer: weights, changes of its set, failure accrual, probation.

use super::*;
use crate::message::HeadLimits;
use crate::name::Path;
use crate::proxy::exchange::{Outcome, PendingAttempt};
use crate::proxy::metrics::TrafficMetrics;
use crate::proxy::upstream::accrual::{AccrualPolicy, AccrualSettings};
use crate::proxy::upstream::registry::{EndpointHealth, EndpointRegistry};
use crate::proxy::wire::WireProtocol;
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU64;
use std::time::Duration;

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

pub(super) fn settings() -> ClientSettings {
    ClientSettings::new(WireProtocol::Http1, HeadLimits { line: 1000, fields_bytes: 1000, fields: 10 })
}

/// Makes the balancer of a client with an empty id, as a worker does.
pub(super) fn balancer_of(
    set: &EndpointSet,
    registry: &EndpointRegistry,
    settings: &ClientSettings,
) -> Balancer {
    let mut balancer = {
        let shared = registry.client(&Path::empty(), None);
        let counters = TrafficMetrics::default().client("", Arc::downgrade(&shared) as _);
        Balancer::new(shared, &counters, settings)
    };
    balancer.update(set, &Rc::new(settings.clone()));
    balancer
}

fn update(balancer: &mut Balancer, set: &EndpointSet) {
    let settings = ClientSettings { balancer: balancer.settings, ..settings() };
    balancer.update(set, &Rc::new(settings));
}

/// Makes a set of endpoints at the ports from 1, of these weights.
fn weighted(weights: &[f64]) -> EndpointSet {
    let endpoints = weights
        .iter()
        .zip(1..)
        .map(|(weight, port)| Endpoint { weight: *weight, ..Endpoint::at(address(port)) });
    EndpointSet::new(endpoints.collect())
}

/// Makes a set of endpoints at these ports.
pub(super) fn at(ports: &[u16]) -> EndpointSet {
    EndpointSet::new(ports.iter().map(|port| Endpoint::at(address(*port))).collect())
}

fn balancer(weights: &[f64]) -> Balancer {
    balancer_of(&weighted(weights), &EndpointRegistry::default(), &settings())
}

pub(super) fn with(algorithm: BalancerAlgorithm) -> ClientSettings {
    let balancer = BalancerSettings { algorithm, ..BalancerSettings::default() };
    ClientSettings { balancer, ..settings() }
}

/// Every algorithm, with its defaults.
pub(super) fn algorithms() -> [BalancerAlgorithm; 5] {
    [
        BalancerAlgorithm::P2c { max_effort: 5 },
        BalancerAlgorithm::Ewma { max_effort: 5, decay: Duration::from_secs(10) },
        BalancerAlgorithm::Aperture(ApertureSettings::default()),
        BalancerAlgorithm::Heap,
        BalancerAlgorithm::RoundRobin { max_effort: 5 },
    ]
}

impl Balancer {
    /// Picks at the present time.
    pub(super) fn pick_now(&mut self, tried: &[SocketAddr]) -> Option<PickedEndpoint> {
        self.pick(tried, &AttemptTime::default())
    }
}

impl PickedEndpoint {
    /// Begins an attempt without a limit at the present time.
    pub(super) fn begin_now(&self) -> PendingAttempt {
        self.begin(None, &AttemptTime::default())
    }
}

fn picks(balancer: &mut Balancer, draws: usize) -> HashMap<u16, usize> {
    let mut picks = HashMap::new();
    for _ in 0..draws {
        *picks.entry(balancer.pick_now(&[]).unwrap().address().port()).or_default() += 1;
    }
    picks
}

fn endpoint(balancer: &Balancer, port: u16) -> Rc<WorkerEndpoint> {
    Rc::clone(balancer.endpoints().find(|endpoint| endpoint.address().port() == port).unwrap())
}

/// Has an attempt at an endpoint answered with this status.
fn answer(endpoint: &Rc<WorkerEndpoint>, status: u16) {
    let mut attempt =
        endpoint.begin(Standing::Alive, None, &AttemptTime::default()).answered(status).unwrap();
    attempt.end(Outcome::Answered(status));
}

/// Shuts an endpoint by five failures in a row.
fn shut(balancer: &Balancer, port: u16) {
    (0..5).for_each(|_| answer(&endpoint(balancer, port), 500));
}

#[test]
fn an_empty_set_has_no_pick() {
    assert!(balancer(&[]).pick_now(&[]).is_none());
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
    let mut balancer = balancer(&[]);
    for (terminating, ports) in
        [([false, false], vec![1, 2]), ([true, false], vec![2]), ([true, true], vec![1, 2])]
    {
        update(&mut balancer, &set(terminating));
        let mut drawn: Vec<_> = picks(&mut balancer, 100).into_keys().collect();
        drawn.sort_unstable();
        assert_eq!(drawn, ports);
    }
}

#[test]
fn the_less_loaded_of_two_wins() {
    let mut balancer = balancer(&[1.0, 1.0]);
    let busy = endpoint(&balancer, 1).begin(Standing::Alive, None, &AttemptTime::default());
    assert_eq!(picks(&mut balancer, 50), HashMap::from([(2, 50)]), "two of two are compared each time");
    drop(busy);
    assert_eq!(picks(&mut balancer, 400).len(), 2, "both serve again");
}

#[test]
fn classes_share_by_weight() {
    fastrand::seed(7);
    let picks = picks(&mut balancer(&[1.0, 1.0, 2.0]), 10_000);
    assert!((4_700..5_300).contains(&picks[&3]), "half of the traffic: {picks:?}");
    assert_eq!(picks.len(), 3);
}

#[test]
fn weight_zero_gets_nothing_unless_all_are_zero() {
    assert_eq!(picks(&mut balancer(&[0.0, 1.0]), 200), HashMap::from([(2, 200)]));
    assert_eq!(picks(&mut balancer(&[0.0, 0.0]), 200).len(), 2);
}

#[test]
fn tried_endpoints_are_not_drawn_again() {
    let mut balancer = balancer(&[1.0, 5.0]);
    assert_eq!(balancer.pick_now(&[address(2)]).unwrap().address(), address(1));
    assert!(balancer.pick_now(&[address(1), address(2)]).is_none());
}

#[test]
fn endpoints_that_stay_keep_their_load_and_workers_share_it() {
    let registry = EndpointRegistry::default();
    let mut here = balancer_of(&at(&[1]), &registry, &settings());
    let there = balancer_of(&at(&[1]), &registry, &settings());
    let _load = here.pick_now(&[]).unwrap().begin_now();
    assert_eq!(endpoint(&there, 1).in_flight(), 1, "seen by the other worker");
    update(&mut here, &at(&[2, 1]));
    assert_eq!(picks(&mut here, 20), HashMap::from([(2, 20)]));
    assert_eq!(
        registry.endpoints(),
        BTreeMap::from([(Path::empty(), BTreeSet::from([address(1), address(2)]))])
    );
    drop((here, there));
    assert_eq!(
        registry.endpoints().get(&Path::empty()).map(BTreeSet::len),
        Some(1),
        "one request is under way"
    );
}

#[tokio::test(start_paused = true)]
async fn no_algorithm_picks_an_endpoint_that_is_shut_while_another_is_not() {
    for algorithm in algorithms() {
        // More than the algorithm draws by itself.
        let mut balancer =
            balancer_of(&at(&(1..=40).collect::<Vec<_>>()), &EndpointRegistry::default(), &with(algorithm));
        (1..40).for_each(|port| shut(&balancer, port));
        assert_eq!(picks(&mut balancer, 200), HashMap::from([(40, 200)]), "{algorithm:?}");
        // A retry as well, as long as another is left.
        assert_eq!(balancer.pick_now(&[address(1)]).unwrap().address(), address(40), "{algorithm:?}");
        assert!(balancer.pick_now(&[address(40)]).unwrap().address() != address(40), "{algorithm:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn when_all_endpoints_are_shut_one_is_used_anyway_and_lives_if_it_answers() {
    for algorithm in algorithms() {
        let registry = EndpointRegistry::default();
        let mut balancer = balancer_of(&at(&[1, 2, 3]), &registry, &with(algorithm));
        (1..=3).for_each(|port| shut(&balancer, port));
        let picked = balancer.pick_now(&[]).unwrap();
        picked.begin_now().answered(200).unwrap().end(Outcome::Answered(500));
        assert!(!picked.is_alive(), "{algorithm:?}");
        let picked = balancer.pick_now(&[]).unwrap();
        picked.begin_now().answered(200).unwrap().end(Outcome::Answered(200));
        assert!(picked.is_alive(), "{algorithm:?}");
        let port = picked.address().port();
        drop(picked);
        assert_eq!(picks(&mut balancer, 50), HashMap::from([(port, 50)]), "{algorithm:?}");
        let health = registry.health().remove(&Path::empty()).unwrap();
        assert_eq!((health.removals, health.revivals, health.probes), (3, 1, 0), "{algorithm:?}");
        assert_eq!(health.endpoints[&address(port)], EndpointHealth::Alive { failures: 0 });
    }
}

#[tokio::test(start_paused = true)]
async fn one_request_at_a_time_probes_over_all_workers() {
    for algorithm in algorithms() {
        let registry = EndpointRegistry::default();
        let algorithm = match algorithm {
            // It holds both.
            BalancerAlgorithm::Aperture(settings) => {
                BalancerAlgorithm::Aperture(ApertureSettings { min_aperture: 2, ..settings })
            }
            other => other,
        };
        let [mut here, mut there] = [(); 2].map(|()| balancer_of(&at(&[1, 2]), &registry, &with(algorithm)));
        shut(&here, 1);
        tokio::time::advance(Duration::from_secs(5)).await;
        // The first pick that sees it is the probe; it may be that of the other one in a round.
        let pick = |balancer: &mut Balancer| {
            (0..10)
                .find_map(|_| balancer.pick_now(&[]).filter(|picked| picked.address() == address(1)))
                .unwrap()
        };
        let pending = pick(&mut here).begin_now();
        assert_eq!(picks(&mut here, 50), HashMap::from([(2, 50)]), "{algorithm:?}");
        assert_eq!(picks(&mut there, 50), HashMap::from([(2, 50)]), "{algorithm:?}");
        // A caller that goes away says nothing. Another request probes, on whatever worker.
        drop(pending);
        let probe = pick(&mut there);
        assert_eq!(picks(&mut here, 50), HashMap::from([(2, 50)]), "{algorithm:?}");
        // So does one that was picked and never began.
        drop(probe);
        pick(&mut here).begin_now().answered(200).unwrap().end(Outcome::Answered(200));
        assert_eq!(picks(&mut there, 200).len(), 2, "{algorithm:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_class_whose_endpoints_are_shut_leaves_its_traffic_to_others() {
    let mut balancer = balancer(&[0.0, 5.0, 1.0]);
    shut(&balancer, 2);
    assert_eq!(picks(&mut balancer, 100), HashMap::from([(3, 100)]), "never to one of weight 0");
    shut(&balancer, 3);
    let picks = picks(&mut balancer, 600);
    assert!(picks[&2] > picks[&3] && picks.len() == 2, "by weight again: {picks:?}");
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_is_replaced_or_comes_back_starts_alive() {
    let instance = |instance| {
        let replaced = Endpoint { instance: NonZeroU64::new(instance), ..Endpoint::at(address(1)) };
        EndpointSet::new(vec![replaced, Endpoint::at(address(2))])
    };
    let registry = EndpointRegistry::default();
    let [mut here, mut there] = [(); 2].map(|()| balancer_of(&instance(7), &registry, &settings()));
    shut(&here, 1);
    update(&mut here, &instance(7));
    assert!(!endpoint(&here, 1).is_alive(), "nothing has changed");
    update(&mut here, &instance(8));
    assert!(endpoint(&here, 1).is_alive(), "another one has the address");
    shut(&here, 1);
    update(&mut here, &at(&[2]));
    update(&mut here, &instance(8));
    assert!(endpoint(&here, 1).is_alive(), "it was away");
    // A worker that had no request meanwhile has seen none of this.
    assert!(!endpoint(&there, 1).is_alive());
    update(&mut there, &instance(8));
    assert!(Arc::ptr_eq(endpoint(&there, 1).state(), endpoint(&here, 1).state()));
}

#[tokio::test(start_paused = true)]
async fn with_probation_an_endpoint_that_left_the_set_is_used_until_it_fails() {
    let balancer_settings = BalancerSettings { enable_probation: true, ..BalancerSettings::default() };
    let settings = ClientSettings { balancer: balancer_settings, ..settings() };
    let registry = EndpointRegistry::default();
    let mut balancer = balancer_of(&at(&[1, 2, 3]), &registry, &settings);
    answer(&endpoint(&balancer, 3), 500);
    update(&mut balancer, &at(&[1]));
    assert_eq!(picks(&mut balancer, 200).len(), 2, "the one that failed last is gone");
    answer(&endpoint(&balancer, 2), 200);
    assert_eq!(picks(&mut balancer, 200).len(), 2);
    endpoint(&balancer, 2).begin(Standing::Alive, None, &AttemptTime::default()).fail(Outcome::Refused);
    assert_eq!(picks(&mut balancer, 200), HashMap::from([(1, 200)]));
    assert_eq!(registry.endpoints()[&Path::empty()], BTreeSet::from([address(1)]));
    // One that comes back is like any other again.
    update(&mut balancer, &at(&[2]));
    update(&mut balancer, &at(&[2, 1]));
    answer(&endpoint(&balancer, 1), 500);
    assert_eq!(picks(&mut balancer, 200).len(), 2);
    // What ends, or has lost its address to another, is not kept.
    let ending = Endpoint { terminating: true, ..Endpoint::at(address(2)) };
    update(&mut balancer, &EndpointSet::new(vec![ending, Endpoint::at(address(4))]));
    assert_eq!(picks(&mut balancer, 200).into_keys().collect::<BTreeSet<_>>(), BTreeSet::from([4]));
    let other = Endpoint { instance: NonZeroU64::new(1), ..Endpoint::at(address(4)) };
    update(&mut balancer, &EndpointSet::new(vec![other]));
    assert_eq!(balancer.endpoints().count(), 1);
    // Without the setting, none is.
    update(&mut balancer, &at(&[5]));
    assert_eq!(balancer.endpoints().count(), 2);
    balancer.configure(&Rc::new(self::settings()));
    assert_eq!(balancer.endpoints().count(), 1);
}

#[test]
fn endpoints_on_probation_are_bounded() {
    let balancer_settings = BalancerSettings { enable_probation: true, ..BalancerSettings::default() };
    let settings = ClientSettings { balancer: balancer_settings, ..settings() };
    let mut balancer = balancer_of(&at(&[]), &EndpointRegistry::default(), &settings);
    for first in [1, 10_000, 20_000] {
        update(&mut balancer, &at(&(first..first + 700).collect::<Vec<_>>()));
    }
    assert_eq!(balancer.endpoints().count(), 700 + MOST_ON_PROBATION);
}

#[tokio::test(start_paused = true)]
async fn endpoints_that_are_hinted_for_the_own_zone_go_first_where_that_is_wanted() {
    let hinted = |zones: [Option<&str>; 3]| {
        let endpoints = zones.into_iter().zip(1..).map(|(zones, port)| Endpoint {
            for_zones: zones.map(Into::into),
            ..Endpoint::at(address(port))
        });
        EndpointSet::new(endpoints.collect())
    };
    let mixed = hinted([Some("b,a"), Some("b"), None]);
    let balancer_settings = BalancerSettings { prefer_zone: true, ..BalancerSettings::default() };
    let wanted = ClientSettings { balancer: balancer_settings, ..settings() };
    for (set, zone, settings, ports) in [
        (&mixed, Some("a"), &settings(), vec![1, 2, 3]),
        (&mixed, None, &wanted, vec![1, 2, 3]),
        (&mixed, Some("c"), &wanted, vec![1, 2, 3]),
        (&hinted([None; 3]), Some("a"), &wanted, vec![1, 2, 3]),
        (&mixed, Some("b"), &wanted, vec![1, 2]),
        (&mixed, Some("a"), &wanted, vec![1]),
    ] {
        let registry = EndpointRegistry::default().in_zone(zone.map(Into::into));
        let drawn: BTreeSet<_> = picks(&mut balancer_of(set, &registry, settings), 300).into_keys().collect();
        assert_eq!(drawn, ports.into_iter().collect(), "{zone:?}");
    }
    let registry = EndpointRegistry::default().in_zone(Some("a".into()));
    let mut balancer = balancer_of(&mixed, &registry, &wanted);
    assert!(balancer.pick_now(&[address(1)]).is_some(), "a retry may go further");
    shut(&balancer, 1);
    assert_eq!(picks(&mut balancer, 200).len(), 2, "the others are alive");
    shut(&balancer, 2);
    shut(&balancer, 3);
    assert_eq!(picks(&mut balancer, 50), HashMap::from([(1, 50)]));
}

#[tokio::test(start_paused = true)]
async fn settings_change_for_the_next_request() {
    let mut balancer = balancer_of(&at(&[1, 2]), &EndpointRegistry::default(), &settings());
    shut(&balancer, 1);
    let busy = endpoint(&balancer, 2).begin(Standing::Alive, None, &AttemptTime::default());
    assert_eq!(picks(&mut balancer, 50), HashMap::from([(2, 50)]));
    let accrual = AccrualSettings { policy: AccrualPolicy::None, ..AccrualSettings::default() };
    balancer.configure(&Rc::new(ClientSettings { accrual, ..settings() }));
    assert_eq!(picks(&mut balancer, 50), HashMap::from([(1, 50)]), "alive, and less loaded");
    (0..100).for_each(|_| answer(&endpoint(&balancer, 1), 500));
    assert_eq!(picks(&mut balancer, 50), HashMap::from([(1, 50)]), "no failure shuts it");
    balancer.configure(&Rc::new(with(BalancerAlgorithm::RoundRobin { max_effort: 5 })));
    assert_eq!(picks(&mut balancer, 50), HashMap::from([(1, 25), (2, 25)]));
    drop(busy);
}
