//! Who may stand at the head of a file.

mod deep;
mod kept;
mod lost;
