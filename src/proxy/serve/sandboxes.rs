//! The sandboxes that a request selects.

use super::Service;
use crate::context::Context;
use crate::proxy::error::Error;
use crate::proxy::exchange::Record;
use crate::sandbox::{Overlay, Unknown, UnknownKey};
use std::rc::Rc;
use tokio::time::timeout;

impl Service {
    /// Finds the sandboxes that a request selects, and notes them in its record.
    ///
    /// An unknown key goes to the baseline, unless the configuration refuses it. While a store has not given its first list,
    /// no worker knows whether a key is unknown: the request waits, so that it does not go to the baseline because the router is
    /// young.
    pub(super) async fn select_sandboxes(
        &self,
        record: &mut Record,
        context: &Context,
    ) -> Result<Rc<Overlay>, Error> {
        let keys = context.sandbox_keys();
        if keys.is_empty() {
            return Ok(Rc::clone(&self.no_sandboxes));
        }
        let mut overlay = self.sandboxes.overlay(keys);
        if overlay.unsettled().is_some() {
            overlay = Box::pin(self.await_sandboxes(keys)).await?;
        }
        self.count_sandboxes(&overlay);
        record.note_sandboxes(&overlay);
        if let Some(reason) = overlay.refused() {
            return Err(Error::SandboxRefused(reason.to_owned()));
        }
        match overlay.unknown() {
            Some(keys) if self.unknown_key == UnknownKey::Refuse => {
                Err(Error::SandboxUnknown { keys: keys.to_owned() })
            }
            _ => Ok(overlay),
        }
    }

    /// Waits until every store of sandboxes has given its list, or these keys are known without it.
    async fn await_sandboxes(&self, keys: &str) -> Result<Rc<Overlay>, Error> {
        let limit = self.bindings.timeout();
        let mut changes = self.sandboxes.changes();
        let settled = async {
            loop {
                let overlay = self.sandboxes.overlay(keys);
                match overlay.unsettled() {
                    None => return Ok(overlay),
                    Some(Unknown::Failed(reason)) => return Err(unknown(keys, reason)),
                    Some(Unknown::Pending) => {}
                }
                if changes.changed().await.is_err() {
                    return Err(unknown(keys, "the router is stopping"));
                }
            }
        };
        let too_late = || unknown(keys, &format!("no list of them has come within {limit:?}"));
        timeout(limit, settled).await.unwrap_or_else(|_| Err(too_late()))
    }

    fn count_sandboxes(&self, overlay: &Overlay) {
        let counters = &self.counters.sandboxes;
        if !overlay.keys().is_empty() {
            counters.selected.increment();
        }
        if overlay.unknown().is_some() {
            counters.unknown.increment();
        }
        if overlay.conflicts().is_some() {
            counters.conflicts.increment();
        }
    }
}

/// Returns the error of keys that may exist.
fn unknown(keys: &str, reason: &str) -> Error {
    Error::SandboxesUnknown { keys: keys.to_owned(), reason: reason.to_owned() }
}
