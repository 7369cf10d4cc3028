//! What watches cover.

use serde::{Deserialize, Serialize};

/// Watches of one resource at one time: 500. A namespace more is refused, and does not look as if it were empty.
pub const MAX_WATCHES: usize = 500;

/// What one watch covers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Scope {
    /// A namespace: there is one watch for each that is asked for, and rights are needed in these alone. The default.
    #[default]
    Namespace,
    /// All namespaces: there is one watch, which hears of every change in the cluster.
    Cluster,
}

/// Which objects of a resource are asked for; the server leaves out all others.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Selector {
    /// All.
    All,
    /// Those whose labels match, in the API's own notation.
    Labels(String),
    /// The one of this name: rights that RBAC limits by `resourceNames` are enough for it.
    Name(String),
}

impl Selector {
    /// Returns it as the parameter `labelSelector`.
    pub(super) fn labels(&self) -> Option<String> {
        match self {
            Self::Labels(labels) => Some(labels.clone()),
            Self::All | Self::Name(_) => None,
        }
    }

    /// Returns it as the parameter `fieldSelector`.
    pub(super) fn fields(&self) -> Option<String> {
        match self {
            Self::Name(name) => Some(format!("metadata.name={name}")),
            Self::All | Self::Labels(_) => None,
        }
    }
}
