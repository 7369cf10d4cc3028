//! Private keys, for the command line: they are made, read, and sign tokens. No router uses them.

use super::key_set::{KeyFault, list_jwks, read_secret};
use super::public_key::PublicKey;
use aws_lc_rs::rand;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;
use serde_json::{Value, json};

/// How many bytes a new secret has.
const SECRET: usize = 32;

/// The kinds of keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyKind {
    /// A key pair of Ed25519, for EdDSA.
    Ed25519,
    /// A key pair of P-256, for ES256.
    Es256,
    /// A secret that the signer and every router have, for HS256.
    Hs256,
}

/// A key that was just made.
pub struct GeneratedKey {
    /// The file that signs: PEM with PKCS #8, or for a secret a JWKS.
    pub private: String,
    /// The public key as PEM; none for a secret.
    pub public: Option<String>,
    /// A JWKS with the public key; none for a secret, whose private file is one.
    pub jwks: Option<String>,
}

impl GeneratedKey {
    /// Makes a key; none when the system has no random numbers.
    pub fn new(kind: KeyKind) -> Option<Self> {
        match kind {
            KeyKind::Ed25519 => {
                let pair = Ed25519KeyPair::generate().ok()?;
                Self::pair(pair.to_pkcs8().ok()?.as_ref(), pair.public_key().as_ref())
            }
            KeyKind::Es256 => {
                let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).ok()?;
                Self::pair(pair.to_pkcs8v1().ok()?.as_ref(), pair.public_key().as_ref())
            }
            KeyKind::Hs256 => {
                let secret = URL_SAFE_NO_PAD.encode(random::<SECRET>()?);
                let key =
                    json!({"alg": "HS256", "k": secret, "kid": random_id()?, "kty": "oct", "use": "sig"});
                Some(Self { private: jwks(&key), public: None, jwks: None })
            }
        }
    }

    fn pair(private: &[u8], public: &[u8]) -> Option<Self> {
        let public = PublicKey::from_raw(public)?;
        let line_ends = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
        let private = pem::encode_config(&pem::Pem::new("PRIVATE KEY", private), line_ends);
        Some(Self { private, public: Some(public.to_pem()), jwks: Some(jwks(&public.to_jwk())) })
    }
}

/// A key that signs tokens. It has no Debug: nothing prints it.
pub struct SigningKey {
    kid: String,
    algorithm: Algorithm,
    key: EncodingKey,
}

/// The claims of a token that is to be signed. Times are in seconds since 1970.
#[derive(Clone, Debug, Serialize)]
pub struct TokenRequest {
    /// The audiences.
    pub aud: Vec<String>,
    /// The end of its life.
    pub exp: u64,
    /// The beginning of its life, if that is not now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nbf: Option<u64>,
    /// The name by which it is revoked.
    pub jti: String,
    /// The dtab that it grants.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dtab: Option<String>,
    /// The tenant key that it grants.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<String>,
    /// The path at or below which it is good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

impl TokenRequest {
    /// Returns a new `jti`; none when the system has no random numbers.
    pub fn new_id() -> Option<String> {
        random_id()
    }
}

impl SigningKey {
    /// Reads a private key: PEM with PKCS #8, or a JWKS with one secret.
    ///
    /// # Errors
    ///
    /// It is neither, or a key of another kind.
    pub fn read(file: &[u8]) -> Result<Self, KeyFault> {
        match pem::parse_many(file).unwrap_or_default().as_slice() {
            [block] if block.tag() == "PRIVATE KEY" => Self::from_pkcs8(block.contents()),
            [] => Self::from_jwks(file),
            _ => Err(KeyFault::NotPrivate),
        }
    }

    fn from_pkcs8(der: &[u8]) -> Result<Self, KeyFault> {
        let (raw, key): (Vec<u8>, _) = if let Ok(pair) = Ed25519KeyPair::from_pkcs8(der) {
            (pair.public_key().as_ref().to_vec(), EncodingKey::from_ed_der(der))
        } else {
            let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der);
            let pair = pair.map_err(|_| KeyFault::UnknownKey)?;
            (pair.public_key().as_ref().to_vec(), EncodingKey::from_ec_der(der))
        };
        let public = PublicKey::from_raw(&raw).ok_or(KeyFault::UnknownKey)?;
        Ok(Self { kid: public.thumbprint(), algorithm: public.algorithm(), key })
    }

    fn from_jwks(file: &[u8]) -> Result<Self, KeyFault> {
        let keys = list_jwks(file).map_err(|_| KeyFault::NotPrivate)?;
        let [key] = keys.as_slice() else { return Err(KeyFault::NotPrivate) };
        let kid = key.get("kid").and_then(Value::as_str).ok_or(KeyFault::NotPrivate)?;
        let secret = read_secret(key).map_err(|reason| KeyFault::Jwk { at: 1, reason })?;
        let key = EncodingKey::from_secret(&secret).map_err(|_| KeyFault::NotPrivate)?;
        Ok(Self { kid: kid.to_owned(), algorithm: Algorithm::HS256, key })
    }

    /// Signs a token; none when the library refuses the key.
    pub fn sign(&self, claims: &TokenRequest) -> Option<String> {
        let header = Header { kid: Some(self.kid.clone()), ..Header::new(self.algorithm) };
        jsonwebtoken::encode(&header, claims, &self.key).ok()
    }
}

/// Returns a JWKS with one key.
fn jwks(key: &Value) -> String {
    format!("{:#}\n", json!({"keys": [key]}))
}

/// Returns 16 random bytes as a name.
fn random_id() -> Option<String> {
    Some(URL_SAFE_NO_PAD.encode(random::<16>()?))
}

fn random<const N: usize>() -> Option<[u8; N]> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).ok()?;
    Some(bytes)
}
