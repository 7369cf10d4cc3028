//! The test kit: the real app from YAML text, and both of its ends as scripts of literal bytes.
//!
//! Nothing sleeps. Whatever waits does so under a limit, so that a defect shows as a failure and not as a test that
//! hangs; where time itself is the matter, [`time_flies`] pauses the clock.

mod app;
mod dns;
pub(crate) mod either;
pub(crate) mod grpc;
pub(crate) mod http2;
mod kubernetes;
mod message;
mod names;
mod process;
mod team;
pub(crate) mod tls;
mod upstream;
pub(crate) mod web_socket;
mod wire;

pub(crate) use self::app::{TestApp, one_router, read, routing_to, speaking, with_servers};
pub(crate) use self::dns::DnsServer;
pub(crate) use self::kubernetes::{
    ApiServer, Streams, config_map, dtab, endpoints, ingress, pod, sandbox, service, slice, tls_secret,
};
pub(crate) use self::message::Message;
pub(crate) use self::names::{Names, dead_address};
pub(crate) use self::process::{Serving, address, run, signpost};
pub(crate) use self::team::Team;
pub(crate) use self::upstream::{Service, Upstream, ok};
pub(crate) use self::wire::{Wire, Writer};

use std::cell::Cell;
use std::future::Future;
use std::time::Duration;
use tokio::time;

/// How long anything may take while the clock runs.
const LIMIT: Duration = Duration::from_secs(20);

/// How long anything may take while the clock is paused: longer than any limit of the router.
const PAUSED_LIMIT: Duration = Duration::from_secs(24 * 60 * 60);

thread_local! {
    static PAUSED: Cell<bool> = const { Cell::new(false) };
}

/// Drives `work` to its end, and fails when that takes too long.
pub(crate) async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    let limit = if PAUSED.get() { PAUSED_LIMIT } else { LIMIT };
    match time::timeout(limit, work).await {
        Ok(done) => done,
        Err(_) => panic!("{what} takes more than {limit:?}"),
    }
}

/// Drives `work` on a paused clock: as soon as nothing else can go on, time passes at once. Returns also how much.
pub(crate) async fn time_flies<T>(work: impl Future<Output = T>) -> (T, Duration) {
    time::pause();
    PAUSED.set(true);
    let began = time::Instant::now();
    let done = within("what waits for time", work).await;
    let passed = began.elapsed();
    PAUSED.set(false);
    time::resume();
    (done, passed)
}

/// Asks until it is so, while time flies: pauses after failures are not waited for.
pub(crate) async fn soon(mut answers: impl AsyncFnMut() -> bool) {
    let asking = async {
        while !answers().await {
            time::sleep(Duration::from_millis(20)).await;
        }
    };
    time_flies(asking).await;
}

/// Asks `answers` again and again until it says yes. Each question has to do some I/O.
pub(crate) async fn until(what: &str, mut answers: impl AsyncFnMut() -> bool) {
    let asking = async {
        while !answers().await {
            tokio::task::yield_now().await;
        }
    };
    within(what, asking).await;
}
