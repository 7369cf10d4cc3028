//! The customer: one caller that asks for one name, steadily, and notes how it fares.

use super::child::Error;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

/// How often it asks.
const PERIOD: Duration = Duration::from_millis(50);

/// How long an answer may take before it counts as a failure.
const LIMIT: Duration = Duration::from_secs(5);

/// The customer of a router.
pub(crate) struct Customer {
    listener: SocketAddr,
    admin: SocketAddr,
}

/// What the customer has seen.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) failed: usize,
    /// How long each answer took that was one.
    answered: Vec<Duration>,
    /// How long each answer of `/admin/live` took, asked for on a connection of its own.
    pub(crate) live: Vec<Duration>,
}

impl Customer {
    pub(crate) fn new(listener: SocketAddr, admin: SocketAddr) -> Self {
        Self { listener, admin }
    }

    /// Asks for so long: its own name on one connection, and each time for another residual on a new one; and whether the
    /// router is alive.
    pub(crate) async fn ask_for(&self, duration: Duration) -> Seen {
        let (mut seen, began) = (Seen::default(), Instant::now());
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut kept = None;
        for n in 0.. {
            ticks.tick().await;
            if began.elapsed() > duration {
                break;
            }
            let (asked, is_new) = (Instant::now(), n % 2 == 1);
            // Its address is another than that of the load.
            let mut connection = if is_new { None } else { kept.take() };
            let path = if is_new { format!("/world/{n}") } else { "/world/steady".to_owned() };
            match timeout(LIMIT, ask(self.listener, &mut connection, &path)).await {
                Ok(Ok(true)) => seen.answered.push(asked.elapsed()),
                _ => seen.failed += 1,
            }
            if !is_new {
                kept = connection;
            }
            if n % 10 == 0 {
                let asked = Instant::now();
                let answered = timeout(LIMIT, ask(self.admin, &mut None, "/admin/live")).await;
                seen.live.push(if matches!(answered, Ok(Ok(true))) { asked.elapsed() } else { LIMIT });
            }
        }
        seen
    }
}

/// Asks for a path on a connection, or on a new one. Returns whether it was answered by 200.
async fn ask(at: SocketAddr, connection: &mut Option<TcpStream>, path: &str) -> Result<bool, Error> {
    if connection.is_none() {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from(([127, 0, 0, 2], 0)))?;
        *connection = Some(socket.connect(at).await?);
    }
    let stream = connection.as_mut().ok_or("no connection")?;
    stream.set_nodelay(true)?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: customer\r\n\r\n").as_bytes()).await?;
    let (mut answer, mut bytes) = (Vec::new(), [0; 4096]);
    loop {
        let read = stream.read(&mut bytes).await?;
        if read == 0 {
            return Err("the connection ended".into());
        }
        answer.extend_from_slice(&bytes[..read]);
        let text = String::from_utf8_lossy(&answer);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        if body.len() >= length.unwrap_or(0) {
            return Ok(head.starts_with("HTTP/1.1 200"));
        }
    }
}

impl Seen {
    /// Returns how many requests there were.
    pub(crate) fn asked(&self) -> usize {
        self.answered.len() + self.failed
    }

    /// Returns the median, the 99th percentile and the most of its answers.
    pub(crate) fn requests(&self) -> String {
        let mut sorted = self.answered.clone();
        sorted.sort_unstable();
        let at = |part: f64| Self::millis(sorted.get((sorted.len() as f64 * part) as usize));
        format!("{:.2}, {:.2}, {:.2} ms", at(0.5), at(0.99), Self::millis(sorted.last()))
    }

    pub(crate) fn millis(time: Option<&Duration>) -> f64 {
        time.map_or(0.0, |time| time.as_secs_f64() * 1000.0)
    }
}
