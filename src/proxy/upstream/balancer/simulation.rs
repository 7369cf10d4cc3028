//! Simulations of the algorithms: 64 concurrent callers of two workers send 2,000 requests a second for a minute of paused
//! clock.

use super::tests::{algorithms, at, balancer_of, with};
use super::*;
use crate::name::Path;
use crate::proxy::exchange::{Outcome, PendingAttempt};
use crate::proxy::upstream::registry::EndpointRegistry;
use std::collections::BTreeMap;
use std::time::Duration;

/// How many requests are under way at most.
const CALLERS: usize = 64;

/// A response of a simulated endpoint.
#[derive(Clone, Copy)]
struct SimulatedResponse {
    status: u16,
    /// After so many milliseconds.
    after: u64,
}

const FAST: SimulatedResponse = SimulatedResponse { status: 200, after: 5 };
const SLOW: SimulatedResponse = SimulatedResponse { after: 100, ..FAST };

/// A service that is simulated, millisecond by millisecond.
struct Simulation {
    registry: EndpointRegistry,
    workers: [Balancer; 2],
    now: u64,
    started: usize,
    under_way: BTreeMap<(u64, usize), (PendingAttempt, u16)>,
    /// How many requests each port got.
    requests: BTreeMap<u16, usize>,
}

impl Simulation {
    /// Makes a service with endpoints at the ports from 1.
    fn new(algorithm: BalancerAlgorithm, endpoints: u16) -> Self {
        fastrand::seed(14);
        let registry = EndpointRegistry::default();
        let set = at(&(1..=endpoints).collect::<Vec<_>>());
        let workers = [(); 2].map(|()| balancer_of(&set, &registry, &with(algorithm)));
        Self { registry, workers, now: 0, started: 0, under_way: BTreeMap::new(), requests: BTreeMap::new() }
    }

    /// Sends `rate` requests each second, to endpoints that answer as `respond` says.
    async fn run(
        &mut self,
        time: Duration,
        rate: usize,
        respond: impl Fn(u16) -> SimulatedResponse,
        mut picked: impl FnMut(&Balancer, &WorkerEndpoint),
    ) {
        let (end, mut wanted) = (self.now + time.as_millis() as u64, 0);
        while self.now < end {
            self.finish();
            wanted += rate;
            while wanted >= 1000 && self.under_way.len() < CALLERS {
                wanted -= 1000;
                let worker = &mut self.workers[self.started % 2];
                let endpoint = worker.pick_now(&[]).expect("an endpoint");
                picked(worker, &endpoint);
                let port = endpoint.address().port();
                *self.requests.entry(port).or_default() += 1;
                let SimulatedResponse { status, after } = respond(port);
                self.under_way.insert((self.now + after, self.started), (endpoint.begin_now(), status));
                self.started += 1;
                self.finish();
            }
            tokio::time::advance(Duration::from_millis(1)).await;
            self.now += 1;
        }
    }

    /// Has the requests answered whose time has come.
    fn finish(&mut self) {
        while let Some(first) = self.under_way.first_entry().filter(|first| first.key().0 <= self.now) {
            let (pending, status) = first.remove();
            pending.answered(status).expect("an attempt").end(Outcome::Answered(status));
        }
    }

    /// Returns the part of the requests that a port got, in percent.
    fn percent(&self, port: u16) -> f64 {
        let requests = self.requests.get(&port).copied().unwrap_or_default();
        requests as f64 * 100.0 / self.started as f64
    }
}

const MINUTE: Duration = Duration::from_secs(60);

fn slow_first(port: u16) -> SimulatedResponse {
    if port == 1 { SLOW } else { FAST }
}

