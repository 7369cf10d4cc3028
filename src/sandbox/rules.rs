//! The limits on what sandboxes may override.

use crate::context::{Destination, OverrideLimits, OverrideRules};
use crate::name::{Path, Prefix};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The longest lifetime of a sandbox unless the configuration says otherwise: 168 h.
pub const MAX_TTL: Duration = Duration::from_secs(168 * 60 * 60);

/// The limits on what sandboxes may override.
#[derive(Debug)]
pub struct SandboxRules {
    /// `sandboxes.overrides.prefixes`: an entry's prefix must be at or below one of these, if the key is there.
    limits: OverrideLimits,
    /// `sandboxes.overrides.destinations`: a leaf to which an entry leads must have a bound id that one of these matches,
    /// if the key is there; without it, entries of a sandbox in a cluster lead to endpoints of its own namespace alone.
    destinations: Option<Arc<[Destination]>>,
    /// `sandboxes.maxTtl`.
    pub(super) max_ttl: Duration,
    /// The places of namespaces among bound ids.
    roots: Vec<NamespaceRoot>,
    /// The destinations of each namespace: its sandboxes share them.
    by_namespace: Mutex<HashMap<Box<str>, Arc<[Destination]>>>,
}

/// A place below which a namer's bound ids belong to namespaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceRoot {
    /// The beginning of the ids, such as `/#/io.l5d.k8s`.
    pub prefix: Path,
    /// The namespace of all ids below it; none when the next element is the namespace.
    pub namespace: Option<Arc<str>>,
}

impl SandboxRules {
    /// Makes rules. `roots` are the places of namespaces among the ids of the namers.
    pub fn new(
        prefixes: Option<Vec<Prefix>>,
        destinations: Option<Vec<Destination>>,
        max_ttl: Duration,
        roots: Vec<NamespaceRoot>,
    ) -> Self {
        let destinations = destinations.map(Into::into);
        let limits = OverrideLimits::new(OverrideRules { prefixes, ..OverrideRules::default() });
        Self { limits, destinations, max_ttl, roots, by_namespace: Mutex::default() }
    }

    /// Returns whether an entry may have this prefix.
    pub(super) fn allows_prefix(&self, prefix: &Prefix) -> bool {
        self.limits.allows_prefix(prefix)
    }

    /// Returns the allowed prefixes in words, for an error.
    pub(super) fn allowed_prefixes(&self) -> String {
        self.limits.allowed_prefixes()
    }

    /// Returns the destinations of the sandboxes in a namespace, or of those in the embedded store.
    pub(super) fn destinations(&self, namespace: Option<&str>) -> Option<Arc<[Destination]>> {
        if self.destinations.is_some() {
            return self.destinations.clone();
        }
        let namespace = namespace?;
        let mut known = self.by_namespace.lock().unwrap_or_else(PoisonError::into_inner);
        let own = known.entry(namespace.into()).or_insert_with(|| self.own_destinations(namespace));
        Some(Arc::clone(own))
    }

    /// Returns the destinations that are endpoints of a namespace.
    fn own_destinations(&self, namespace: &str) -> Arc<[Destination]> {
        let roots = self.roots.iter().filter_map(|root| match &root.namespace {
            None => Some(root.prefix.concat(&Path::from_elems([namespace]))),
            Some(fixed) => (**fixed == *namespace).then(|| root.prefix.clone()),
        });
        roots.map(|root| Destination::below(&root)).collect()
    }
}

impl Default for SandboxRules {
    /// Returns rules without limits, but for the lifetime.
    fn default() -> Self {
        Self::new(None, None, MAX_TTL, Vec::new())
    }
}
