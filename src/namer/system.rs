//! The system namers, at `/$`: addresses, constant answers, and the utility namers.

use super::address::{is_host_name, literal};
use super::dns::Dns;
use super::hosts::{BoundName, Host, Hosts};
use super::utility;
use crate::interpret::{Answer, AnswerState, Bound, Endpoint, EndpointSet, Leaf, Namer, Target};
use crate::name::{NameTree, Path};
use crate::source::node::unknown as unknown_word;
use std::net::SocketAddr;
use tokio::runtime::Handle;
use tokio::sync::watch;

/// The system namer, which answers for every class under `/$`. An unknown class is Failed, as in Linkerd, and not Neg.
#[derive(Debug)]
pub(super) struct SystemNamer {
    hosts: Hosts,
}

/// The lookup that a path under `/$` asks for.
enum SystemLookup {
    /// None: the answer depends on the path alone.
    Known(AnswerState),
    /// The addresses of a host name.
    Host(Host, BoundName),
}

impl SystemNamer {
    /// Makes the namer; `control` runs the lookups of host names.
    pub(super) fn new(dns: Dns, control: &Handle) -> Self {
        Self { hosts: Hosts::new(dns, control) }
    }

    /// Returns the answer for a path that needs no DNS lookup.
    pub(super) fn immediately(path: &Path) -> Option<AnswerState> {
        match read_path(path) {
            SystemLookup::Known(state) => Some(state),
            SystemLookup::Host(..) => None,
        }
    }
}

impl Namer for SystemNamer {
    fn lookup(&self, path: &Path) -> Answer {
        match read_path(path) {
            SystemLookup::Known(state) => Answer::fixed(state),
            SystemLookup::Host(host, name) => self.hosts.lookup(host, name),
        }
    }

    fn immediate(&self, path: &Path) -> Option<AnswerState> {
        Self::immediately(path)
    }
}

/// Reads a path without its `/$`. The order of the cases matters: `/inet/8080/9090` is port 9090 of the host `8080`.
fn read_path(path: &Path) -> SystemLookup {
    let mut elems = path.elems().map(String::from_utf8_lossy);
    let Some(class) = elems.next() else { return SystemLookup::Known(AnswerState::Ready(NameTree::Neg)) };
    let (first, second) = (elems.next(), elems.next());
    let state = match (&*class, first.as_deref(), second.as_deref()) {
        ("inet" | "fixedinet", Some(host), Some(port)) if is_int(port) => {
            let name = BoundName { id: id(path, 3), residual: text(&path.skip(3)) };
            return address(name, host, port, class == "fixedinet");
        }
        ("inet" | "fixedinet", Some(port), _) if is_int(port) => {
            let name = BoundName { id: id(path, 2), residual: text(&path.skip(2)) };
            return address(name, "localhost", port, false);
        }
        ("inet" | "fixedinet", ..) => {
            let missing = || format!("the address is missing: write /$/{class}/HOST/PORT");
            let reason = doubt(path).unwrap_or_else(missing);
            AnswerState::Failed(format!("{}: {reason}", id(path, path.len())).into())
        }
        ("fail", ..) => AnswerState::Ready(NameTree::Fail),
        ("nil", ..) => AnswerState::Ready(NameTree::Empty),
        ("io.buoyant.rinet", Some(port), Some(host)) => return port_and_host(path, port, host),
        ("io.buoyant.rinet", ..) => AnswerState::Ready(NameTree::Neg),
        ("io.buoyant.http.status", code, _) => AnswerState::Ready(status(path, code)),
        _ => match utility::utility(&class) {
            Some(utility) => rewritten(path, utility),
            None => unknown(path, &class),
        },
    };
    SystemLookup::Known(state)
}

/// Returns the lookup of a host and a port, which `name` is bound to; with `once`, a host name is resolved once only.
fn address(name: BoundName, host: &str, port: &str, once: bool) -> SystemLookup {
    let Some(port) = port.parse().ok().filter(|&port| port > 0) else {
        let reason = format!("{}: the port {port} is not one of 1 to 65535", name.id);
        return SystemLookup::Known(AnswerState::Failed(reason.into()));
    };
    if let Some(address) = literal(host) {
        let endpoints = EndpointSet::new(vec![Endpoint::at(SocketAddr::new(address, port))]);
        let target = Target::Endpoints(watch::channel(endpoints).1);
        let bound = Bound { id: name.id, residual: name.residual, target };
        return SystemLookup::Known(AnswerState::Ready(NameTree::Leaf(Leaf::Bound(bound))));
    }
    if !is_host_name(host) {
        let reason = format!("{}: `{}` is neither an address nor a host name", name.id, host.escape_debug());
        return SystemLookup::Known(AnswerState::Failed(reason.into()));
    }
    let host = Host { name: host.to_ascii_lowercase().into(), port, once };
    SystemLookup::Host(host, name)
}

