//! The utility namers: pure functions from a path to a path, which goes through the dtab again.
//!
//! Their meaning is Linkerd's, fine print included; where Linkerd throws, they say why they cannot answer.

use crate::name::Path;
use std::borrow::Cow;

/// What a utility namer makes of a path: another path, nothing (Neg), or the reason why it cannot say.
pub(super) type Rewritten = Result<Option<Path>, String>;

/// A utility namer: gets the elements that follow its class.
pub(super) type Utility = fn(&[&str]) -> Rewritten;

/// Returns the utility namer of a class.
pub(super) fn utility(class: &str) -> Option<Utility> {
    Some(match class {
        "io.buoyant.http.anyMethod" => any_method,
        "io.buoyant.http.anyMethodPfx" => any_method_pfx,
        "io.buoyant.http.anyHost" => any_host,
        "io.buoyant.http.anyHostPfx" => any_host_pfx,
        "io.buoyant.http.subdomainOf" => subdomain_of,
        "io.buoyant.http.subdomainOfPfx" => subdomain_of_pfx,
        "io.buoyant.http.domainToPath" => domain_to_path,
        "io.buoyant.http.domainToPathPfx" => domain_to_path_pfx,
        "io.buoyant.hostportPfx" => hostport_pfx,
        "io.buoyant.porthostPfx" => porthost_pfx,
        _ => return None,
    })
}

/// Applies a utility namer to what follows its class. Elements are taken as UTF-8 text, as in Linkerd: what is not
/// becomes U+FFFD, also in the elements that are only passed on.
pub(super) fn rewrite(utility: Utility, rest: &Path) -> Rewritten {
    let elems: Vec<Cow<'_, str>> = rest.elems().map(String::from_utf8_lossy).collect();
    let elems: Vec<&str> = elems.iter().map(AsRef::as_ref).collect();
    utility(&elems)
}

fn any_method(elems: &[&str]) -> Rewritten {
    match elems {
        [method, rest @ ..] if is_method(method) => path(&[], rest),
        _ => Ok(None),
    }
}

fn any_method_pfx(elems: &[&str]) -> Rewritten {
    match elems {
        [pfx, method, rest @ ..] if is_method(method) => path(&[pfx], rest),
        _ => Ok(None),
    }
}

fn any_host(elems: &[&str]) -> Rewritten {
    match elems {
        [host, rest @ ..] if is_host(host) => path(&[], rest),
        _ => Ok(None),
    }
}

fn any_host_pfx(elems: &[&str]) -> Rewritten {
    match elems {
        [pfx, host, rest @ ..] if is_host(host) => path(&[pfx], rest),
        _ => Ok(None),
    }
}

fn subdomain_of(elems: &[&str]) -> Rewritten {
    match elems {
        [domain, host, rest @ ..] => subdomain(domain, host).map_or(Ok(None), |sub| path(&[sub], rest)),
        _ => Ok(None),
    }
}

fn subdomain_of_pfx(elems: &[&str]) -> Rewritten {
    match elems {
        [domain, pfx, host, rest @ ..] => {
            subdomain(domain, host).map_or(Ok(None), |sub| path(&[pfx, sub], rest))
        }
        _ => Ok(None),
    }
}

fn domain_to_path(elems: &[&str]) -> Rewritten {
    match elems {
        [host, rest @ ..] if is_host(host) => path(&labels_reversed(host), rest),
        _ => Ok(None),
    }
}

fn domain_to_path_pfx(elems: &[&str]) -> Rewritten {
    match elems {
        [pfx, host, rest @ ..] if is_host(host) => {
            path(&[&[*pfx], labels_reversed(host).as_slice()].concat(), rest)
        }
        _ => Ok(None),
    }
}

fn hostport_pfx(elems: &[&str]) -> Rewritten {
    match elems {
        [pfx, host_port, rest @ ..] => {
            host_and_port(host_port).map_or(Ok(None), |(host, port)| path(&[pfx, host, port], rest))
        }
        _ => Ok(None),
    }
}

fn porthost_pfx(elems: &[&str]) -> Rewritten {
    match elems {
        [pfx, host_port, rest @ ..] => {
            host_and_port(host_port).map_or(Ok(None), |(host, port)| path(&[pfx, port, host], rest))
        }
        _ => Ok(None),
    }
}

/// The path of both lists of elements; an empty element, which no path has, is an exception in Linkerd.
fn path(made: &[&str], rest: &[&str]) -> Rewritten {
    if made.iter().any(|elem| elem.is_empty()) {
        return Err("an element of the result would be empty".to_owned());
    }
    Ok(Some(Path::from_elems(made.iter().chain(rest))))
}

/// One or more upper-case letters.
fn is_method(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_uppercase())
}

/// Coarse: names, IPv4, IPv6 and ports all pass.
fn is_host(text: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b':' | b'_' | b'-');
    !text.is_empty() && text.bytes().all(legal)
}

/// What of `host`, its port dropped, stands before `.domain`; nothing when that is empty. The domain's own port is
/// not dropped.
fn subdomain<'a>(domain: &str, host: &'a str) -> Option<&'a str> {
    if !is_host(domain) || !is_host(host) {
        return None;
    }
    let host = match host.split_once(':') {
        Some((name, _)) if !name.is_empty() => name,
        _ => host,
    };
    host.strip_suffix(domain)?.strip_suffix('.').filter(|sub| !sub.is_empty())
}

/// The parts between dots, last first; dots at the end vanish, a port stays where it is.
fn labels_reversed(host: &str) -> Vec<&str> {
    let host = host.trim_end_matches('.');
    if host.is_empty() { Vec::new() } else { host.rsplit('.').collect() }
}

/// A host, of any text, and a port that is a DNS label in lower case; colons at the end vanish.
fn host_and_port(text: &str) -> Option<(&str, &str)> {
    let (host, port) = text.trim_end_matches(':').split_once(':')?;
    let first = port.bytes().next()?;
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let label = port.len() <= 63 && legal(first) && port.bytes().all(|byte| legal(byte) || byte == b'-');
    label.then_some((host, port))
}

#[cfg(test)]
mod tests;
