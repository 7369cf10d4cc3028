//! The header by which a proxy in front says who calls: the PROXY protocol, versions 1 and 2 (HAProxy's
//! `proxy-protocol.txt`).
//!
//! The destination in it is not believed, and what may stand behind the addresses (TLVs) is skipped.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

/// The bytes with which a header of version 2 begins.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// The length of the shortest header: of version 1, which says nothing.
const SHORTEST: usize = 15;

/// The length of the fixed part of version 2.
const FIXED: usize = 16;

/// The most bytes of a header of version 1, and of version 2.
const MOST_OF_LINE: usize = 107;
const MOST: usize = 536;

/// The caller that a header names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProxiedCaller {
    /// The caller at this address.
    At(SocketAddr),
    /// None: the proxy calls by itself, or does not know who does.
    Unknown,
}

/// Reads the header with which a connection has to begin, and no byte behind it. It has no time limit of its own.
///
/// # Errors
///
/// The connection ends or begins with something else.
pub(super) async fn read_header(stream: &mut TcpStream) -> io::Result<ProxiedCaller> {
    let mut header = [0; MOST];
    let fixed = header.first_chunk_mut::<FIXED>().ok_or(ErrorKind::InvalidData)?;
    let (begin, last) = fixed.split_at_mut(SHORTEST);
    stream.read_exact(begin).await?;
    if begin.starts_with(SIGNATURE) {
        stream.read_exact(last).await?;
        let length = usize::from(u16::from_be_bytes([fixed[FIXED - 2], fixed[FIXED - 1]]));
        let rest = header.get_mut(FIXED..FIXED + length).ok_or(ErrorKind::InvalidData)?;
        stream.read_exact(rest).await?;
        return decode_binary(header.get(..FIXED + length).unwrap_or_default())
            .ok_or(ErrorKind::InvalidData.into());
    }
    let mut length = SHORTEST;
    while header.get(length - 2..length) != Some(b"\r\n") {
        let room = header.get_mut(length..MOST_OF_LINE).filter(|room| !room.is_empty());
        let room = room.ok_or(ErrorKind::InvalidData)?;
        // What lies behind the line belongs to the next protocol.
        let seen = stream.peek(room).await?;
        if seen == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let end = memchr::memchr(b'\n', room.get(..seen).unwrap_or_default()).map_or(seen, |at| at + 1);
        stream.read_exact(room.get_mut(..end).unwrap_or_default()).await?;
        length += end;
        // A line ends where its first line feed is.
        if header.get(length - 1) == Some(&b'\n') && header.get(length - 2) != Some(&b'\r') {
            return Err(ErrorKind::InvalidData.into());
        }
    }
    decode_line(header.get(..length).unwrap_or_default()).ok_or(ErrorKind::InvalidData.into())
}

/// Reads a header of version 1 with its line end.
fn decode_line(line: &[u8]) -> Option<ProxiedCaller> {
    let line = std::str::from_utf8(line).ok()?.strip_suffix("\r\n")?;
    let mut words = line.strip_prefix("PROXY ")?.split(' ');
    let is_v4 = match words.next()? {
        "UNKNOWN" => return Some(ProxiedCaller::Unknown),
        "TCP4" => true,
        "TCP6" => false,
        _ => return None,
    };
    let mut address = || -> Option<IpAddr> {
        let address: IpAddr = words.next()?.parse().ok()?;
        (address.is_ipv4() == is_v4).then_some(address)
    };
    let (source, _) = (address()?, address()?);
    let mut port = || -> Option<u16> {
        let text = words.next()?;
        text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
    };
    let (port, _) = (port()?, port()?);
    words.next().is_none().then_some(ProxiedCaller::At(SocketAddr::new(source, port)))
}

