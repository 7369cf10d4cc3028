//! Public keys in their three forms: PEM, JWK, and the bytes that verify.

use aws_lc_rs::digest;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::{Value, json};

/// The bytes before the key in a SubjectPublicKeyInfo: of Ed25519 (RFC 8410, 4), and of an uncompressed point of P-256
/// (RFC 5480, 2). DER has one encoding of them.
const ED25519_INFO: &[u8] = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";
const P256_INFO: &[u8] =
    b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00";

/// The first byte of an uncompressed point (SEC 1, 2.3.3).
const UNCOMPRESSED: u8 = 4;

/// A public key that can verify tokens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum PublicKey {
    /// A key of EdDSA.
    Ed25519([u8; 32]),
    /// A key of ES256: the coordinates of its point.
    P256 {
        /// The first coordinate.
        x: [u8; 32],
        /// The second coordinate.
        y: [u8; 32],
    },
}

impl PublicKey {
    /// Reads a SubjectPublicKeyInfo in DER.
    pub(super) fn from_info(der: &[u8]) -> Option<Self> {
        if let Some(key) = der.strip_prefix(ED25519_INFO) {
            return Self::from_raw(key).filter(|key| matches!(key, Self::Ed25519(_)));
        }
        Self::from_raw(der.strip_prefix(P256_INFO)?).filter(|key| matches!(key, Self::P256 { .. }))
    }

    /// Reads the bytes that verify: those of a key of Ed25519, or an uncompressed point of P-256.
    pub(super) fn from_raw(bytes: &[u8]) -> Option<Self> {
        if let Ok(key) = bytes.try_into() {
            return Self::Ed25519(key).checked();
        }
        let (x, y) = bytes.strip_prefix(&[UNCOMPRESSED])?.split_first_chunk::<32>()?;
        Self::P256 { x: *x, y: y.try_into().ok()? }.checked()
    }

    /// Makes a key of Ed25519 from the member `x` of its JWK (RFC 8037, 2).
    pub(super) fn ed25519(x: &str) -> Option<Self> {
        Self::Ed25519(decode_chunk(x)?).checked()
    }

    /// Makes a key of P-256 from the members `x` and `y` of its JWK (RFC 7518, 6.2.1).
    pub(super) fn p256(x: &str, y: &str) -> Option<Self> {
        Self::P256 { x: decode_chunk(x)?, y: decode_chunk(y)? }.checked()
    }

    /// Returns the key if it is one: bytes that are no point of the curve would only fail later, in silence.
    fn checked(self) -> Option<Self> {
        let raw = self.raw();
        let parsed = match self {
            Self::Ed25519(_) => ParsedPublicKey::new(&ED25519, raw),
            Self::P256 { .. } => ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, raw),
        };
        parsed.ok().map(|_| self)
    }

    /// Returns the algorithm of its tokens.
    pub(super) fn algorithm(&self) -> Algorithm {
        match self {
            Self::Ed25519(_) => Algorithm::EdDSA,
            Self::P256 { .. } => Algorithm::ES256,
        }
    }

    /// Returns the key as it verifies.
    pub(super) fn decoding_key(&self) -> DecodingKey {
        match self {
            Self::Ed25519(_) => DecodingKey::from_ed_der(&self.raw()),
            Self::P256 { .. } => DecodingKey::from_ec_der(&self.raw()),
        }
    }

    /// Returns the bytes that verify.
    fn raw(&self) -> Vec<u8> {
        match self {
            Self::Ed25519(key) => key.to_vec(),
            Self::P256 { x, y } => [[UNCOMPRESSED].as_slice(), x, y].concat(),
        }
    }

    /// Returns the SubjectPublicKeyInfo as PEM.
    pub(super) fn to_pem(&self) -> String {
        let info = match self {
            Self::Ed25519(_) => ED25519_INFO,
            Self::P256 { .. } => P256_INFO,
        };
        let line_ends = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
        pem::encode_config(&pem::Pem::new("PUBLIC KEY", [info, &self.raw()].concat()), line_ends)
    }

    /// Returns the thumbprint, which is the `kid` of a key from a PEM file (RFC 7638, 3).
    pub(super) fn thumbprint(&self) -> String {
        // Its members are in the order of their names, and that is the order in which they are hashed.
        let members = self.members().to_string();
        URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, members.as_bytes()))
    }

    /// Returns the JWK, with its `kid`.
    pub(super) fn to_jwk(&self) -> Value {
        let mut jwk = self.members();
        if let Some(members) = jwk.as_object_mut() {
            members.insert("kid".to_owned(), self.thumbprint().into());
            members.insert("use".to_owned(), "sig".into());
        }
        jwk
    }

    /// Returns the members of the JWK that are required.
    fn members(&self) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match self {
            Self::Ed25519(key) => json!({"crv": "Ed25519", "kty": "OKP", "x": text(key)}),
            Self::P256 { x, y } => json!({"crv": "P-256", "kty": "EC", "x": text(x), "y": text(y)}),
        }
    }
}

/// Decodes 32 bytes.
fn decode_chunk(text: &str) -> Option<[u8; 32]> {
    URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key of RFC 8037, A.2, and its thumbprint of A.3.
    const ED25519_X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    const ED25519_THUMBPRINT: &str = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k";
    /// The key of RFC 7517, A.1.
    const P256: [&str; 2] =
        ["MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"];

    #[test]
    fn each_form_of_a_key_leads_to_the_same_key() {
        let ed25519 = PublicKey::ed25519(ED25519_X).unwrap();
        assert_eq!(ed25519.thumbprint(), ED25519_THUMBPRINT);
        let p256 = PublicKey::p256(P256[0], P256[1]).unwrap();
        for key in [ed25519, p256] {
            let pem = pem::parse(key.to_pem()).unwrap();
            assert_eq!(PublicKey::from_info(pem.contents()).as_ref(), Some(&key));
            assert_eq!(PublicKey::from_raw(&key.raw()).as_ref(), Some(&key));
            let jwk = key.to_jwk();
            assert_eq!(jwk.get("kid"), Some(&key.thumbprint().into()));
        }
    }

    #[test]
    fn other_bytes_are_no_key() {
        let p256 = PublicKey::p256(P256[0], P256[1]).unwrap();
        assert_eq!(PublicKey::p256(P256[0], P256[0]), None, "no point of the curve");
        assert_eq!(PublicKey::p256(P256[0], ""), None);
        assert_eq!(PublicKey::ed25519(ED25519_X.trim_start_matches('1')), None);
        assert_eq!(PublicKey::ed25519(&format!("{ED25519_X}=")), None);
        for bytes in
            [&b""[..], &[4], &[0; 31], &[0; 33], &p256.raw().split_off(1), &[p256.raw(), vec![0]].concat()]
        {
            assert_eq!(PublicKey::from_raw(bytes), None, "{bytes:?}");
        }
        let mixed = [ED25519_INFO, &p256.raw()].concat();
        assert_eq!(PublicKey::from_info(&mixed), None);
        assert_eq!(PublicKey::from_info(&p256.raw()), None);
    }
}
