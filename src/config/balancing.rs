//! `loadBalancer` and `failureAccrual`: how an endpoint is picked, and which are left alone.

use super::reader::{MAX_INT, Reader};
use super::retries::{BackoffConfig, backoff};
use crate::proxy::{AccrualBackoff, AccrualPolicy, ApertureSettings, BalancerAlgorithm, BalancerSettings};
use serde::Serialize;
use std::time::Duration;

/// The most that `maxEffort` may be: it is work of a request.
const MOST_EFFORT: u64 = 1000;

/// `loadBalancer`: how an endpoint is picked.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BalancerConfig {
    /// `kind` and the keys that belong to it.
    #[serde(flatten)]
    pub algorithm: AlgorithmConfig,
    /// `enableProbation`: whether an endpoint that its namer no longer has stays in use until it fails; off by default.
    pub enable_probation: bool,
    /// `preferZone`: whether endpoints that are hinted for the zone of the process get its requests; off by default. Not in
    /// Linkerd 1.
    pub prefer_zone: bool,
}

/// The kinds of `loadBalancer`. `maxEffort` is how often a pick is tried for an endpoint that is not shut, from 1 to 1000;
/// 5 by default.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum AlgorithmConfig {
    /// `p2c`: the less loaded of two; the default.
    P2c {
        /// `maxEffort`.
        max_effort: usize,
    },
    /// `ewma`: the one of two with the lower expected latency.
    Ewma {
        /// `maxEffort`.
        max_effort: usize,
        /// `decayTimeMs`: how many milliseconds a peak is remembered; 10000 by default.
        decay_time_ms: u64,
    },
    /// `aperture`: the less loaded of two among as few as possible.
    Aperture {
        /// `maxEffort`.
        max_effort: usize,
        /// `smoothWindowMs`: over how many milliseconds the load is smoothed; 5000 by default.
        smooth_window_ms: u64,
        /// `lowLoad`: the least load of an endpoint in use; 0.5 by default, and less than `highLoad`.
        low_load: f64,
        /// `highLoad`: the greatest load of an endpoint in use; 2.0 by default.
        high_load: f64,
        /// `minAperture`: how many endpoints are used at least; 1 by default.
        min_aperture: usize,
    },
    /// `heap`: the least loaded of all.
    Heap,
    /// `roundRobin`: one after the other.
    RoundRobin {
        /// `maxEffort`.
        max_effort: usize,
    },
}

impl BalancerConfig {
    /// Returns the settings of the proxy.
    pub(crate) const fn settings(self) -> BalancerSettings {
        let algorithm = match self.algorithm {
            AlgorithmConfig::P2c { max_effort } => BalancerAlgorithm::P2c { max_effort },
            AlgorithmConfig::Ewma { max_effort, decay_time_ms } => {
                BalancerAlgorithm::Ewma { max_effort, decay: Duration::from_millis(decay_time_ms) }
            }
            AlgorithmConfig::Aperture { max_effort, smooth_window_ms, low_load, high_load, min_aperture } => {
                let smooth_window = Duration::from_millis(smooth_window_ms);
                BalancerAlgorithm::Aperture(ApertureSettings {
                    max_effort,
                    smooth_window,
                    low_load,
                    high_load,
                    min_aperture,
                })
            }
            AlgorithmConfig::Heap => BalancerAlgorithm::Heap,
            AlgorithmConfig::RoundRobin { max_effort } => BalancerAlgorithm::RoundRobin { max_effort },
        };
        let Self { enable_probation, prefer_zone, .. } = self;
        BalancerSettings { algorithm, enable_probation, prefer_zone }
    }
}