/// The classes that are no utility namers.
const CLASSES: [&str; 6] = ["inet", "fixedinet", "io.buoyant.rinet", "io.buoyant.http.status", "nil", "fail"];

/// Returns why names that begin with this path, without its `/$`, probably lead nowhere, if that can be told. A path of a
/// dtab is the beginning of a name, so that its last part may still be missing.
pub(super) fn doubt(path: &Path) -> Option<String> {
    let elems: Vec<_> = path.elems().map(String::from_utf8_lossy).collect();
    let elems: Vec<&str> = elems.iter().map(AsRef::as_ref).collect();
    let is_port = |text: &str| text.parse::<u16>().is_ok_and(|port| port > 0);
    match elems[..] {
        ["inet" | "fixedinet", first] if !is_int(first) => {
            Some(format!("the port is missing: write /$/{}/{first}/PORT", elems.first()?))
        }
        ["inet" | "fixedinet", first, port, ..] if !is_int(first) && !is_port(port) => {
            Some(format!("`{}` is no port, which is a number from 1 to 65535", port.escape_debug()))
        }
        ["inet" | "fixedinet", port] | ["io.buoyant.rinet", port, ..] if !is_port(port) => {
            Some(format!("`{}` is no port, which is a number from 1 to 65535", port.escape_debug()))
        }
        ["io.buoyant.http.status", code, ..] => (status(path, Some(code)) == NameTree::Neg)
            .then(|| format!("`{code}` is no status, which is a number from 100 to 599")),
        [class, ..] if !CLASSES.contains(&class) && utility::utility(class).is_none() => {
            let known: Vec<&str> = CLASSES.into_iter().chain(utility::classes()).collect();
            Some(unknown_word("namer", class, &known))
        }
        _ => None,
    }
}

/// Reads the host and port of `io.buoyant.rinet`. Linkerd makes the id from text that it parses again as a path, so
/// that text which cannot stand in a path unescaped throws; here that is a failure.
fn port_and_host(path: &Path, port: &str, host: &str) -> SystemLookup {
    match format!("/{port}/{host}").parse::<Path>() {
        Ok(used) => {
            let id = id(path, 1).concat(&used);
            address(BoundName { id, residual: text(&path.skip(3)) }, host.trim(), port, false)
        }
        Err(_) => {
            let reason = format!("{}: the port and the host do not make a path", id(path, 3));
            SystemLookup::Known(AnswerState::Failed(reason.into()))
        }
    }
}

/// Reads the status of `io.buoyant.http.status`.
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

/// Applies a utility namer to the path after its class.
fn rewritten(path: &Path, utility: utility::UtilityNamer) -> AnswerState {
    match utility::rewrite(utility, &path.skip(1)) {
        Ok(Some(path)) => AnswerState::Ready(NameTree::Leaf(Leaf::Path(path))),
        Ok(None) => AnswerState::Ready(NameTree::Neg),
        Err(reason) => AnswerState::Failed(format!("{}: {reason}", id(path, path.len())).into()),
    }
}

/// Returns the failure of an unknown class.
fn unknown(path: &Path, class: &str) -> AnswerState {
    AnswerState::Failed(format!("Unknown namer: {class} for path: {}", id(path, path.len())).into())
}

/// Returns the first elements of a path, with the `/$` in front again.
fn id(path: &Path, elems: usize) -> Path {
    Path::from_elems([b"$"]).concat(&path.take(elems))
}

/// Returns a path whose elements are UTF-8 text: Linkerd passes residuals through text, so other bytes are replaced.
fn text(path: &Path) -> Path {
    if path.elems().all(|elem| std::str::from_utf8(elem).is_ok()) {
        return path.clone();
    }
    Path::from_elems(path.elems().map(|elem| String::from_utf8_lossy(elem).into_owned()))
}

/// Returns whether a text is a JVM `int`: an optional sign and digits, within 32 bits.
fn is_int(text: &str) -> bool {
    text.parse::<i32>().is_ok()
}

#[cfg(test)]
mod tests;
