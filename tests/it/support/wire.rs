//! One connection, of a client or of an upstream: literal bytes out, messages in.

use super::{Message, within};
use socket2::SockRef;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpSocket, TcpStream};

/// One connection. Its halves can be borrowed apart, to send and receive at once.
#[derive(Debug)]
pub(crate) struct Wire {
    /// What comes in.
    pub(crate) reader: Reader,
    /// What goes out.
    pub(crate) writer: Writer,
}

/// Connects to `address` from an address of this machine.
pub(super) async fn connect_from(local: IpAddr, address: SocketAddr) -> TcpStream {
    let socket = if local.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
    let socket = socket.expect("sockets are left");
    socket.bind(SocketAddr::new(local, 0)).expect("the machine has this address");
    within("connecting", socket.connect(address)).await.expect("it accepts connections")
}

/// What comes in on a connection.
#[derive(Debug)]
pub(crate) struct Reader {
    half: OwnedReadHalf,
    input: Vec<u8>,
}

/// What goes out on a connection.
#[derive(Debug)]
pub(crate) struct Writer {
    half: OwnedWriteHalf,
}

impl Wire {
    /// Connects to `address`.
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::new(within("connecting", TcpStream::connect(address)).await.expect("it accepts connections"))
    }

    /// Connects to `address` from another address of this machine.
    pub(crate) async fn connect_from(local: IpAddr, address: SocketAddr) -> Self {
        Self::new(connect_from(local, address).await)
    }

    pub(crate) fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("the socket is open");
        let (read, write) = stream.into_split();
        Self { reader: Reader { half: read, input: Vec::new() }, writer: Writer { half: write } }
    }

    /// Sends bytes as they are.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.writer.send(bytes).await;
    }

    /// Sends a request and reads the response to it.
    pub(crate) async fn ask(&mut self, request: impl AsRef<[u8]>) -> Message {
        self.send(request).await;
        self.response().await
    }

    /// Sends a GET for `/` at `host`, with more field lines (each with its CRLF), and reads the response to it.
    pub(crate) async fn get(&mut self, host: &str, fields: &str) -> Message {
        self.ask(format!("GET / HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n")).await
    }

    /// Reads as many bytes as `expected` has, and fails unless it is they that come.
    pub(crate) async fn expect(&mut self, expected: impl AsRef<[u8]>) {
        let expected = expected.as_ref();
        let read = self.reader.bytes(expected.len()).await;
        assert_eq!(read.escape_ascii().to_string(), expected.escape_ascii().to_string());
    }

    /// Reads a head and nothing behind it.
    pub(crate) async fn head(&mut self) -> Message {
        self.reader.head().await
    }

    /// Reads a request with its body.
    pub(crate) async fn request(&mut self) -> Message {
        let request = within("reading a request", self.reader.next_request()).await;
        request.expect("a request comes")
    }

    /// Reads a response with its body; not one to HEAD.
    pub(crate) async fn response(&mut self) -> Message {
        self.reader.next_response().await
    }

    /// Fails unless the peer ends its side, in order, without sending anything more.
    pub(crate) async fn assert_ended(&mut self) {
        let rest = self.reader.rest().await;
        assert!(rest.is_empty(), "the connection ends, but first comes {:?}", String::from_utf8_lossy(&rest));
    }

    /// Fails unless the connection is over, be it broken, without another byte.
    pub(crate) async fn assert_gone(&mut self) {
        let (rest, _) = within("waiting for the end", self.reader.until_over()).await;
        assert!(
            rest.is_empty(),
            "the connection is over, but first comes {:?}",
            String::from_utf8_lossy(&rest)
        );
    }

    /// Breaks the connection off with a reset.
    pub(crate) fn reset(self) {
        let stream = self.reader.half.reunite(self.writer.half).expect("both are of one socket");
        SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("the socket is open");
    }
}

impl Writer {
    /// Sends bytes as they are.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        within("sending", self.half.write_all(bytes.as_ref())).await.expect("the peer takes bytes");
    }

    /// Sends bytes to a peer that may have closed the connection; returns whether they were taken.
    pub(crate) async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        within("sending", self.half.write_all(bytes.as_ref())).await.is_ok()
    }

    /// Sends what the peer takes now; none when it takes nothing for as long as a test waits. On a paused clock.
    pub(crate) async fn send_some(&mut self, bytes: &[u8]) -> usize {
        const LONG: Duration = Duration::from_secs(1);
        match tokio::time::timeout(LONG, self.half.write(bytes)).await {
            Ok(written) => written.expect("the peer takes bytes"),
            Err(_) => 0,
        }
    }

    /// Ends this side of a connection that may be over.
    pub(crate) async fn try_finish(&mut self) {
        // Nothing is left to end on one that is.
        let _ = within("ending", self.half.shutdown()).await;
    }

    /// Ends this side.
    pub(crate) async fn finish(&mut self) {
        within("ending", self.half.shutdown()).await.expect("the socket is open");
    }
}

