//! The keys of a listener, and the files that they are read from.

use super::public_key::PublicKey;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Map, Value};
use std::collections::HashSet;

/// How many keys a listener may have.
const MAX_KEYS: usize = 64;

/// How many bytes a `kid` may have.
const MAX_KID: usize = 256;

/// The fewest bytes of a secret for HS256: as many as the hash has (RFC 7518, 3.2).
const MIN_SECRET: usize = 32;

/// The keys that verify the tokens of a listener. Debug prints no secret.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct KeySet(Vec<VerifyingKey>);

/// One key.
#[derive(Debug)]
pub(super) struct VerifyingKey {
    kid: String,
    /// Whether it verifies tokens without a `kid` as well: those of PEM files do.
    is_default: bool,
    pub(super) key: DecodingKey,
    /// The checks that are left to the library.
    pub(super) validation: Validation,
    algorithm: Algorithm,
}

/// The reason why a file cannot be used for keys. It never has bytes of the file.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KeyFault {
    /// A file that should hold a public key holds a private one.
    #[error(
        "this is a private key, which the router neither needs nor should be able to read: name the file of its public \
         key (`signpost keys` and `openssl pkey -pubout` write one)"
    )]
    Private,
    /// A JWK holds a private key.
    #[error(
        "key {at} is a private key: it has the member `d`. Keep that where tokens are signed, and remove it here"
    )]
    PrivateJwk {
        /// The place of the key in the list, from 1.
        at: usize,
    },
    /// A certificate is not read for its key.
    #[error(
        "this is a certificate: name a file of its public key (`openssl x509 -noout -pubkey` writes one)"
    )]
    Certificate,
    /// There is no PEM, or more than one.
    #[error("a PEM file with one public key is expected: -----BEGIN PUBLIC KEY-----")]
    NotPem,
    /// The key is of another kind.
    #[error("the key is neither of Ed25519 nor an uncompressed one of P-256: `signpost keys` makes either")]
    UnknownKey,
    /// The file is not a JWKS.
    #[error("a JWKS is expected: {{\"keys\": [...]}} (RFC 7517, 5)")]
    NotJwks,
    /// A JWK is not usable.
    #[error("key {at}: {reason}")]
    Jwk {
        /// The place of the key in the list, from 1.
        at: usize,
        /// The reason.
        reason: &'static str,
    },
    /// Two keys have one `kid`.
    #[error("the kid `{0}` stands for two keys: tokens name one by it")]
    SameKid(String),
    /// There are too many keys.
    #[error("the listener would have more than {MAX_KEYS} keys")]
    TooMany,
    /// The file holds no key.
    #[error("there is no key in it")]
    Empty,
    /// No private key can be read for signing.
    #[error(
        "a private key is expected, as `signpost keys` writes it: a PEM file with -----BEGIN PRIVATE KEY----- (PKCS #8; \
         `openssl pkcs8 -topk8 -nocrypt` converts others), or a JWKS with one secret"
    )]
    NotPrivate,
}

impl KeySet {
    /// Adds the public key of a PEM file.
    pub(super) fn add_pem(&mut self, file: &[u8]) -> Result<(), KeyFault> {
        let blocks = pem::parse_many(file).map_err(|_| KeyFault::NotPem)?;
        if blocks.iter().any(|block| block.tag().ends_with("PRIVATE KEY")) {
            return Err(KeyFault::Private);
        }
        let [block] = blocks.as_slice() else { return Err(KeyFault::NotPem) };
        match block.tag() {
            "PUBLIC KEY" => {}
            "CERTIFICATE" => return Err(KeyFault::Certificate),
            _ => return Err(KeyFault::NotPem),
        }
        let key = PublicKey::from_info(block.contents()).ok_or(KeyFault::UnknownKey)?;
        self.add(VerifyingKey::public(&key, key.thumbprint(), true))
    }

    /// Adds the keys of a JWKS file.
    pub(super) fn add_jwks(&mut self, file: &[u8]) -> Result<(), KeyFault> {
        let keys = list_jwks(file)?;
        if keys.is_empty() {
            return Err(KeyFault::Empty);
        }
        keys.iter().enumerate().try_for_each(|(at, jwk)| self.add(read_jwk(at + 1, jwk)?))
    }

    fn add(&mut self, key: VerifyingKey) -> Result<(), KeyFault> {
        if self.0.iter().any(|other| other.kid == key.kid) {
            return Err(KeyFault::SameKid(key.kid));
        }
        if self.0.len() == MAX_KEYS {
            return Err(KeyFault::TooMany);
        }
        self.0.push(key);
        Ok(())
    }

