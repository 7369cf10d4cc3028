//! What strangers, and a careless trusted caller, ask for: requests that differ, over HTTP/1 at a steady rate, or over HTTP/2
//! as many streams at once as the router allows.

use super::connections::connect;
use super::process::Error;
use std::cell::Cell;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

/// How many connections send a load together.
const CONNECTIONS: u64 = 10;

/// How often each of them sends some requests.
const PERIOD: Duration = Duration::from_millis(20);

/// How many streams a connection has at once: as many as a trusted caller may have.
const STREAMS: usize = 1_000;

/// The requests of one load.
#[derive(Clone, Copy)]
pub(crate) struct Requests {
    /// How many are sent a second over all connections; they wait when they are not answered. None are streams: each begins
    /// when one before it has ended.
    pub(crate) rate: Option<u64>,
    /// Makes the request with a number, which is never sent twice.
    pub(crate) make: fn(u64) -> Asked,
}

/// What one request asks for.
pub(crate) struct Asked {
    pub(crate) path: String,
    /// Empty without overrides.
    pub(crate) overrides: String,
}

/// Sends the requests of a load; counts those that are answered.
pub(crate) async fn send(
    listener: SocketAddr,
    requests: Requests,
    done: &Rc<Cell<u64>>,
) -> Result<(), Error> {
    let mut senders = JoinSet::new();
    for at in 0..CONNECTIONS {
        match requests.rate {
            Some(rate) => {
                senders.spawn_local(send_part(at, listener, (rate, requests.make), Rc::clone(done)))
            }
            None => senders.spawn_local(send_streams(at, listener, requests.make, Rc::clone(done))),
        };
    }
    while let Some(ended) = senders.join_next().await {
        ended??;
    }
    Ok(())
}

/// Sends the part of one connection over HTTP/2.
async fn send_streams(
    at: u64,
    listener: SocketAddr,
    make: fn(u64) -> Asked,
    done: Rc<Cell<u64>>,
) -> Result<(), Error> {
    let stream = connect([127, 0, 0, 1], listener).await?;
    let (mut sender, connection) = h2::client::handshake(stream).await?;
    let _connection = {
        let mut running = JoinSet::new();
        running.spawn_local(async move { drop(connection.await) });
        running
    };
    let mut answers = JoinSet::new();
    for n in 0.. {
        // The library takes any number, and keeps those that the router does not allow yet.
        while answers.len() >= STREAMS {
            answers.join_next().await;
        }
        sender = sender.ready().await?;
        let Asked { path, overrides } = make(n * CONNECTIONS + at);
        let request =
            http::Request::get(format!("http://stranger{path}")).header("l5d-dtab", overrides).body(())?;
        let (answer, _) = sender.send_request(request, true)?;
        let done = Rc::clone(&done);
        answers.spawn_local(async move {
            if answer.await.is_ok() {
                done.set(done.get() + 1);
            }
        });
    }
    Ok(())
}

/// Sends the part of one connection over HTTP/1.
async fn send_part(
    at: u64,
    listener: SocketAddr,
    (rate, make): (u64, fn(u64) -> Asked),
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
        let in_a_tick = rate * u64::try_from(PERIOD.as_millis())? / 1000 / CONNECTIONS;
        let mut text = String::new();
        for tick in 0.. {
            ticks.tick().await;
            text.clear();
            for n in tick * in_a_tick..(tick + 1) * in_a_tick {
                let Asked { path, overrides } = make(n * CONNECTIONS + at);
                let field =
                    if overrides.is_empty() { String::new() } else { format!("l5d-dtab: {overrides}\r\n") };
                write!(text, "GET {path} HTTP/1.1\r\nhost: stranger\r\n{field}\r\n")?;
            }
            write.write_all(text.as_bytes()).await?;
        }
        Ok(())
    };
    tokio::select! { ended = reading => ended, ended = writing => ended }
}
