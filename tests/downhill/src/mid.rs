//! Its imports run downhill, but for one that goes to its own floor.

use crate::low::Marked;
fn two(_: crate::twin::Other) {}
pub struct Half;
mod ground;
mod upper;
pub use self::upper::Lamp;
