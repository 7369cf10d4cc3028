//! The configuration of identifiers.

use super::Ingress;
use crate::kubernetes;
use crate::name::Path;
use serde::{Deserialize, Serialize};

/// One identifier of a router, as configured under `identifier`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind")]
pub enum Config {
    /// `io.l5d.header.token`
    #[serde(rename = "io.l5d.header.token")]
    HeaderToken(HeaderToken),
    /// `io.l5d.header`
    #[serde(rename = "io.l5d.header")]
    Header(Header),
    /// `io.l5d.header.path`
    #[serde(rename = "io.l5d.header.path")]
    HeaderPath(HeaderPath),
    /// `io.l5d.path`
    #[serde(rename = "io.l5d.path")]
    Path(PathSegments),
    /// `io.l5d.methodAndHost`
    #[serde(rename = "io.l5d.methodAndHost")]
    MethodAndHost(MethodAndHost),
    /// `io.l5d.static`
    #[serde(rename = "io.l5d.static")]
    Static(StaticPath),
    /// `io.l5d.ingress`
    #[serde(rename = "io.l5d.ingress")]
    Ingress(Ingress),
}

impl Config {
    /// Returns the kind, as it is written in the configuration.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::HeaderToken(_) => "io.l5d.header.token",
            Self::Header(_) => "io.l5d.header",
            Self::HeaderPath(_) => "io.l5d.header.path",
            Self::Path(_) => "io.l5d.path",
            Self::MethodAndHost(_) => "io.l5d.methodAndHost",
            Self::Static(_) => "io.l5d.static",
            Self::Ingress(_) => "io.l5d.ingress",
        }
    }

    /// Returns the name of the field that it reads, or of the pseudo-header, if it reads a single one.
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::HeaderToken(HeaderToken { header })
            | Self::Header(Header { header })
            | Self::HeaderPath(HeaderPath { header, .. }) => Some(header),
            Self::Path(_) | Self::MethodAndHost(_) | Self::Static(_) | Self::Ingress(_) => None,
        }
    }

    /// Checks the configuration without a request to an API server. Reads files.
    ///
    /// # Errors
    ///
    /// The kubeconfig that is named cannot be read or lacks the context, or the folder for snapshots cannot be used.
    pub fn check(&self) -> Result<(), Error> {
        match self {
            Self::Ingress(ingress) => {
                ingress.client.check().map_err(|source| Error { kind: self.kind(), source })
            }
            _ => Ok(()),
        }
    }
}

/// The reason why an identifier cannot use Kubernetes.
#[derive(Debug, thiserror::Error)]
#[error("identifier {kind}: {source}")]
pub struct Error {
    /// The kind of the identifier.
    pub kind: &'static str,
    /// The error of the API client's configuration.
    pub source: kubernetes::Error,
}

impl Default for Config {
    /// Names a request by its `Host`, as a router without the key `identifier` does.
    fn default() -> Self {
        Self::HeaderToken(HeaderToken::default())
    }
}

/// `io.l5d.header.token`: the value of a field is one element, `/svc/<value>`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct HeaderToken {
    /// The field, or a pseudo-header; `Host` unless said otherwise.
    pub header: String,
}

impl Default for HeaderToken {
    fn default() -> Self {
        Self { header: "Host".into() }
    }
}

/// `io.l5d.header`: the value of a field is a path, `/svc` and its elements.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Header {
    /// The field, or a pseudo-header; `l5d-name` unless said otherwise.
    pub header: String,
}

impl Default for Header {
    fn default() -> Self {
        Self { header: "l5d-name".into() }
    }
}

/// `io.l5d.header.path`: the value of a field is a URI's path, `/svc/<segment>...`, without its query.
///
/// Names gRPC requests: their `:path` is `/<package>.<Service>/<Method>`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct HeaderPath {
    /// The field, or a pseudo-header; `:path` unless said otherwise.
    pub header: String,
    /// How many segments the name takes, from 1; all unless said otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub segments: Option<usize>,
}

impl Default for HeaderPath {
    fn default() -> Self {
        Self { header: ":path".into(), segments: None }
    }
}

/// `io.l5d.path`: the first segments of the request's path, `/svc/<segment>...`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct PathSegments {
    /// How many segments the name takes; 1 unless said otherwise.
    pub segments: usize,
    /// Whether the segments leave the target; they stay unless said otherwise.
    pub consume: bool,
}

impl Default for PathSegments {
    fn default() -> Self {
        Self { segments: 1, consume: false }
    }
}

/// `io.l5d.methodAndHost`: `/svc/1.1/<METHOD>/<host>`, and `/svc/1.0/<METHOD>` for HTTP/1.0.
///
/// HTTP/2 requests, which Linkerd's `http` routers never saw, are named as those of HTTP/1.1: a dtab is about services,
/// and goes on to mean the same when their callers change the protocol.
#[derive(Clone, Debug, PartialEq, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct MethodAndHost {
    /// Whether the segments of the request's path follow; they do not unless said otherwise.
    pub http_uri_in_dst: bool,
}

/// `io.l5d.static`: one name for every request, `/svc` and the path.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct StaticPath {
    /// The path behind the prefix.
    pub path: Path,
}
