//! The stores of live dtabs: a file, a ConfigMap, or a custom resource of Kubernetes.
//!
//! A stored dtab is placed before the router's own, which is looked at first. A bad edit keeps the last good dtab in
//! use and reports the error. This module does not know which parts of the router use the dtab.
//!
//! | kind | place of the dtab | until it is known | when it is absent |
//! |---|---|---|---|
//! | `io.l5d.fs` | a file | the start fails | the last good one stays |
//! | `io.l5d.k8s.configMap` | one key of a ConfigMap | names wait | nothing is stored, as in Linkerd |
//! | `io.l5d.k8s.dtab` | a `Dtab` of `signpost.dev`, or a `DTab` of `l5d.io` | names wait | nothing is stored |

mod config;
mod error;
mod file;
mod kubernetes;
mod open;
mod publisher;

pub use self::config::Config;
pub use self::error::Error;
pub use self::file::FileStoreConfig;
pub use self::kubernetes::{DtabObject, KubernetesStoreConfig};
pub use self::open::{DtabStore, DtabStores};
pub use self::publisher::StoredDtab;

#[cfg(test)]
mod tests;
