//! The loads: what strangers do.

use super::customer::connect;
use super::frames::{GREETING, PING, request, window};
use super::process::Error;
use std::collections::VecDeque;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;

/// One load.
pub(crate) struct Load {
    pub(crate) name: &'static str,
    /// What it counts.
    pub(crate) unit: &'static str,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    /// Connections without end, of which none says a word.
    Connections,
    /// The same, each with the beginning of a head.
    Heads,
    /// So many connections from so many addresses, each with so many requests whose bodies never come.
    Bodies { connections: u8, addresses: u8, streams: u32 },
    /// The same, with requests that the endpoint does not answer.
    Unanswered { connections: u8, addresses: u8, streams: u32 },
    /// A connection with 90 streams open, on which the same frames come without end; a new one when it ends.
    Frames(fn() -> Vec<u8>),
}

pub(crate) const LOADS: &[Load] = &[
    Load { name: "connections that say nothing", unit: "connections", kind: Kind::Connections },
    Load { name: "connections that begin a head", unit: "connections", kind: Kind::Heads },
    Load {
        name: "3,600 bodies that never come, on 4 connections",
        unit: "requests",
        kind: Kind::Bodies { connections: 4, addresses: 1, streams: 900 },
    },
    Load {
        name: "100 connections x 100 requests that are not answered, from one address",
        unit: "requests",
        kind: Kind::Unanswered { connections: 100, addresses: 1, streams: 100 },
    },
    Load {
        name: "100 connections x 100 requests that are not answered, each from an address",
        unit: "requests",
        kind: Kind::Unanswered { connections: 100, addresses: 100, streams: 100 },
    },
    Load { name: "SETTINGS that toggle the window", unit: "connections", kind: Kind::Frames(toggles) },
    Load { name: "PING", unit: "connections", kind: Kind::Frames(|| PING.repeat(1000)) },
];

fn toggles() -> Vec<u8> {
    [window(1), window(65_535)].concat().repeat(500)
}

impl Load {
    /// Loads the router until it is stopped; returns how much was done.
    pub(crate) async fn run(&self, router: SocketAddr, mut stop: watch::Receiver<bool>) -> u64 {
        let mut done = 0;
        let loading = async {
            match self.kind {
                Kind::Connections => open(router, b"", &mut done).await,
                Kind::Heads => open(router, b"GET / HTTP/1.1\r\nHost: wor", &mut done).await,
                Kind::Bodies { connections, addresses, streams } => {
                    hold(router, (connections, addresses), (streams, "world", true), &mut done).await
                }
                Kind::Unanswered { connections, addresses, streams } => {
                    hold(router, (connections, addresses), (streams, "silent", false), &mut done).await
                }
                Kind::Frames(frames) => flood(router, &frames(), &mut done).await,
            }
        };
        tokio::select! {
            ended = loading => if let Err(error) = ended { eprintln!("strangers: {}: {error}", self.name) },
            _ = stop.wait_for(|stop| *stop) => {}
        }
        done
    }
}

/// Opens connections without end, more than the router takes at once.
async fn open(router: SocketAddr, begun: &[u8], done: &mut u64) -> Result<(), Error> {
    const MOST: usize = 10_500;
    let mut open = VecDeque::new();
    loop {
        // Ports run out on one address; a flood has several.
        let from = [127, 0, 1, (*done / 5_000 % 4) as u8 + 1];
        match connect(from, router).await {
            Ok(mut stream) => {
                // One that was closed already is no matter.
                let _ = stream.write_all(begun).await;
                open.push_back(stream);
                *done += 1;
            }
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
        }
        if open.len() > MOST {
            open.pop_front();
        }
    }
}

/// Holds requests open on connections from as many addresses; returns when all connections have ended.
async fn hold(
    router: SocketAddr,
    (connections, addresses): (u8, u8),
    (streams, host, has_body): (u32, &'static str, bool),
    done: &mut u64,
) -> Result<(), Error> {
    let mut held = tokio::task::JoinSet::new();
    for at in 0..connections {
        let mut stream = connect([127, 0, 2, at % addresses + 1], router).await?;
        stream.write_all(GREETING).await?;
        for at in 0..streams {
            stream.write_all(&request(2 * at + 1, host, has_body)).await?;
            *done += 1;
        }
        held.spawn_local(read_all(stream));
    }
    while held.join_next().await.is_some() {}
    // The load is there as long as it is asked for.
    std::future::pending().await
}

/// Reads and forgets what comes.
async fn read_all(mut stream: TcpStream) {
    let mut room = vec![0; 64 * 1024];
    while matches!(stream.read(&mut room).await, Ok(1..)) {}
}

/// Sends the same frames again and again, and begins anew when the connection ends.
async fn flood(router: SocketAddr, frames: &[u8], done: &mut u64) -> Result<(), Error> {
    const STREAMS: u32 = 90;
    loop {
        let mut stream = connect([127, 0, 3, 1], router).await?;
        *done += 1;
        let mut begun = GREETING.to_vec();
        for at in 0..STREAMS {
            begun.extend(request(2 * at + 1, "silent", false));
        }
        // The end of the connection is what the router does about it.
        if stream.write_all(&begun).await.is_err() {
            continue;
        }
        let (mut reader, mut writer) = stream.split();
        let reading = async {
            let mut room = vec![0; 64 * 1024];
            while matches!(reader.read(&mut room).await, Ok(1..)) {}
        };
        let writing = async { while writer.write_all(frames).await.is_ok() {} };
        tokio::select! { () = reading => {}, () = writing => {} }
    }
}
