//! The texts of errors as header values.

use std::io::Write;

/// How many bytes the value of `l5d-err` may have: half of the default bound on the head of a response
/// (`maxHeadersKB`). Linkerd used all of that.
pub const MAX_ERROR: usize = 4096;

/// Returns the value of `l5d-err` for `text`, cut to [`MAX_ERROR`] bytes.
///
/// It is encoded as a form is, as Linkerd does: letters, digits and `.-*_` stand for themselves, `+` for a blank, and
/// `%XX` for any other byte. Linkerd encodes the bytes of ISO-8859-1; here they are those of UTF-8, so that nothing is
/// lost.
pub fn encode_error(text: &str) -> Vec<u8> {
    encode(text, |byte, value| match byte {
        b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'.' | b'-' | b'*' | b'_' => value.push(byte),
        b' ' => value.push(b'+'),
        _ => push_hex(byte, value),
    })
}

/// Returns the value of `grpc-message` for `text`, cut to [`MAX_ERROR`] bytes.
///
/// A printable ASCII character stands for itself, but for `%`; any other byte is `%XX` (gRPC's PROTOCOL-HTTP2,
/// "Percent-Encoded").
pub fn encode_grpc_message(text: &str) -> Vec<u8> {
    encode(text, |byte, value| match byte {
        b' '..=b'~' if byte != b'%' => value.push(byte),
        _ => push_hex(byte, value),
    })
}

/// Encodes a text byte by byte, and cuts it between two encoded bytes.
fn encode(text: &str, push: impl Fn(u8, &mut Vec<u8>)) -> Vec<u8> {
    let mut value = Vec::with_capacity(MAX_ERROR.min(3 * text.len()));
    for byte in text.bytes() {
        let end = value.len();
        push(byte, &mut value);
        if value.len() > MAX_ERROR {
            value.truncate(end);
            break;
        }
    }
    value
}

fn push_hex(byte: u8, value: &mut Vec<u8>) {
    // Writing to memory does not fail.
    let _ = write!(value, "%{byte:02X}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodes_as_linkerd_does() {
        let table = [
            ("", ""),
            ("a.b-c*d_e", "a.b-c*d_e"),
            ("Unknown destination: / x", "Unknown+destination%3A+%2F+x"),
            ("1 | /a = /b\n\t^", "1+%7C+%2Fa+%3D+%2Fb%0A%09%5E"),
            ("caf\u{e9}+~", "caf%C3%A9%2B%7E"),
            ("\0\r\n", "%00%0D%0A"),
        ];
        for (text, value) in table {
            assert_eq!(encode_error(text).escape_ascii().to_string(), value);
        }
    }

    #[test]
    fn cuts_between_bytes() {
        assert_eq!(encode_error(&"a".repeat(MAX_ERROR)).len(), MAX_ERROR);
        assert_eq!(encode_error(&"a".repeat(MAX_ERROR + 1)).len(), MAX_ERROR);
        let value = encode_error(&"/".repeat(MAX_ERROR));
        assert_eq!(value.len(), MAX_ERROR / 3 * 3);
        assert!(value.ends_with(b"%2F"));
    }

    #[test]
    fn grpc_messages_are_readable() {
        assert_eq!(encode_grpc_message("no such name: /svc/a"), b"no such name: /svc/a");
        assert_eq!(encode_grpc_message("100 %\nä"), b"100 %25%0A%C3%A4");
        let long = encode_grpc_message(&"ä".repeat(MAX_ERROR));
        assert!(long.len() <= MAX_ERROR && long.len().is_multiple_of(3), "no byte is cut in two");
    }
}
