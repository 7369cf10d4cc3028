//! Where live dtabs come from: a file, a ConfigMap, or a custom resource of Kubernetes.
//!
//! A stored dtab comes before the router's own, which is looked at first. A bad edit keeps the last good table and says
//! so; who uses the table is not known here.
//!
//! | kind | what is stored where | until it is known | when it is not there |
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
