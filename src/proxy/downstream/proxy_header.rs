//! The header by which a proxy in front says who calls: the PROXY protocol, versions 1 and 2 (HAProxy's
//! `proxy-protocol.txt`).
//!
//! The destination in it is not believed, and what may stand behind the addresses (TLVs) is skipped.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

/// The bytes with which a header of version 1 begins.
const WORD: &[u8; 6] = b"PROXY ";

/// The bytes with which a header of version 2 begins.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// The length of the fixed part of version 2.
const FIXED: usize = 16;

/// The most bytes of a header of version 1, and of version 2.
const MOST_OF_LINE: usize = 107;
const MOST: usize = 536;

/// The caller that a header names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxiedCaller {
    /// The caller at this address.
    At(SocketAddr),
    /// None: the proxy calls by itself, or does not know who does.
    Unknown,
}

/// The bytes are not a header of the PROXY protocol, or one that is longer than 536 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a header of the PROXY protocol")]
pub struct ProxyHeaderError;

/// A header of the PROXY protocol, version 1 or 2, as far as it has come.
#[derive(Debug)]
pub struct ProxyHeader {
    bytes: [u8; MOST],
    length: usize,
}

impl Default for ProxyHeader {
    fn default() -> Self {
        Self { bytes: [0; MOST], length: 0 }
    }
}

impl ProxyHeader {
    /// Takes those of the bytes that belong to the header: all of them, or as many as make it whole. Returns how many they
    /// are, and the caller once it is whole; what follows belongs to the next protocol.
    ///
    /// # Errors
    ///
    /// They are no header, which shows as early as it can.
    pub fn take(&mut self, came: &[u8]) -> Result<(usize, Option<ProxiedCaller>), ProxyHeaderError> {
        for (taken, byte) in came.iter().enumerate() {
            *self.bytes.get_mut(self.length).ok_or(ProxyHeaderError)? = *byte;
            self.length += 1;
            if self.is_whole()? {
                let header = self.bytes.get(..self.length).unwrap_or_default();
                let caller =
                    if header.starts_with(WORD) { decode_line(header) } else { decode_binary(header) };
                return Ok((taken + 1, Some(caller.ok_or(ProxyHeaderError)?)));
            }
        }
        Ok((came.len(), None))
    }

    /// Returns whether the last byte of it has come.
    fn is_whole(&self) -> Result<bool, ProxyHeaderError> {
        let header = self.bytes.get(..self.length).unwrap_or_default();
        if header.starts_with(WORD) {
            return match header {
                [.., b'\r', b'\n'] => Ok(true),
                // A line ends where its first line feed is.
                [.., b'\n'] => Err(ProxyHeaderError),
                _ if header.len() == MOST_OF_LINE => Err(ProxyHeaderError),
                _ => Ok(false),
            };
        }
        match header.first_chunk::<FIXED>() {
            Some([.., high, low]) => {
                let whole = FIXED + usize::from(u16::from_be_bytes([*high, *low]));
                if whole > MOST { Err(ProxyHeaderError) } else { Ok(header.len() == whole) }
            }
            None if WORD.starts_with(header) || SIGNATURE.starts_with(header) => Ok(false),
            None if header.starts_with(SIGNATURE) => Ok(false),
            None => Err(ProxyHeaderError),
        }
    }
}

/// Reads the header with which a connection has to begin, and no byte behind it. It has no time limit of its own.
///
/// # Errors
///
/// The connection ends or begins with something else.
pub(super) async fn read_header(stream: &mut TcpStream) -> io::Result<ProxiedCaller> {
    let mut header = ProxyHeader::default();
    let mut came = [0; MOST];
    loop {
        // What lies behind the header belongs to the next protocol, so that it is looked at, and not read.
        let seen = stream.peek(&mut came).await?;
        if seen == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let taken = header.take(came.get(..seen).unwrap_or_default());
        let (count, caller) = taken.map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
        stream.read_exact(came.get_mut(..count).unwrap_or_default()).await?;
        if let Some(caller) = caller {
            return Ok(caller);
        }
    }
}

/// Reads a header of version 1 with its line end.
fn decode_line(line: &[u8]) -> Option<ProxiedCaller> {
    let line = line.strip_prefix(WORD)?.strip_suffix(b"\r\n")?;
    // What follows is ignored, whatever it is.
    if line == b"UNKNOWN" || line.starts_with(b"UNKNOWN ") {
        return Some(ProxiedCaller::Unknown);
    }
    let mut words = std::str::from_utf8(line).ok()?.split(' ');
    let is_v4 = match words.next()? {
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
            (b"PROXY UNKNOWN \xff\r.\r\n".to_vec(), Some(ProxiedCaller::Unknown)),
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
            (b"PROXY UNKNOWN \nPROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWNS\r\n".to_vec(), None),
            (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), None),
            ([&b"PROXY TCP4 "[..], &[b'1'; 200], b"\r\n"].concat(), None),
        ] {
            for piece in [1, 7, 1000] {
                assert_eq!(read(&header, piece).await, caller, "{} by {piece}", header.escape_ascii());
            }
        }
    }

    /// A proxy that speaks something else is not waited for.
    #[test]
    fn what_is_no_header_shows_at_its_first_wrong_byte() {
        for (bytes, at) in
            [(&b"GET / HTTP/1.1\r\n"[..], 1), (b"PROXIES", 5), (b"\r\n\r\nGET", 5), (b"\x16\x03\x01", 1)]
        {
            let mut header = ProxyHeader::default();
            assert_eq!(header.take(&bytes[..at - 1]), Ok((at - 1, None)), "{}", bytes.escape_ascii());
            assert_eq!(header.take(&bytes[at - 1..]), Err(ProxyHeaderError), "{}", bytes.escape_ascii());
        }
    }
}
