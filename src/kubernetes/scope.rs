//! The namespaces and objects that watches cover.

use serde::{Deserialize, Serialize};

/// The limit on watches of one resource at one time: 500. A further namespace is refused, so that it does not look
/// empty.
pub const MAX_WATCHES: usize = 500;

/// The namespaces that one watch covers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Scope {
    /// One namespace: there is a watch for each namespace that is asked for, and rights are needed only in these. The
    /// default.
    #[default]
    Namespace,
    /// All namespaces: there is one watch, which receives every change in the cluster.
    Cluster,
}

/// The objects of a resource to ask for; the server leaves out all others.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Selector {
    /// All objects.
    All,
    /// The objects with matching labels, in the API's own notation.
    Labels(String),
    /// The object of this name: rights that RBAC limits by `resourceNames` are enough for it.
    Name(String),
}

impl Selector {
    /// Returns the parameter `labelSelector`.
    pub(super) fn labels(&self) -> Option<String> {
        match self {
            Self::Labels(labels) => Some(labels.clone()),
            Self::All | Self::Name(_) => None,
        }
    }

    /// Returns the parameter `fieldSelector`.
    pub(super) fn fields(&self) -> Option<String> {
        match self {
            Self::Name(name) => Some(format!("metadata.name={name}")),
            Self::All | Self::Labels(_) => None,
        }
    }
}
