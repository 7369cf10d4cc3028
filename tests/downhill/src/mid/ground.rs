//! Imports inside `mid` that lead up.

use super::upper::Lamp;
use crate::mid::Lamp as Other;
use crate::mid::Half;
