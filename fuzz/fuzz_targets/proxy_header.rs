//! Bytes begin with the same header of the PROXY protocol, or with none, however they arrive; no byte behind it is taken.
//! Another reader, the crate proxy-header, finds the same caller and the same end, but where this one differs on purpose.
#![no_main]

use libfuzzer_sys::fuzz_target;
use proxy_header::{ParseConfig, Protocol, ProxyHeader as OtherHeader};
use signpost::proxy::{ProxiedCaller, ProxyHeader, ProxyHeaderError};
use signpost_fuzz::cut;

/// The bounds on a header of version 2, and on one of version 1.
const MOST: usize = 536;
const MOST_OF_LINE: usize = 107;

const WORD: &[u8] = b"PROXY ";

/// A caller and the length of the header that names it; none when the header is not whole.
type Read = Result<Option<(ProxiedCaller, usize)>, ProxyHeaderError>;

fuzz_target!(|input: &[u8]| {
    let Some((bytes, first)) = cut(input) else { return };
    let read = read(&[bytes]);
    let (begin, rest) = bytes.split_at(first);
    assert_eq!(self::read(&[begin, rest]), read, "cut at {first}");
    let single: Vec<_> = bytes.chunks(1).collect();
    assert_eq!(self::read(&single), read, "byte by byte");
    if let Ok(Some((_, length))) = read {
        let most = if bytes.starts_with(WORD) { MOST_OF_LINE } else { MOST };
        assert!(length <= most);
        assert_eq!(self::read(&[&bytes[..length]]), read, "what lies behind makes no difference");
    } else if read == Ok(None) {
        assert!(bytes.len() < MOST, "the end is near");
    }
    compare(bytes, read);
});

/// Reads the header of bytes that arrive in pieces.
fn read(pieces: &[&[u8]]) -> Read {
    let (mut header, mut length) = (ProxyHeader::default(), 0);
    for piece in pieces {
        let (taken, caller) = header.take(piece)?;
        length += taken;
        match caller {
            Some(caller) => return Ok(Some((caller, length))),
            None => assert_eq!(taken, piece.len(), "all is taken of a header that goes on"),
        }
    }
    Ok(None)
}

/// Compares what was read with what another reader finds.
fn compare(bytes: &[u8], read: Read) {
    let other = OtherHeader::parse(bytes, ParseConfig { include_tlvs: false, ..ParseConfig::default() });
    match (read, other) {
        (Ok(Some((caller, length))), Ok((header, other_length))) => {
            assert_eq!(length, other_length);
            // Nobody is believed to call over UDP.
            let tcp = header.proxied_address().filter(|address| address.protocol == Protocol::Stream);
            let other = tcp.map_or(ProxiedCaller::Unknown, |address| ProxiedCaller::At(address.source));
            assert_eq!(caller, other);
        }
        // A header that names nobody may say anything; the other reader asks for more.
        (Ok(Some((caller, _))), Err(_)) => assert_eq!(caller, ProxiedCaller::Unknown),
        (Ok(None), other) => assert!(other.is_err(), "it goes on"),
        (Err(_), Ok((_, length))) => assert!(is_refused_here(bytes, length), "{}", bytes.escape_ascii()),
        (Err(_), Err(_)) => {}
    }
}

/// Returns whether a header of this length is refused here alone.
fn is_refused_here(bytes: &[u8], length: usize) -> bool {
    if !bytes.starts_with(WORD) {
        // The other reader does not look at the blank behind PROXY.
        return length > MOST || bytes.starts_with(b"PROXY");
    }
    let line = &bytes[WORD.len()..length];
    // It takes every line as it comes, words that begin with UNKNOWN, and a sign before a port.
    let is_other_word =
        line.starts_with(b"UNKNOWN") && line.get(7).is_some_and(|byte| !b" \r".contains(byte));
    length > MOST_OF_LINE || line[..line.len() - 2].contains(&b'\n') || is_other_word || line.contains(&b'+')
}
