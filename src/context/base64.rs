//! Base64 with the standard alphabet (RFC 4648 section 4), for values of known length.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Decodes `text` into the front of `buffer` and returns that front, or nothing when `text` is not base64 or does
/// not fit. Padding may be left out, as Java's decoder allows; when there is some, it must be complete.
pub(super) fn decode<'a>(text: &[u8], buffer: &'a mut [u8]) -> Option<&'a [u8]> {
    let digits = match text {
        [digits @ .., b'=', b'='] | [digits @ .., b'='] if text.len().is_multiple_of(4) => digits,
        digits => digits,
    };
    if digits.len() % 4 == 1 {
        return None;
    }
    let mut places = buffer.iter_mut();
    let (mut bits, mut held) = (0_u32, 0);
    let mut filled = 0;
    for &digit in digits {
        bits = (bits << 6) | value_of(digit)?;
        held += 6;
        if held >= 8 {
            held -= 8;
            *places.next()? = low_byte(bits >> held);
            filled += 1;
        }
    }
    buffer.get(..filled)
}

/// Appends the padded base64 of `bytes` to `out`.
pub(super) fn encode(bytes: &[u8], out: &mut Vec<u8>) {
    let (groups, rest) = bytes.as_chunks();
    out.extend(groups.iter().flat_map(digits_of));
    let [first, second, third, _] = match *rest {
        [] => return,
        [one] => digits_of(&[one, 0, 0]),
        [one, two, ..] => digits_of(&[one, two, 0]),
    };
    out.extend([first, second, if rest.len() == 2 { third } else { b'=' }, b'=']);
}

/// The four digits of three bytes.
fn digits_of(&[first, second, third]: &[u8; 3]) -> [u8; 4] {
    let bits = u32::from_be_bytes([0, first, second, third]);
    // Six bits are always a digit's.
    [18, 12, 6, 0].map(|place| ALPHABET.get((bits >> place & 0x3f) as usize).copied().unwrap_or(b'='))
}

fn value_of(digit: u8) -> Option<u32> {
    let value = match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(u32::from(value))
}

fn low_byte(bits: u32) -> u8 {
    (bits & 0xff) as u8
}

#[cfg(test)]
mod tests {
    use super::{decode, encode};

    /// The test vectors of RFC 4648 section 10.
    const VECTORS: [(&[u8], &[u8]); 7] = [
        (b"", b""),
        (b"f", b"Zg=="),
        (b"fo", b"Zm8="),
        (b"foo", b"Zm9v"),
        (b"foob", b"Zm9vYg=="),
        (b"fooba", b"Zm9vYmE="),
        (b"foobar", b"Zm9vYmFy"),
    ];

    #[test]
    fn agrees_with_the_rfc() {
        for (bytes, text) in VECTORS {
            let mut out = Vec::new();
            encode(bytes, &mut out);
            assert_eq!(out, text);
            assert_eq!(decode(text, &mut [0; 6]), Some(bytes));
            let unpadded = text.split(|&byte| byte == b'=').next().unwrap();
            assert_eq!(decode(unpadded, &mut [0; 6]), Some(bytes));
        }
    }

    #[test]
    fn every_byte_survives() {
        let bytes: Vec<u8> = (0..=255).collect();
        let mut text = Vec::new();
        encode(&bytes, &mut text);
        assert_eq!(decode(&text, &mut [0; 256]), Some(&*bytes));
    }

    #[test]
    fn refuses_what_is_not_base64_or_too_long() {
        let table: [&[u8]; 11] = [
            b"=",
            b"==",
            b"Z",
            b"Zg=",
            b"Zm8==",
            b"Zm9v=",
            b"Z===",
            b"Zm9vYmFyYQ==",
            b"Zm9-",
            b"Zm 9v",
            b"\xff\xff",
        ];
        for text in table {
            assert_eq!(decode(text, &mut [0; 6]), None, "{}", text.escape_ascii());
        }
    }
}
