#![allow(clippy::indexing_slicing, clippy::string_slice, reason = "the texts are the tests' own")]

mod policy;

use super::claims::{Claims, RawClaims};
use super::key_set::KeySet;
use super::open_keys::TokenKeys;
use super::public_key::PublicKey;
use super::*;
use crate::context::{Requirement, SignedTrust};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The time of these tests, in seconds since 1970.
const SECONDS: u64 = 1_800_000_000;

pub(super) fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(SECONDS)
}

fn rules() -> SignedOverrides {
    SignedOverrides {
        files: KeyFiles::default(),
        audience: vec!["edge".into(), "other".into()],
        max_lifetime: 3600,
        revoked: vec!["gone".into()],
    }
}

/// The claims of a good token that expires so many seconds from now.
pub(super) fn claims(lifetime: u64) -> Claims {
    let raw = json!({"exp": SECONDS + lifetime, "aud": "edge", "dtab": "/a => /b"});
    let raw: RawClaims = serde_json::from_value(raw).unwrap();
    Claims::check(&raw, &rules(), now()).unwrap()
}

fn verifier_with(keys: &TokenKeys) -> TokenVerifier {
    let trust = SignedTrust { from: None, identities: None, signed: rules(), require: Requirement::Any };
    TokenVerifier::new(&Arc::new(trust), keys)
}

/// The secret of the key `team`.
const SECRET: &[u8] = b"a secret of thirty-two bytes or so";

fn team() -> String {
    json!({"keys": [{"kty": "oct", "kid": "team", "k": URL_SAFE_NO_PAD.encode(SECRET)}]}).to_string()
}

fn jwks(file: &str) -> Result<KeySet, KeyFault> {
    let mut keys = KeySet::default();
    keys.add_jwks(file.as_bytes()).map(|()| keys)
}

fn team_verifier() -> TokenVerifier {
    verifier_with(&TokenKeys::fixed(jwks(&team()).unwrap()))
}

/// Signs a token with these texts as its header and claims.
fn token(header: &str, claims: &str, key: &EncodingKey, algorithm: Algorithm) -> Vec<u8> {
    let message = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), key, algorithm).unwrap();
    format!("{message}.{signature}").into_bytes()
}

/// Signs a token of the key `team`.
fn team_token(header: &str, claims: &str) -> Vec<u8> {
    token(header, claims, &EncodingKey::from_secret(SECRET).unwrap(), Algorithm::HS256)
}

const HEADER: &str = r#"{"alg":"HS256","kid":"team"}"#;

fn good_claims() -> String {
    json!({"exp": SECONDS + 60, "aud": "edge", "dtab": "/a => /b"}).to_string()
}

#[test]
fn each_kind_of_key_signs_tokens_that_are_good() {
    for kind in [KeyKind::Ed25519, KeyKind::Es256, KeyKind::Hs256] {
        let made = GeneratedKey::new(kind).unwrap();
        let request = TokenRequest {
            aud: vec!["edge".into()],
            exp: SECONDS + 60,
            nbf: None,
            jti: TokenRequest::new_id().unwrap(),
            dtab: Some("/a => /b".into()),
            sandbox: Some("pr-17+a".into()),
            path: None,
        };
        let signed = SigningKey::read(made.private.as_bytes()).unwrap().sign(&request).unwrap();
        let mut sets = vec![jwks(made.jwks.as_ref().unwrap_or(&made.private)).unwrap()];
        if let Some(public) = &made.public {
            let mut keys = KeySet::default();
            keys.add_pem(public.as_bytes()).unwrap();
            sets.push(keys);
        }
        for keys in sets {
            let verifier = verifier_with(&TokenKeys::fixed(keys));
            let claims = verifier.verify(signed.as_bytes(), false, now()).unwrap();
            assert_eq!(claims.len(), "/a=>/b".len() + "pr-17%2Ba".len(), "{kind:?}");
            let other = GeneratedKey::new(kind).unwrap();
            let other = SigningKey::read(other.private.as_bytes()).unwrap().sign(&request).unwrap();
            assert_eq!(verifier.verify(other.as_bytes(), false, now()), Err(TokenRefusal::Unsigned));
        }
    }
}

