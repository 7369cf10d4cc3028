//! A team that signs tokens.

use signpost::context::token::{GeneratedKey, KeyKind, SigningKey, TokenRequest};
use std::fs;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

/// A folder with the key of a team.
pub(crate) struct Team {
    folder: TempDir,
    pub(crate) key: GeneratedKey,
}

impl Team {
    pub(crate) fn new(kind: KeyKind) -> Self {
        let team = Self {
            folder: TempDir::new().expect("a folder can be made"),
            key: GeneratedKey::new(kind).expect("there are random numbers"),
        };
        team.publish();
        team
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("keys.json")
    }

    /// Writes the key to the file that routers read.
    pub(crate) fn publish(&self) {
        let jwks = self.key.jwks.as_ref().unwrap_or(&self.key.private);
        fs::write(self.path(), jwks).expect("the folder is there");
    }

    /// The `trust` of a listener that accepts the team's tokens, with more keys beside.
    pub(crate) fn trust(&self, more: &str) -> String {
        format!(", trust: {{signed: {{jwks: '{}'}}{more}}}", self.path().display())
    }

    /// Signs a token that expires so many seconds from now.
    pub(crate) fn sign(&self, dtab: &str, sandbox: Option<&str>, lifetime: i64) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_secs();
        let claims = TokenRequest {
            aud: vec!["http".into(), "h2".into()],
            exp: now.saturating_add_signed(lifetime),
            nbf: None,
            jti: TokenRequest::new_id().expect("there are random numbers"),
            dtab: Some(dtab.to_owned()),
            sandbox: sandbox.map(str::to_owned),
            path: None,
        };
        let key = SigningKey::read(self.key.private.as_bytes()).expect("it is a key");
        key.sign(&claims).expect("it signs")
    }
}
