//! The certificates of ingresses: which host has which, and what is wrong with the rest. Pure.

use super::ingress_rules::IngressRules;
use super::secret::{MOST_SECRETS, SecretFault, SecretName, SecretState};
use crate::tls::{HostCertificate, HostNames};
use std::collections::HashSet;
use std::sync::Arc;

/// The certificates of the ingresses of one class.
#[derive(Debug, Default)]
pub(super) struct IngressCertificates {
    /// The certificates, those of older ingresses first.
    pub(super) supply: Vec<HostCertificate>,
    /// The hosts of each ingress that have a certificate, in the order of the ingresses.
    pub(super) secured: Vec<Arc<HostNames>>,
    pub(super) faults: Vec<IngressFault>,
}

/// A fault of an ingress, for people: it becomes an event.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct IngressFault {
    /// The namespace, the name and the uid of the ingress.
    pub(super) ingress: (String, String, Option<String>),
    /// The reason in one word.
    pub(super) reason: &'static str,
    pub(super) message: String,
    /// The uid of the Secret that was there last: one that goes, comes back and goes again is told of twice.
    pub(super) secret: Option<String>,
}

/// Returns the Secrets that these ingresses name, in their order, each once.
pub(super) fn named_secrets(ingresses: &[&IngressRules]) -> Vec<SecretName> {
    let mut seen = HashSet::new();
    let all = ingresses.iter().flat_map(|ingress| ingress.secrets());
    all.map(|(name, _)| name).filter(|name| seen.insert(name.clone())).collect()
}

impl IngressCertificates {
    /// Finds the certificates of these ingresses, the oldest of which comes first. `state` returns what is known of a
    /// Secret; none of one that is not watched.
    pub(super) fn new<'a>(
        ingresses: &[&IngressRules],
        state: impl Fn(&SecretName) -> Option<&'a SecretState>,
    ) -> Self {
        let mut found = Self::default();
        for ingress in ingresses {
            let mut secured = Vec::new();
            for (name, hosts) in ingress.secrets() {
                let state = state(&name);
                if let Some(certificate) = found.certificate(ingress, &name, (hosts, state)) {
                    secured.extend(certificate.hosts.iter().map(Box::from));
                    found.supply.push(certificate);
                }
            }
            found.secured.push(Arc::new(HostNames::new(secured)));
        }
        found
    }

    /// Returns the certificate of a Secret for the hosts of an ingress, and notes what is wrong with it.
    fn certificate(
        &mut self,
        ingress: &IngressRules,
        name: &SecretName,
        (hosts, state): (&[String], Option<&SecretState>),
    ) -> Option<HostCertificate> {
        let uid = state.and_then(|state| state.uid.clone());
        let mut fault = |reason, message| {
            let ((_, namespace, name), secret) = (&ingress.age, uid.clone());
            let ingress = (namespace.clone(), name.clone(), ingress.uid.clone());
            self.faults.push(IngressFault { ingress, reason, message, secret });
        };
        let Some(state) = state else {
            let message = format!(
                "secret {name} is not read: {MOST_SECRETS} Secrets of older ingresses are read already"
            );
            fault("TooManySecrets", message);
            return None;
        };
        let meanwhile = match state.pair {
            Some(_) => "the last good certificate stays in use",
            None => "until it is there its hosts are served without TLS",
        };
        match &state.fault {
            None => {}
            Some(SecretFault::Missing) => {
                fault("SecretMissing", format!("secret {name} does not exist; {meanwhile}"));
            }
            Some(SecretFault::Unknown(reason)) => {
                fault("SecretUnreadable", format!("secret {name} cannot be read: {reason}; {meanwhile}"));
            }
            Some(SecretFault::Rejected(reason)) => {
                fault("SecretRejected", format!("secret {name} cannot be used: {reason}; {meanwhile}"));
            }
        }
        let pair = state.pair.clone()?;
        if hosts.is_empty() {
            let hosts = pair.names().clone();
            return Some(HostCertificate { pair, hosts });
        }
        let is_covered = |host: &&String| pair.names().covers(host.as_bytes());
        let (covered, others): (Vec<_>, Vec<_>) = hosts.iter().partition(is_covered);
        if !others.is_empty() {
            let names = |list: Vec<&str>| list.join(", ");
            let message = format!(
                "the certificate in secret {name} is for {}, and not for {}, which it does not serve",
                names(pair.names().iter().collect()),
                names(others.iter().map(|host| host.as_str()).collect()),
            );
            fault("HostNotInCertificate", message);
        }
        let hosts = HostNames::new(covered.iter().filter_map(|host| HostNames::parse_one(host)).collect());
        (!hosts.is_empty()).then_some(HostCertificate { pair, hosts })
    }
}
