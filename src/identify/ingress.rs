//! Names requests by the Ingress resources of a cluster: `io.l5d.ingress`.
//!
//! The rules of all ingresses are compiled to one [`RuleTable`] on the control thread whenever one of them changes;
//! workers hold the table that they last saw. The table documents how a request finds its rule, and the differences
//! to Linkerd.
//!
//! The Secrets that ingresses name for TLS are watched as well, each by its name, where a listener uses them: they become
//! certificates by host, and rules know for which hosts their ingress has one.

mod certificate_publisher;
mod certificates;
mod config;
mod fault_events;
mod ingress_rules;
mod rule_table;
mod secret;
mod watch;

pub use self::config::Ingress;
pub(super) use self::watch::WorkerRules;
pub use self::watch::{FIRST_LIST, Ingresses, LiveRules};

use self::rule_table::RuleTable;
use super::{Mismatch, NamedBy};
use crate::context::{RequestTarget, host_without_port};
use crate::message::{Head, KnownField};
use crate::name::PathBuf;

impl WorkerRules {
    /// Appends the backend that the request's host and path lead to: `/<namespace>/<port>/<service>`.
    pub(super) fn identify(&self, head: &mut Head, name: &mut PathBuf) -> Result<NamedBy, Mismatch<'static>> {
        head.lower_host();
        let host = host_without_port(head.get(KnownField::Host).unwrap_or_default());
        let path = RequestTarget::split(head.target()).path;
        self.with_table(|table| {
            let rule = table.find(host, path).ok_or(Mismatch::Rule)?;
            name.extend(rule.backend.ok_or(Mismatch::Service)?);
            Ok(if rule.is_secured { NamedBy::SecuredRule } else { NamedBy::Other })
        })
    }
}

#[cfg(test)]
mod tests;
