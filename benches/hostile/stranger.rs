//! The loads: what strangers, and a careless trusted caller, send.

use super::child::Error;
use std::cell::Cell;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// How many connections send a load together.
const CONNECTIONS: u64 = 10;

/// How often each of them sends some requests.
const PERIOD: Duration = Duration::from_millis(20);

/// One hostile load.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// How many requests a second are sent over all connections; they wait when they are not answered.
    rate: u64,
    /// Whether the listener trusts the load: only then are there overrides.
    pub(crate) is_trusted: bool,
    /// Appends the request with a number, which is never sent twice.
    request: fn(u64, &mut String),
}

pub(crate) const ROWS: &[Row] = &[
    Row {
        name: "5,000 hosts a second that are no file",
        rate: 5_000,
        is_trusted: false,
        request: |n, to| write_request(to, &format!("/n{n}/x"), ""),
    },
    Row {
        name: "5,000 hosts a second that are no service in Kubernetes",
        rate: 5_000,
        is_trusted: false,
        request: |n, to| write_request(to, &format!("/pods/n{n}"), ""),
    },
    Row {
        name: "5,000 names a second that all lead to one file",
        rate: 5_000,
        is_trusted: false,
        request: |n, to| write_request(to, &format!("/any/n{n}"), ""),
    },
    Row {
        name: "as many small overrides as are answered",
        rate: 50_000,
        is_trusted: true,
        request: |n, to| write_request(to, "/world/steady", &format!("/x{n} => /y")),
    },
    Row {
        name: "overrides of 300 lookups",
        rate: 50_000,
        is_trusted: true,
        request: |n, to| {
            let branches = vec!["/any/x"; 140].join(" & ");
            write_request(to, "/world/steady", &format!("/x{n} => /y; /svc/world => {branches}"));
        },
    },
    Row {
        name: "overrides of 8 KB that lead to 100 names each",
        rate: 50_000,
        is_trusted: true,
        request: |n, to| {
            let branches = (0..100).map(|at| format!("/any/n{n}-{at}/{}", "y".repeat(50)));
            let branches = branches.collect::<Vec<_>>().join(" & ");
            write_request(to, "/world/steady", &format!("/svc/world => {branches}"));
        },
    },
];

fn write_request(to: &mut String, path: &str, overrides: &str) {
    let field = if overrides.is_empty() { String::new() } else { format!("l5d-dtab: {overrides}\r\n") };
    // Writing to a text cannot fail.
    let _ = write!(to, "GET {path} HTTP/1.1\r\nhost: stranger\r\n{field}\r\n");
}

impl Row {
    /// Sends the load for so long. Returns how many requests were answered.
    pub(crate) fn run(
        &self,
        listener: SocketAddr,
        duration: Duration,
    ) -> impl Future<Output = Result<u64, Error>> + use<> {
        let (rate, request) = (self.rate, self.request);
        async move {
            let mut senders = tokio::task::JoinSet::new();
            for at in 0..CONNECTIONS {
                senders.spawn_local(send(at, rate, request, listener, duration));
            }
            let mut answered = 0;
            while let Some(ended) = senders.join_next().await {
                answered += ended??;
            }
            Ok(answered)
        }
    }
}

/// Sends the part of one connection. Returns how many of its requests were answered.
async fn send(
    at: u64,
    rate: u64,
    request: fn(u64, &mut String),
    listener: SocketAddr,
    duration: Duration,
) -> Result<u64, Error> {
    let stream = TcpStream::connect(listener).await?;
    stream.set_nodelay(true)?;
    let (mut read, mut write) = stream.into_split();
    let answered = Rc::new(Cell::new(0));
    let counted = Rc::clone(&answered);
    let reading = tokio::task::spawn_local(async move {
        let mut bytes = vec![0; 65536];
        while let Ok(read @ 1..) = read.read(&mut bytes).await {
            // A line that two reads have parts of is not counted: one in thousands.
            let lines = bytes[..read].windows(8).filter(|bytes| *bytes == b"HTTP/1.1").count();
            counted.set(counted.get() + lines as u64);
        }
    });
    let (mut ticks, began) = (interval(PERIOD), Instant::now());
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let in_a_tick = rate * u64::try_from(PERIOD.as_millis())? / 1000 / CONNECTIONS;
    let (mut sent, mut text) = (0, String::new());
    while began.elapsed() < duration {
        ticks.tick().await;
        text.clear();
        for _ in 0..in_a_tick {
            request(sent * CONNECTIONS + at, &mut text);
            sent += 1;
        }
        let left = duration.saturating_sub(began.elapsed());
        // A router that does not answer does not end the row late.
        match tokio::time::timeout(left, write.write_all(text.as_bytes())).await {
            Ok(written) => written?,
            Err(_) => break,
        }
    }
    reading.abort();
    Ok(answered.get())
}
