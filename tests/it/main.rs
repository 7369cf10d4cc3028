//! The real app on port 0 with real sockets; the examples; properties of names and delegation.

mod admin;
mod bodies;
mod breaking;
mod carrying;
mod commands;
mod config;
mod context_live;
mod delegate_properties;
mod dns_live;
mod examples;
mod failing;
mod framing;
mod framing_live;
mod in_step;
mod kubernetes_faults;
mod kubernetes_live;
mod name_laws;
mod name_properties;
mod naming_live;
mod readme;
mod reference;
mod starting;
mod support;
mod upgrading;