/// Reads a header of version 2.
fn decode_binary(header: &[u8]) -> Option<ProxiedCaller> {
    let (fixed, rest) = header.split_first_chunk::<FIXED>()?;
    let (signature, [command, family, ..]) = fixed.split_first_chunk::<12>()? else { return None };
    if signature != SIGNATURE {
        return None;
    }
    match command {
        0x20 => return Some(ProxiedCaller::Unknown),
        0x21 => {}
        _ => return None,
    }
    // The address, the destination's address, the port.
    let address = match family {
        0x11 => {
            let (source, rest) = rest.split_first_chunk::<4>()?;
            let (_, ports) = rest.split_first_chunk::<4>()?;
            let (port, _) = ports.split_first_chunk::<4>()?.0.split_first_chunk::<2>()?;
            SocketAddr::new(Ipv4Addr::from(*source).into(), u16::from_be_bytes(*port))
        }
        0x21 => {
            let (source, rest) = rest.split_first_chunk::<16>()?;
            let (_, ports) = rest.split_first_chunk::<16>()?;
            let (port, _) = ports.split_first_chunk::<4>()?.0.split_first_chunk::<2>()?;
            SocketAddr::new(Ipv6Addr::from(*source).into(), u16::from_be_bytes(*port))
        }
        // Other families and transports are not what was accepted.
        _ => return Some(ProxiedCaller::Unknown),
    };
    Some(ProxiedCaller::At(address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [SIGNATURE.as_slice(), &[command, family], &length, rest].concat()
    }

    /// Reads a header that comes in pieces, and what is behind it.
    async fn read(header: &[u8], piece: usize) -> Option<ProxiedCaller> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let connecting = TcpStream::connect(listener.local_addr().unwrap());
        let (near, far) = tokio::join!(connecting, listener.accept());
        let (mut near, mut far) = (near.unwrap(), far.unwrap().0);
        near.set_nodelay(true).unwrap();
        let sending = async {
            for piece in [header, b"GET"].concat().chunks(piece) {
                // An end that does not like it has closed the connection.
                let _ = near.write_all(piece).await;
                tokio::task::yield_now().await;
            }
            let _ = near.shutdown().await;
        };
        let (read, ()) = tokio::join!(read_header(&mut far), sending);
        let read = read.ok()?;
        let mut rest = Vec::new();
        far.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"GET", "{}", header.escape_ascii());
        Some(read)
    }

    #[tokio::test]
    async fn headers_name_their_caller() {
        let v4 = [&[192, 0, 2, 1, 10, 0, 0, 1, 0x1f, 0x90, 0, 80][..], &[3, 0, 1, 7]].concat();
        let v6 = [&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[1], &[0; 16], &[0, 7, 0, 8]].concat();
        let at = |text: &str| Some(ProxiedCaller::At(text.parse().unwrap()));
        let long = [&v4[..], &vec![0; MOST - FIXED - v4.len()]].concat();
        for (header, caller) in [
            (b"PROXY TCP4 192.0.2.1 10.0.0.1 8080 80\r\n".to_vec(), at("192.0.2.1:8080")),
            (b"PROXY TCP6 2001:db8::1 ::1 7 8\r\n".to_vec(), at("[2001:db8::1]:7")),
            (b"PROXY UNKNOWN\r\n".to_vec(), Some(ProxiedCaller::Unknown)),
            (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".to_vec(), Some(ProxiedCaller::Unknown)),
            (binary(0x21, 0x11, &v4), at("192.0.2.1:8080")),
            (binary(0x21, 0x11, &long), at("192.0.2.1:8080")),
            (binary(0x21, 0x21, &v6), at("[2001:db8::1]:7")),
            (binary(0x20, 0, &[]), Some(ProxiedCaller::Unknown)),
            (binary(0x20, 0x11, &v4), Some(ProxiedCaller::Unknown)),
            (binary(0x21, 0x31, &[0; 216]), Some(ProxiedCaller::Unknown)),
            (binary(0x21, 0x11, &v4[..11]), None),
            (binary(0x21, 0x21, &v4), None),
            (binary(0x31, 0x11, &v4), None),
            (binary(0x22, 0x11, &v4), None),
            (binary(0x21, 0x11, &vec![0; MOST - FIXED + 1]), None),
            (b"PROXY TCP4 2001:db8::1 ::1 7 8\r\n".to_vec(), None),
            (b"PROXY TCP4 192.0.2.1 10.0.0.1 80800 80\r\n".to_vec(), None),
            (b"PROXY TCP4 192.0.2.1 10.0.0.1 +80 80\r\n".to_vec(), None),
            (b"PROXY TCP4 192.0.2.1 10.0.0.1 8080\r\n".to_vec(), None),
            (b"PROXY TCP4 192.0.2.1 10.0.0.1 8080 80 \r\n".to_vec(), None),
            (b"PROXY TCP4 192.0.2.1 10.0.0.1 8080 80\n\r\n".to_vec(), None),
            (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), None),
            ([&b"PROXY TCP4 "[..], &[b'1'; 200], b"\r\n"].concat(), None),
        ] {
            for piece in [1, 7, 1000] {
                assert_eq!(read(&header, piece).await, caller, "{} by {piece}", header.escape_ascii());
            }
        }
    }

    /// Whatever a peer sends, there is an answer and no panic.
    #[test]
    fn no_bytes_make_a_decoder_panic() {
        let mut random = fastrand::Rng::with_seed(3);
        let good = binary(0x21, 0x11, &[7; 12]);
        for _ in 0..20_000 {
            let mut header = good.clone();
            header.truncate(random.usize(..=good.len()));
            if let Some(at) = header.len().checked_sub(1).map(|last| random.usize(..=last)) {
                header[at] = random.u8(..);
            }
            let _ = (decode_binary(&header), decode_line(&header));
            let noise: Vec<u8> = b"PROXY TCP4 "
                .iter()
                .copied()
                .chain((0..random.usize(..40)).map(|_| random.u8(b' '..b'g')))
                .chain(*b"\r\n")
                .collect();
            let _ = (decode_line(&noise), decode_binary(&noise));
        }
    }
}