/// Reads `loadBalancer`. The validation has checked its kind.
pub(super) fn balancer(client: &mut Reader<'_, '_>) -> Option<BalancerConfig> {
    let node = client.get("loadBalancer")?;
    let report = client.report();
    let kind = node.get("kind").and_then(|kind| kind.text().ok()).unwrap_or("p2c");
    let mut max_effort = |section| {
        let mut keys = Reader::new(&node, section, report);
        keys.number("maxEffort", 1..=MOST_EFFORT).unwrap_or(BalancerAlgorithm::MAX_EFFORT)
    };
    let algorithm = match kind {
        "p2c" => AlgorithmConfig::P2c { max_effort: max_effort(&["load balancer p2c"]) },
        "ewma" => {
            let max_effort = max_effort(&["load balancer ewma"]);
            let mut keys = Reader::new(&node, &["load balancer ewma"], report);
            let decay_time_ms = keys.number("decayTimeMs", 1..=MAX_INT).unwrap_or(10_000);
            AlgorithmConfig::Ewma { max_effort, decay_time_ms }
        }
        "aperture" => aperture(&mut Reader::new(&node, &["load balancer aperture"], report)),
        "heap" => AlgorithmConfig::Heap,
        "roundRobin" => AlgorithmConfig::RoundRobin { max_effort: max_effort(&["load balancer roundRobin"]) },
        _ => return None,
    };
    let mut keys = Reader::new(&node, &["load balancer"], report);
    Some(BalancerConfig {
        algorithm,
        enable_probation: keys.flag("enableProbation").unwrap_or(false),
        prefer_zone: keys.flag("preferZone").unwrap_or(false),
    })
}

/// Reads the keys of `aperture`.
fn aperture(keys: &mut Reader<'_, '_>) -> AlgorithmConfig {
    let usual = ApertureSettings::default();
    let low_load = keys.decimal("lowLoad", 0.001..=1e6).unwrap_or(usual.low_load);
    let high_load = keys.decimal("highLoad", 0.001..=1e6).unwrap_or(usual.high_load);
    if low_load >= high_load {
        let given = keys.get("lowLoad").or_else(|| keys.get("highLoad"));
        keys.error(
            given.as_ref(),
            format!("`lowLoad` ({low_load}) is not less than `highLoad` ({high_load})"),
        );
    }
    AlgorithmConfig::Aperture {
        max_effort: keys.number("maxEffort", 1..=MOST_EFFORT).unwrap_or(usual.max_effort),
        smooth_window_ms: keys.number("smoothWindowMs", 1..=MAX_INT).unwrap_or(5000),
        low_load,
        high_load,
        min_aperture: keys.number("minAperture", 1..=MAX_INT).unwrap_or(usual.min_aperture),
    }
}

/// `failureAccrual`: the failures that shut an endpoint, and for how long.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct AccrualConfig {
    /// `kind` and the keys that belong to it.
    #[serde(flatten)]
    pub policy: AccrualPolicyConfig,
    /// `backoff`: how long an endpoint is shut; from 5 s to 300 s by default, longer with each probe that fails.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff: Option<BackoffConfig>,
}

/// The kinds of `failureAccrual`.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
#[serde(tag = "kind", rename_all_fields = "camelCase")]
pub enum AccrualPolicyConfig {
    /// `io.l5d.consecutiveFailures`; the default, with 5.
    #[serde(rename = "io.l5d.consecutiveFailures")]
    ConsecutiveFailures {
        /// `failures`: so many in a row.
        failures: u32,
    },
    /// `io.l5d.successRate`.
    #[serde(rename = "io.l5d.successRate")]
    SuccessRate {
        /// `successRate`: the least, from 0 to 1.
        success_rate: f64,
        /// `requests`: among about so many.
        requests: u32,
    },
    /// `io.l5d.successRateWindowed`.
    #[serde(rename = "io.l5d.successRateWindowed")]
    SuccessRateWindowed {
        /// `successRate`: the least, from 0 to 1.
        success_rate: f64,
        /// `window`: in about so many seconds.
        window: u64,
    },
    /// `none`.
    #[serde(rename = "none")]
    None,
}

impl AccrualConfig {
    /// Returns the failures that shut an endpoint.
    pub(crate) const fn policy(self) -> AccrualPolicy {
        match self.policy {
            AccrualPolicyConfig::ConsecutiveFailures { failures } => {
                AccrualPolicy::ConsecutiveFailures { failures }
            }
            AccrualPolicyConfig::SuccessRate { success_rate, requests } => {
                AccrualPolicy::SuccessRate { success_rate, requests }
            }
            AccrualPolicyConfig::SuccessRateWindowed { success_rate, window } => {
                AccrualPolicy::SuccessRateWindowed { success_rate, window: Duration::from_secs(window) }
            }
            AccrualPolicyConfig::None => AccrualPolicy::None,
        }
    }

