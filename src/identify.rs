//! Names a request: head in, path out.
//!
//! The kinds and their names are Linkerd's. On purpose different: text from a client is taken as elements of bytes
//! and never parsed as a dtab path, so it cannot be an error; empty segments are skipped; host names are lower-cased, and a
//! dot at their end is dropped. Nothing is percent-decoded.
//!
//! A head gets the same name by either protocol. An identifier that reads a header may name a pseudo-header of HTTP/2
//! (RFC 9113 8.3.1) as well, which means the same for HTTP/1: `:authority` is `Host`, `:path` the target with its
//! query, `:method` the method. `:scheme` is `https` over TLS and `http` without: a caller's own
//! claim is not kept.

mod config;
mod ingress;

pub use self::config::{
    Config, Error, Header, HeaderPath, HeaderToken, MethodAndHost, PathSegments, StaticPath,
};
pub use self::ingress::{FIRST_LIST, Ingress, Ingresses, LiveRules};

use self::ingress::WorkerRules;

use crate::context::{RequestTarget, host_without_dot};
use crate::message::{Head, KnownField, Version};
use crate::name::{Path, PathBuf};
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// The identifiers of a router, tried in order.
#[derive(Clone, Debug)]
pub struct Identifiers {
    identifiers: Vec<WorkerIdentifier>,
    prefix: Path,
    /// The names of the headers that they read.
    headers: Vec<Box<str>>,
}

/// One identifier of a router, with the state it needs beside the request: [`Ingresses::identifiers`] returns them.
#[derive(Clone, Debug)]
pub enum Identifier {
    /// An identifier that reads the head alone. `io.l5d.ingress` in this variant knows no rules.
    Head(Config),
    /// `io.l5d.ingress`.
    Ingress(LiveRules),
}

/// One identifier, as one worker uses it.
#[derive(Clone, Debug)]
enum WorkerIdentifier {
    Head(Config),
    Ingress(WorkerRules),
}

impl Identifiers {
    /// Makes the identifiers of a router with names that begin with `prefix` (`dstPrefix`). An empty list is the
    /// default identifier.
    pub fn new(identifiers: &[Identifier], prefix: &Path) -> Self {
        let ready = |identifier: &Identifier| match identifier {
            Identifier::Head(config) => WorkerIdentifier::Head(config.clone()),
            Identifier::Ingress(rules) => WorkerIdentifier::Ingress(WorkerRules::new(rules)),
        };
        let mut identifiers: Vec<WorkerIdentifier> = identifiers.iter().map(ready).collect();
        if identifiers.is_empty() {
            identifiers.push(WorkerIdentifier::Head(Config::default()));
        }
        let headers = identifiers.iter().filter_map(WorkerIdentifier::header).map(Box::from).collect();
        Self { identifiers, prefix: prefix.clone(), headers }
    }

    /// Returns the names of the header fields that identifiers read.
    pub fn headers(&self) -> &[Box<str>] {
        &self.headers
    }

    /// Writes the request's name into `name`, which is cleared first.
    ///
    /// The name depends on the head and on the scheme, and with `io.l5d.ingress` on its rules; the target must be in origin form. The
    /// host is lower-cased where it is read, and with `consume` the segments leave the target, which costs a copy of
    /// it. Nothing else is allocated once `name` has grown.
    ///
    /// # Errors
    ///
    /// No identifier names the request. The error is that of the last one, as in Linkerd. An identifier that does not
    /// know its rules yet counts as the last one: those behind it could take a request that it may be about to name.
    pub fn identify(
        &self,
        head: &mut Head,
        scheme: Scheme,
        name: &mut PathBuf,
    ) -> Result<NamedBy, IdentifyError> {
        let mut last = None;
        for identifier in &self.identifiers {
            name.clear();
            name.extend(&self.prefix);
            match identifier.identify(head, scheme, name) {
                Ok(named_by) => return Ok(named_by),
                Err(missing @ Mismatch::Unknown(_)) => {
                    return Err(IdentifyError::NotYet(missing.to_string()));
                }
                Err(missing) => last = Some(missing),
            }
        }
        // There is always an identifier, so there is always a reason.
        Err(IdentifyError::Unnamed(last.map(|missing| missing.to_string()).unwrap_or_default()))
    }
}

/// The scheme of a request, by the connection that it came on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scheme {
    /// Without TLS.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// Returns the scheme as a URI has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// The part of a request by which it was named.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NamedBy {
    /// Its host, which a page in a browser cannot choose.
    Host,
    /// A rule of an Ingress that has a certificate for its host.
    SecuredRule,
    /// Its path, another header, or rules.
    Other,
}

/// The reason why no identifier named a request.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum IdentifyError {
    /// No identifier names it: a 400, with the error of the last identifier.
    #[error("{0}")]
    Unnamed(String),
    /// The rules are not known yet: a 503, with the reason.
    #[error("{0}")]
    NotYet(String),
}

impl WorkerIdentifier {
    /// Returns the part of a request by which it names it, by the head alone.
    fn named_by(&self) -> NamedBy {
        match self {
            Self::Head(Config::MethodAndHost(_)) => NamedBy::Host,
            Self::Head(Config::HeaderToken(config))
                if ["host", ":authority"].iter().any(|host| config.header.eq_ignore_ascii_case(host)) =>
            {
                NamedBy::Host
            }
            _ => NamedBy::Other,
        }
    }

