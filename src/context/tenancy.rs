//! The names by which requests carry a tenant.

use serde::Serialize;

/// The names by which requests carry a tenant, and by which an untrusted request is kept from carrying one.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tenancy {
    /// `keys`: the keys of members of `baggage` and `tracestate`, which also end the names of fields that begin with
    /// `ot-baggage-` or `uberctx-`; by default those of Signadot, Okteto and mirrord. They are tokens without `%` and
    /// `+`.
    pub keys: Vec<String>,
    /// `headers`: the names of further header fields that carry one; none by default.
    pub headers: Vec<String>,
    /// `queryParameter`: the name of the query parameter that carries one; none by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query_parameter: Option<String>,
}

impl Tenancy {
    /// The most keys that a configuration may have, and the most headers.
    pub const MAX_NAMES: usize = 16;

    /// Returns the key under which a router itself writes a tenant into `baggage`: the first; `None` without keys,
    /// which no configuration has.
    pub fn first_key(&self) -> Option<&str> {
        self.keys.first().map(String::as_str)
    }
}

impl Default for Tenancy {
    fn default() -> Self {
        let keys = ["sd-routing-key", "sd-sandbox", "okteto-divert", "mirrord-session"];
        Self { keys: keys.map(str::to_owned).to_vec(), headers: Vec::new(), query_parameter: None }
    }
}

/// How many bytes a key of a sandbox may have, as a label of DNS.
const MAX_KEY: usize = 63;

/// Returns whether a text is the key of one sandbox: lower-case letters, digits, `-` and `.`, 63 bytes at most, with a
/// letter or a digit at both ends.
pub fn is_sandbox_key(text: &str) -> bool {
    let bytes = text.as_bytes();
    let is_end =
        |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let is_inner = |byte: &u8| matches!(byte, b'-' | b'.') || is_end(Some(byte));
    bytes.len() <= MAX_KEY && is_end(bytes.first()) && is_end(bytes.last()) && bytes.iter().all(is_inner)
}
