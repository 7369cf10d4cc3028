//! The system namers, at `/$`: addresses, constant answers, and the utility namers.

use super::address::{is_host_name, literal};
use super::dns::Dns;
use super::hosts::{Host, Hosts, Wanted};
use super::utility;
use crate::interpret::{Answer, Bound, Endpoint, EndpointSet, Leaf, Namer, State, Target};
use crate::name::{NameTree, Path};
use std::net::SocketAddr;
use tokio::runtime::Handle;
use tokio::sync::watch;

/// Answers for every class under `/$`; a class it does not know is Failed, as in Linkerd, and not Neg.
#[derive(Debug)]
pub(super) struct SystemNamer {
    hosts: Hosts,
}

/// What a path under `/$` asks for.
enum Asked {
    /// Something that depends on the path alone.
    State(State),
    /// The addresses of a host name.
    Host(Host, Wanted),
}

impl SystemNamer {
    pub(super) fn new(dns: Dns, control: &Handle) -> Self {
        Self { hosts: Hosts::new(dns, control) }
    }

    /// Returns what can be said of a path without asking anybody.
    pub(super) fn immediately(path: &Path) -> Option<State> {
        match asked(path) {
            Asked::State(state) => Some(state),
            Asked::Host(..) => None,
        }
    }
}

impl Namer for SystemNamer {
    fn lookup(&self, path: &Path) -> Answer {
        match asked(path) {
            Asked::State(state) => Answer::fixed(state),
            Asked::Host(host, wanted) => self.hosts.lookup(host, wanted),
        }
    }

    fn immediate(&self, path: &Path) -> Option<State> {
        Self::immediately(path)
    }
}

/// Reads a path without its `/$`. The order of the cases matters: `/inet/8080/9090` is port 9090 of the host `8080`.
fn asked(path: &Path) -> Asked {
    let mut elems = path.elems().map(String::from_utf8_lossy);
    let Some(class) = elems.next() else { return Asked::State(State::Ready(NameTree::Neg)) };
    let (first, second) = (elems.next(), elems.next());
    let state = match (&*class, first.as_deref(), second.as_deref()) {
        ("inet" | "fixedinet", Some(host), Some(port)) if is_int(port) => {
            let name = Name { id: id(path, 3), residual: text(&path.skip(3)), once: class == "fixedinet" };
            return address(name, host, port);
        }
        ("inet", Some(port), _) if is_int(port) => {
            let name = Name { id: id(path, 2), residual: text(&path.skip(2)), once: false };
            return address(name, "localhost", port);
        }
        ("fail", ..) => State::Ready(NameTree::Fail),
        ("nil", ..) => State::Ready(NameTree::Empty),
        ("io.buoyant.rinet", Some(port), Some(host)) => return port_and_host(path, port, host),
        ("io.buoyant.rinet", ..) => State::Ready(NameTree::Neg),
        ("io.buoyant.http.status", code, _) => State::Ready(status(path, code)),
        _ => match utility::utility(&class) {
            Some(utility) => rewritten(path, utility),
            None => unknown(path, &class),
        },
    };
    Asked::State(state)
}

/// The name that an address is bound to.
struct Name {
    id: Path,
    residual: Path,
    /// Whether a host name is resolved once only.
    once: bool,
}

fn address(name: Name, host: &str, port: &str) -> Asked {
    let Some(port) = port.parse().ok().filter(|&port| port > 0) else {
        let reason = format!("{}: the port {port} is not one of 1 to 65535", name.id);
        return Asked::State(State::Failed(reason.into()));
    };
    if let Some(address) = literal(host) {
        let endpoints = EndpointSet::new(vec![Endpoint::at(SocketAddr::new(address, port))]);
        let target = Target::Endpoints(watch::channel(endpoints).1);
        let bound = Bound { id: name.id, residual: name.residual, target };
        return Asked::State(State::Ready(NameTree::Leaf(Leaf::Bound(bound))));
    }
    if !is_host_name(host) {
        let reason = format!("{}: `{}` is neither an address nor a host name", name.id, host.escape_debug());
        return Asked::State(State::Failed(reason.into()));
    }
    let host = Host { name: host.to_ascii_lowercase().into(), port, once: name.once };
    Asked::Host(host, Wanted { id: name.id, residual: name.residual })
}

/// `io.buoyant.rinet`. Linkerd makes the id from text that it parses again as a path, so that what cannot stand in a
/// path unescaped throws; here that is a failure.
fn port_and_host(path: &Path, port: &str, host: &str) -> Asked {
    match format!("/{port}/{host}").parse::<Path>() {
        Ok(used) => {
            let id = id(path, 1).concat(&used);
            address(Name { id, residual: text(&path.skip(3)), once: false }, host.trim(), port)
        }
        Err(_) => {
            let reason = format!("{}: the port and the host do not make a path", id(path, 3));
            Asked::State(State::Failed(reason.into()))
        }
    }
}

fn status(path: &Path, code: Option<&str>) -> NameTree<Leaf> {
    let code = code.filter(|code| is_int(code)).and_then(|code| code.parse().ok());
    match code.filter(|code| (100..600).contains(code)) {
        Some(code) => NameTree::Leaf(Leaf::Bound(Bound {
            id: id(path, 2),
            residual: text(&path.skip(2)),
            target: Target::Status(code),
        })),
        None => NameTree::Neg,
    }
}

fn rewritten(path: &Path, utility: utility::Utility) -> State {
    match utility::rewrite(utility, &path.skip(1)) {
        Ok(Some(path)) => State::Ready(NameTree::Leaf(Leaf::Path(path))),
        Ok(None) => State::Ready(NameTree::Neg),
        Err(reason) => State::Failed(format!("{}: {reason}", id(path, path.len())).into()),
    }
}

fn unknown(path: &Path, class: &str) -> State {
    State::Failed(format!("Unknown namer: {class} for path: {}", id(path, path.len())).into())
}

/// The first elements of a path, with the `/$` in front again.
fn id(path: &Path, elems: usize) -> Path {
    Path::from_elems([b"$"]).concat(&path.take(elems))
}

/// A path whose elements are UTF-8 text: Linkerd passes residuals through text, so bytes that are not are replaced.
fn text(path: &Path) -> Path {
    if path.elems().all(|elem| std::str::from_utf8(elem).is_ok()) {
        return path.clone();
    }
    Path::from_elems(path.elems().map(|elem| String::from_utf8_lossy(elem).into_owned()))
}

/// Whether a text is a JVM `int`: an optional sign and digits, within 32 bits.
fn is_int(text: &str) -> bool {
    text.parse::<i32>().is_ok()
}

#[cfg(test)]
mod tests;
