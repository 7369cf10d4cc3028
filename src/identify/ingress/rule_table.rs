//! The rules of all ingresses, to be looked up by host and path. Pure.

use super::ingress_rules::{Backend, IngressRules, Rule};
use crate::name::Path;
use crate::tls::HostNames;
use std::collections::HashMap;
use std::sync::Arc;

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
    default: Option<(Backend, SecuredHosts)>,
}

/// The hosts of a rule for which its ingress has a certificate.
#[derive(Clone, Debug)]
enum SecuredHosts {
    All,
    None,
    Some(Arc<HostNames>),
}

impl SecuredHosts {
    /// Returns those of a rule for this host, by the hosts of its ingress that have a certificate.
    fn of(host: &str, secured: &Arc<HostNames>) -> Self {
        if secured.is_empty() {
            return Self::None;
        }
        match host {
            _ if !host.is_empty() && secured.covers(host.as_bytes()) => Self::All,
            _ if host.is_empty() || host.starts_with('*') => Self::Some(Arc::clone(secured)),
            _ => Self::None,
        }
    }

    fn has(&self, host: &[u8]) -> bool {
        match self {
            Self::All => true,
            Self::None => false,
            Self::Some(hosts) => hosts.covers(host),
        }
    }
}

/// The rule that matches a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct MatchedRule<'a> {
    /// The backend; none if it is no service.
    pub(super) backend: Option<&'a Path>,
    /// Whether its ingress has a certificate for the request's host.
    pub(super) is_secured: bool,
}

/// A path of one host, with its backend.
#[derive(Debug)]
struct PathRoute {
    /// The path; if it is not exact, without slashes at its end, so that `/` is empty.
    path: Box<[u8]>,
    exact: bool,
    backend: Backend,
    secured: SecuredHosts,
}

/// Returns the ingresses of this class, and those without a class, the oldest first.
pub(super) fn used_ingresses<'a>(
    ingresses: impl Iterator<Item = &'a IngressRules>,
    class: &str,
) -> Vec<&'a IngressRules> {
    let mut used: Vec<&IngressRules> =
        ingresses.filter(|ingress| ingress.class.as_ref().is_none_or(|named| named == class)).collect();
    used.sort_by_key(|ingress| &ingress.age);
    used
}

impl RuleTable {
    /// Compiles the rules of these ingresses, the oldest of which comes first. `secured` has the hosts of each for which
    /// it has a certificate.
    pub(super) fn new(
        used: &[&IngressRules],
        secured: &[Arc<HostNames>],
        ignore_default_backends: bool,
    ) -> Self {
        let mut table = Self::default();
        let nowhere = Arc::default();
        let secured = secured.iter().chain(std::iter::repeat(&nowhere));
        for (ingress, secured) in used.iter().zip(secured) {
            for rule in &ingress.rules {
                let secured = SecuredHosts::of(&rule.host, secured);
                table.routes(&rule.host).push(PathRoute::new(rule, secured));
            }
            if let (Some(default), None, false) = (&ingress.default, &table.default, ignore_default_backends)
            {
                table.default = Some((default.clone(), SecuredHosts::of("", secured)));
            }
        }
        let hosts = table.hosts.values_mut().chain(table.wildcards.values_mut());
        for routes in hosts.chain([&mut table.any]) {
            // Equal routes stay in the order of their ingresses.
            routes.sort_by_key(|route| (std::cmp::Reverse(route.path.len()), !route.exact));
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

    /// Finds the rule of a host, in lower case and without port, and a path. Returns none if no rule matches.
    pub(super) fn find(&self, host: &[u8], path: &[u8]) -> Option<MatchedRule<'_>> {
        let behind_label = || host.iter().position(|&byte| byte == b'.').filter(|&at| at > 0);
        let exact = self.hosts.get(host);
        let wildcard = behind_label().and_then(|at| self.wildcards.get(host.get(at..)?));
        let routes = [exact, wildcard, Some(&self.any)].into_iter().flatten();
        let found = routes.flatten().find(|route| route.takes(path));
        let found = found.map(|route| (&route.backend, &route.secured));
        let (backend, secured) =
            found.or(self.default.as_ref().map(|(backend, secured)| (backend, secured)))?;
        Some(MatchedRule { backend: backend.as_ref(), is_secured: secured.has(host) })
    }
}

impl PathRoute {
    fn new(rule: &Rule, secured: SecuredHosts) -> Self {
        let path = if rule.exact { &*rule.path } else { rule.path.trim_end_matches('/') };
        Self { path: path.as_bytes().into(), exact: rule.exact, backend: rule.backend.clone(), secured }
    }

    fn takes(&self, path: &[u8]) -> bool {
        match path.strip_prefix(&*self.path) {
            Some([]) => true,
            Some([next, ..]) => !self.exact && *next == b'/',
            None => false,
        }
    }
}
