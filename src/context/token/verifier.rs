//! A listener's part in signed overrides, on one worker.

use super::MAX_TOKEN;
use super::claims::{Claims, RawClaims};
use super::key_set::{KeySet, VerifyingKey};
use super::open_keys::TokenKeys;
use super::refusal::TokenRefusal;
use super::token_cache::TokenCache;
use crate::context::steering::SteeringNames;
use crate::context::untrusted::query;
use crate::context::{Grant, Peer, RequestTarget, SignedTrust};
use crate::message::{Head, KnownField};
use jsonwebtoken::errors::ErrorKind;
use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

/// How many signatures a worker verifies per second for the strangers of a listener: some 50 ms of its time.
const MAX_VERIFICATIONS: u32 = 500;

/// Takes the token out of a request, from its field or its query, and returns its claims if the listener accepts tokens;
/// without a verifier it is removed unread.
pub(in crate::context) fn take_claims(
    verifier: Option<&TokenVerifier>,
    names: &SteeringNames,
    peer: &Peer,
    grant: Grant,
    head: &mut Head,
) -> Result<Option<Rc<Claims>>, TokenRefusal> {
    let in_query = query::take_tokens(head, names);
    if !head.contains(KnownField::L5dDtabToken) && in_query.is_empty() {
        return Ok(None);
    }
    let verified = verifier.map(|verifier| {
        if !verifier.trust.accepts_token_from(peer) {
            return Err(TokenRefusal::Address);
        }
        let in_query = in_query.iter().map(|token| (token.as_slice(), true));
        let fields = head.get_all(KnownField::L5dDtabToken).map(|token| (token, false));
        let mut tokens = fields.chain(in_query);
        match (tokens.next(), tokens.next()) {
            (Some((token, in_query)), None) => {
                let claims = verifier.verify(token, grant.is_trusted(), SystemTime::now())?;
                claims.check_path(RequestTarget::split(head.target()).path, in_query)?;
                Ok(claims)
            }
            _ => Err(TokenRefusal::Several),
        }
    });
    head.remove(KnownField::L5dDtabToken);
    verified.transpose()
}

/// The verifier of one listener on one worker.
///
/// It is made anew with each configuration, and forgets its tokens with each change of its keys: a token goes with its
/// key, and with its `jti` in `revoked`.
pub(in crate::context) struct TokenVerifier {
    trust: Arc<SignedTrust>,
    state: RefCell<VerifierState>,
}

/// The part of a verifier that changes.
struct VerifierState {
    followed: TokenKeys,
    keys: Arc<KeySet>,
    cache: TokenCache,
    budget: VerificationBudget,
}

impl TokenVerifier {
    /// Makes the verifier of a listener, with keys that may change.
    pub(in crate::context) fn new(trust: &Arc<SignedTrust>, keys: &TokenKeys) -> Self {
        let mut followed = keys.clone();
        let keys = followed.current();
        let state = VerifierState {
            followed,
            keys,
            cache: TokenCache::default(),
            budget: VerificationBudget::default(),
        };
        Self { trust: Arc::clone(trust), state: RefCell::new(state) }
    }

    /// Returns the claims of a token that is good at `now`. Verifications are bounded unless the caller is trusted.
    ///
    /// A token that was verified before allocates nothing. An `alg` or `kid` that is unknown costs no verification.
    pub(super) fn verify(
        &self,
        token: &[u8],
        is_trusted: bool,
        now: SystemTime,
    ) -> Result<Rc<Claims>, TokenRefusal> {
        let mut state = self.state.borrow_mut();
        state.follow_keys();
        if let Some(known) = state.cache.get(token, now) {
            return known;
        }
        let raw = state.check_signature(token, is_trusted)?;
        let claims = Rc::new(Claims::check(&raw, &self.trust.signed, now)?);
        state.cache.add(token, &claims);
        Ok(claims)
    }

    /// Returns how many tokens are remembered, and how many bytes they have.
    #[cfg(test)]
    pub(super) fn usage(&self) -> (usize, usize) {
        self.state.borrow().cache.usage()
    }
}

impl fmt::Debug for TokenVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenVerifier").field("trust", &self.trust).finish_non_exhaustive()
    }
}

impl VerifierState {
    /// Takes over keys that have changed.
    fn follow_keys(&mut self) {
        if let Some(keys) = self.followed.next() {
            self.keys = keys;
            self.cache.clear();
        }
    }

    /// Returns the claims of a token that one of the keys has signed.
    fn check_signature(&mut self, token: &[u8], is_trusted: bool) -> Result<RawClaims, TokenRefusal> {
        if token.len() > MAX_TOKEN {
            return Err(TokenRefusal::TooLong);
        }
        if token.contains(&b',') {
            return Err(TokenRefusal::Several);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenRefusal::Malformed)?;
        for key in self.keys.candidates(header.alg, header.kid.as_deref()) {
            if !is_trusted && !self.budget.take(Instant::now()) {
                return Err(TokenRefusal::Busy);
            }
            match check_with(token, key) {
                Err(TokenRefusal::Unsigned) => {}
                checked => return checked,
            }
        }
        Err(TokenRefusal::Unsigned)
    }
}

/// Returns the claims of a token that this key has signed.
fn check_with(token: &[u8], key: &VerifyingKey) -> Result<RawClaims, TokenRefusal> {
    match jsonwebtoken::decode(token, &key.key, &key.validation) {
        Ok(data) => Ok(data.claims),
        // The claims are read after the signature, and the header was read before.
        Err(error) => Err(match error.kind() {
            ErrorKind::Json(_) => TokenRefusal::MalformedClaims,
            ErrorKind::InvalidToken => TokenRefusal::Malformed,
            _ => TokenRefusal::Unsigned,
        }),
    }
}

/// The verifications that are left in the current second.
#[derive(Debug, Default)]
struct VerificationBudget {
    since: Option<Instant>,
    left: u32,
}

impl VerificationBudget {
    /// Takes one verification; returns whether there was one left.
    fn take(&mut self, now: Instant) -> bool {
        if self.since.is_none_or(|since| now.duration_since(since) >= Duration::from_secs(1)) {
            *self = Self { since: Some(now), left: MAX_VERIFICATIONS };
        }
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verifications_are_bounded_in_each_second() {
        let mut budget = VerificationBudget::default();
        let mut now = Instant::now();
        for _ in 0..3 {
            let taken = (0..3 * MAX_VERIFICATIONS).filter(|_| budget.take(now)).count();
            assert_eq!(taken, MAX_VERIFICATIONS as usize);
            assert!(!budget.take(now + Duration::from_millis(999)));
            now += Duration::from_secs(1);
        }
    }
}
