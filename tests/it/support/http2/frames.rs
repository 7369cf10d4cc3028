//! One HTTP/2 connection, of a client or of an upstream, frame by frame: for what no well-behaved peer would send.

use crate::support::{Upstream, Wire, within};
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// The pseudo-fields of a request that is served: a GET for `/` at `web`.
pub(crate) const GET: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "web")];

/// What a connection begins with (RFC 9113 3.4).
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Types of frames (RFC 9113 6).
pub(crate) mod kind {
    pub(crate) const DATA: u8 = 0;
    pub(crate) const HEADERS: u8 = 1;
    pub(crate) const PRIORITY: u8 = 2;
    pub(crate) const RST_STREAM: u8 = 3;
    pub(crate) const SETTINGS: u8 = 4;
    pub(crate) const PUSH_PROMISE: u8 = 5;
    pub(crate) const PING: u8 = 6;
    pub(crate) const GOAWAY: u8 = 7;
    pub(crate) const WINDOW_UPDATE: u8 = 8;
    pub(crate) const CONTINUATION: u8 = 9;
}

/// Flags of frames.
pub(crate) mod flag {
    pub(crate) const ACK: u8 = 0x1;
    pub(crate) const END_STREAM: u8 = 0x1;
    pub(crate) const END_HEADERS: u8 = 0x4;
    pub(crate) const PADDED: u8 = 0x8;
    pub(crate) const PRIORITY: u8 = 0x20;
}

/// A frame as it stands on the wire.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

/// How a request was answered that should not be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Its stream was reset with this code.
    Reset(u32),
    /// It was answered with this status.
    Status(u16),
    /// The connection was ended with this code.
    Goaway(u32),
}

/// One connection, frame by frame.
#[derive(Debug)]
pub(crate) struct Frames {
    pub(crate) wire: Wire,
}

impl Frame {
    pub(crate) fn new(kind: u8, flags: u8, stream: u32, payload: impl Into<Vec<u8>>) -> Self {
        Self { kind, flags, stream, payload: payload.into() }
    }

    /// A whole request of these fields, the pseudo-fields among them.
    pub(crate) fn request(stream: u32, fields: &[(&str, &str)]) -> Self {
        Self::new(kind::HEADERS, flag::END_HEADERS | flag::END_STREAM, stream, block(fields))
    }

    /// The head of a request, or a response, whose body follows.
    pub(crate) fn head(stream: u32, fields: &[(&str, &str)]) -> Self {
        Self::new(kind::HEADERS, flag::END_HEADERS, stream, block(fields))
    }

    /// A piece of a body.
    pub(crate) fn data(stream: u32, bytes: &[u8], last: bool) -> Self {
        Self::new(kind::DATA, if last { flag::END_STREAM } else { 0 }, stream, bytes)
    }

    /// A reset.
    pub(crate) fn reset(stream: u32, code: u32) -> Self {
        Self::new(kind::RST_STREAM, 0, stream, code.to_be_bytes())
    }

    /// Room for more bytes.
    pub(crate) fn window(stream: u32, more: u32) -> Self {
        Self::new(kind::WINDOW_UPDATE, 0, stream, more.to_be_bytes())
    }

    /// The last frame of a connection: streams up to `last` may have been processed.
    pub(crate) fn goaway(last: u32, code: u32) -> Self {
        Self::new(kind::GOAWAY, 0, 0, [last.to_be_bytes(), code.to_be_bytes()].concat())
    }

