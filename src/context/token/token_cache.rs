//! The tokens that were verified, by their bytes.

use super::claims::Claims;
use super::refusal::TokenRefusal;
use lru::LruCache;
use std::rc::Rc;
use std::time::SystemTime;

/// How many tokens a listener remembers on one worker.
const MAX_TOKENS: usize = 1000;

/// How many bytes they may have together, with the texts of their claims.
const MAX_BYTES: usize = 1024 * 1024;

/// The tokens that a listener has verified on one worker. The least recently used go when there are too many.
#[derive(Debug)]
pub(super) struct TokenCache {
    tokens: LruCache<Box<[u8]>, Rc<Claims>>,
    bytes: usize,
}

impl Default for TokenCache {
    fn default() -> Self {
        Self { tokens: LruCache::unbounded(), bytes: 0 }
    }
}

impl TokenCache {
    /// Returns the claims of a token that was verified, if it is still accepted at `now`. Allocates nothing.
    pub(super) fn get(&mut self, token: &[u8], now: SystemTime) -> Option<Result<Rc<Claims>, TokenRefusal>> {
        let claims = self.tokens.get(token)?;
        match claims.check_time(now) {
            Ok(()) => Some(Ok(Rc::clone(claims))),
            Err(refusal) => {
                if let Some(claims) = self.tokens.pop(token) {
                    self.bytes -= size(token, &claims);
                }
                Some(Err(refusal))
            }
        }
    }

    /// Adds a token that is not there.
    pub(super) fn add(&mut self, token: &[u8], claims: &Rc<Claims>) {
        self.bytes += size(token, claims);
        self.tokens.put(token.into(), Rc::clone(claims));
        while self.tokens.len() > MAX_TOKENS || self.bytes > MAX_BYTES {
            let Some((token, claims)) = self.tokens.pop_lru() else { return };
            self.bytes -= size(&token, &claims);
        }
    }

    /// Forgets all tokens.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Returns how many tokens there are, and how many bytes they have.
    #[cfg(test)]
    pub(super) fn usage(&self) -> (usize, usize) {
        (self.tokens.len(), self.bytes)
    }
}

/// Returns how many bytes an entry counts for.
fn size(token: &[u8], claims: &Claims) -> usize {
    token.len() + claims.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::token::tests::{claims, now};

    #[test]
    fn its_tokens_and_their_bytes_are_bounded() {
        let mut cache = TokenCache::default();
        let small = Rc::new(claims(60));
        for at in 0..3 * MAX_TOKENS as u64 {
            cache.add(&at.to_be_bytes(), &small);
        }
        assert_eq!(cache.usage(), (MAX_TOKENS, MAX_TOKENS * (8 + small.len())));
        let kept = |cache: &mut TokenCache, at: u64| cache.get(&at.to_be_bytes(), now()).is_some();
        assert!(kept(&mut cache, 2 * MAX_TOKENS as u64) && !kept(&mut cache, 2 * MAX_TOKENS as u64 - 1));
        for at in 0..300_u64 {
            cache.add(&[at.to_be_bytes().as_slice(), &[b'a'; 8000]].concat(), &small);
        }
        let (tokens, bytes) = cache.usage();
        assert!(bytes <= MAX_BYTES && tokens > 100 && tokens <= MAX_BYTES / 8000, "{tokens} {bytes}");
        cache.clear();
        assert_eq!(cache.usage(), (0, 0));
    }

    #[test]
    fn a_token_that_has_expired_goes() {
        let mut cache = TokenCache::default();
        cache.add(b"a", &Rc::new(claims(60)));
        assert!(matches!(cache.get(b"a", now()), Some(Ok(_))));
        let later = now() + std::time::Duration::from_secs(65);
        assert_eq!(cache.get(b"a", later), Some(Err(TokenRefusal::Expired)));
        assert_eq!((cache.get(b"a", now()), cache.usage()), (None, (0, 0)));
    }
}
