//! Raw bytes sent to a live server. For any bytes a caller gets well-formed responses or a closed connection, within
//! bounded time, over HTTP/1 and HTTP/2. The endpoint behind the server receives well-formed requests only, as many as
//! the server counted. So no request can be smuggled past it: two readers never see different messages.
#![no_main]

use libfuzzer_sys::fuzz_target;
use signpost::app::{App, Threads};
use signpost::message::{ChunkEvent, Chunks, Framing, Head, HeadLimits, request_framing, response_framing};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

/// How long one exchange may take. The longest wait of the server is for a caller that ended its side: one second.
const TIMEOUT: Duration = Duration::from_secs(4);

/// The bytes at the beginning of a connection over HTTP/2.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The number of requests that the endpoint has read whole.
static RECEIVED: AtomicUsize = AtomicUsize::new(0);

/// The bounds on heads that the server writes: it adds fields to those it received.
const WIDE: HeadLimits = HeadLimits { line: 20_000, fields_bytes: 100_000, fields: 1000 };

fuzz_target!(|input: &[u8]| {
    let server = server();
    let received = RECEIVED.load(SeqCst);
    let mut stream = TcpStream::connect(server).expect("the server listens");
    stream.set_read_timeout(Some(TIMEOUT)).expect("a time limit");
    // A server that has read enough may close, so that the rest cannot be written.
    let _ = stream.write_all(input);
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    if let Err(error) = stream.read_to_end(&mut answer) {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "the server hangs");
    }
    if input.starts_with(PREFACE) {
        // The library writes the frames that come back; the endpoint checks the requests that are passed on.
        assert!(is_alive(server), "the server does not serve any more");
        return;
    }
    let answers = responses(&answer);
    let passed = RECEIVED.load(SeqCst) - received;
    assert!(passed <= answers + 1, "{passed} requests for {answers} responses");
    assert!(is_alive(server), "the server does not serve any more");
});

/// Counts the responses that a caller got; the last may be cut off, for a broken request ends its connection.
fn responses(mut bytes: &[u8]) -> usize {
    let mut count = 0;
    while !bytes.is_empty() {
        let mut head = Head::new();
        let taken = head.parse_response(bytes, &WIDE).expect("a response is well-formed");
        let Some(taken) = taken else { return count };
        bytes = &bytes[taken..];
        // The response to HEAD has a length and no body; the endpoint's length is 0 for that reason.
        let length = match response_framing(&head, b"GET").expect("the length of a response is known") {
            Framing::Length(length) => length as usize,
            _ => 0,
        };
        if head.status() >= 200 {
            count += 1;
        }
        if length > bytes.len() {
            return count;
        }
        bytes = &bytes[length..];
    }
    count
}

/// Returns whether a plain request is served.
fn is_alive(server: SocketAddr) -> bool {
    let mut stream = TcpStream::connect(server).expect("the server listens");
    stream.set_read_timeout(Some(TIMEOUT)).expect("a time limit");
    stream.write_all(b"GET / HTTP/1.1\r\nhost: alive\r\nconnection: close\r\n\r\n").expect("it reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("it answers");
    answer.starts_with(b"HTTP/1.1 200")
}

/// Returns the server, started once, in front of an endpoint that ends the process at a malformed request.
fn server() -> SocketAddr {
    static SERVER: OnceLock<SocketAddr> = OnceLock::new();
    *SERVER.get_or_init(|| {
        let endpoint = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = endpoint.local_addr().expect("bound");
        std::thread::spawn(move || {
            for stream in endpoint.incoming().flatten() {
                std::thread::spawn(move || serve(stream));
            }
        });
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let config = signpost::config::read("fuzz", &config(address)).expect("a configuration");
                let running = App::start(config, Threads::Workers(1)).await.expect("it starts");
                sender.send(running.listeners()[0].address).expect("the receiver waits");
                std::future::pending::<()>().await;
            });
        });
        receiver.recv().expect("the server starts")
    })
}

/// Returns the configuration of the server.
fn config(endpoint: SocketAddr) -> String {
    format!(
        "admin: {{port: 0}}
routers:
- protocol: http
  dtab: /svc => /$/inet/127.0.0.1/{}
  identifier: {{kind: io.l5d.static, path: /}}
  maxInitialLineKB: 1
  maxHeadersKB: 1
  servers: [{{port: 0}}]
",
        endpoint.port()
    )
}

/// Reads requests and answers them; a malformed one ends the fuzzing.
fn serve(mut stream: TcpStream) {
    let (mut bytes, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        while let Some(taken) = request(&bytes) {
            bytes.drain(..taken);
            RECEIVED.fetch_add(1, SeqCst);
            if stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").is_err() {
                return;
            }
        }
        match stream.read(&mut chunk) {
            Ok(0) | Err(_) => return,
            Ok(n) => bytes.extend_from_slice(&chunk[..n]),
        }
    }
}

/// Returns the length of the request at the front of the bytes, once it is whole.
fn request(bytes: &[u8]) -> Option<usize> {
    let mut head = Head::new();
    let taken = abort_unless(head.parse_request(bytes, &WIDE), bytes)?;
    let rest = &bytes[taken..];
    let length = match abort_unless(request_framing(&head), bytes) {
        Framing::Length(length) => length as usize,
        Framing::Chunked => return Some(taken + chunked(rest)?),
        _ => 0,
    };
    (rest.len() >= length).then_some(taken + length)
}

/// Returns the length of the chunked body at the front of the bytes, once it is whole.
fn chunked(bytes: &[u8]) -> Option<usize> {
    let (mut chunks, mut at) = (Chunks::new(), 0);
    loop {
        match abort_unless(chunks.decode(&bytes[at..]), bytes) {
            ChunkEvent::Data { skip, data } => at += skip + data,
            ChunkEvent::End { consumed } => return Some(at + consumed),
            ChunkEvent::More { .. } => return None,
        }
    }
}

/// Returns the value that was read; a malformed one ends the process, for this is not the fuzzer's own thread.
fn abort_unless<T, E: std::fmt::Debug>(read: Result<T, E>, bytes: &[u8]) -> T {
    read.unwrap_or_else(|error| {
        eprintln!("the endpoint received {error:?}: {}", bytes.escape_ascii());
        std::process::abort();
    })
}
