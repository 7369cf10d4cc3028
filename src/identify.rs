//! Names a request: head in, path out.
//!
//! The kinds and their names are Linkerd's. On purpose different: text from a client is taken as elements of bytes
//! and never parsed as a dtab path, so it cannot be an error; empty segments are skipped; host names are
//! lower-cased. Nothing is percent-decoded.
//!
//! A head is named alike whichever protocol it came by. Where an identifier reads a header, the pseudo-headers of
//! HTTP/2 (RFC 9113 8.3.1) may stand, and mean the same of HTTP/1: `:authority` is `Host`, `:path` the target with its
//! query, `:method` the method. `:scheme` is `http`: listeners have no TLS by now, and a caller's word for it is not kept.

mod config;
mod ingress;

pub use self::config::{Config, Error, Header, HeaderPath, HeaderToken, MethodAndHost, PathSegments, Static};
pub use self::ingress::{FIRST_LIST, Ingress, Ingresses, LiveRules};

use self::ingress::Rules;

use crate::context::RequestTarget;
use crate::message::{Head, KnownField, Version};
use crate::name::{Path, PathBuf};
use std::fmt;
use std::sync::Arc;

/// The identifiers of a router, tried in order.
#[derive(Clone, Debug)]
pub struct Identifiers {
    identifiers: Vec<Ready>,
    prefix: Path,
}

/// One identifier of a router, with what it has to know beside the request: [`Ingresses::identifiers`] says that.
#[derive(Clone, Debug)]
pub enum Identifier {
    /// One that reads nothing but the head; `io.l5d.ingress` among these knows no rules.
    Head(Config),
    /// `io.l5d.ingress`.
    Ingress(LiveRules),
}

/// One identifier on one worker.
#[derive(Clone, Debug)]
enum Ready {
    Head(Config),
    Ingress(Rules),
}

impl Identifiers {
    /// Makes the identifiers of a router whose names begin with `prefix` (`dstPrefix`). None configured is the
    /// default one.
    pub fn new(identifiers: &[Identifier], prefix: &Path) -> Self {
        let ready = |identifier: &Identifier| match identifier {
            Identifier::Head(config) => Ready::Head(config.clone()),
            Identifier::Ingress(rules) => Ready::Ingress(Rules::new(rules)),
        };
        let mut identifiers: Vec<Ready> = identifiers.iter().map(ready).collect();
        if identifiers.is_empty() {
            identifiers.push(Ready::Head(Config::default()));
        }
        Self { identifiers, prefix: prefix.clone() }
    }

    /// Writes the request's name into `name`, which is cleared first.
    ///
    /// Names depend on the head, and with `io.l5d.ingress` on its rules; a target is expected in origin form. The host is lower-cased where it
    /// is read, and with `consume` the segments leave the target, which costs a copy of it. Nothing else is
    /// allocated once `name` has grown.
    ///
    /// # Errors
    ///
    /// When no identifier names the request. The last one's reason is kept, as in Linkerd. One that cannot say because
    /// its rules are not known yet is the last one: those behind it would name what it may be going to name.
    pub fn identify(&self, head: &mut Head, name: &mut PathBuf) -> Result<(), Unidentified> {
        let mut last = None;
        for identifier in &self.identifiers {
            name.clear();
            name.extend(&self.prefix);
            match identifier.identify(head, name) {
                Ok(()) => return Ok(()),
                Err(missing @ Missing::Unknown(_)) => return Err(Unidentified::NotYet(missing.to_string())),
                Err(missing) => last = Some(missing),
            }
        }
        // There is always an identifier, so there is always a reason.
        Err(Unidentified::Unnamed(last.map(|missing| missing.to_string()).unwrap_or_default()))
    }
}

/// Why no identifier named a request.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unidentified {
    /// None of them does: a 400, with what the last identifier missed.
    #[error("{0}")]
    Unnamed(String),
    /// It cannot be said yet: a 503, with what is not known.
    #[error("{0}")]
    NotYet(String),
}

impl Ready {
    fn identify(&self, head: &mut Head, name: &mut PathBuf) -> Result<(), Missing<'_>> {
        match self {
            Self::Head(config) => config.identify(head, name),
            Self::Ingress(rules) => rules.identify(head, name),
        }
    }
}

/// What an identifier missed. It becomes text only when no later identifier succeeds.
enum Missing<'a> {
    Header(&'a str),
    Slash(&'a str),
    Segments(usize),
    Path(&'a str),
    Host,
    /// No rule of an ingress, and no default backend.
    Rule,
    /// A rule that leads to something else.
    Service,
    /// The rules of ingresses are not known, for a reason if there is one besides that they were not listed yet.
    Unknown(Option<Arc<str>>),
}

impl fmt::Display for Missing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(header) => write!(f, "{header} header is absent"),
            Self::Slash(header) => write!(f, "{header} header is not a path: it does not begin with '/'"),
            Self::Segments(segments) => write!(f, "not enough segments in path: {segments} needed"),
            Self::Path(header) => write!(f, "no segments in {header}"),
            Self::Host => write!(f, "request missing hostname"),
            Self::Rule => write!(f, "no ingress rule matches"),
            Self::Service => write!(f, "the ingress rule that matches leads to no service"),
            Self::Unknown(None) => write!(f, "the ingress rules are not known yet"),
            Self::Unknown(Some(reason)) => write!(f, "the ingress rules are not known: {reason}"),
        }
    }
}