    /// Returns the name of the header field, or pseudo-header, that it reads.
    fn header(&self) -> Option<&str> {
        match self {
            Self::Head(Config::HeaderToken(config)) => Some(&config.header),
            Self::Head(Config::Header(config)) => Some(&config.header),
            Self::Head(Config::HeaderPath(config)) => Some(&config.header),
            Self::Head(
                Config::Path(_) | Config::MethodAndHost(_) | Config::Static(_) | Config::Ingress(_),
            )
            | Self::Ingress(_) => None,
        }
    }

    fn identify(&self, head: &mut Head, scheme: Scheme, name: &mut PathBuf) -> Result<NamedBy, Mismatch<'_>> {
        match self {
            Self::Head(config) => config.identify(head, scheme, name).map(|()| self.named_by()),
            Self::Ingress(rules) => rules.identify(head, name),
        }
    }
}

/// The reason why one identifier does not name a request. It becomes text only if no later identifier does.
enum Mismatch<'a> {
    /// This header is absent.
    Header(&'a str),
    /// The value of this header does not begin with a slash.
    Slash(&'a str),
    /// The path has fewer segments than this.
    Segments(usize),
    /// The path in this header has no segments.
    Path(&'a str),
    /// There is no host.
    Host,
    /// No rule of an ingress matches, and there is no default backend.
    Rule,
    /// The rule that matches leads to no service.
    Service,
    /// The rules of ingresses are not known yet; with a reason, if they were refused.
    Unknown(Option<Arc<str>>),
}

impl fmt::Display for Mismatch<'_> {
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
    fn identify(&self, head: &mut Head, scheme: Scheme, name: &mut PathBuf) -> Result<(), Mismatch<'_>> {
        match self {
            Self::HeaderToken(config) => {
                name.push(&value(head, scheme, &config.header)?);
                Ok(())
            }
            Self::Header(config) => {
                let value = value(head, scheme, &config.header)?;
                if !value.starts_with(b"/") {
                    return Err(Mismatch::Slash(&config.header));
                }
                value.split(|&byte| byte == b'/').for_each(|elem| name.push(elem));
                Ok(())
            }
            Self::HeaderPath(config) => config.identify(head, scheme, name),
            Self::Path(config) => config.identify(head, name),
            Self::MethodAndHost(config) => config.identify(head, name),
            Self::Static(config) => {
                name.extend(&config.path);
                Ok(())
            }
            Self::Ingress(_) => Err(Mismatch::Unknown(None)),
        }
    }
}

impl HeaderPath {
    fn identify(&self, head: &mut Head, scheme: Scheme, name: &mut PathBuf) -> Result<(), Mismatch<'_>> {
        let value = value(head, scheme, &self.header)?;
        let target = RequestTarget::split(&value);
        let found = push_elems(&target, self.segments.unwrap_or(usize::MAX), name);
        match self.segments {
            Some(segments) if found < segments => Err(Mismatch::Segments(segments)),
            None if found == 0 => Err(Mismatch::Path(&self.header)),
            _ => Ok(()),
        }
    }
}

impl PathSegments {
    fn identify(&self, head: &mut Head, name: &mut PathBuf) -> Result<(), Mismatch<'_>> {
        let target = RequestTarget::split(head.target());
        if push_elems(&target, self.segments, name) < self.segments {
            return Err(Mismatch::Segments(self.segments));
        }
        if self.consume {
            let rest = without_segments(&target, self.segments);
            head.set_target(&rest);
        }
        Ok(())
    }
}

impl MethodAndHost {
    fn identify(&self, head: &mut Head, name: &mut PathBuf) -> Result<(), Mismatch<'_>> {
        match head.version() {
            Version::Http10 => {
                name.push(b"1.0");
                name.push(head.method());
            }
            Version::Http11 | Version::Http2 => {
                head.lower_host();
                let host =
                    head.get(KnownField::Host).filter(|host| !host.is_empty()).ok_or(Mismatch::Host)?;
                name.push(b"1.1");
                name.push(head.method());
                name.push(&host_without_dot(host));
            }
        }
        if self.http_uri_in_dst {
            RequestTarget::split(head.target()).elems().for_each(|elem| name.push(elem));
        }
        Ok(())
    }
}

/// Appends the first elements of a target's path to a name; returns their number.
fn push_elems(target: &RequestTarget<'_>, most: usize, name: &mut PathBuf) -> usize {
    let mut found = 0;
    for elem in target.elems().take(most) {
        name.push(elem);
        found += 1;
    }
    found
}

/// Returns the value of a pseudo-header, or the first value of a field; an empty value counts as absent. A host has no dot
/// at the end of its name.
fn value<'h, 'c>(head: &'h mut Head, scheme: Scheme, header: &'c str) -> Result<Cow<'h, [u8]>, Mismatch<'c>> {
    let is = |name: &str| header.eq_ignore_ascii_case(name);
    if is("host") || is(":authority") {
        head.lower_host();
        let host = head.get(KnownField::Host).filter(|host| !host.is_empty());
        return host.map(host_without_dot).ok_or(Mismatch::Header(header));
    }
    let found = if !header.starts_with(':') {
        head.find(header.as_bytes())
    } else if is(":path") {
        Some(head.target())
    } else if is(":method") {
        Some(head.method())
    } else {
        is(":scheme").then_some(scheme.as_str().as_bytes())
    };
    found.filter(|value| !value.is_empty()).map(Cow::Borrowed).ok_or(Mismatch::Header(header))
}

/// Returns whether a name is that of a pseudo-header that identifiers read, in any case.
pub fn is_pseudo_header(name: &str) -> bool {
    [":authority", ":path", ":method", ":scheme"].iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// Returns a target without its first segments, with its query and its trailing slash.
///
/// Exactly one slash leads, however many stood between the segments: `//host/x` could be resolved as a path of
/// another host.
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