    /// Settings, by their numbers.
    pub(crate) fn settings(settings: &[(u16, u32)]) -> Self {
        let payload: Vec<u8> = settings
            .iter()
            .flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat())
            .collect();
        Self::new(kind::SETTINGS, 0, 0, payload)
    }

    /// The error code of a reset or a GOAWAY.
    pub(crate) fn code(&self) -> u32 {
        let at = match self.kind {
            kind::RST_STREAM => 0,
            kind::GOAWAY => 4,
            _ => panic!("{self:?} has no code"),
        };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().expect("four bytes are four"))
    }

    /// The stream up to which a GOAWAY says that something may have been done.
    pub(crate) fn last_stream(&self) -> u32 {
        assert_eq!(self.kind, kind::GOAWAY, "{self:?}");
        u32::from_be_bytes(self.payload[..4].try_into().expect("four bytes are four"))
    }

    /// Whether a flag is set.
    pub(crate) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The status of a response's head.
    ///
    /// The router's encoder puts it first; it may refer to no table, for the client's first setting forbids one.
    pub(crate) fn status(&self) -> u16 {
        assert_eq!(self.kind, kind::HEADERS, "{self:?}");
        let mut block = &self.payload[..];
        while let [0x20..=0x3f, rest @ ..] = block {
            block = rest;
        }
        match block {
            [0x88, ..] => 200,
            [indexed @ 0x89..=0x8e, ..] => [204, 206, 304, 400, 404, 500][usize::from(indexed - 0x89)],
            // A literal with the name `:status` by its index.
            [0x08..=0x0e | 0x18..=0x1e | 0x48..=0x4e, 0x03, digits @ ..] => {
                digits.iter().take(3).fold(0, |status, digit| status * 10 + u16::from(digit - b'0'))
            }
            [0x08..=0x0e | 0x18..=0x1e | 0x48..=0x4e, 0x82 | 0x83, digits @ ..] => three_digits(digits),
            _ => panic!("a head begins with its status: {self:?}"),
        }
    }

    /// The frame's bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let length = u32::try_from(self.payload.len()).expect("a payload is short").to_be_bytes();
        let mut bytes = length[1..].to_vec();
        bytes.extend([self.kind, self.flags]);
        bytes.extend(self.stream.to_be_bytes());
        bytes.extend(&self.payload);
        bytes
    }
}

/// Decodes three digits of the Huffman code of RFC 7541 appendix B: 5 bits for 0 to 2, 6 bits for 3 to 9.
fn three_digits(bytes: &[u8]) -> u16 {
    let mut bits = u32::from_be_bytes([bytes[0], bytes[1], bytes.get(2).copied().unwrap_or(0xff), 0xff]);
    let mut status = 0;
    for _ in 0..3 {
        let (digit, length) = match bits >> 27 {
            short @ 0..=2 => (short, 5),
            _ => ((bits >> 26) - 0x19 + 3, 6),
        };
        status = status * 10 + u16::try_from(digit).expect("a digit is small");
        bits <<= length;
    }
    status
}

/// Encodes fields one by one, each spelled out and none remembered (RFC 7541 6.2.2).
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            length(&mut block, text.len());
            block.extend(text.as_bytes());
        }
    }
    block
}

/// Encodes the length of a text that is not compressed: an integer with a prefix of 7 bits (RFC 7541 5.1).
fn length(block: &mut Vec<u8>, length: usize) {
    const PREFIX: usize = 0x7f;
    let Some(mut rest) = length.checked_sub(PREFIX) else {
        block.push(length as u8);
        return;
    };
    block.push(PREFIX as u8);
    while rest >= 0x80 {
        block.push((rest % 0x80) as u8 | 0x80);
        rest /= 0x80;
    }
    block.push(rest as u8);
}

