//! The rules of all ingresses, to be looked up by host and path. Pure.

use super::ingress_rules::{Backend, IngressRules, Rule};
use crate::name::Path;
use std::collections::HashMap;

/// The rules of all ingresses of one class.
///
/// The rules of the request's host come first, then those of a wildcard (`*.example.org`, which stands for one label),
/// then those without a host, and then the default backends. Hosts are compared without their port and without case.
///
/// Among the rules of one host the longest path wins, and of two of one length the exact one. `Exact` is the whole path
/// of a request; `Prefix` compares element by element, so that `/a` is the beginning of `/a/b` and not of `/ab`, and a
/// slash at its end does not count. `ImplementationSpecific` is as `Prefix`: Linkerd took every path for a regular
/// expression, and these are not. Paths are compared as they were sent: with case, and nothing is percent-decoded. Of
/// two rules that are alike the older ingress's wins, then the one whose namespace and name come first, then the one
/// that stands first in its ingress; so it is for default backends.
#[derive(Debug, Default)]
pub(super) struct RuleTable {
    /// The routes of plain hosts.
    hosts: HashMap<Box<[u8]>, Vec<PathRoute>>,
    /// The routes of wildcard hosts, by the part behind the asterisk.
    wildcards: HashMap<Box<[u8]>, Vec<PathRoute>>,
    /// The routes without a host.
    any: Vec<PathRoute>,
    default: Option<Backend>,
}

/// A path of one host, with its backend.
#[derive(Debug)]
struct PathRoute {
    /// The path; if it is not exact, without slashes at its end, so that `/` is empty.
    path: Box<[u8]>,
    exact: bool,
    backend: Backend,
}

impl RuleTable {
    /// Compiles the rules of the ingresses of this class, and of those without a class.
    pub(super) fn new<'a>(
        ingresses: impl Iterator<Item = &'a IngressRules>,
        class: &str,
        ignore_default_backends: bool,
    ) -> Self {
        let mut used: Vec<&IngressRules> =
            ingresses.filter(|ingress| ingress.class.as_ref().is_none_or(|named| named == class)).collect();
        used.sort_by_key(|ingress| &ingress.age);
        let mut table = Self::default();
        for rule in used.iter().flat_map(|ingress| &ingress.rules) {
            table.routes(&rule.host).push(PathRoute::new(rule));
        }
        let hosts = table.hosts.values_mut().chain(table.wildcards.values_mut());
        for routes in hosts.chain([&mut table.any]) {
            // Equal routes stay in the order of their ingresses.
            routes.sort_by_key(|route| (std::cmp::Reverse(route.path.len()), !route.exact));
        }
        if !ignore_default_backends {
            table.default = used.iter().find_map(|ingress| ingress.default.clone());
        }
        table
    }

    /// Returns the routes of a host, as a rule names it.
    fn routes(&mut self, host: &str) -> &mut Vec<PathRoute> {
        match host.strip_prefix('*') {
            _ if host.is_empty() => &mut self.any,
            Some(behind) => self.wildcards.entry(behind.as_bytes().into()).or_default(),
            None => self.hosts.entry(host.as_bytes().into()).or_default(),
        }
    }

    /// Finds the backend of a host, in lower case and without port, and a path. Returns none if no rule matches, and
    /// an empty backend if the rule that matches leads to no service.
    pub(super) fn find(&self, host: &[u8], path: &[u8]) -> Option<Option<&Path>> {
        let behind_label = || host.iter().position(|&byte| byte == b'.').filter(|&at| at > 0);
        let exact = self.hosts.get(host);
        let wildcard = behind_label().and_then(|at| self.wildcards.get(host.get(at..)?));
        let routes = [exact, wildcard, Some(&self.any)].into_iter().flatten();
        let found = routes.flatten().find(|route| route.takes(path)).map(|route| &route.backend);
        found.or(self.default.as_ref()).map(Option::as_ref)
    }
}

impl PathRoute {
    fn new(rule: &Rule) -> Self {
        let path = if rule.exact { &*rule.path } else { rule.path.trim_end_matches('/') };
        Self { path: path.as_bytes().into(), exact: rule.exact, backend: rule.backend.clone() }
    }

    fn takes(&self, path: &[u8]) -> bool {
        match path.strip_prefix(&*self.path) {
            Some([]) => true,
            Some([next, ..]) => !self.exact && *next == b'/',
            None => false,
        }
    }
}
