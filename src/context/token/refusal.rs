//! The reasons why a token is refused.

use super::MAX_TOKEN;

/// The reason why the token of a request is refused: a 403, or a 503 when it was not looked at.
///
/// Every caller is told it in full: it is about the caller's own message. Only the holder of a good signature learns
/// more than that the signature is not good, so an unknown key, another algorithm and a forgery have one text.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TokenRefusal {
    /// There are several fields, or a list of tokens.
    #[error("The request has more than one l5d-dtab-token. Send one.")]
    Several,
    /// It has more than [`MAX_TOKEN`] bytes.
    #[error("The token in l5d-dtab-token has more than {MAX_TOKEN} bytes. Sign one with a shorter dtab.")]
    TooLong,
    /// It is not a JWT, or its header is one of another kind.
    #[error(
        "The l5d-dtab-token is not a token that is read here: a JWT of three parts with `alg` EdDSA, ES256 or HS256."
    )]
    Malformed,
    /// No key of the listener has signed it.
    #[error("The token in l5d-dtab-token is not signed by a key that is trusted here.")]
    Unsigned,
    /// The caller is not at an address from which tokens are accepted: `require: all`.
    #[error("The token in l5d-dtab-token may not be used from this address.")]
    Address,
    /// A claim has the wrong type, or stands there twice.
    #[error(
        "A claim of the token in l5d-dtab-token has the wrong type, or stands there twice: `exp` and `nbf` are numbers \
         of seconds, `aud` is a text or a list of texts, `jti`, `dtab`, `sandbox` and `path` are texts."
    )]
    MalformedClaims,
    /// It has no `exp`.
    #[error("The token in l5d-dtab-token never expires. Sign one with the claim `exp`.")]
    NoExpiry,
    /// It has no `aud`.
    #[error("The token in l5d-dtab-token is for no audience. Sign one with the claim `aud`.")]
    NoAudience,
    /// It was good until now.
    #[error("The token in l5d-dtab-token has expired. Sign a new one.")]
    Expired,
    /// Its `nbf` is in the future.
    #[error("The token in l5d-dtab-token is not valid yet: its `nbf` is in the future.")]
    NotYetValid,
    /// Its `exp` is further ahead than allowed.
    #[error("The token in l5d-dtab-token expires more than {limit} s ahead. Sign one for a shorter time.")]
    TooLongLived {
        /// `maxLifetimeSeconds`.
        limit: u64,
    },
    /// It is for other routers.
    #[error("The token in l5d-dtab-token is for another audience: its `aud` does not name this router.")]
    Audience,
    /// Its `jti` is in `revoked`.
    #[error("The token in l5d-dtab-token was revoked.")]
    Revoked,
    /// It claims nothing that is granted here.
    #[error("The token in l5d-dtab-token grants nothing: it has neither the claim `dtab` nor `sandbox`.")]
    NoClaims,
    /// Its `dtab` is not a dtab.
    #[error(
        "The claim `dtab` of the token in l5d-dtab-token is not a dtab: line {line}, column {column}. \
         `signpost sign` shows such a mistake before it signs."
    )]
    MalformedDtab {
        /// The line of the mistake, from 1.
        line: usize,
        /// The column of the mistake, from 1.
        column: usize,
    },
    /// Its `sandbox` is not a tenant key.
    #[error(
        "The claim `sandbox` of the token in l5d-dtab-token is not a tenant key: lower-case letters, digits, `-` and \
         `.`, 63 at most, with a letter or digit at both ends; several keys are joined by `+`."
    )]
    MalformedSandbox,
    /// Its `path` is not a path.
    #[error("The claim `path` of the token is not the path of a URL: it begins with `/`, and has no query.")]
    MalformedPath,
    /// The request is not at or below its `path`.
    #[error("The token is good for another path: its `path` is not this one, or above it.")]
    Path,
    /// It came in a query, and lacks `path` or `sandbox`, or has a dtab.
    #[error(
        "A token in a query needs the claims `sandbox` and `path`, and may have no `dtab`: `signpost sandbox url` signs one."
    )]
    NotForQueries,
    /// As many tokens were verified in this second as the worker verifies for strangers.
    #[error("Too many new tokens were presented in the last second: try again.")]
    Busy,
}
