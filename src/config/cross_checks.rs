//! Compares settings across the file: some must differ, and some must not.

use super::errors::Report;
use super::resolved::{AccessLogConfig, Admin, Places, Router};
use crate::context::{Tenancy, is_removed};
use crate::identify;
use crate::source::node::{Document, Place};
use crate::telemetry::{LogFile, LogTarget};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

/// Reports labels that stand twice, listeners that take each other's port, and logs with two settings for one file.
pub(super) fn check(
    document: &Document,
    admin: &Admin,
    routers: &[Router],
    places: &Places,
    report: &mut Report,
) {
    check_labels(document, routers, places, report);
    check_ports(document, admin, routers, places, report);
    check_access_logs(document, routers, places, report);
    check_ingresses(document, routers, places, report);
}

/// Reports listeners that use the certificates of Ingresses, where their router knows no Ingress.
fn check_ingresses(document: &Document, routers: &[Router], places: &Places, report: &mut Report) {
    let is_ingress = |identifier: &identify::Config| matches!(identifier, identify::Config::Ingress(_));
    for (router, places) in routers.iter().zip(&places.routers) {
        if router.identifiers.iter().any(is_ingress) {
            continue;
        }
        for (at, (server, place)) in router.servers.iter().zip(&places.servers).enumerate() {
            if server.uses_ingress_certificates() {
                let key = if server.tls.is_some() { "tls.ingress" } else { "ingressRedirect" };
                let message = format!(
                    "the router `{}` knows no Ingresses: give it `identifier: {{kind: io.l5d.ingress}}`",
                    router.label
                );
                report.error(document.error(*place, &format!("{}.servers[{at}].{key}", places.key), message));
            }
        }
    }
}

/// Warns of identifiers that read a field which a listener of their router removes, for all its callers.
pub(super) fn check_identifiers(routers: &[Router], tenancy: &Tenancy, places: &Places, report: &mut Report) {
    for (router, places) in routers.iter().zip(&places.routers) {
        let fields =
            router.identifiers.iter().filter_map(|identifier| Some((identifier, identifier.field()?)));
        let removing = router.servers.iter().filter(|server| server.trust.excludes_everybody());
        let removing: Vec<_> = removing.map(|server| server.address().to_string()).collect();
        if removing.is_empty() {
            continue;
        }
        for (identifier, field) in fields.filter(|(_, field)| is_removed(field.as_bytes(), tenancy)) {
            let message = format!(
                "the identifier `{}` reads `{field}`, which is removed at {}, where nobody is trusted: no request there \
                 gets a name by it. Trust the callers (`trust: {{from: [10.244.0.0/16]}}` with their addresses, or \
                 `trust: everybody`), or read another header, such as `x-name`",
                identifier.kind(),
                removing.join(" and ")
            );
            let key = format!("{}.identifier", places.key);
            report.warn_of("removed-header", (places.identifier, &key), message);
        }
    }
}

/// Reports routers that share an access log with other settings: one file has one writer.
fn check_access_logs(document: &Document, routers: &[Router], places: &Places, report: &mut Report) {
    let mut seen: Vec<(&AccessLogConfig, Place)> = Vec::new();
    for (router, places) in routers.iter().zip(&places.routers) {
        let (Some(log), (key, place)) = (&router.access_log, &places.access_log) else { continue };
        match seen.iter().find(|(other, _)| other.target.is_same_place(&log.target)) {
            Some((other, first)) if !has_same_settings(other, log) => {
                let message = format!(
                    "the access log at {first} goes there too, with other settings: give both the same keys, or \
                     two files"
                );
                report.error(document.error(*place, key, message));
            }
            Some(_) => {}
            None => seen.push((log, *place)),
        }
    }
}

/// Returns whether two logs of one place have the same settings.
fn has_same_settings(a: &AccessLogConfig, b: &AccessLogConfig) -> bool {
    let without_path = |log: &AccessLogConfig| match &log.target {
        LogTarget::StandardOutput => None,
        LogTarget::File(LogFile { path: _, roll, append, keep }) => Some((*roll, *append, *keep)),
    };
    a.format == b.format && without_path(a) == without_path(b)
}

/// Reports routers with the same label.
fn check_labels(document: &Document, routers: &[Router], places: &Places, report: &mut Report) {
    let mut seen: HashMap<&str, Place> = HashMap::new();
    // A label that was refused reads as empty.
    let labelled = routers.iter().zip(&places.routers).filter(|(router, _)| !router.label.is_empty());
    for (router, places) in labelled {
        if let Some(first) = seen.get(router.label.as_str()) {
            let advice = if places.label == places.router { "; give this one a `label`" } else { "" };
            let message = format!("the label `{}` is taken by the router at {first}{advice}", router.label);
            report.error(document.error(places.label, &format!("{}.label", places.key), message));
        } else {
            seen.insert(&router.label, places.label);
        }
    }
}

/// One listener's use of a port, as errors describe it.
struct PortUse {
    address: SocketAddr,
    place: Place,
    /// A description of the listener: `the admin server`.
    name: String,
    key: String,
}

/// Reports listeners that take each other's port.
fn check_ports(document: &Document, admin: &Admin, routers: &[Router], places: &Places, report: &mut Report) {
    let mut listeners = vec![PortUse {
        address: admin.address(),
        place: places.admin,
        name: "the admin server".to_owned(),
        key: "admin.port".to_owned(),
    }];
    listeners.extend(admin.metrics.map(|metrics| PortUse {
        address: metrics.address(),
        place: places.admin,
        name: "the listener for metrics".to_owned(),
        key: "admin.metrics.port".to_owned(),
    }));
    for (router, places) in routers.iter().zip(&places.routers) {
        for (at, (server, place)) in router.servers.iter().zip(&places.ports).enumerate() {
            let (address, place) = (server.address(), *place);
            let name = format!("the router `{}`", router.label);
            listeners.push(PortUse {
                address,
                place,
                name,
                key: format!("{}.servers[{at}].port", places.key),
            });
        }
    }
    let mut by_port: HashMap<u16, Vec<&PortUse>> = HashMap::new();
    for listener in listeners.iter().filter(|listener| listener.address.port() != 0) {
        if report.is_full() {
            return;
        }
        let same = by_port.entry(listener.address.port()).or_default();
        if let Some(first) = same.iter().find(|first| overlap(first.address.ip(), listener.address.ip())) {
            report.error(conflict(document, first, listener));
        }
        same.push(listener);
    }
}

/// Returns the error at the second of two listeners on one port.
fn conflict(document: &Document, first: &PortUse, second: &PortUse) -> crate::source::node::Error {
    // The admin server comes first, and the file need not mention it.
    let place = if first.place == Place::default() { String::new() } else { format!(" at {}", first.place) };
    let PortUse { address, name, .. } = first;
    let message = format!("port {} is taken by {name} ({address}){place}", second.address.port());
    document.error(second.place, &second.key, message)
}

/// Returns whether two listeners on one port would take it from each other: they have the same address, or one of them
/// has all addresses. `::` takes those of IPv4 too, as is the default of operating systems.
fn overlap(a: IpAddr, b: IpAddr) -> bool {
    let [a, b] = [a, b].map(|ip| ip.to_canonical());
    let takes = |all: IpAddr, one: IpAddr| all.is_unspecified() && (all.is_ipv6() || one.is_ipv4());
    a == b || takes(a, b) || takes(b, a)
}
