//! The customer: one caller on an address of its own that asks steadily, and notes how it fares.

use super::connections::connect;
use super::process::Error;
use super::router::{Router, Upstreams};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

/// How often it asks.
const PERIOD: Duration = Duration::from_millis(50);

/// How often a probe asks whether the router is alive, and how often a name is moved.
const SELDOM: Duration = Duration::from_millis(500);

/// How long an answer may take before it counts as a failure.
const LIMIT: Duration = Duration::from_secs(5);

/// The customer of a router.
pub(crate) struct Customer<'a> {
    pub(crate) router: &'a Router,
    pub(crate) upstreams: Upstreams,
}

/// What the customer has seen.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) failed: usize,
    /// How long each answer took that was one.
    pub(crate) answered: Times,
    /// How long each answer of `/admin/live` took.
    pub(crate) live: Times,
    /// How long each move of a name took until it was routed.
    pub(crate) moved: Times,
}

/// Some times.
#[derive(Default)]
pub(crate) struct Times(Vec<Duration>);

impl Customer<'_> {
    /// Asks for so long: for requests, for the life of the router, and for a name that is moved meanwhile.
    pub(crate) async fn ask_for(&self, duration: Duration) -> Seen {
        let until = Instant::now() + duration;
        let (mut seen, live, moved) = tokio::join!(self.ask(until), self.probe(until), self.move_name(until));
        (seen.live, seen.moved) = (live, moved);
        seen
    }

    /// Asks for its own name on one connection, and each second time on a new one for another residual.
    async fn ask(&self, until: Instant) -> Seen {
        let (mut seen, mut kept, mut ticks) = (Seen::default(), None, ticks(PERIOD));
        for n in 0.. {
            ticks.tick().await;
            if Instant::now() > until {
                break;
            }
            let (asked, is_new) = (Instant::now(), n % 2 == 1);
            let mut connection = if is_new { None } else { kept.take() };
            let path = if is_new { format!("/world/{n}") } else { "/world/steady".to_owned() };
            match timeout(LIMIT, ask(self.router.listener, &mut connection, &path)).await {
                Ok(Ok(answer)) if answer == "old" => seen.answered.0.push(asked.elapsed()),
                _ => seen.failed += 1,
            }
            if !is_new {
                kept = connection;
            }
        }
        seen
    }

    /// Asks whether the router is alive, each time on a new connection.
    async fn probe(&self, until: Instant) -> Times {
        let (mut times, mut ticks) = (Times::default(), ticks(SELDOM));
        while Instant::now() <= until {
            ticks.tick().await;
            let asked = Instant::now();
            let answered = timeout(LIMIT, ask(self.router.admin, &mut None, "/admin/live")).await;
            times.0.push(if matches!(answered, Ok(Ok(_))) { asked.elapsed() } else { LIMIT });
        }
        times
    }

    /// Moves a name to and fro, and asks for it until the other endpoint answers.
    async fn move_name(&self, until: Instant) -> Times {
        let (mut times, mut ticks, mut connection) = (Times::default(), ticks(SELDOM), None);
        for (to, answer) in [(self.upstreams.new, "new"), (self.upstreams.old, "old")].into_iter().cycle() {
            ticks.tick().await;
            if Instant::now() > until {
                break;
            }
            let moved = Instant::now();
            if let Err(error) = self.router.move_name(to) {
                eprintln!("hostile: a name cannot be moved: {error}");
                break;
            }
            while moved.elapsed() < LIMIT {
                match timeout(LIMIT, ask(self.router.listener, &mut connection, "/moved/x")).await {
                    Ok(Ok(answered)) if answered == answer => break,
                    Ok(Ok(_)) => sleep(Duration::from_millis(1)).await,
                    _ => connection = None,
                }
            }
            times.0.push(moved.elapsed());
        }
        times
    }
}

fn ticks(period: Duration) -> tokio::time::Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Asks for a path on a connection, or on a new one. Returns the body of the answer.
///
/// # Errors
///
/// The answer is not 200, or there is none.
async fn ask(at: SocketAddr, connection: &mut Option<TcpStream>, path: &str) -> Result<String, Error> {
    let stream = match connection {
        Some(stream) => stream,
        // Its address is another than those of the loads.
        None => connection.insert(connect([127, 0, 0, 2], at).await?),
    };
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes()).await?;
    let mut answer = Vec::new();
    loop {
        if stream.read_buf(&mut answer).await? == 0 {
            return Err("the connection ended".into());
        }
        let text = String::from_utf8_lossy(&answer);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        if body.len() >= length.unwrap_or(0) {
            return if head.starts_with("HTTP/1.1 200") { Ok(body.to_owned()) } else { Err(head.into()) };
        }
    }
}

impl Seen {
    /// Returns how many requests there were.
    pub(crate) fn asked(&self) -> usize {
        self.answered.0.len() + self.failed
    }
}

impl Times {
    /// The time within which half of them lie, 99 of 100, and all, in milliseconds.
    pub(crate) fn shares(&self) -> String {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let at = |share: f64| {
            let last = sorted.len().saturating_sub(1);
            let time = sorted.get((last as f64 * share).ceil() as usize);
            time.map_or(0.0, |time| time.as_secs_f64() * 1e3)
        };
        format!("{:.1}, {:.1}, {:.1}", at(0.5), at(0.99), at(1.0))
    }

    /// The longest, in milliseconds.
    pub(crate) fn longest(&self) -> f64 {
        self.0.iter().max().map_or(0.0, |time| time.as_secs_f64() * 1e3)
    }
}
