//! A small house with violations planted in it. It is read by tests/downhill.rs and never compiled.

pub mod low;
pub mod mid;
pub mod attic;
pub mod early;
pub mod high;
pub mod twin;

// The root may re-export what it likes; a module that takes it from here takes it from where it came.
pub use mid::Half;
pub mod lost;

pub fn of_the_root() {}
