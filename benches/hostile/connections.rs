//! What strangers do with connections and with frames of HTTP/2.

use super::frames::{DATA_BYTES, GREETING, INITIAL_WINDOW, PING, data, more_window, request, window};
use super::process::Error;
use std::cell::Cell;
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::sleep;

/// Requests that are held open on some connections from some addresses, so many on each.
#[derive(Clone, Copy)]
pub(crate) struct Held {
    pub(crate) connections: u8,
    pub(crate) addresses: u8,
    pub(crate) streams: u32,
    pub(crate) path: &'static str,
    pub(crate) body: HeldBody,
}

/// The bodies of requests that are held open.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeldBody {
    None,
    /// They are announced, and never come.
    Silent,
    /// Of each comes as much as the router takes.
    Windows,
}

/// Connects from an address of this machine.
pub(crate) async fn connect(from: [u8; 4], to: SocketAddr) -> Result<TcpStream, Error> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(IpAddr::from(from), 0))?;
    let stream = socket.connect(to).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Opens connections without end, more than the router takes at once, and begins each with these bytes.
pub(crate) async fn open(router: SocketAddr, begun: &[u8], done: &Cell<u64>) -> Result<(), Error> {
    const MOST: usize = 10_500;
    let mut open = VecDeque::new();
    loop {
        // Ports run out on one address, and stay in use for a minute; a flood has several.
        let from = [127, 0, 4 + u8::from(begun.is_empty()), (done.get() / 5_000 % 4) as u8 + 1];
        match connect(from, router).await {
            Ok(mut stream) => {
                // One that was closed already is no matter.
                let _ = stream.write_all(begun).await;
                open.push_back(stream);
                done.set(done.get() + 1);
            }
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
        if open.len() > MOST {
            open.pop_front();
        }
    }
}

/// Holds requests open.
pub(crate) async fn hold(router: SocketAddr, held: Held, done: &Cell<u64>) -> Result<(), Error> {
    let mut reading = tokio::task::JoinSet::new();
    for at in 0..held.connections {
        let mut stream = connect([127, 0, 2, at % held.addresses + 1], router).await?;
        stream.write_all(GREETING).await?;
        for at in 0..held.streams {
            stream.write_all(&request(2 * at + 1, held.path, held.body != HeldBody::None)).await?;
            done.set(done.get() + 1);
        }
        reading.spawn_local(async move {
            if held.body == HeldBody::Windows {
                // The end of the connection is what the router does about it.
                let _ = fill_windows(&mut stream, held.streams).await;
            }
            read_all(&mut stream).await;
        });
    }
    while reading.join_next().await.is_some() {}
    // The load is there as long as it is asked for.
    std::future::pending().await
}

/// Sends as much of the bodies as the windows of the streams and of the connection allow.
async fn fill_windows(stream: &mut TcpStream, streams: u32) -> Result<(), Error> {
    let mut window = INITIAL_WINDOW;
    // The windows of the streams are not raised: what is sent is not passed on.
    for (at, _) in (0..streams).flat_map(|at| (0..INITIAL_WINDOW / DATA_BYTES).map(move |part| (at, part))) {
        while window < DATA_BYTES {
            let mut head = [0; 9];
            stream.read_exact(&mut head).await?;
            let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
            stream.read_exact(&mut payload).await?;
            window += more_window(&head, &payload);
        }
        stream.write_all(&data(2 * at + 1)).await?;
        window -= DATA_BYTES;
    }
    Ok(())
}

/// Reads and forgets what comes, until the end.
async fn read_all(stream: &mut (impl AsyncRead + Unpin)) {
    let mut room = vec![0; 64 * 1024];
    while matches!(stream.read(&mut room).await, Ok(1..)) {}
}

/// The frames that toggle the window of all streams.
pub(crate) fn toggles() -> Vec<u8> {
    [window(1), window(65_535)].concat().repeat(500)
}

/// The frames that ask for an answer each.
pub(crate) fn pings() -> Vec<u8> {
    PING.repeat(1000)
}

/// Sends the same frames again and again on a connection with streams open, and begins anew when the connection ends.
pub(crate) async fn flood(router: SocketAddr, frames: &[u8], done: &Cell<u64>) -> Result<(), Error> {
    const STREAMS: u32 = 90;
    loop {
        let mut stream = connect([127, 0, 3, 1], router).await?;
        done.set(done.get() + 1);
        let mut begun = GREETING.to_vec();
        for at in 0..STREAMS {
            begun.extend(request(2 * at + 1, "/silent/x", false));
        }
        // The end of the connection is what the router does about it.
        if stream.write_all(&begun).await.is_err() {
            continue;
        }
        let (mut reader, mut writer) = stream.split();
        let writing = async { while writer.write_all(frames).await.is_ok() {} };
        tokio::select! { () = read_all(&mut reader) => {}, () = writing => {} }
    }
}
