//! Places in texts: spans, carets, and configuration nodes with their place.

#[cfg(feature = "router")]
pub mod node;
mod text;

pub use self::text::{Excerpt, caret};
