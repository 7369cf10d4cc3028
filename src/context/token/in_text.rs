//! Tokens inside other texts: in the query of a request, and in what a log shows of it.

use std::borrow::Cow;

/// The text that a log shows in place of a token.
const HIDDEN: &[u8] = b"(token)";

/// The first bytes of a token: `{"` in base64url, with which the JSON of its header begins. The name of a file with a hash
/// in it has three parts as well, and may be as long.
const BEGINNING: &[u8] = b"eyJ";

/// Returns whether a text can only be a token where the key of a sandbox may stand: three parts joined by dots, longer
/// than any key.
pub(in crate::context) fn is_token_like(text: &[u8]) -> bool {
    text.len() > 63
        && text.starts_with(BEGINNING)
        && text.iter().filter(|byte| **byte == b'.').count() == 2
        && text.iter().copied().all(is_of_token)
}

/// Returns a text in which every token is replaced, for a log. Nothing is allocated for a text without one.
pub fn hide_tokens(text: &[u8]) -> Cow<'_, [u8]> {
    let words = || text.split_inclusive(|byte| !is_of_token(*byte));
    let word = |piece: &[u8]| piece.split(|byte| !is_of_token(*byte)).next().map_or(0, <[u8]>::len);
    let is_hidden = |piece: &[u8]| is_token_like(piece.get(..word(piece)).unwrap_or_default());
    if !words().any(is_hidden) {
        return text.into();
    }
    let mut shown = Vec::with_capacity(text.len());
    for piece in words() {
        if is_hidden(piece) {
            shown.extend_from_slice(HIDDEN);
            shown.extend_from_slice(piece.get(word(piece)..).unwrap_or_default());
        } else {
            shown.extend_from_slice(piece);
        }
    }
    shown.into()
}

/// Returns whether a byte may stand in a token: base64url (RFC 4648, 5) and the dot between its parts.
fn is_of_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_hidden_wherever_they_stand() {
        let token = format!("eyJhbGciOiJFZERTQSJ9.{}.{}", "a".repeat(40), "B-_".repeat(20));
        for (text, expected) in [
            ("/", "/"),
            ("/hook?sandbox=pr-7&x=a.b.c", "/hook?sandbox=pr-7&x=a.b.c"),
            ("/hook?sandbox=TOKEN", "/hook?sandbox=(token)"),
            ("/hook?sandbox=TOKEN&x=1", "/hook?sandbox=(token)&x=1"),
            ("https://host.example/TOKEN;a?b=TOKEN#c", "https://host.example/(token);a?b=(token)#c"),
            ("TOKEN", "(token)"),
            // The name of a file with a hash in it, as bundlers write it.
            (
                "/app.0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef.js",
                "/app.0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef.js",
            ),
            // An address in four parts, however long.
            ("/TOKEN.d", "/TOKEN.d"),
        ] {
            let text = text.replace("TOKEN", &token);
            let shown = String::from_utf8(hide_tokens(text.as_bytes()).into_owned()).unwrap();
            assert_eq!(shown.replace(&token, "TOKEN"), expected, "{text}");
        }
        assert!(!is_token_like(b"pr-1.feature.x"));
    }
}
