//! Where text came from: spans, carets, a config node with its place.

#[cfg(feature = "router")]
pub mod node;
mod text;

pub use self::text::{Excerpt, caret};
