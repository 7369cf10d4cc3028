//! Reads the keys of the process as a whole.

use super::errors::Report;
use super::reader::{MAX_INT, Reader};
use super::resolved::{Admin, KubernetesConfig};
use super::schema;
use crate::source::node::{Node, Place};
use std::num::NonZeroU32;
use std::time::Duration;

/// The most threads that may serve requests.
const MAX_WORKERS: u64 = 1024;

/// Reads `workers`.
pub(super) fn workers(root: &Node<'_>, report: &mut Report) -> (Option<usize>, Place) {
    let mut reader = Reader::new(root, &[schema::TOP], report);
    let place = super::place_or(reader.get("workers").as_ref(), root.place());
    (reader.number("workers", 1..=MAX_WORKERS), place)
}

/// The most attempts a second that the watches of a client may have.
const MAX_ATTEMPTS: u64 = 100_000;

/// Reads `kubernetes`.
pub(super) fn kubernetes(root: &Node<'_>, report: &mut Report) -> KubernetesConfig {
    let usual = KubernetesConfig::default();
    let Some(node) = Reader::new(root, &[schema::TOP], report).get("kubernetes") else { return usual };
    let attempts =
        Reader::new(&node, &["kubernetes"], report).number("watchAttemptsPerSecond", 1..=MAX_ATTEMPTS);
    let watch_attempts = attempts.and_then(NonZeroU32::new).unwrap_or(usual.watch_attempts);
    KubernetesConfig { watch_attempts }
}

/// Reads `admin`.
pub(super) fn admin(root: &Node<'_>, report: &mut Report) -> (Admin, Place) {
    let usual = Admin::default();
    let Some(node) = Reader::new(root, &[schema::TOP], report).get("admin") else {
        return (usual, Place::default());
    };
    let mut reader = Reader::new(&node, &["admin"], report);
    let place = super::place_or(reader.get("port").as_ref(), node.place());
    let address = reader.address(usual.address());
    let admin = Admin {
        ip: address.ip(),
        port: address.port(),
        shutdown_delay: reader
            .number("shutdownDelayMs", 0..=MAX_INT)
            .map_or(usual.shutdown_delay, Duration::from_millis),
        shutdown_grace: reader
            .number("shutdownGraceMs", 0..=MAX_INT)
            .map_or(usual.shutdown_grace, Duration::from_millis),
    };
    (admin, place)
}
