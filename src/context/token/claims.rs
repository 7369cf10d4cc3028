//! The claims of a token whose signature is good.

use super::refusal::TokenRefusal;
use super::signed_overrides::SignedOverrides;
use crate::context::baggage::{encode_baggage_value, fully_decoded};
use crate::context::overrides::count_bytes;
use crate::context::{Context, OverrideSource, Refusal, is_sandbox_key};
use crate::name::Dtab;
use serde::{Deserialize, Deserializer, de};
use std::time::{SystemTime, UNIX_EPOCH};

/// How far the clocks of the signer and of the router may be apart, in seconds.
const LEEWAY: u64 = 5;

/// How many bytes the keys of a `sandbox` may have together: three times as many in `baggage`, which has 8192.
const MAX_SANDBOX: usize = 1024;

/// The claims of a token as they are written; others are ignored. One that stands twice is an error.
#[derive(Debug, Deserialize)]
pub(super) struct RawClaims {
    exp: Option<NumericDate>,
    nbf: Option<NumericDate>,
    aud: Option<Audience>,
    jti: Option<String>,
    dtab: Option<String>,
    sandbox: Option<String>,
    path: Option<String>,
}

/// A time in seconds since 1970. The fraction that it may have (RFC 7519, 2) is dropped.
#[derive(Clone, Copy, Debug)]
struct NumericDate(u64);

impl<'de> Deserialize<'de> for NumericDate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = serde_json::Number::deserialize(deserializer)?;
        let fractional = || number.as_f64().filter(|seconds| *seconds >= 0.0).map(|seconds| seconds as u64);
        let seconds = number.as_u64().or_else(fractional);
        seconds.map(Self).ok_or_else(|| de::Error::custom("not a time since 1970"))
    }
}

/// The claim `aud` (RFC 7519, 4.1.3).
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Audience {
    fn names(&self, audience: &str) -> bool {
        match self {
            Self::One(one) => one == audience,
            Self::Several(several) => several.iter().any(|one| one == audience),
        }
    }
}

/// The claims of a good token: the grant that a request takes from it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::context) struct Claims {
    /// The first second at which it is not accepted any more, but for the leeway.
    expires: u64,
    /// The first second at which it is accepted, but for the leeway.
    begins: u64,
    /// The dtab in its exact printed form: without comments, which may hold any character.
    dtab: String,
    /// The tenant key, as a value of baggage; empty without one.
    sandbox: String,
    /// The path of a URL at or below which it is good; everywhere, if it is empty.
    path: String,
}

impl Claims {
    /// Checks the claims, at `now`.
    pub(super) fn check(
        raw: &RawClaims,
        rules: &SignedOverrides,
        now: SystemTime,
    ) -> Result<Self, TokenRefusal> {
        let NumericDate(expires) = raw.exp.ok_or(TokenRefusal::NoExpiry)?;
        let audience = raw.aud.as_ref().ok_or(TokenRefusal::NoAudience)?;
        if !rules.audience.iter().any(|own| audience.names(own)) {
            return Err(TokenRefusal::Audience);
        }
        if raw.jti.as_ref().is_some_and(|jti| rules.revoked.contains(jti)) {
            return Err(TokenRefusal::Revoked);
        }
        if raw.dtab.is_none() && raw.sandbox.is_none() {
            return Err(TokenRefusal::NoClaims);
        }
        let claims = Self {
            expires,
            begins: raw.nbf.map_or(0, |NumericDate(begins)| begins),
            dtab: raw.dtab.as_deref().map_or(Ok(String::new()), print_dtab)?,
            sandbox: raw.sandbox.as_deref().map_or(Ok(String::new()), encode_sandbox)?,
            path: raw.path.as_deref().map_or(Ok(String::new()), check_prefix)?,
        };
        claims.check_time(now)?;
        let limit = rules.max_lifetime;
        if expires > seconds(now).saturating_add(limit).saturating_add(LEEWAY) {
            return Err(TokenRefusal::TooLongLived { limit });
        }
        Ok(claims)
    }

    /// Checks that the token is accepted at `now`.
    pub(super) fn check_time(&self, now: SystemTime) -> Result<(), TokenRefusal> {
        let now = seconds(now);
        if now >= self.expires.saturating_add(LEEWAY) {
            return Err(TokenRefusal::Expired);
        }
        if now.saturating_add(LEEWAY) < self.begins {
            return Err(TokenRefusal::NotYetValid);
        }
        Ok(())
    }