    /// Returns how long an endpoint is shut.
    pub(crate) fn backoff(self) -> AccrualBackoff {
        self.backoff
            .map_or_else(AccrualBackoff::default, |backoff| AccrualBackoff::Configured(backoff.settings()))
    }
}

/// Reads `failureAccrual`. The validation has checked its kind.
pub(super) fn accrual(client: &mut Reader<'_, '_>) -> Option<AccrualConfig> {
    let node = client.get("failureAccrual")?;
    let report = client.report();
    let kind = node.get("kind").and_then(|kind| kind.text().ok())?;
    let policy = match kind {
        "io.l5d.consecutiveFailures" => {
            let mut keys = Reader::new(&node, &["failure accrual io.l5d.consecutiveFailures"], report);
            required(&mut keys, "failures")
                .map(|failures| AccrualPolicyConfig::ConsecutiveFailures { failures })
        }
        "io.l5d.successRate" => {
            let mut keys = Reader::new(&node, &["failure accrual io.l5d.successRate"], report);
            let (rate, requests) = (success_rate(&mut keys), required(&mut keys, "requests"));
            rate.zip(requests)
                .map(|(success_rate, requests)| AccrualPolicyConfig::SuccessRate { success_rate, requests })
        }
        "io.l5d.successRateWindowed" => {
            let mut keys = Reader::new(&node, &["failure accrual io.l5d.successRateWindowed"], report);
            let (rate, window) = (success_rate(&mut keys), required(&mut keys, "window"));
            rate.zip(window).map(|(success_rate, window)| AccrualPolicyConfig::SuccessRateWindowed {
                success_rate,
                window,
            })
        }
        "none" => Some(AccrualPolicyConfig::None),
        _ => None,
    };
    let backoff = backoff(&mut Reader::new(&node, &["failure accrual"], report));
    Some(AccrualConfig { policy: policy?, backoff })
}

/// Reads a count that must be there, from 1.
fn required<N: TryFrom<u64>>(keys: &mut Reader<'_, '_>, key: &str) -> Option<N> {
    keys.require(key);
    keys.number(key, 1..=MAX_INT)
}

