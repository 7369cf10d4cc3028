//! Requests at a steady pace, of which every answer is counted.

use super::way::Way;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::{JoinSet, spawn_local};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout};

/// Connections, each of which has one request under way at a time.
const CONNECTIONS: u32 = 8;

/// Requests a second, over all connections; and how many there must be in the end.
const RATE: u32 = 600;
const LEAST_RATE: u32 = 500;

/// How long a load lasts at least.
const LEAST_TIME: Duration = Duration::from_secs(2);

/// How long a load that is to stop may take to catch up, when something else had the machine.
const LATE: Duration = Duration::from_secs(30);

/// How long a request may take: longer than a router itself lets it.
const ANSWERED: Duration = Duration::from_secs(30);

/// What came back: how often each text, and what failed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answers {
    pub(crate) texts: BTreeMap<String, usize>,
    pub(crate) failures: Vec<String>,
}

/// A load that goes on until it is stopped.
#[derive(Debug)]
pub(crate) struct Load {
    answers: Rc<RefCell<Answers>>,
    stopping: Rc<Cell<bool>>,
    connections: JoinSet<()>,
    began: Instant,
    taken: usize,
}

impl Load {
    /// Sends GETs this way.
    pub(crate) fn start(way: &Way) -> Self {
        let (answers, stopping) = (Rc::<RefCell<Answers>>::default(), Rc::<Cell<bool>>::default());
        let mut connections = JoinSet::new();
        for _ in 0..CONNECTIONS {
            let (answers, stopping, way) = (Rc::clone(&answers), Rc::clone(&stopping), way.clone());
            connections.spawn_local(async move {
                let mut client = Client::connect(way.router).await;
                let mut ticks = interval(Duration::from_secs(1) * CONNECTIONS / RATE);
                // What a slow answer has delayed is caught up with.
                ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
                while !stopping.get() {
                    ticks.tick().await;
                    match client.get_of(&way.host, &way.path).await {
                        Ok((200, text)) => *answers.borrow_mut().texts.entry(text).or_default() += 1,
                        Ok((status, text)) => answers.borrow_mut().failures.push(format!("{status}: {text}")),
                        Err(error) => {
                            answers.borrow_mut().failures.push(error.to_string());
                            client = Client::connect(way.router).await;
                        }
                    }
                }
            });
        }
        Self { answers, stopping, connections, began: Instant::now(), taken: 0 }
    }

    /// The answers since this was last called.
    pub(crate) fn take(&mut self) -> Answers {
        let answers = self.answers.take();
        self.taken += answers.count();
        answers
    }

    /// Ends when there were as many requests as there must be in the time that it has lasted, and each was answered.
    pub(crate) async fn stop(mut self) -> Answers {
        sleep_until(self.began + LEAST_TIME).await;
        let asked = Instant::now();
        loop {
            let (count, lasted) = (self.taken + self.answers.borrow().count(), self.began.elapsed());
            if count as f64 >= lasted.as_secs_f64() * f64::from(LEAST_RATE) {
                break;
            }
            assert!(
                asked.elapsed() < LATE,
                "{count} requests in {lasted:?}, and {LEAST_RATE}/s are to be sent"
            );
            sleep(Duration::from_millis(20)).await;
        }
        self.stopping.set(true);
        while let Some(ended) = self.connections.join_next().await {
            ended.expect("no connection panics");
        }
        self.take()
    }
}

impl Answers {
    /// How many there were.
    pub(crate) fn count(&self) -> usize {
        self.texts.values().sum::<usize>() + self.failures.len()
    }

    /// Fails unless every request was answered well.
    pub(crate) fn assert_good(&self) -> &Self {
        let shown: Vec<_> = self.failures.iter().take(5).collect();
        assert!(self.failures.is_empty(), "{} of {} failed: {shown:#?}", self.failures.len(), self.count());
        self
    }

    /// Fails unless every request was answered by a pod: there was always one.
    pub(crate) fn assert_served(&self) {
        self.assert_good();
        assert!(!self.texts.contains_key("rest"), "{:?}", self.texts);
    }
}

/// One connection to the router.
pub(crate) struct Client(http1::SendRequest<Empty<Bytes>>);

impl Client {
    pub(crate) async fn connect(router: SocketAddr) -> Self {
        let stream = TcpStream::connect(router).await.expect("the router accepts");
        stream.set_nodelay(true).expect("it is open");
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.expect("it is open");
        // Its error is the request's as well.
        spawn_local(async move { drop(connection.await) });
        Self(sender)
    }

    /// Sends a GET; returns status and body.
    pub(crate) async fn get(&mut self, path: &str) -> hyper::Result<(u16, String)> {
        self.get_of("test", path).await
    }

    /// Sends a GET to a host; returns status and body.
    pub(crate) async fn get_of(&mut self, host: &str, path: &str) -> hyper::Result<(u16, String)> {
        let request = hyper::Request::get(path).header("host", host).body(Empty::new()).expect("a request");
        let answer = timeout(ANSWERED, async {
            self.0.ready().await?;
            let response = self.0.send_request(request).await?;
            let status = response.status().as_u16();
            let body = response.into_body().collect().await?.to_bytes();
            Ok((status, String::from_utf8_lossy(&body).into_owned()))
        });
        answer.await.unwrap_or_else(|_| panic!("{host} {path}: no answer after {ANSWERED:?}"))
    }
}