impl Reader {
    /// Reads so many bytes.
    pub(crate) async fn bytes(&mut self, count: usize) -> Vec<u8> {
        let reading = async {
            while self.input.len() < count {
                self.more().await;
            }
        };
        within("reading bytes", reading).await;
        self.input.drain(..count).collect()
    }

    /// Reads so many bytes; None when the connection is over, or broken, before they came.
    pub(crate) async fn bytes_or_end(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.input.len() < count {
            if !matches!(self.half.read_buf(&mut self.input).await, Ok(1..)) {
                return None;
            }
        }
        Some(self.input.drain(..count).collect())
    }

    /// Reads a head and nothing behind it.
    pub(crate) async fn head(&mut self) -> Message {
        let head = within("reading a head", self.until_empty_line()).await.expect("a head comes");
        Message { head, ..Message::default() }
    }

    /// Reads a head; None when the connection is over, or broken, before its first byte.
    pub(crate) async fn next_head(&mut self) -> Option<Message> {
        let head = within("reading a head", self.until_empty_line()).await?;
        Some(Message { head, ..Message::default() })
    }

    /// Reads to the orderly end of what the peer sends.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        let (rest, end) = within("reading to the end", self.until_over()).await;
        end.expect("the peer ends its side in order");
        rest
    }

    /// Reads a request with its body; None when the connection ends instead.
    pub(crate) async fn next_request(&mut self) -> Option<Message> {
        let head = self.until_empty_line().await?;
        let mut request = Message { head, ..Message::default() };
        if request.field("transfer-encoding").is_some() || request.field("content-length").is_some() {
            self.body(&mut request).await;
        }
        Some(request)
    }

    /// Reads a response with its body; not one to HEAD.
    pub(crate) async fn next_response(&mut self) -> Message {
        within("reading a response", self.response()).await
    }

    async fn response(&mut self) -> Message {
        let head = self.until_empty_line().await.expect("a response comes");
        let mut response = Message { head, ..Message::default() };
        if !matches!(response.status(), 100..=199 | 204 | 304) {
            self.body(&mut response).await;
        }
        response
    }

    /// Reads the body that a head announces.
    async fn body(&mut self, message: &mut Message) {
        if let Some(coding) = message.field("transfer-encoding") {
            assert_eq!(coding, "chunked");
            assert_eq!(message.field("content-length"), None, "one framing: {message:?}");
            self.chunks(message).await;
        } else if let Some(length) = message.field("content-length") {
            let length = length.parse().expect("a length is a number");
            while self.input.len() < length {
                self.more().await;
            }
            message.body = self.input.drain(..length).collect();
        } else {
            message.body = self.rest().await;
        }
    }

    async fn chunks(&mut self, message: &mut Message) {
        loop {
            let size = usize::from_str_radix(&self.line().await, 16).expect("a chunk has a size");
            if size == 0 {
                break;
            }
            message.chunks.push(size);
            while self.input.len() < size + 2 {
                self.more().await;
            }
            message.body.extend(self.input.drain(..size));
            assert_eq!(self.line().await, "", "a chunk ends where it says");
        }
        loop {
            let line = self.line().await;
            if line.is_empty() {
                return;
            }
            message.trailers.push(line);
        }
    }

    async fn line(&mut self) -> String {
        loop {
            if let Some(end) = self.input.windows(2).position(|pair| pair == b"\r\n") {
                let line = self.input.drain(..end + 2).take(end).collect();
                return String::from_utf8(line).expect("a line is text");
            }
            self.more().await;
        }
    }

    /// Reads through the next empty line; None when the connection ends, or breaks, before the first byte.
    async fn until_empty_line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.input.windows(4).position(|four| four == b"\r\n\r\n") {
                let head: Vec<u8> = self.input.drain(..end + 4).take(end).collect();
                assert!(
                    !has_bare_line_end(&head),
                    "lines end with CRLF: {:?}",
                    head.escape_ascii().to_string()
                );
                // Bytes beyond ASCII show as what they are.
                return Some(head.iter().map(|&byte| char::from(byte)).collect());
            }
            if !matches!(self.half.read_buf(&mut self.input).await, Ok(1..)) {
                let began = String::from_utf8_lossy(&self.input);
                assert!(began.is_empty(), "the connection ends in the middle of a head: {began:?}");
                return None;
            }
        }
    }

    async fn more(&mut self) {
        let read = self.half.read_buf(&mut self.input).await;
        let got = || String::from_utf8_lossy(&self.input[..self.input.len().min(500)]);
        assert!(matches!(read, Ok(1..)), "the message goes on: {read:?} after {:?}", got());
    }

    async fn until_over(&mut self) -> (Vec<u8>, io::Result<()>) {
        let end = loop {
            match self.half.read_buf(&mut self.input).await {
                Ok(0) => break Ok(()),
                Ok(_) => {}
                Err(error) => break Err(error),
            }
        };
        (std::mem::take(&mut self.input), end)
    }
}

fn has_bare_line_end(head: &[u8]) -> bool {
    let crlf = head.windows(2).filter(|pair| pair == b"\r\n").count();
    head.iter().filter(|&&byte| byte == b'\n' || byte == b'\r').count() != 2 * crlf
}
