//! The API server of Kubernetes: one client, watches of its resources, and a few writes.
//!
//! A [watch](Watches) lists a resource and then reads its changes, in one namespace or in all of them, for as long as
//! there is a receiver of its answers. Every failure ends in a new list, which replaces all objects that were known:
//! those that were deleted meanwhile are gone then. Until that list is complete the old answers stay, marked as
//! [stale](GroupView::stale). This module does not know what a resource means: the module that uses it says which
//! [part of an object](WatchedObject) is stored, and under which group name the object is looked for.
//!
//! Lists and watches are requests of `kube`, but the loop around them is our own. The watcher of `kube` repeats the
//! same version for ever when the server answers a watch with 410, does not go back to plain lists when a server
//! cannot stream them, and does not say when it last heard from the server.
//!
//! A watch that no request asks for is tried again seldom after a lasting refusal, and all watches of a client share a
//! budget of attempts. At [`MAX_WATCHES`] the namespace that was wanted least gives way, one without objects
//! first. It is watched again when it is wanted again, or when there is room.
//!
//! With a [folder for snapshots](Config::snapshot) the last good answers outlive the process: a start without the API
//! server serves them, stale from the beginning, until there is a list.
//!
//! It reads once what does not change, and writes little: the status of an object, events, a lease; and it deletes an object that
//! has not changed.

mod attempts;
mod backoff;
mod client;
mod config;
mod decoded_object;
#[cfg(test)]
pub(crate) mod definition;
mod event;
mod failure;
mod metrics;
mod object_store;
mod progress;
mod read;
mod resource_watch;
mod retry_after;
mod room;
mod save;
mod scope;
mod snapshot;
mod watch_task;
mod watched_object;
mod watches;
mod write;

pub use self::attempts::ATTEMPTS_PER_SECOND;
pub use self::client::{ApiClient, ApiClients};
pub use self::config::{Access, Config, Error};
pub use self::event::{EventText, event_about};
pub use self::metrics::Metrics;
pub use self::progress::seconds_since;
pub use self::read::ReadableResource;
pub use self::scope::{MAX_WATCHES, Scope, Selector};
pub use self::watched_object::{GroupState, GroupView, Lost, WatchedObject};
pub use self::watches::{Demand, IDLE, Watches};
pub use self::write::{WritableResource, WriteError};
