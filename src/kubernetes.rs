//! The API server of Kubernetes: one client, and watches that keep what it says.
//!
//! A [`Watch`](Watches) lists a resource and follows its changes, in one namespace or in all of them, for as long as
//! anybody wants to know. Whatever goes wrong ends in a new list, which replaces all that was known: what was deleted
//! meanwhile is gone then. Until that list is complete the old answers stay, marked as [stale](GroupView::stale). What a
//! resource means is not known here: its owner says what is [kept](WatchedObject) of an object, and the name of the group that
//! the object is looked for under.
//!
//! Lists and watches are `kube`'s, the loop around them is not: its own watcher repeats the same version for ever when
//! the server answers a watch with 410, does not go back to plain lists when a server cannot stream them, and tells
//! nobody when it last heard from the server.
//!
//! With a [folder for snapshots](Config::snapshot) the last good answers outlive the process: a start without the API
//! server serves them, stale from the beginning, until there is a list.
//!
//! What is written is little: the status of an object, and events.

mod backoff;
mod client;
mod config;
mod decoded_object;
mod failure;
mod metrics;
mod object_store;
mod progress;
mod resource_watch;
mod save;
mod scope;
mod snapshot;
mod watch_task;
mod watched_object;
mod watches;
mod write;

pub use self::client::{ApiClient, ApiClients};
pub use self::config::{Access, Config, Error};
pub use self::metrics::Metrics;
pub use self::progress::seconds_since;
pub use self::scope::{MAX_WATCHES, Scope, Selector};
pub use self::watched_object::{GroupState, GroupView, WatchedObject};
pub use self::watches::{IDLE, Watches};
pub use self::write::{WritableResource, WriteError};
