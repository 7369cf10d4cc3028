//! Items of the embedded store: sandboxes and groups in the configuration, or in a file beside it.

use super::spec::{GroupSpec, SandboxSpec, Written};
use serde::ser::{Serialize, SerializeMap, Serializer};

/// An item of the embedded store, as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A sandbox.
    Sandbox(Written<SandboxSpec>),
    /// A group.
    Group(Written<GroupSpec>),
}

impl Item {
    /// Returns the name, which no other item has.
    pub fn name(&self) -> &str {
        match self {
            Self::Sandbox(sandbox) => &sandbox.id.name,
            Self::Group(group) => &group.id.name,
        }
    }

    /// Returns the key, which no other item has: its name unless it is written.
    pub fn key(&self) -> &str {
        let key = match self {
            Self::Sandbox(sandbox) => &sandbox.spec.key,
            Self::Group(group) => &group.spec.key,
        };
        key.as_deref().unwrap_or_else(|| self.name())
    }
}

impl Serialize for Item {
    /// Writes the keys of the item as they are read.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut keys = serializer.serialize_map(None)?;
        keys.serialize_entry("name", self.name())?;
        match self {
            Self::Sandbox(Written { id: _, labels, created, expires: _, spec }) => {
                let SandboxSpec { key, dtab, owner, ttl, expires_at, values } = spec;
                some(&mut keys, "key", key.as_ref())?;
                keys.serialize_entry("dtab", dtab)?;
                some(&mut keys, "labels", (!labels.is_empty()).then_some(labels))?;
                some(&mut keys, "owner", owner.as_ref())?;
                some(&mut keys, "ttl", ttl.as_ref())?;
                some(&mut keys, "expiresAt", expires_at.as_ref())?;
                some(&mut keys, "createdAt", created.as_ref())?;
                some(&mut keys, "values", (!values.is_empty()).then_some(values))?;
            }
            Self::Group(Written { spec: GroupSpec { key, all, any, label }, .. }) => {
                some(&mut keys, "key", key.as_ref())?;
                some(&mut keys, "all", all.as_ref())?;
                some(&mut keys, "any", any.as_ref())?;
                some(&mut keys, "label", label.as_ref())?;
            }
        }
        keys.end()
    }
}

/// Writes a key that has a value.
fn some<S: SerializeMap, T: Serialize>(keys: &mut S, key: &str, value: Option<T>) -> Result<(), S::Error> {
    value.map_or(Ok(()), |value| keys.serialize_entry(key, &value))
}
