//! What strangers, and a careless trusted caller, ask for over HTTP/1: requests that differ, at a steady rate.

use super::connections::connect;
use super::process::Error;
use std::cell::Cell;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{MissedTickBehavior, interval};

/// How many connections send a load together.
const CONNECTIONS: u64 = 10;

/// How often each of them sends some requests.
const PERIOD: Duration = Duration::from_millis(20);

/// The requests of one load.
#[derive(Clone, Copy)]
pub(crate) struct Requests {
    /// How many are sent a second over all connections; they wait when they are not answered.
    pub(crate) rate: u64,
    /// Appends the request with a number, which is never sent twice.
    pub(crate) write: fn(u64, &mut String),
}

/// Appends a request.
pub(crate) fn write_request(to: &mut String, path: &str, overrides: &str) {
    let field = if overrides.is_empty() { String::new() } else { format!("l5d-dtab: {overrides}\r\n") };
    // Writing to a text cannot fail.
    let _ = write!(to, "GET {path} HTTP/1.1\r\nhost: stranger\r\n{field}\r\n");
}

/// Sends the requests of a load; counts those that are answered.
pub(crate) async fn send(
    listener: SocketAddr,
    requests: Requests,
    done: &Rc<Cell<u64>>,
) -> Result<(), Error> {
    let mut senders = tokio::task::JoinSet::new();
    for at in 0..CONNECTIONS {
        senders.spawn_local(send_part(at, listener, requests, Rc::clone(done)));
    }
    while let Some(ended) = senders.join_next().await {
        ended??;
    }
    Ok(())
}

/// Sends the part of one connection.
async fn send_part(
    at: u64,
    listener: SocketAddr,
    requests: Requests,
    done: Rc<Cell<u64>>,
) -> Result<(), Error> {
    let (mut read, mut write) = connect([127, 0, 0, 1], listener).await?.into_split();
    let reading = async {
        let mut bytes = vec![0; 65536];
        while let read @ 1.. = read.read(&mut bytes).await? {
            // A line that two reads have parts of is not counted: one in thousands.
            let lines = bytes[..read].windows(8).filter(|bytes| *bytes == b"HTTP/1.1").count();
            done.set(done.get() + lines as u64);
        }
        Ok(())
    };
    let writing = async {
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let in_a_tick = requests.rate * u64::try_from(PERIOD.as_millis())? / 1000 / CONNECTIONS;
        let mut text = String::new();
        for tick in 0.. {
            ticks.tick().await;
            text.clear();
            for n in tick * in_a_tick..(tick + 1) * in_a_tick {
                (requests.write)(n * CONNECTIONS + at, &mut text);
            }
            write.write_all(text.as_bytes()).await?;
        }
        Ok(())
    };
    tokio::select! { ended = reading => ended, ended = writing => ended }
}