#[test]
fn claims_are_checked_one_by_one() {
    let verifier = team_verifier();
    let soon = SECONDS + 60;
    let long = "a".repeat(64);
    let dtab = r#""aud":"edge","dtab":"/a=>/b""#;
    let malformed = Err(TokenRefusal::MalformedClaims);
    let table: Vec<(String, Result<(), TokenRefusal>)> = vec![
        (format!(r#"{{"exp":{soon},{dtab}}}"#), Ok(())),
        (format!(r#"{{"exp":{soon}.75,{dtab},"iss":"a","sub":"b","x":[{{}}]}}"#), Ok(())),
        (format!(r#"{{"exp":{soon},"aud":["x","other"],"sandbox":"a"}}"#), Ok(())),
        (format!(r#"{{"exp":{soon},"aud":"edge","dtab":""}}"#), Ok(())),
        // Times.
        (format!(r#"{{{dtab}}}"#), Err(TokenRefusal::NoExpiry)),
        (format!(r#"{{"exp":null,{dtab}}}"#), Err(TokenRefusal::NoExpiry)),
        (format!(r#"{{"exp":"{soon}",{dtab}}}"#), malformed),
        (format!(r#"{{"exp":-1,{dtab}}}"#), malformed),
        (format!(r#"{{"exp":1e999,{dtab}}}"#), malformed),
        (format!(r#"{{"exp":1e300,{dtab}}}"#), Err(TokenRefusal::TooLongLived { limit: 3600 })),
        (format!(r#"{{"exp":{soon},"exp":{soon},{dtab}}}"#), malformed),
        (format!(r#"{{"exp":{},{dtab}}}"#, SECONDS - 4), Ok(())),
        (format!(r#"{{"exp":{},{dtab}}}"#, SECONDS - 5), Err(TokenRefusal::Expired)),
        (format!(r#"{{"exp":0,{dtab}}}"#), Err(TokenRefusal::Expired)),
        (format!(r#"{{"exp":{},{dtab}}}"#, SECONDS + 3605), Ok(())),
        (format!(r#"{{"exp":{},{dtab}}}"#, SECONDS + 3606), Err(TokenRefusal::TooLongLived { limit: 3600 })),
        (format!(r#"{{"exp":{soon},"nbf":{},{dtab}}}"#, SECONDS + 5), Ok(())),
        (format!(r#"{{"exp":{soon},"nbf":{},{dtab}}}"#, SECONDS + 6), Err(TokenRefusal::NotYetValid)),
        (format!(r#"{{"exp":{soon},"nbf":"1",{dtab}}}"#), malformed),
        // Audiences.
        (format!(r#"{{"exp":{soon},"dtab":"/a=>/b"}}"#), Err(TokenRefusal::NoAudience)),
        (format!(r#"{{"exp":{soon},"aud":"Edge","dtab":"/a=>/b"}}"#), Err(TokenRefusal::Audience)),
        (format!(r#"{{"exp":{soon},"aud":[],"dtab":"/a=>/b"}}"#), Err(TokenRefusal::Audience)),
        (format!(r#"{{"exp":{soon},"aud":["edge",1],"dtab":"/a=>/b"}}"#), malformed),
        (format!(r#"{{"exp":{soon},"aud":{{"edge":1}},"dtab":"/a=>/b"}}"#), malformed),
        (format!(r#"{{"exp":{soon},"jti":"gone",{dtab}}}"#), Err(TokenRefusal::Revoked)),
        (format!(r#"{{"exp":{soon},"jti":"here",{dtab}}}"#), Ok(())),
        (format!(r#"{{"exp":{soon},"jti":1,{dtab}}}"#), malformed),
        // Grants.
        (format!(r#"{{"exp":{soon},"aud":"edge"}}"#), Err(TokenRefusal::NoClaims)),
        (format!(r#"{{"exp":{soon},"aud":"edge","dtab":["/a=>/b"]}}"#), malformed),
        (format!(r#"{{"exp":{soon},{dtab},"dtab":"/a=>/c"}}"#), malformed),
        (
            format!(r#"{{"exp":{soon},"aud":"edge","dtab":"/a=>/b;\n/c => ^"}}"#),
            Err(TokenRefusal::MalformedDtab { line: 2, column: 7 }),
        ),
        (format!(r#"{{"exp":{soon},"aud":"edge","sandbox":"a.b-c+0"}}"#), Ok(())),
        (format!(r#"{{"exp":{soon},"aud":"edge","sandbox":"{}"}}"#, &long[1..]), Ok(())),
    ];
    let sandboxes = ["", "A", "-a", "a-", "a+", "+a", "a++b", "a b", "a_b", "a,b", "a;p", "a=b", "ä", &long];
    let refused = sandboxes.map(|sandbox| {
        let claims = format!(r#"{{"exp":{soon},"aud":"edge","sandbox":"{sandbox}"}}"#);
        (claims, Err(TokenRefusal::MalformedSandbox))
    });
    let many = format!(r#"{{"exp":{soon},"aud":"edge","sandbox":"{}a"}}"#, "a+".repeat(512));
    let many = (many, Err(TokenRefusal::MalformedSandbox));
    for (claims, expected) in table.into_iter().chain(refused).chain([many]) {
        let verified = verifier.verify(&team_token(HEADER, &claims), false, now());
        assert_eq!(verified.map(drop), expected, "{claims}");
    }
}

#[test]
fn the_algorithm_and_the_key_are_those_of_the_router() {
    let verifier = team_verifier();
    let table = [
        (r#"{"alg":"HS256","kid":"team","typ":"x"}"#, Ok(())),
        (r#"{"alg":"HS256"}"#, Err(TokenRefusal::Unsigned)),
        (r#"{"alg":"HS256","kid":"Team"}"#, Err(TokenRefusal::Unsigned)),
        (r#"{"alg":"HS256","kid":1}"#, Err(TokenRefusal::Malformed)),
        (r#"{"alg":"HS512","kid":"team"}"#, Err(TokenRefusal::Unsigned)),
        (r#"{"alg":"EdDSA","kid":"team"}"#, Err(TokenRefusal::Unsigned)),
        (r#"{"alg":"hs256","kid":"team"}"#, Err(TokenRefusal::Malformed)),
        (r#"{"alg":"none","kid":"team"}"#, Err(TokenRefusal::Malformed)),
        (r#"{"alg":"None","kid":"team"}"#, Err(TokenRefusal::Malformed)),
        (r#"{"alg":"","kid":"team"}"#, Err(TokenRefusal::Malformed)),
        (r#"{"kid":"team"}"#, Err(TokenRefusal::Malformed)),
        (r#"{"alg":"HS256","alg":"HS256","kid":"team"}"#, Err(TokenRefusal::Malformed)),
        (r#"{"alg":"HS256","kid":"team","crit":["exp"],"exp":1}"#, Err(TokenRefusal::Malformed)),
        (r#"{"alg":"HS256","kid":"team","b64":false}"#, Err(TokenRefusal::Malformed)),
        (r#"{"alg":"HS256","kid":"team","jku":"https://example.org/keys"}"#, Ok(())),
        ("[]", Err(TokenRefusal::Malformed)),
        ("", Err(TokenRefusal::Malformed)),
    ];
    for (header, expected) in table {
        let verified = verifier.verify(&team_token(header, &good_claims()), false, now());
        assert_eq!(verified.map(drop), expected, "{header}");
    }
}

/// A public key is no secret: a token that has it as the secret of HS256 is forged.
#[test]
fn a_public_key_is_no_secret() {
    let made = GeneratedKey::new(KeyKind::Ed25519).unwrap();
    let pem = made.public.unwrap();
    let info = pem::parse(&pem).unwrap().into_contents();
    let kid = PublicKey::from_info(&info).unwrap().thumbprint();
    let mut keys = KeySet::default();
    keys.add_pem(pem.as_bytes()).unwrap();
    let verifier = verifier_with(&TokenKeys::fixed(keys));
    for secret in [pem.as_bytes(), pem.trim_end().as_bytes(), &info, &info[12..]] {
        let secret = EncodingKey::from_secret(secret).unwrap();
        for header in [json!({"alg": "HS256"}), json!({"alg": "HS256", "kid": kid})] {
            let forged = token(&header.to_string(), &good_claims(), &secret, Algorithm::HS256);
            assert_eq!(verifier.verify(&forged, false, now()), Err(TokenRefusal::Unsigned), "{header}");
        }
    }
}

#[test]
fn bytes_that_are_no_token_are_refused() {
    let verifier = team_verifier();
    let good = String::from_utf8(team_token(HEADER, &good_claims())).unwrap();
    let (unsigned, signature) = good.rsplit_once('.').unwrap();
    let table = [
        (String::new(), TokenRefusal::Malformed),
        ("..".into(), TokenRefusal::Malformed),
        (unsigned.into(), TokenRefusal::Malformed),
        (format!("{unsigned}."), TokenRefusal::Unsigned),
        (format!("{unsigned}.{}", &signature[1..]), TokenRefusal::Unsigned),
        (format!("{good}="), TokenRefusal::Unsigned),
        (format!("{good}.{signature}"), TokenRefusal::Malformed),
        (format!("Bearer {good}"), TokenRefusal::Malformed),
        (format!("{good}, {good}"), TokenRefusal::Several),
        ("a".repeat(MAX_TOKEN + 1), TokenRefusal::TooLong),
        (good.replace('.', "\u{0}"), TokenRefusal::Malformed),
    ];
    for (token, expected) in table {
        assert_eq!(verifier.verify(token.as_bytes(), false, now()), Err(expected), "{token}");
    }
    for at in 0..good.len() {
        let mut bytes = good.clone().into_bytes();
        bytes[at] ^= 1;
        assert!(verifier.verify(&bytes, true, now()).is_err(), "byte {at}");
    }
    assert!(verifier.verify(good.as_bytes(), false, now()).is_ok());
}

#[test]
fn a_verified_token_is_remembered_until_it_expires_or_its_key_goes() {
    let (sender, keys) = tokio::sync::watch::channel(Arc::new(jwks(&team()).unwrap()));
    let verifier = verifier_with(&TokenKeys::follow(keys));
    let token = team_token(HEADER, &good_claims());
    let first = verifier.verify(&token, false, now()).unwrap();
    let again = verifier.verify(&token, false, now()).unwrap();
    assert!(std::rc::Rc::ptr_eq(&first, &again));
    assert_eq!(verifier.usage(), (1, token.len() + first.len()));
    let after = |seconds| now() + Duration::from_secs(seconds);
    assert!(verifier.verify(&token, false, after(64)).is_ok());
    for _ in 0..2 {
        assert_eq!(verifier.verify(&token, false, after(65)), Err(TokenRefusal::Expired));
        assert_eq!(verifier.usage(), (0, 0));
    }
    assert!(verifier.verify(&token, false, now()).is_ok());
    sender.send_replace(Arc::new(KeySet::default()));
    assert_eq!(verifier.verify(&token, false, now()), Err(TokenRefusal::Unsigned));
    sender.send_replace(Arc::new(jwks(&team()).unwrap()));
    assert!(verifier.verify(&token, false, now()).is_ok());
    drop(sender);
    assert!(verifier.verify(&token, false, now()).is_ok(), "keys that nobody follows stay");
}

/// Five hundred in a second, whatever they are; what costs no verification, and what is remembered, does not count.
#[tokio::test(start_paused = true)]
async fn verifications_for_strangers_are_bounded() {
    let verifier = team_verifier();
    let (known, new) =
        (team_token(HEADER, &good_claims()), team_token(HEADER, &good_claims().replace("/b", "/c")));
    let forged = |at: usize| {
        let claims = good_claims().replace("/b", &format!("/{at}"));
        token(HEADER, &claims, &EncodingKey::from_secret(&[at as u8; 32]).unwrap(), Algorithm::HS256)
    };
    verifier.verify(&known, false, now()).unwrap();
    for at in 0..1000 {
        let unknown = team_token(r#"{"alg":"HS256","kid":"x"}"#, &format!("{{\"exp\":{at}}}"));
        assert_eq!(verifier.verify(&unknown, false, now()), Err(TokenRefusal::Unsigned));
    }
    for at in 0..499 {
        assert_eq!(verifier.verify(&forged(at), false, now()), Err(TokenRefusal::Unsigned), "{at}");
    }
    assert_eq!(verifier.verify(&new, false, now()), Err(TokenRefusal::Busy));
    assert!(verifier.verify(&known, false, now()).is_ok());
    assert!(verifier.verify(&new, true, now()).is_ok(), "a trusted caller's are not bounded");
    assert_eq!(verifier.verify(&forged(1000), false, now()), Err(TokenRefusal::Busy));
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(verifier.verify(&forged(1000), false, now()), Err(TokenRefusal::Unsigned));
}

#[test]
fn files_of_keys_are_checked_and_their_bytes_are_not_shown() {
    let made = GeneratedKey::new(KeyKind::Es256).unwrap();
    let (private, public) = (made.private.as_str(), made.public.as_deref().unwrap());
    let pem = |file: &str| KeySet::default().add_pem(file.as_bytes());
    let block = |tag: &str, bytes: &[u8]| pem::encode(&pem::Pem::new(tag, bytes));
    let table = [
        (public.to_owned(), Ok(())),
        (format!("a comment\n{public}"), Ok(())),
        (private.to_owned(), Err(KeyFault::Private)),
        (format!("{public}{private}"), Err(KeyFault::Private)),
        (block("EC PRIVATE KEY", b"x"), Err(KeyFault::Private)),
        (block("CERTIFICATE", b"x"), Err(KeyFault::Certificate)),
        (block("PUBLIC KEY", b"x"), Err(KeyFault::UnknownKey)),
        (block("RSA PUBLIC KEY", b"x"), Err(KeyFault::NotPem)),
        (format!("{public}{public}"), Err(KeyFault::NotPem)),
        (String::new(), Err(KeyFault::NotPem)),
        (team(), Err(KeyFault::NotPem)),
        (public.replace("-----END PUBLIC KEY-----", ""), Err(KeyFault::NotPem)),
    ];
    for (file, expected) in table {
        assert_eq!(pem(&file), expected, "{file}");
    }
    let mut twice = KeySet::default();
    twice.add_pem(public.as_bytes()).unwrap();
    let kid = PublicKey::from_info(pem::parse(public).unwrap().contents()).unwrap().thumbprint();
    assert_eq!(twice.add_pem(public.as_bytes()), Err(KeyFault::SameKid(kid.clone())));
    assert_eq!(twice.add_jwks(made.jwks.unwrap().as_bytes()), Err(KeyFault::SameKid(kid)));
    let shown = format!("{:?} {twice:?}", jwks(&team()));
    assert!(!shown.contains("secret of") && !shown.contains(&URL_SAFE_NO_PAD.encode(SECRET)), "{shown}");
}

#[test]
fn each_key_of_a_jwks_is_checked() {
    let long = "k".repeat(257);
    let short = URL_SAFE_NO_PAD.encode([1; 31]);
    let secret = URL_SAFE_NO_PAD.encode([1; 32]);
    let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    let table = [
        (json!({"kty": "oct", "kid": "a", "k": secret, "alg": "HS256", "use": "sig"}), ""),
        (json!({"kty": "OKP", "crv": "Ed25519", "kid": "a", "x": x, "alg": "EdDSA"}), ""),
        (json!({"kty": "OKP", "crv": "Ed25519", "kid": "a", "x": x, "alg": "Ed25519"}), ""),
        (json!({"kty": "oct", "kid": "a", "k": short}), "32 bytes or more"),
        (json!({"kty": "oct", "kid": "a", "k": format!("{secret}=")}), "32 bytes or more"),
        (json!({"kty": "oct", "kid": "a"}), "32 bytes or more"),
        (json!({"kty": "oct", "k": secret}), "needs a `kid`"),
        (json!({"kty": "oct", "kid": "", "k": secret}), "needs a `kid`"),
        (json!({"kty": "oct", "kid": long, "k": secret}), "needs a `kid`"),
        (json!({"kty": "oct", "kid": "a", "k": secret, "alg": "HS512"}), "`alg` is not"),
        (json!({"kty": "oct", "kid": "a", "k": secret, "alg": 1}), "`alg` is not"),
        (json!({"kty": "oct", "kid": "a", "k": secret, "use": "enc"}), "`use` is not"),
        (json!({"kty": "OKP", "crv": "X25519", "kid": "a", "x": x}), "it is none of"),
        (json!({"kty": "RSA", "kid": "a", "n": "AQ", "e": "AQAB"}), "it is none of"),
        (json!({"kty": "EC", "crv": "P-256", "kid": "a", "x": x, "y": x}), "not those of a key"),
        (json!({"kty": "OKP", "crv": "Ed25519", "kid": "a", "x": x, "d": "private"}), "is a private key"),
        (json!({"kid": "a"}), "it is none of"),
    ];
    for (key, told) in table {
        let other = json!({"kty": "oct", "kid": "first", "k": secret});
        let error = jwks(&json!({"keys": [other, key]}).to_string()).err();
        let text = error.map(|error| error.to_string()).unwrap_or_default();
        assert_eq!(text.is_empty(), told.is_empty(), "{key}: {text}");
        assert!(text.contains(told) && (told.is_empty() || text.contains("key 2")), "{key}: {text}");
        assert!(!text.contains(&secret) && !text.contains("d\": "), "{text}");
    }
    for file in ["", "{}", "[]", "{\"keys\": {}}", "{\"keys\": [1]}", "{\"keys\"", &"[".repeat(10_000)] {
        assert_eq!(jwks(file).err(), Some(KeyFault::NotJwks), "{file}");
    }
    assert_eq!(jwks("{\"keys\": []}").err(), Some(KeyFault::Empty));
    let many = |count: usize| {
        let key = |at| json!({"kty": "oct", "kid": format!("{at}"), "k": secret});
        jwks(&json!({"keys": (0..count).map(key).collect::<Vec<_>>()}).to_string()).err()
    };
    assert_eq!((many(64), many(65)), (None, Some(KeyFault::TooMany)));
}
