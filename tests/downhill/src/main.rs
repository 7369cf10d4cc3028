//! A program sees every module that has a floor.

use planted::high::Thing;
use planted::attic::Dust;
mod own {
    use crate::high::its_own;
}
