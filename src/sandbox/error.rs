//! The errors of the stores of sandboxes.

use crate::kubernetes;
use crate::source::node;
use std::fmt;

/// The reason why sandboxes cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file has no good content.
    #[error(transparent)]
    File(ItemErrors),
    /// The configuration does not lead to an API server.
    #[error("sandboxes: {0}")]
    Kubernetes(#[from] kubernetes::Error),
}

/// All errors in a file of sandboxes, in their order; never empty.
///
/// Display prints each with its line and a caret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemErrors(pub(super) Vec<node::Error>);

impl ItemErrors {
    /// Returns the errors, the first in the file first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &node::Error> {
        self.0.iter()
    }
}

impl fmt::Display for ItemErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, error) in self.0.iter().enumerate() {
            let end = if at == 0 { "" } else { "\n" };
            write!(f, "{end}{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ItemErrors {}