#[tokio::test(start_paused = true)]
async fn a_slow_endpoint_gets_less() {
    for (algorithm, percents) in algorithms().into_iter().zip([
        // p2c, ewma
        0.1..12.0,
        0.001..3.0,
        // aperture: two choices among as few as possible
        0.0..25.0,
        // heap
        0.1..12.0,
        // roundRobin
        24.9..25.1,
    ]) {
        let mut simulation = Simulation::new(algorithm, 4);
        simulation.run(MINUTE, 2000, slow_first, |_, _| ()).await;
        let percent = simulation.percent(1);
        assert!(percents.contains(&percent), "{algorithm:?}: {percent} %");
        if !matches!(algorithm, BalancerAlgorithm::RoundRobin { .. }) {
            assert!(simulation.started > 119_000, "{algorithm:?}: callers wait: {}", simulation.started);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_turns_slow_loses_its_traffic_at_once_and_gets_it_back() {
    let mut simulation = Simulation::new(algorithms()[1], 4);
    simulation.run(MINUTE, 2000, |_| FAST, |_, _| ()).await;
    for port in 1..=4 {
        assert!((20.0..30.0).contains(&simulation.percent(port)), "{:?}", simulation.requests);
    }
    let before = simulation.requests.clone();
    simulation.run(MINUTE, 2000, slow_first, |_, _| ()).await;
    let while_slow = simulation.requests[&1] - before[&1];
    assert!(while_slow < 120_000 * 3 / 100, "{while_slow}");
    let before = simulation.requests.clone();
    simulation.run(MINUTE, 2000, |_| FAST, |_, _| ()).await;
    let afterwards = simulation.requests[&1] - before[&1];
    assert!(afterwards > 120_000 * 10 / 100, "{afterwards}");
}

#[tokio::test(start_paused = true)]
async fn heap_always_picks_the_least_loaded_of_all() {
    let mut simulation = Simulation::new(BalancerAlgorithm::Heap, 10);
    let least = |worker: &Balancer, picked: &WorkerEndpoint| {
        let least = worker.endpoints().map(|endpoint| endpoint.in_flight()).min();
        assert_eq!(Some(picked.in_flight()), least);
    };
    let respond = |port| SimulatedResponse { after: 4 * u64::from(port), ..FAST };
    simulation.run(Duration::from_secs(10), 2000, respond, least).await;
    assert_eq!(simulation.requests.len(), 10);
}

#[tokio::test(start_paused = true)]
async fn an_aperture_is_as_wide_as_the_load_wants() {
    let mut simulation = Simulation::new(BalancerAlgorithm::Aperture(ApertureSettings::default()), 50);
    let settled = Duration::from_secs(30);
    // Requests under way: 0.1, 10, 60, 0.1. Between them and the endpoints in use there are 0.5 to 2 for each.
    for (rate, after, endpoints) in [(20, 5, 1..=1), (2000, 5, 5..=20), (2000, 30, 30..=50), (20, 5, 1..=1)] {
        let respond = move |_| SimulatedResponse { after, ..FAST };
        simulation.run(settled, rate, respond, |_, _| ()).await;
        simulation.requests.clear();
        simulation.run(settled, rate, respond, |_, _| ()).await;
        let used = simulation.requests.len();
        assert!(
            endpoints.contains(&used),
            "{used} endpoints of 50 at {rate} requests a second of {after} ms"
        );
    }
    // Both workers used the same ones all the time.
    let sizes = simulation.workers.each_ref().map(|worker| worker.classes[0].endpoints[0].address());
    assert_eq!(sizes[0], sizes[1]);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_fails_in_no_time_gets_next_to_nothing_after_its_fifth_failure() {
    for algorithm in algorithms() {
        let mut simulation = Simulation::new(algorithm, 4);
        // An aperture uses what comes first in its order: any of the four.
        let broken = simulation.workers[0].endpoints().next().expect("four").address().port();
        let respond = move |port| {
            if port == broken { SimulatedResponse { status: 500, after: 0 } } else { FAST }
        };
        simulation.run(MINUTE, 2000, respond, |_, _| ()).await;
        let (failed, all) = (simulation.requests[&broken], simulation.started);
        assert!(failed > 5, "{algorithm:?}: it is probed");
        assert!((failed - 5) * 1000 < all, "{algorithm:?}: {failed} of {all}");
        let health = simulation.registry.health().remove(&Path::empty()).expect("the client");
        assert_eq!((health.removals, health.revivals), (1, 0), "{algorithm:?}");
        assert_eq!(health.probes as usize, failed - 5, "{algorithm:?}: nothing but probes");
        // It answers again: at the next probe it has its share back.
        simulation.requests.clear();
        simulation.run(2 * MINUTE, 100, |_| FAST, |_, _| ()).await;
        assert!(simulation.requests[&broken] > 1, "{algorithm:?}: {:?}", simulation.requests);
    }
}
