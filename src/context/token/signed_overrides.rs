//! The configuration of signed overrides: `trust.signed` of a server.

use serde::Serialize;
use std::path::PathBuf;

/// How many files `keys` may name: a token without `kid` is tried with each of them.
pub const MAX_KEY_FILES: usize = 4;

/// The tokens that a listener accepts.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SignedOverrides {
    /// The files of the keys.
    #[serde(flatten)]
    pub files: KeyFiles,
    /// `audience`: a token must be for one of these; the router's label by default.
    pub audience: Vec<String>,
    /// `maxLifetimeSeconds`: how far ahead a token may expire; 86400 by default.
    #[serde(rename = "maxLifetimeSeconds")]
    pub max_lifetime: u64,
    /// `revoked`: the `jti` of tokens that are refused; none by default.
    pub revoked: Vec<String>,
}

/// The files of the keys that verify tokens. A relative path is relative to the working directory.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyFiles {
    /// `keys`: PEM files with one public key each, [`MAX_KEY_FILES`] at most.
    #[serde(rename = "keys", skip_serializing_if = "Vec::is_empty")]
    pub pem: Vec<PathBuf>,
    /// `jwks`: a JWKS file (RFC 7517, 5), which may hold secrets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwks: Option<PathBuf>,
}

impl KeyFiles {
    /// Returns the paths of all files.
    pub(super) fn paths(&self) -> impl Iterator<Item = PathBuf> {
        self.pem.iter().chain(&self.jwks).cloned()
    }
}