    /// Returns the keys that may have signed a token with this `alg` and `kid`: one at most for a `kid`, and without
    /// one those of PEM files.
    pub(super) fn candidates(
        &self,
        algorithm: Algorithm,
        kid: Option<&str>,
    ) -> impl Iterator<Item = &VerifyingKey> {
        self.0
            .iter()
            .filter(move |key| key.algorithm == algorithm && kid.map_or(key.is_default, |kid| key.kid == kid))
    }
}

impl PartialEq for VerifyingKey {
    fn eq(&self, other: &Self) -> bool {
        let Self { kid, is_default, key, validation, algorithm } = self;
        let bytes = |key: &DecodingKey| key.try_get_as_bytes().map(<[u8]>::to_vec);
        (kid, is_default, algorithm, validation)
            == (&other.kid, &other.is_default, &other.algorithm, &other.validation)
            && bytes(key) == bytes(&other.key)
    }
}

impl Eq for VerifyingKey {}

impl VerifyingKey {
    fn new(algorithm: Algorithm, kid: String, key: DecodingKey) -> Self {
        Self { kid, is_default: false, key, validation: validation(algorithm), algorithm }
    }

    fn public(key: &PublicKey, kid: String, is_default: bool) -> Self {
        Self { is_default, ..Self::new(key.algorithm(), kid, key.decoding_key()) }
    }
}

/// Returns the checks that the library does for a key: the form of the token, its `alg` and `crit`, and the signature.
///
/// Every field is written out, whatever the library's default. The claims are checked in `claims`, by the clock that
/// the cache reads too: the library has a clock of its own, and by default it grants 60 s and ignores `nbf`.
fn validation(algorithm: Algorithm) -> Validation {
    Validation {
        algorithms: vec![algorithm],
        required_spec_claims: HashSet::new(),
        leeway: 0,
        reject_tokens_expiring_in_less_than: 0,
        validate_exp: false,
        validate_nbf: false,
        validate_aud: false,
        aud: None,
        iss: None,
        sub: None,
    }
}

/// Returns the keys of a JWKS.
pub(super) fn list_jwks(file: &[u8]) -> Result<Vec<Map<String, Value>>, KeyFault> {
    let Ok(Value::Object(mut set)) = serde_json::from_slice(file) else { return Err(KeyFault::NotJwks) };
    let Some(Value::Array(keys)) = set.remove("keys") else { return Err(KeyFault::NotJwks) };
    let keys = keys.into_iter().map(|key| match key {
        Value::Object(key) => Ok(key),
        _ => Err(KeyFault::NotJwks),
    });
    keys.collect()
}

/// Reads the key at a place of the list.
fn read_jwk(at: usize, jwk: &Map<String, Value>) -> Result<VerifyingKey, KeyFault> {
    if jwk.contains_key("d") {
        return Err(KeyFault::PrivateJwk { at });
    }
    let fault = |reason| KeyFault::Jwk { at, reason };
    let text = |name: &str| jwk.get(name).and_then(Value::as_str).unwrap_or_default();
    let kid = Some(text("kid")).filter(|kid| !kid.is_empty() && kid.len() <= MAX_KID);
    let kid = kid.ok_or(fault("it needs a `kid` of 1 to 256 bytes"))?.to_owned();
    if !matches!(text("use"), "" | "sig") {
        return Err(fault("its `use` is not `sig`"));
    }
    let public = |key: Option<PublicKey>| match key {
        Some(key) => Ok(VerifyingKey::public(&key, kid.clone(), false)),
        None => Err(fault("its coordinates are not those of a key")),
    };
    let (key, names) = match (text("kty"), text("crv")) {
        ("OKP", "Ed25519") => (public(PublicKey::ed25519(text("x")))?, ["EdDSA", "Ed25519"]),
        ("EC", "P-256") => (public(PublicKey::p256(text("x"), text("y")))?, ["ES256"; 2]),
        ("oct", _) => {
            let secret = read_secret(jwk).map_err(fault)?;
            let key = DecodingKey::from_secret(&secret).map_err(|_| fault(SHORT))?;
            (VerifyingKey::new(Algorithm::HS256, kid.clone(), key), ["HS256"; 2])
        }
        _ => {
            return Err(fault(
                "it is none of OKP with Ed25519, EC with P-256, and oct (members `kty` and `crv`)",
            ));
        }
    };
    if jwk.contains_key("alg") && !names.contains(&text("alg")) {
        return Err(fault("its `alg` is not that of its `kty`: EdDSA, ES256 or HS256"));
    }
    Ok(key)
}

const SHORT: &str = "a secret for HS256 has 32 bytes or more, in base64url (member `k`)";

/// Reads the secret of a JWK.
pub(super) fn read_secret(jwk: &Map<String, Value>) -> Result<Vec<u8>, &'static str> {
    let secret = jwk.get("k").and_then(Value::as_str).and_then(|k| URL_SAFE_NO_PAD.decode(k).ok());
    secret.filter(|secret| secret.len() >= MIN_SECRET).ok_or(SHORT)
}