impl Config {
    fn identify(&self, head: &mut Head, name: &mut PathBuf) -> Result<(), Missing<'_>> {
        match self {
            Self::HeaderToken(config) => {
                name.push(value(head, &config.header)?);
                Ok(())
            }
            Self::Header(config) => {
                let value = value(head, &config.header)?;
                if !value.starts_with(b"/") {
                    return Err(Missing::Slash(&config.header));
                }
                value.split(|&byte| byte == b'/').for_each(|elem| name.push(elem));
                Ok(())
            }
            Self::HeaderPath(config) => config.identify(head, name),
            Self::Path(config) => config.identify(head, name),
            Self::MethodAndHost(config) => config.identify(head, name),
            Self::Static(config) => {
                name.extend(&config.path);
                Ok(())
            }
            Self::Ingress(_) => Err(Missing::Unknown(None)),
        }
    }
}

impl HeaderPath {
    fn identify(&self, head: &mut Head, name: &mut PathBuf) -> Result<(), Missing<'_>> {
        let target = RequestTarget::split(value(head, &self.header)?);
        let found = push_elems(&target, self.segments.unwrap_or(usize::MAX), name);
        match self.segments {
            Some(segments) if found < segments => Err(Missing::Segments(segments)),
            None if found == 0 => Err(Missing::Path(&self.header)),
            _ => Ok(()),
        }
    }
}

impl PathSegments {
    fn identify(&self, head: &mut Head, name: &mut PathBuf) -> Result<(), Missing<'_>> {
        let target = RequestTarget::split(head.target());
        if push_elems(&target, self.segments, name) < self.segments {
            return Err(Missing::Segments(self.segments));
        }
        if self.consume {
            let rest = without_segments(&target, self.segments);
            head.set_target(&rest);
        }
        Ok(())
    }
}

impl MethodAndHost {
    fn identify(&self, head: &mut Head, name: &mut PathBuf) -> Result<(), Missing<'_>> {
        match head.version() {
            Version::Http10 => {
                name.push(b"1.0");
                name.push(head.method());
            }
            Version::Http11 | Version::Http2 => {
                head.lower_host();
                let host = head.get(KnownField::Host).filter(|host| !host.is_empty()).ok_or(Missing::Host)?;
                name.push(b"1.1");
                name.push(head.method());
                name.push(host);
            }
        }
        if self.http_uri_in_dst {
            RequestTarget::split(head.target()).elems().for_each(|elem| name.push(elem));
        }
        Ok(())
    }
}

/// Appends the first elements of a target's path to a name; returns how many there were.
fn push_elems(target: &RequestTarget<'_>, most: usize, name: &mut PathBuf) -> usize {
    let mut found = 0;
    for elem in target.elems().take(most) {
        name.push(elem);
        found += 1;
    }
    found
}

/// Returns the value of a pseudo-header, or the first one of a field; an empty one is as good as none.
fn value<'h, 'c>(head: &'h mut Head, header: &'c str) -> Result<&'h [u8], Missing<'c>> {
    let is = |name: &str| header.eq_ignore_ascii_case(name);
    let found = if is("host") || is(":authority") {
        head.lower_host();
        head.get(KnownField::Host)
    } else if !header.starts_with(':') {
        head.find(header.as_bytes())
    } else if is(":path") {
        Some(head.target())
    } else if is(":method") {
        Some(head.method())
    } else {
        is(":scheme").then_some(b"http".as_slice())
    };
    found.filter(|value| !value.is_empty()).ok_or(Missing::Header(header))
}

/// Returns whether a name is that of a pseudo-header that identifiers read, whatever its case.
pub fn is_pseudo_header(name: &str) -> bool {
    [":authority", ":path", ":method", ":scheme"].iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// Returns a target without its first segments, with its query and its trailing slash.
///
/// Exactly one slash leads, whatever stood between the segments: `//host/x` would be taken for another host's
/// path by whoever resolves it.
fn without_segments(target: &RequestTarget<'_>, segments: usize) -> Vec<u8> {
    let mut rest = after_slashes(target.path);
    for _ in 0..segments {
        let behind = rest.splitn(2, |&byte| byte == b'/').nth(1);
        rest = after_slashes(behind.unwrap_or_default());
    }
    match target.query {
        Some(query) => [b"/", rest, b"?", query].concat(),
        None => [b"/", rest].concat(),
    }
}

fn after_slashes(mut path: &[u8]) -> &[u8] {
    while let [b'/', behind @ ..] = path {
        path = behind;
    }
    path
}

#[cfg(test)]
mod tests;
