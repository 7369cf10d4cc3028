//! Signpost: a standalone HTTP router that decides by *names* where a request goes.

pub mod name;
pub mod source;
#[cfg(feature = "router")]
pub mod config;
#[cfg(feature = "router")]
pub mod context;
#[cfg(feature = "router")]
pub mod drain;
#[cfg(feature = "router")]
pub mod fault;
#[cfg(feature = "router")]
pub mod files;
#[cfg(feature = "router")]
pub mod identify;
#[cfg(feature = "router")]
pub mod interpret;
#[cfg(feature = "router")]
pub mod message;
#[cfg(feature = "router")]
pub mod namer;
#[cfg(feature = "router")]
pub mod proxy;
#[cfg(feature = "router")]
pub mod telemetry;