/// Reads `successRate`.
fn success_rate(keys: &mut Reader<'_, '_>) -> Option<f64> {
    keys.require("successRate");
    keys.decimal("successRate", 0.0..=1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, ClientConfig};

    /// Reads the settings of a client from a file; the errors are the key and the message of each.
    fn read(client: &str) -> Result<ClientConfig, Vec<(String, String)>> {
        let file = format!("routers:\n- {{protocol: http, servers: [{{port: 0}}], client: {{{client}}}}}\n");
        match config::read("f", &file) {
            Ok(config) => Ok(config.routers[0].client.of(&"/#/a".parse().unwrap())),
            Err(errors) => {
                let told = errors.iter().map(|error| {
                    let key = error.key.strip_prefix("routers[0].client.").unwrap_or(&error.key);
                    (key.to_owned(), error.message.clone())
                });
                Err(told.collect())
            }
        }
    }

    #[test]
    fn the_defaults_are_those_of_the_proxy() {
        for (kind, algorithm) in [
            ("p2c", BalancerAlgorithm::default()),
            ("aperture", BalancerAlgorithm::Aperture(ApertureSettings::default())),
            ("heap", BalancerAlgorithm::Heap),
            ("roundRobin", BalancerAlgorithm::RoundRobin { max_effort: 5 }),
            ("ewma", BalancerAlgorithm::Ewma { max_effort: 5, decay: Duration::from_secs(10) }),
        ] {
            let client = read(&format!("loadBalancer: {{kind: {kind}}}")).unwrap();
            let settings = client.load_balancer.unwrap().settings();
            assert_eq!(settings, BalancerSettings { algorithm, ..BalancerSettings::default() }, "{kind}");
        }
        let client = read("loadBalancer: {enableProbation: true}").unwrap();
        let probation = BalancerSettings { enable_probation: true, ..BalancerSettings::default() };
        assert_eq!(client.load_balancer.unwrap().settings(), probation);
    }

    #[test]
    fn a_preference_for_the_own_zone_needs_to_know_it() {
        let file = |keys: &str| {
            format!(
                "routers:\n- {{protocol: http, servers: [{{port: 0}}], client: {{loadBalancer: {{{keys}}}}}}}\n"
            )
        };
        for (keys, needs) in [("preferZone: true", true), ("preferZone: false", false)] {
            let config = config::read("f", &file(keys)).unwrap();
            let findings = config.environment_findings();
            // The tests may run where it is known.
            assert_eq!(findings.len(), usize::from(needs && config::own_zone().is_none()), "{keys}");
            assert!(findings.iter().all(|finding| finding.to_string().contains(config::OWN_ZONE)));
        }
    }

    #[test]
    fn each_kind_of_failure_accrual_has_its_keys() {
        let accrual =
            |keys: &str| read(&format!("failureAccrual: {{{keys}}}")).unwrap().failure_accrual.unwrap();
        let consecutive = accrual("kind: io.l5d.consecutiveFailures, failures: 7");
        assert_eq!(consecutive.policy(), AccrualPolicy::ConsecutiveFailures { failures: 7 });
        assert_eq!(consecutive.backoff(), AccrualBackoff::default());
        let rate =
            accrual("kind: io.l5d.successRate, successRate: 0.9, requests: 20, backoff: {kind: constant}");
        assert_eq!(rate.policy(), AccrualPolicy::SuccessRate { success_rate: 0.9, requests: 20 });
        let constant = BackoffConfig::Constant { ms: 0 };
        assert_eq!(rate.backoff(), AccrualBackoff::Configured(constant.settings()));
        let windowed = accrual(
            "kind: io.l5d.successRateWindowed, successRate: 1, window: 30, backoff: {kind: jittered, minMs: 1, maxMs: 2}",
        );
        let window = Duration::from_secs(30);
        assert_eq!(windowed.policy(), AccrualPolicy::SuccessRateWindowed { success_rate: 1.0, window });
        assert_eq!(accrual("kind: none").policy(), AccrualPolicy::None);
    }

    #[test]
    fn what_cannot_work_fails_the_start() {
        for (client, key, message) in [
            ("loadBalancer: {kind: random}", "loadBalancer.kind", "unknown kind"),
            ("loadBalancer: {kind: heap, maxEffort: 5}", "loadBalancer.maxEffort", "unknown key"),
            ("loadBalancer: {kind: p2c, maxEffort: 0}", "loadBalancer.maxEffort", "1 to 1000"),
            (
                "loadBalancer: {kind: aperture, lowLoad: 2}",
                "loadBalancer.lowLoad",
                "not less than `highLoad` (2)",
            ),
            ("loadBalancer: {kind: aperture, highLoad: 0.1}", "loadBalancer.highLoad", "not less than"),
            ("failureAccrual: {failures: 5}", "failureAccrual", "kind"),
            ("failureAccrual: {kind: io.l5d.consecutiveFailures}", "failureAccrual", "`failures` is missing"),
            (
                "failureAccrual: {kind: io.l5d.successRate, successRate: 1.5, requests: 1}",
                "failureAccrual.successRate",
                "0 to 1",
            ),
            (
                "failureAccrual: {kind: io.l5d.successRateWindowed, successRate: 1}",
                "failureAccrual",
                "`window`",
            ),
            (
                "failureAccrual: {kind: none, backoff: {kind: jittered, minMs: 5, maxMs: 4}}",
                "failureAccrual.backoff.minMs",
                "more than",
            ),
        ] {
            let errors = read(client).expect_err(client);
            let [(at, told)] = &*errors else { panic!("{client}: {errors:?}") };
            assert!(at == key && told.contains(message), "{client}: {errors:?}");
        }
    }
}
