//! The opening handshake of WebSocket (RFC 6455 1.3) where only one side has it: HTTP/2 opens a WebSocket without keys (RFC
//! 8441 5).

use crate::message::Head;
use aws_lc_rs::{digest, rand};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The token of WebSocket in `Upgrade` and in `:protocol`.
pub(crate) const WEB_SOCKET: &str = "websocket";

/// The field of a request with the key.
const KEY: &[u8] = b"sec-websocket-key";

/// The field of a response that answers the key.
const ACCEPT: &[u8] = b"sec-websocket-accept";

/// The bytes that are put behind a key before it is digested (RFC 6455 4.2.2).
const BEHIND_KEY: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// How many bytes a key has before it is encoded.
const KEY_BYTES: usize = 16;

/// The key of one opening handshake, as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WebSocketKey(String);

impl WebSocketKey {
    /// Makes a key that nobody can foretell; `None` when the system has no random bytes.
    pub(crate) fn random() -> Option<Self> {
        let mut bytes = [0; KEY_BYTES];
        rand::fill(&mut bytes).ok()?;
        Some(Self(STANDARD.encode(bytes)))
    }

    /// Returns the key of a request; `None` without one, or if it is not the text of 16 bytes.
    pub(crate) fn of(head: &Head) -> Option<Self> {
        let text = std::str::from_utf8(head.find(KEY)?).ok()?;
        let bytes = STANDARD.decode(text).ok()?;
        (bytes.len() == KEY_BYTES).then(|| Self(text.to_owned()))
    }

    /// Writes the key into a request, in place of any that it has.
    pub(crate) fn write(&self, request: &mut Head) {
        request.set(KEY, self.0.as_bytes());
    }

    /// Writes the answer to the key into a response.
    pub(crate) fn answer(&self, response: &mut Head) {
        response.set(ACCEPT, self.accept().as_bytes());
    }

    /// Returns whether a response answers the key.
    pub(crate) fn is_answered(&self, response: &Head) -> bool {
        response.find(ACCEPT) == Some(self.accept().as_bytes())
    }

    fn accept(&self) -> String {
        let text = [self.0.as_bytes(), BEHIND_KEY].concat();
        STANDARD.encode(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &text))
    }
}

/// Removes the fields of the handshake that HTTP/2 does not have, from a request or a response.
pub(crate) fn remove_keys(head: &mut Head) {
    head.remove_where(|field| [KEY, ACCEPT].iter().any(|name| field.name.eq_ignore_ascii_case(name)));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 6455 1.3.
    #[test]
    fn a_key_is_answered() {
        let mut request = Head::request(b"GET", b"/chat");
        request.append(b"Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ==");
        let key = WebSocketKey::of(&request).expect("it is a key");
        let mut response = Head::response(101);
        assert!(!key.is_answered(&response));
        key.answer(&mut response);
        assert_eq!(response.find(ACCEPT), Some(b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".as_slice()));
        assert!(key.is_answered(&response));
        remove_keys(&mut response);
        assert!(!key.is_answered(&response));
    }

    #[test]
    fn keys_are_of_16_bytes_and_differ() {
        let key = || WebSocketKey::random().expect("there are random bytes");
        assert_ne!(key(), key());
        for (text, is_key) in [(&*key().0, true), ("", false), ("AAAA", false), ("not base64 at all!", false)]
        {
            let mut request = Head::request(b"GET", b"/");
            request.append(KEY, text.as_bytes());
            assert_eq!(WebSocketKey::of(&request).is_some(), is_key, "{text:?}");
        }
        assert_eq!(WebSocketKey::of(&Head::request(b"GET", b"/")), None);
    }
}
