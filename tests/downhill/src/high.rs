//! All of its imports run downhill.

use crate::{low::{self, inline}, mid::*, twin::Other};
pub mod deep {
    pub use super::super::mid::Half;
}
