//! Sandboxes: named sets of dtab entries, each with an owner and an end, which requests select by a key.
//!
//! A store has [`Written`] objects, and judges each by itself: [`Sandbox::new`], [`Group::new`]. All stores together make
//! a [`SandboxTable`], in which the oldest object has a key. Workers see the table through [`WorkerSandboxes`], which
//! turns the keys of a request into an [`Overlay`]: entries that follow those of the router, and come before those that
//! the request carries itself.
//!
//! | the key | the request |
//! |---|---|
//! | of a sandbox or group in use | gets its entries |
//! | of one whose entries cannot be used | fails, so that it does not go to the baseline in silence |
//! | unknown, or of a sandbox that has ended | goes to the baseline, or fails, as the configuration says |
//! | unknown, and a store has not given its first list | waits |

mod config;
mod embedded;
mod error;
mod file;
mod item;
pub mod kubernetes;
mod object;
mod open;
mod overlay;
mod rules;
#[cfg(test)]
pub(crate) mod samples;
mod spec;
mod table;
mod worker_view;

pub use self::config::{Config, MAX_NAMESPACES, SandboxLimits};
pub use self::embedded::{MAX_ITEMS, ReadItems};
pub use self::error::{Error, ItemErrors};
pub use self::file::{read_items, read_items_text};
pub use self::item::Item;
pub use self::object::{Group, LabelMatch, MAX_MEMBERS, Members, Sandbox, SandboxRefusal};
pub use self::open::Sandboxes;
pub use self::overlay::{Overlay, SEPARATOR, UnknownKey};
pub use self::rules::{MAX_TTL, NamespaceRoot, SandboxRules};
pub use self::spec::{DEFAULT_TTL, GroupSpec, LabelPattern, SandboxId, SandboxSpec, Written, parse_ttl};
pub use self::table::{GroupMembership, SandboxTable, StoreObjects, StoreState, TableEntry, Unknown};
pub use self::worker_view::WorkerSandboxes;