impl Frames {
    /// Connects to `address` and sends nothing.
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self { wire: Wire::connect(address).await }
    }

    /// Connects as a client, and sends the preface and its settings: no table is kept of what the peer says.
    pub(crate) async fn client(address: SocketAddr) -> Self {
        Self::connect(address).await.greeted().await
    }

    /// As [`Frames::client`], from another address of this machine.
    pub(crate) async fn client_from(local: IpAddr, address: SocketAddr) -> Self {
        Self { wire: Wire::connect_from(local, address).await }.greeted().await
    }

    async fn greeted(mut self) -> Self {
        let settings = Frame::settings(&[(1, 0)]);
        self.wire.send([PREFACE, &settings.encode()].concat()).await;
        self
    }

    /// Waits for the next connection to an upstream, reads its preface, and sends settings.
    pub(crate) async fn accept(upstream: &Upstream, settings: &[(u16, u32)]) -> Self {
        let mut wire = upstream.accept().await;
        wire.expect(PREFACE).await;
        wire.send(Frame::settings(settings).encode()).await;
        Self { wire }
    }

    /// Sends a frame.
    pub(crate) async fn send(&mut self, frame: Frame) {
        self.wire.send(frame.encode()).await;
    }

    /// Sends a frame to a peer that may have closed the connection; returns whether it was taken.
    pub(crate) async fn try_send(&mut self, frame: &Frame) -> bool {
        self.wire.writer.try_send(frame.encode()).await
    }

    /// Reads the next frame, whatever it is; None when the connection is over.
    pub(crate) async fn read(&mut self) -> Option<Frame> {
        let head = within("reading a frame", self.wire.reader.bytes_or_end(9)).await?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let payload = self.wire.reader.bytes_or_end(length as usize);
        let payload = within("reading a frame's payload", payload).await?;
        Some(Frame::new(head[3], head[4], stream, payload))
    }

    /// Reads the next frame that is about streams, or the last of a connection; acknowledges settings and pings.
    /// None when the connection is over.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        loop {
            let frame = self.read().await?;
            match frame.kind {
                kind::SETTINGS | kind::PING if !frame.has(flag::ACK) => {
                    let payload = if frame.kind == kind::PING { frame.payload } else { Vec::new() };
                    self.try_send(&Frame::new(frame.kind, flag::ACK, 0, payload)).await;
                }
                kind::SETTINGS | kind::PING | kind::WINDOW_UPDATE => {}
                _ => return Some(frame),
            }
        }
    }

    /// Reads the next frame of that kind on a stream, passing over others.
    pub(crate) async fn next_of(&mut self, kind: u8, stream: u32) -> Frame {
        loop {
            let frame = self.next().await;
            let frame = frame.unwrap_or_else(|| panic!("a frame of type {kind} comes, not the end"));
            if (frame.kind, frame.stream) == (kind, stream) {
                return frame;
            }
            // A goodbye leaves the streams that are there.
            let broken = frame.kind == kind::GOAWAY && frame.code() != 0;
            let over = broken || (frame.kind, frame.stream) == (kind::RST_STREAM, stream);
            assert!(!over, "a frame of type {kind} comes, not {frame:?}");
        }
    }

    /// Reads the head of the response on a stream.
    pub(crate) async fn status(&mut self, stream: u32) -> u16 {
        self.next_of(kind::HEADERS, stream).await.status()
    }

    /// Waits until a stream is reset; returns the code.
    pub(crate) async fn reset_code(&mut self, stream: u32) -> u32 {
        self.next_of(kind::RST_STREAM, stream).await.code()
    }

    /// Waits until a stream is reset or answered, or the connection ended.
    pub(crate) async fn refusal(&mut self, stream: u32) -> Refusal {
        loop {
            match self.next().await.expect("the connection goes on") {
                frame if frame.kind == kind::GOAWAY => return Refusal::Goaway(frame.code()),
                frame if frame.stream != stream => {}
                frame if frame.kind == kind::RST_STREAM => return Refusal::Reset(frame.code()),
                frame if frame.kind == kind::HEADERS => return Refusal::Status(frame.status()),
                _ => {}
            }
        }
    }

    /// Asks whether the peer is there and has seen all that was sent; returns the code if it goes away instead.
    pub(crate) async fn ping(&mut self) -> Result<(), u32> {
        self.try_send(&Frame::new(kind::PING, 0, 0, [7; 8])).await;
        loop {
            let frame = self.read().await.expect("the connection goes on, or says why not");
            match frame.kind {
                kind::PING if frame.has(flag::ACK) => return Ok(()),
                kind::GOAWAY => return Err(frame.code()),
                _ => {}
            }
        }
    }

    /// Waits for the peer to go away and to close; returns the code of its last GOAWAY, if there was one.
    pub(crate) async fn last_code(&mut self) -> Option<u32> {
        let mut code = None;
        while let Some(frame) = self.next().await {
            if frame.kind == kind::GOAWAY {
                code = Some(frame.code());
            }
        }
        code
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 200;
        let payload = self.payload.get(..SHOWN).unwrap_or(&self.payload).escape_ascii();
        let Self { kind, flags, stream, .. } = self;
        write!(f, "frame of type {kind}, flags {flags:#x}, stream {stream}: {payload}")
    }
}
