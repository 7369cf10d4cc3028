//! The budgets and the pauses of repeats.

use super::reader::{MAX_INT, Reader};
use crate::proxy::{BackoffSettings, BudgetSettings};
use serde::Serialize;
use std::time::Duration;

/// `requeueBudget` or `retries.budget`: how many repeats there may be.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BudgetConfig {
    /// `minRetriesPerSec`: how many each second may have, whatever the number of requests; 10 by default.
    pub min_retries_per_sec: u32,
    /// `percentCanRetry`: how many each request allows beside those, from 0 to 1000; 0.2 by default, which is 20 %.
    pub percent_can_retry: f64,
    /// `ttlSecs`: how many seconds a request counts, from 1 to 60; 10 by default.
    pub ttl_secs: u64,
}

impl BudgetConfig {
    /// Returns the settings of the proxy.
    pub(crate) const fn settings(self) -> BudgetSettings {
        BudgetSettings {
            ttl: Duration::from_secs(self.ttl_secs),
            min_per_second: self.min_retries_per_sec,
            share: self.percent_can_retry,
        }
    }
}

/// Reads a budget.
pub(super) fn budget(parent: &mut Reader<'_, '_>, key: &str) -> Option<BudgetConfig> {
    let node = parent.get(key)?;
    let mut budget = Reader::new(&node, &["retry budget"], parent.report());
    let usual = BudgetSettings::default();
    Some(BudgetConfig {
        min_retries_per_sec: budget.number("minRetriesPerSec", 0..=1_000_000).unwrap_or(usual.min_per_second),
        percent_can_retry: budget.decimal("percentCanRetry", 0.0..=1000.0).unwrap_or(usual.share),
        ttl_secs: budget.number("ttlSecs", 1..=60).unwrap_or(usual.ttl.as_secs()),
    })
}

/// `backoff`: the pauses before repeats.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(tag = "kind")]
pub enum BackoffConfig {
    /// `constant`: the same pause each time.
    #[serde(rename = "constant")]
    Constant {
        /// `ms`: how many milliseconds; none by default.
        ms: u64,
    },
    /// `jittered`: pauses that grow at random.
    #[serde(rename = "jittered", rename_all = "camelCase")]
    Jittered {
        /// `minMs`: the least, in milliseconds.
        min_ms: u64,
        /// `maxMs`: the greatest, in milliseconds.
        max_ms: u64,
    },
}

impl BackoffConfig {
    /// Returns the settings of the proxy.
    pub(crate) const fn settings(self) -> BackoffSettings {
        match self {
            Self::Constant { ms } => BackoffSettings::Constant(Duration::from_millis(ms)),
            Self::Jittered { min_ms, max_ms } => BackoffSettings::Jittered {
                min: Duration::from_millis(min_ms),
                max: Duration::from_millis(max_ms),
            },
        }
    }
}

/// Reads `backoff`. The validation has checked its kind.
pub(super) fn backoff(parent: &mut Reader<'_, '_>) -> Option<BackoffConfig> {
    let node = parent.get("backoff")?;
    let report = parent.report();
    if node.get("kind").and_then(|kind| kind.text().ok()) != Some("jittered") {
        let mut keys = Reader::new(&node, &["backoff constant"], report);
        return Some(BackoffConfig::Constant { ms: keys.number("ms", 0..=MAX_INT).unwrap_or(0) });
    }
    let mut keys = Reader::new(&node, &["backoff jittered"], report);
    let [min, max] = ["minMs", "maxMs"].map(|key| {
        keys.require(key);
        keys.number(key, 1..=MAX_INT)
    });
    let (min_ms, max_ms) = (min?, max?);
    if min_ms > max_ms {
        let least = keys.get("minMs");
        keys.error(least.as_ref(), format!("`minMs` is more than the `maxMs` of {max_ms}"));
        return None;
    }
    Some(BackoffConfig::Jittered { min_ms, max_ms })
}
