//! Signpost: a standalone HTTP router that decides by *names* where a request goes.

pub mod name;
pub mod source;
#[cfg(feature = "router")]
pub mod message;
