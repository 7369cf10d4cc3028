//! The customer: it asks for one name again and again over HTTP/1, in turn on a connection that it keeps and on a new one.

use super::process::{Error, on_one_thread};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, sleep_until, timeout};

/// How often it asks.
const EVERY: Duration = Duration::from_millis(20);

/// How long it waits for an answer.
const LONGEST: Duration = Duration::from_secs(5);

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: world\r\n\r\n";

/// What became of its requests.
pub(crate) struct Figures {
    pub(crate) asked: usize,
    pub(crate) failed: usize,
    /// The times of those that were answered, sorted.
    answered: Vec<Duration>,
}

impl Figures {
    /// The time within which half of the answers came, 99 of 100, and all.
    pub(crate) fn times(&self) -> String {
        let at = |share: f64| {
            let last = self.answered.len().saturating_sub(1);
            let time = self.answered.get((last as f64 * share).ceil() as usize);
            time.map_or(0.0, |time| time.as_secs_f64() * 1e3)
        };
        format!("{:.1}, {:.1}, {:.1}", at(0.5), at(0.99), at(1.0))
    }
}

/// Asks for so long.
pub(crate) fn run(router: SocketAddr, time: Duration) -> Result<Figures, Error> {
    let mut figures = Figures { asked: 0, failed: 0, answered: Vec::new() };
    on_one_thread(async {
        let began = Instant::now();
        let mut kept = None;
        while began.elapsed() < time {
            let due = Instant::now();
            figures.asked += 1;
            let answered = if figures.asked.is_multiple_of(2) {
                timeout(LONGEST, ask(&mut None, router)).await
            } else {
                timeout(LONGEST, ask(&mut kept, router)).await
            };
            match answered {
                Ok(Ok(())) => figures.answered.push(due.elapsed()),
                _ => {
                    figures.failed += 1;
                    kept = None;
                }
            }
            sleep_until(due + EVERY).await;
        }
        Ok(())
    })?;
    figures.answered.sort();
    Ok(figures)
}

/// Connects from an address of this machine.
pub(crate) async fn connect(from: [u8; 4], to: SocketAddr) -> Result<TcpStream, Error> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(IpAddr::from(from), 0))?;
    let stream = socket.connect(to).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Asks once, on a connection that is opened if there is none.
async fn ask(connection: &mut Option<TcpStream>, router: SocketAddr) -> Result<(), Error> {
    let stream = match connection {
        Some(stream) => stream,
        None => connection.insert(connect([127, 0, 0, 2], router).await?),
    };
    stream.write_all(REQUEST).await?;
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\nhi") {
        if stream.read_buf(&mut read).await? == 0 {
            return Err("the connection ended".into());
        }
    }
    if read.starts_with(b"HTTP/1.1 200 ") { Ok(()) } else { Err("it is not the answer".into()) }
}