    /// Returns how many bytes the texts have.
    pub(super) fn len(&self) -> usize {
        self.dtab.len() + self.sandbox.len() + self.path.len()
    }

    /// Checks that the token is good for the path of a request; `in_query` says that it came in the query.
    ///
    /// A URL is shown, stored and sent on more easily than a header field: a token in it is good for one place, and its
    /// dtab counts nothing.
    pub(super) fn check_path(&self, path: &[u8], in_query: bool) -> Result<(), TokenRefusal> {
        if in_query && (self.path.is_empty() || self.sandbox.is_empty() || !self.dtab.is_empty()) {
            return Err(TokenRefusal::NotForQueries);
        }
        if self.path.is_empty() || is_below(path, self.path.as_bytes()) {
            Ok(())
        } else {
            Err(TokenRefusal::Path)
        }
    }

    /// Grants the dtab to a request, as a layer of its overrides. `limit` is that of all overrides in bytes.
    pub(in crate::context) fn grant_dtab(&self, context: &mut Context, limit: usize) -> Result<(), Refusal> {
        if !self.dtab.is_empty() {
            if count_bytes(&context.overrides) + self.dtab.len() > limit {
                return Err(Refusal::OverrideTooLarge { limit });
            }
            context.overrides.extend_from_slice(self.dtab.as_bytes());
            context.overrides.push(OverrideSource::Token.end());
        }
        Ok(())
    }

    /// Returns the tenant, percent-encoded, to be written into `baggage`.
    pub(in crate::context) fn tenant(&self) -> Option<&str> {
        (!self.sandbox.is_empty()).then_some(&*self.sandbox)
    }
}

/// Returns whether a text is a tenant key, or several that are joined by `+`.
pub fn is_tenant_key(text: &str) -> bool {
    text.len() <= MAX_SANDBOX && text.split('+').all(is_sandbox_key)
}

/// Returns a dtab in its exact form.
fn print_dtab(text: &str) -> Result<String, TokenRefusal> {
    let dtab: Dtab = text.parse().map_err(|error: crate::name::ParseError| TokenRefusal::MalformedDtab {
        line: error.line,
        column: error.column,
    })?;
    Ok(format!("{dtab:#}"))
}

/// Returns a tenant key as a value of baggage.
fn encode_sandbox(text: &str) -> Result<String, TokenRefusal> {
    if is_tenant_key(text) {
        Ok(encode_baggage_value(text.as_bytes()))
    } else {
        Err(TokenRefusal::MalformedSandbox)
    }
}

/// Returns the path of a claim without a `/` at its end.
fn check_prefix(path: &str) -> Result<String, TokenRefusal> {
    let prefix = path.trim_end_matches('/');
    if path.starts_with('/')
        && path.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#'))
    {
        // At or below the root is everywhere, but it was said.
        Ok(if prefix.is_empty() { "/".to_owned() } else { prefix.to_owned() })
    } else {
        Err(TokenRefusal::MalformedPath)
    }
}

/// Returns whether the path of a request is at or below another one. One with dot segments or empty ones is not, for an
/// endpoint may read them as another path (RFC 3986 5.2.4).
fn is_below(path: &[u8], prefix: &[u8]) -> bool {
    let prefix = prefix.strip_suffix(b"/").unwrap_or(prefix);
    let Some(rest) = path.strip_prefix(prefix) else { return false };
    let path = fully_decoded(path);
    let mut segments = path.split(|byte| matches!(byte, b'/' | b'\\')).skip(1).peekable();
    let is_doubtful = std::iter::from_fn(|| {
        let segment = segments.next()?;
        // The last one may be empty: `/a/`.
        let is_empty = segment.is_empty() && segments.peek().is_some();
        Some(is_empty || matches!(segment.split(|byte| *byte == b';').next(), Some(b"." | b"..")))
    })
    .any(|is_doubtful| is_doubtful);
    (rest.is_empty() || rest.starts_with(b"/")) && !is_doubtful
}

/// Returns the whole seconds since 1970; a clock before that is at 0.
fn seconds(now: SystemTime) -> u64 {
    now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
