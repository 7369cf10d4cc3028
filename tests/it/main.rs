//! The real app on port 0 with real sockets; the examples; properties of names and delegation.

mod bodies;
mod breaking;
mod carrying;
mod config;
mod delegate_properties;
mod failing;
mod framing;
mod framing_live;
mod name_laws;
mod name_properties;
mod readme;
mod reference;
mod support;
mod upgrading;
