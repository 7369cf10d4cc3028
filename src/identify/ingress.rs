//! Names requests by the Ingress resources of a cluster: `io.l5d.ingress`.
//!
//! The rules of all ingresses are compiled to one [`RuleTable`] on the control thread whenever one of them changes;
//! workers hold the table that they last saw. The table documents how a request finds its rule, and the differences
//! to Linkerd.

mod config;
mod ingress_rules;
mod rule_table;
mod watch;

pub use self::config::Ingress;
pub(super) use self::watch::WorkerRules;
pub use self::watch::{FIRST_LIST, Ingresses, LiveRules};

use self::rule_table::RuleTable;
use super::Mismatch;
use crate::context::{RequestTarget, host_without_port};
use crate::message::{Head, KnownField};
use crate::name::PathBuf;

impl WorkerRules {
    /// Appends the backend that the request's host and path lead to: `/<namespace>/<port>/<service>`.
    pub(super) fn identify(&self, head: &mut Head, name: &mut PathBuf) -> Result<(), Mismatch<'static>> {
        head.lower_host();
        let host = host_without_port(head.get(KnownField::Host).unwrap_or_default());
        let path = RequestTarget::split(head.target()).path;
        self.with_table(|table| match table.find(host, path) {
            Some(Some(backend)) => {
                name.extend(backend);
                Ok(())
            }
            Some(None) => Err(Mismatch::Service),
            None => Err(Mismatch::Rule),
        })
    }
}

#[cfg(test)]
mod tests;
