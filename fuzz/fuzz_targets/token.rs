//! Tokens and key files of any bytes. What is not signed by the router's key grants nothing and is refused; what is
//! signed grants a dtab within the bounds and a tenant, or is refused; no token is left in the request. A file is keys
//! or is refused.
#![no_main]

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey};
use libfuzzer_sys::fuzz_target;
use signpost::context::token::{KeyFiles, SignedOverrides, SigningKey, TokenKeys};
use signpost::context::{
    Config, Context, OverrideSource, Peer, Policy, Refusal, Requirement, SignedTrust, Trust, decode_overrides,
};
use signpost::message::{Head, HeadLimits, KnownField};
use signpost_fuzz::cut;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, LazyLock};
use std::time::{SystemTime, UNIX_EPOCH};

/// The router's one key, a secret of 32 bytes.
const JWKS: &[u8] =
    br#"{"keys": [{"kty": "oct", "kid": "team", "k": "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE"}]}"#;
const SECRET: [u8; 32] = [1; 32];

/// Longer than any token that an input makes.
const LIMITS: HeadLimits = HeadLimits { line: 100, fields_bytes: 1 << 24, fields: 20 };

static KEYS: LazyLock<TokenKeys> = LazyLock::new(|| TokenKeys::from_jwks(JWKS).expect("it is a key"));

fuzz_target!(|input: &[u8]| {
    let _ = TokenKeys::from_jwks(input);
    let _ = TokenKeys::from_pem(input);
    let _ = SigningKey::read(input);
    assert!(enter(input).is_none_or(|entered| entered.is_err()), "it is not signed");

    let Some((input, at)) = cut(input) else { return };
    let (header, claims) = input.split_at(at);
    let _ = enter(&sign(header, claims));
    // A good frame around the claims, so that they are looked at.
    let header = br#"{"alg":"HS256","kid":"team"}"#;
    let expires = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_secs() + 60;
    let frame = format!(r#"{{"exp":{expires},"aud":"edge","#).into_bytes();
    let _ = enter(&sign(header, &[&frame, input, b"}"].concat()));
    let text = serde_json::to_string(&String::from_utf8_lossy(input)).expect("a text is JSON");
    let claims = [&frame, format!(r#""dtab":{text}}}"#).as_bytes()].concat();
    let _ = enter(&sign(header, &claims));
});

/// Signs a token with these bytes as header and claims.
fn sign(header: &[u8], claims: &[u8]) -> Vec<u8> {
    let message = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
    let key = EncodingKey::from_secret(&SECRET).expect("it is long enough");
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).expect("it signs");
    format!("{message}.{signature}").into_bytes()
}

/// Enters the request of a stranger with this token; `None` when it cannot stand in a header.
fn enter(token: &[u8]) -> Option<Result<(), Refusal>> {
    let request = [b"GET / HTTP/1.1\r\nHost: a\r\nl5d-dtab-token: ", token, b"\r\n\r\n"].concat();
    let (mut head, mut context) = (Head::new(), Context::new());
    if head.parse_request(&request, &LIMITS).ok()? != Some(request.len()) {
        return None;
    }
    let policy = policy();
    let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 4140));
    let (grant, entered) = policy.enter(&Peer::new(peer, peer), &mut head, &mut context);
    assert!(!grant.is_trusted() && !head.contains(KnownField::L5dDtabToken));
    if entered.is_ok() {
        let limits = policy.override_limits();
        if let Ok(overrides) = decode_overrides(context.overrides(), limits) {
            assert_eq!(
                overrides.count(OverrideSource::Token),
                overrides.dtab.len(),
                "a stranger has nothing beside"
            );
        }
        assert!(context.overrides().len() <= 8193);
        let baggage: usize = head.get_all(KnownField::Baggage).map(<[u8]>::len).sum();
        assert!(baggage <= 8192);
    }
    Some(entered)
}

fn policy() -> Policy {
    let signed = SignedOverrides {
        files: KeyFiles::default(),
        audience: vec!["edge".to_owned()],
        max_lifetime: 3600,
        revoked: Vec::new(),
    };
    let trust = Trust::Signed(Arc::new(SignedTrust {
        from: None,
        identities: None,
        signed,
        require: Requirement::Any,
    }));
    Policy::new(Config { trust, token_keys: Some(KEYS.clone()), ..Config::default() })
}
