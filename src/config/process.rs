//! Reads the keys of the process as a whole.

use super::errors::Report;
use super::reader::{MAX_INT, Reader};
use super::resolved::{Admin, AdminMetrics, KubernetesConfig};
use super::schema;
use crate::admin::{AdminSecurity, PathPattern, ShutdownAccess};
use crate::source::node::{Node, Place};
use std::net::{IpAddr, SocketAddr};
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

/// The port of the listener for metrics and probes.
const METRICS_PORT: u16 = 9991;

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
        tls: super::tls::server_tls(&mut reader),
        hosts: hosts(&mut reader),
        shutdown: shutdown(&mut reader),
        security: security(&mut reader),
        metrics: metrics(&mut reader, address.ip()),
        ip: address.ip(),
        port: address.port(),
        shutdown_delay: reader
            .number("shutdownDelayMs", 0..=MAX_INT)
            .map_or(usual.shutdown_delay, Duration::from_millis),
        shutdown_grace: reader
            .number("shutdownGraceMs", 0..=MAX_INT)
            .map_or(usual.shutdown_grace, Duration::from_millis),
    };
    let asks_for_certificates = admin.tls.as_ref().is_some_and(|tls| {
        tls.certificates.iter().all(|pair| pair.clients.as_ref().is_some_and(|clients| clients.is_required))
    });
    if !admin.ip.is_loopback() && !asks_for_certificates {
        let message = format!(
            "the admin server listens on {}, not on loopback, and has no passwords: whoever reaches it reads the \
             configuration and may ask where any name leads. Keep it on 127.0.0.1, with \
             `admin: {{metrics: {{ip: {}}}}}` for scrapers and probes, or behind a firewall",
            admin.ip, admin.ip
        );
        report.warn_of("open-admin", (place, "admin.ip"), message);
    }
    (admin, place)
}

/// Reads `hosts` of the admin server: names without ports.
fn hosts(reader: &mut Reader<'_, '_>) -> Vec<String> {
    let Some(list) = reader.get("hosts") else { return Vec::new() };
    let Some(items) = reader.report().check(list.list()) else { return Vec::new() };
    let mut hosts = Vec::new();
    for item in items {
        let Some(text) = reader.report().check(item.text()) else { continue };
        if text.is_empty() || text.contains([':', '/', '@', ' ', '*']) {
            let error = item.unexpected("a host name without a port, such as `router.example`");
            reader.report().error(error);
        } else {
            hosts.push(text.to_ascii_lowercase());
        }
    }
    hosts
}

/// Reads `shutdown` of the admin server, or else `controlEnabled` of its `security`, Linkerd's key.
fn shutdown(reader: &mut Reader<'_, '_>) -> ShutdownAccess {
    let own = reader.one_of("shutdown", &ShutdownAccess::ALL);
    let security = reader.get("security");
    let enabled = security
        .and_then(|node| Reader::new(&node, &["admin security"], reader.report()).flag("controlEnabled"));
    let linkerds = if enabled == Some(false) { ShutdownAccess::Nobody } else { ShutdownAccess::default() };
    own.unwrap_or(linkerds)
}

/// Reads `security` of the admin server.
fn security(reader: &mut Reader<'_, '_>) -> AdminSecurity {
    let Some(node) = reader.get("security") else { return AdminSecurity::default() };
    let mut reader = Reader::new(&node, &["admin security"], reader.report());
    AdminSecurity {
        has_ui: reader.flag("uiEnabled").unwrap_or(true),
        has_diagnostics: reader.flag("diagnosticsEnabled").unwrap_or(true),
        allowed: patterns(&mut reader, "pathWhitelist"),
        denied: patterns(&mut reader, "pathBlacklist"),
    }
}

/// Reads a list of regular expressions.
fn patterns(reader: &mut Reader<'_, '_>, key: &str) -> Vec<PathPattern> {
    let Some(list) = reader.get(key) else { return Vec::new() };
    let nodes = reader.report().check(list.list()).unwrap_or_default();
    reader.report().each(&nodes, |node, report| {
        let text = report.check(node.text())?;
        let expected = "a regular expression for a whole path, such as `/admin/metrics.*`";
        report.check(PathPattern::new(text).map_err(|_| node.unexpected(expected)))
    })
}

/// Reads `metrics` of the admin server, which listens on `ip`.
fn metrics(reader: &mut Reader<'_, '_>, ip: IpAddr) -> Option<AdminMetrics> {
    let node = reader.get("metrics")?;
    let usual = SocketAddr::new(ip, METRICS_PORT);
    let address = Reader::new(&node, &["admin metrics"], reader.report()).address(usual);
    Some(AdminMetrics { ip: address.ip(), port: address.port() })
}
