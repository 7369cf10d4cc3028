//! Compares what must differ across the file, and what must not.

use super::errors::Report;
use super::resolved::{AccessLog, Admin, Places, Router};
use crate::source::node::{Document, Place};
use crate::telemetry::{LogFile, LogTarget};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

/// Reports labels that stand twice, listeners that take each other's port, and a log that is to be kept in two ways.
pub(super) fn check(
    document: &Document,
    admin: &Admin,
    routers: &[Router],
    places: &Places,
    report: &mut Report,
) {
    labels(document, routers, places, report);
    ports(document, admin, routers, places, report);
    access_logs(document, routers, places, report);
}

/// One file has one writer, which cannot do what two routers want of it unless they want the same.
fn access_logs(document: &Document, routers: &[Router], places: &Places, report: &mut Report) {
    let mut seen: Vec<(&AccessLog, Place)> = Vec::new();
    for (router, places) in routers.iter().zip(&places.routers) {
        let (Some(log), (key, place)) = (&router.access_log, &places.access_log) else { continue };
        match seen.iter().find(|(other, _)| other.target.is_same_place(&log.target)) {
            Some((other, first)) if !is_kept_alike(other, log) => {
                let message = format!(
                    "the access log at {first} goes there too, in another way: give both the same keys, or two files"
                );
                report.error(document.error(*place, key, message));
            }
            Some(_) => {}
            None => seen.push((log, *place)),
        }
    }
}

/// Whether two logs of one place have the same settings.
fn is_kept_alike(a: &AccessLog, b: &AccessLog) -> bool {
    let without_path = |log: &AccessLog| match &log.target {
        LogTarget::StandardOutput => None,
        LogTarget::File(LogFile { path: _, roll, append, keep }) => Some((*roll, *append, *keep)),
    };
    a.format == b.format && without_path(a) == without_path(b)
}

fn labels(document: &Document, routers: &[Router], places: &Places, report: &mut Report) {
    let mut seen: HashMap<&str, Place> = HashMap::new();
    // An empty label is one that has been refused already.
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

/// A listener, for errors about it.
struct Listener {
    address: SocketAddr,
    place: Place,
    /// What it is, in words.
    name: String,
    key: String,
}

fn ports(document: &Document, admin: &Admin, routers: &[Router], places: &Places, report: &mut Report) {
    let mut listeners = vec![Listener {
        address: admin.address(),
        place: places.admin,
        name: "the admin server".to_owned(),
        key: "admin.port".to_owned(),
    }];
    for (router, places) in routers.iter().zip(&places.routers) {
        for (at, (server, place)) in router.servers.iter().zip(&places.ports).enumerate() {
            let (address, place) = (server.address(), *place);
            let name = format!("the router `{}`", router.label);
            listeners.push(Listener {
                address,
                place,
                name,
                key: format!("{}.servers[{at}].port", places.key),
            });
        }
    }
    let mut by_port: HashMap<u16, Vec<&Listener>> = HashMap::new();
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

fn conflict(document: &Document, first: &Listener, second: &Listener) -> crate::source::node::Error {
    // The admin server comes first and may not stand in the file at all.
    let place = if first.place == Place::default() { String::new() } else { format!(" at {}", first.place) };
    let Listener { address, name, .. } = first;
    let message = format!("port {} is taken by {name} ({address}){place}", second.address.port());
    document.error(second.place, &second.key, message)
}

/// Whether two listeners on one port would take it from each other: they have one address, or one of them has all.
/// `::` takes the addresses of IPv4 too, as systems have it by default.
fn overlap(a: IpAddr, b: IpAddr) -> bool {
    let [a, b] = [a, b].map(|ip| ip.to_canonical());
    let takes = |all: IpAddr, one: IpAddr| all.is_unspecified() && (all.is_ipv6() || one.is_ipv4());
    a == b || takes(a, b) || takes(b, a)
}
