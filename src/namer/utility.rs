//! The utility namers: pure functions from a path to a path, which goes through the dtab again.
//!
//! Their meaning is Linkerd's, fine print included; where Linkerd throws, they return the reason why they cannot
//! answer. A host with a dot at its end is the host without it, which in Linkerd is another.

use crate::context::host_without_dot;
use crate::name::Path;
use std::borrow::Cow;

/// The result of a utility namer: another path, nothing (Neg), or the reason why it cannot answer.
pub(super) type RewriteResult = Result<Option<Path>, String>;

/// A utility namer: a function of the elements that follow its class.
pub(super) type UtilityNamer = fn(&[&str]) -> RewriteResult;

/// The utility namers, by their class.
const UTILITIES: [(&str, UtilityNamer); 10] = [
    ("io.buoyant.http.anyMethod", any_method),
    ("io.buoyant.http.anyMethodPfx", any_method_pfx),
    ("io.buoyant.http.anyHost", any_host),
    ("io.buoyant.http.anyHostPfx", any_host_pfx),
    ("io.buoyant.http.subdomainOf", subdomain_of),
    ("io.buoyant.http.subdomainOfPfx", subdomain_of_pfx),
    ("io.buoyant.http.domainToPath", domain_to_path),
    ("io.buoyant.http.domainToPathPfx", domain_to_path_pfx),
    ("io.buoyant.hostportPfx", hostport_pfx),
    ("io.buoyant.porthostPfx", porthost_pfx),
];

/// Returns the classes of the utility namers.
pub(super) fn classes() -> impl Iterator<Item = &'static str> {
    UTILITIES.into_iter().map(|(class, _)| class)
}

/// Returns the utility namer of a class.
pub(super) fn utility(class: &str) -> Option<UtilityNamer> {
    UTILITIES.into_iter().find(|(known, _)| *known == class).map(|(_, utility)| utility)
}

/// Applies a utility namer to the elements after its class. Elements are taken as UTF-8 text, as in Linkerd: other
/// bytes become U+FFFD, also in the elements that are only passed on.
pub(super) fn rewrite(utility: UtilityNamer, rest: &Path) -> RewriteResult {
    let elems: Vec<Cow<'_, str>> = rest.elems().map(String::from_utf8_lossy).collect();
    let elems: Vec<&str> = elems.iter().map(AsRef::as_ref).collect();
    utility(&elems)
}

fn any_method(elems: &[&str]) -> RewriteResult {
    match elems {
        [method, rest @ ..] if is_method(method) => path(&[], rest),
        _ => Ok(None),
    }
}

fn any_method_pfx(elems: &[&str]) -> RewriteResult {
    match elems {
        [pfx, method, rest @ ..] if is_method(method) => path(&[pfx], rest),
        _ => Ok(None),
    }
}

fn any_host(elems: &[&str]) -> RewriteResult {
    match elems {
        [host, rest @ ..] if is_host(host) => path(&[], rest),
        _ => Ok(None),
    }
}

fn any_host_pfx(elems: &[&str]) -> RewriteResult {
    match elems {
        [pfx, host, rest @ ..] if is_host(host) => path(&[pfx], rest),
        _ => Ok(None),
    }
}

fn subdomain_of(elems: &[&str]) -> RewriteResult {
    match elems {
        [domain, host, rest @ ..] => subdomain(domain, host).map_or(Ok(None), |sub| path(&[sub], rest)),
        _ => Ok(None),
    }
}

fn subdomain_of_pfx(elems: &[&str]) -> RewriteResult {
    match elems {
        [domain, pfx, host, rest @ ..] => {
            subdomain(domain, host).map_or(Ok(None), |sub| path(&[pfx, sub], rest))
        }
        _ => Ok(None),
    }
}

fn domain_to_path(elems: &[&str]) -> RewriteResult {
    match elems {
        [host, rest @ ..] if is_host(host) => path(&labels_reversed(&without_dot(host)), rest),
        _ => Ok(None),
    }
}

fn domain_to_path_pfx(elems: &[&str]) -> RewriteResult {
    match elems {
        [pfx, host, rest @ ..] if is_host(host) => {
            path(&[&[*pfx], labels_reversed(&without_dot(host)).as_slice()].concat(), rest)
        }
        _ => Ok(None),
    }
}

fn hostport_pfx(elems: &[&str]) -> RewriteResult {
    match elems {
        [pfx, host_port, rest @ ..] => {
            host_and_port(host_port).map_or(Ok(None), |(host, port)| path(&[pfx, host, port], rest))
        }
        _ => Ok(None),
    }
}

fn porthost_pfx(elems: &[&str]) -> RewriteResult {
    match elems {
        [pfx, host_port, rest @ ..] => {
            host_and_port(host_port).map_or(Ok(None), |(host, port)| path(&[pfx, port, host], rest))
        }
        _ => Ok(None),
    }
}

/// Returns the path of both lists of elements; an empty element, which no path has, is an exception in Linkerd.
fn path(made: &[&str], rest: &[&str]) -> RewriteResult {
    if made.iter().any(|elem| elem.is_empty()) {
        return Err("an element of the result would be empty".to_owned());
    }
    Ok(Some(Path::from_elems(made.iter().chain(rest))))
}

/// Returns whether a text is one or more upper-case letters.
fn is_method(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_uppercase())
}

/// Returns whether a text may be a host. The check is coarse: names, IPv4, IPv6 and ports all pass.
fn is_host(text: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b':' | b'_' | b'-');
    !text.is_empty() && text.bytes().all(legal)
}

/// Returns the part of `host`, without its port, before `.domain`; nothing when that is empty. The domain's own port is
/// not dropped.
fn subdomain<'a>(domain: &'a str, host: &'a str) -> Option<&'a str> {
    if !is_host(domain) || !is_host(host) {
        return None;
    }
    let host = match host.split_once(':') {
        Some((name, _)) if !name.is_empty() => name,
        _ => host,
    };
    let [domain, host] = [domain, host].map(|host| host.strip_suffix('.').unwrap_or(host));
    host.strip_suffix(domain)?.strip_suffix('.').filter(|sub| !sub.is_empty())
}

/// Returns the parts of a host between dots, last first. Dots at the end are dropped, a port stays where it is.
fn labels_reversed(host: &str) -> Vec<&str> {
    let host = host.trim_end_matches('.');
    if host.is_empty() { Vec::new() } else { host.rsplit('.').collect() }
}

/// Returns a host without the dot at the end of its name, also before a port.
fn without_dot(host: &str) -> Cow<'_, str> {
    match host_without_dot(host.as_bytes()) {
        Cow::Borrowed(host) => String::from_utf8_lossy(host),
        Cow::Owned(host) => String::from_utf8_lossy(&host).into_owned().into(),
    }
}

/// Splits a text into a host, of any text, and a port that is a DNS label in lower case. Colons at the end are dropped, and
/// so is a dot at the end of the host.
fn host_and_port(text: &str) -> Option<(&str, &str)> {
    let (host, port) = text.trim_end_matches(':').split_once(':')?;
    let first = port.bytes().next()?;
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let label = port.len() <= 63 && legal(first) && port.bytes().all(|byte| legal(byte) || byte == b'-');
    label.then_some((host.strip_suffix('.').unwrap_or(host), port))
}

#[cfg(test)]
mod tests;
