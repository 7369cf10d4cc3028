//! Signed overrides: a JWT in the field `l5d-dtab-token` grants its claims to the caller that presents it, and nothing else.
//!
//! A token is a JWS in its compact form (RFC 7515, RFC 7519) under EdDSA with Ed25519, ES256 or HS256. Its claim `dtab`
//! is a layer of overrides, its claim `sandbox` a tenant key for `baggage`. A stranger with a token stays a stranger
//! for everything beside.
//!
//! 1. `public_key` and `key_set` read keys; the algorithm of a token is that of the key, whatever the token says.
//! 2. `open_keys` watches the files of keys and publishes each change.
//! 3. `claims` checks the claims of a token whose signature is good.
//! 4. `verifier` is a listener's part on one worker: the keys, the bound on verifications, and `token_cache` with the
//!    tokens that were verified.
//! 5. `signing_key` makes keys and tokens, for the command line.
//!
//! A token may stand in the query of a URL as well, in place of a tenant key: for callers that can set no header, such as
//! webhooks. Such a token needs the claim `path`, and `in_text` keeps it out of logs.
//!
//! Absent: encrypted tokens, RSA, keys from URLs, and issuers and subjects, which nothing here asks for.

mod claims;
mod in_text;
mod key_set;
mod open_keys;
mod public_key;
mod refusal;
mod signed_overrides;
mod signing_key;
#[cfg(test)]
mod tests;
mod token_cache;
mod verifier;

pub use self::claims::is_tenant_key;
pub use self::in_text::hide_tokens;
pub use self::key_set::KeyFault;
pub use self::open_keys::{KeyError, OpenKeys, TokenKeys};
pub use self::refusal::TokenRefusal;
pub use self::signed_overrides::{KeyFiles, MAX_KEY_FILES, SignedOverrides};
pub use self::signing_key::{GeneratedKey, KeyKind, SigningKey, TokenRequest};

pub(super) use self::in_text::is_token_like;
pub(super) use self::verifier::{TokenVerifier, take_claims};

/// How many bytes a token may have. The overrides of a request have 8 KiB, and base64 makes four bytes of three.
pub const MAX_TOKEN: usize = 8192;
