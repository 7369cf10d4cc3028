//! The source of a text: spans, carets, configuration nodes with their places.

#[cfg(feature = "router")]
pub mod node;
mod text;

pub use self::text::{Excerpt, caret};
