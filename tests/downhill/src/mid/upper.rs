//! All of its imports run downhill, also inside `mid`.

use super::ground::Floor;
use crate::low::Marked;
pub struct Lamp;
