//! The configuration of sandboxes: their stores, and their limits.

use super::item::Item;
use super::overlay::UnknownKey;
use super::rules::{MAX_TTL, NamespaceRoot, SandboxRules};
use crate::context::Destination;
use crate::kubernetes;
use crate::name::Prefix;
use jiff::SignedDuration;
use serde::{Serialize, Serializer};
use std::path::PathBuf;
use std::time::Duration;

/// The most namespaces that a router reads: 100. Each is a watch of its own.
pub const MAX_NAMESPACES: usize = 100;

/// The stores of sandboxes, and the limits on what they may override.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Config {
    /// `namespaces`: the namespaces whose `Sandbox` and `SandboxGroup` objects count; none by default.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
    /// `host` and `port`, or `kubeconfig` and `context`, or none of them: the API server; and `snapshot`.
    #[serde(flatten)]
    pub client: kubernetes::Config,
    /// `router`: the label of the router under which the controller asks whether a sandbox is ready; none by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub router: Option<String>,
    /// `overrides`.
    pub overrides: SandboxLimits,
    /// `maxTtl`: how long a sandbox may live; 168 h by default.
    #[serde(serialize_with = "in_words")]
    pub max_ttl: Duration,
    /// `unknownKey`: the answer to a request with a key that no sandbox has; that of the baseline by default.
    pub unknown_key: UnknownKey,
    /// `file`: the file of the embedded store, which is followed live; none by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// `items`: the sandboxes and groups that stand in the configuration; no two with one name or one key.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<Item>,
}

/// The limits on what sandboxes may override.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SandboxLimits {
    /// `prefixes`: an entry's prefix must be at or below one of these; any by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefixes: Option<Vec<Prefix>>,
    /// `destinations`: a leaf to which an entry leads must have a bound id that one of these matches; by default those of
    /// the sandbox's own namespace in Kubernetes, and all for items of the embedded store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destinations: Option<Vec<Destination>>,
}

impl Config {
    /// Returns the rules for its sandboxes. `roots` are the places of namespaces among the ids of the namers.
    pub fn rules(&self, roots: Vec<NamespaceRoot>) -> SandboxRules {
        let SandboxLimits { prefixes, destinations } = self.overrides.clone();
        SandboxRules::new(prefixes, destinations, self.max_ttl, roots)
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            namespaces: Vec::new(),
            client: kubernetes::Config::default(),
            router: None,
            overrides: SandboxLimits::default(),
            max_ttl: MAX_TTL,
            unknown_key: UnknownKey::default(),
            file: None,
            items: Vec::new(),
        }
    }
}

/// Serializes a duration in the words that [`parse_ttl`](super::parse_ttl) reads, such as `168h`.
fn in_words<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    let duration = SignedDuration::try_from(*duration).unwrap_or(SignedDuration::MAX);
    serializer.collect_str(&format_args!("{duration:#}"))
}
