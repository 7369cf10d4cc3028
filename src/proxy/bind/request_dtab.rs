//! The entries that one request adds to the base dtab.

use crate::context::{OverrideLimits, Overrides};
use crate::name::Dtab;
use crate::sandbox::{Overlay, Sandbox, SandboxTable};
use std::rc::Rc;
use std::sync::Arc;

/// The entries that one request adds to the base dtab: those of its sandboxes, then its overrides.
#[derive(Debug, Default)]
pub struct RequestDtab {
    overlay: Rc<Overlay>,
    overrides: Overrides,
    /// All entries, in their order.
    dtab: Dtab,
    /// About how many bytes the parsed overrides take.
    bytes: usize,
}

impl RequestDtab {
    /// Makes the entries of a request from its sandboxes and from overrides that are parsed from so many bytes.
    pub(super) fn new(overlay: &Rc<Overlay>, overrides: Overrides, raw_bytes: usize) -> Self {
        // A tree of paths takes about eight times its text.
        let bytes = size_of::<Self>() + 8 * raw_bytes;
        let dtab = overlay.dtab().concat(&overrides.dtab);
        Self { overlay: Rc::clone(overlay), overrides, dtab, bytes }
    }

    /// Returns all entries, in their order.
    pub fn dtab(&self) -> &Dtab {
        &self.dtab
    }

    /// Returns the entries of the overrides among them.
    pub(super) const fn own(&self) -> &Dtab {
        &self.overrides.dtab
    }

    /// Returns the overrides among them.
    pub fn overrides(&self) -> &Overrides {
        &self.overrides
    }

    /// Returns about how many bytes the parsed overrides take. The entries of sandboxes are shared.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the base dtab with the entries of sandboxes.
    pub(super) fn base(&self, base: &Dtab) -> Dtab {
        base.concat(self.overlay.dtab())
    }

    /// Returns the sandboxes with their entries.
    pub(super) fn overlay(&self) -> &Overlay {
        &self.overlay
    }

    /// Returns how many of the entries are those of sandboxes, which come first.
    pub(super) fn sandbox_entries(&self) -> usize {
        self.overlay.dtab().len()
    }

    /// Returns the sandboxes.
    pub(super) fn sandboxes(&self) -> &[Arc<Sandbox>] {
        self.overlay.sandboxes()
    }

    /// Returns the sandbox that the entry at a position is from, if it is from one.
    pub(super) fn sandbox_at(&self, position: usize) -> Option<&Arc<Sandbox>> {
        self.overlay.sandbox_at(position)
    }

    /// Returns the limits of the listener, which hold for every entry that the caller has chosen.
    pub(super) fn limits(&self) -> &OverrideLimits {
        self.overrides.limits()
    }

    /// Returns whether the limits of the listener hold for the entry at a position: the caller has written it, or has
    /// selected its sandbox.
    pub(super) fn is_limited(&self, position: usize) -> bool {
        position
            .checked_sub(self.sandbox_entries())
            .is_none_or(|position| self.overrides.is_limited(position))
    }

    /// Returns whether all of its sandboxes are in use as they are here.
    pub(super) fn is_current(&self, table: &SandboxTable) -> bool {
        self.sandboxes().iter().all(|sandbox| table.has(sandbox))
    }

    /// Appends a key: equal keys mean equal entries from equal sources, under equal limits.
    pub(super) fn write_key(&self, key: &mut Vec<u8>) {
        if self.sandboxes().is_empty() {
            self.overrides.write_key(key);
        } else {
            // No printed dtab has such a byte, and no length is so large.
            key.extend_from_slice(&[u8::MAX; 8]);
            self.overlay.write_key(key);
            self.limits().write_key(key);
            self.overrides.write_key(key);
        }
    }
}
