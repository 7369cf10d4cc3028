//! The loads: what strangers, and a careless trusted caller, do.

use super::connections::{Held, HeldBody, flood, hold, open, pings, toggles};
use super::process::Error;
use super::requests::{Asked, Requests, send};
use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use tokio::sync::watch;

/// One load.
pub(crate) struct Load {
    pub(crate) name: &'static str,
    /// Whether the listener trusts it: only then are there overrides.
    pub(crate) is_trusted: bool,
    /// How many times the usual time it lasts.
    pub(crate) times: u32,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    /// Requests over HTTP/1, or HTTP/2.
    Requests(Requests),
    /// Connections without end, each with these bytes.
    Connections(&'static [u8]),
    /// Requests over HTTP/2 that are held open.
    Held(Held),
    /// A connection with streams open, on which these frames come without end; a new one when it ends.
    Frames(fn() -> Vec<u8>),
}

const fn requests(
    name: &'static str,
    rate: Option<u64>,
    is_trusted: bool,
    times: u32,
    make: fn(u64) -> Asked,
) -> Load {
    Load { name, is_trusted, times, kind: Kind::Requests(Requests { rate, make }) }
}

/// Names of strangers, so many a second.
const fn names(name: &'static str, path: fn(u64) -> Asked) -> Load {
    requests(name, Some(5_000), false, 1, path)
}

fn plain(path: String) -> Asked {
    Asked { path, overrides: String::new() }
}

/// A request for a name that is there, under overrides.
fn overridden(overrides: String) -> Asked {
    Asked { path: "/world/steady".to_owned(), overrides }
}

/// Overrides that make as many lookups as are allowed.
fn many_lookups(n: u64) -> Asked {
    let branches = vec!["/any/x"; 140].join(" & ");
    overridden(format!("/x{n} => /y; /svc/world => {branches}"))
}

const fn others(name: &'static str, kind: Kind) -> Load {
    Load { name, is_trusted: false, times: 1, kind }
}

pub(crate) const LOADS: &[Load] = &[
    names("5,000 names a second that are no file", |n| plain(format!("/n{n}/x"))),
    names("5,000 names a second that are no service in Kubernetes", |n| plain(format!("/pods/n{n}"))),
    names("5,000 names a second that all lead to one file", |n| plain(format!("/any/n{n}"))),
    names("5,000 names a second of `io.l5d.inet`, each another port", |n| {
        plain(format!("/inet/{}", n % 65_536))
    }),
    requests("small overrides, as many as are answered", Some(50_000), true, 4, |n| {
        overridden(format!("/x{n} => /y"))
    }),
    requests("overrides of 300 lookups", Some(50_000), true, 1, many_lookups),
    requests("the same over HTTP/2, 10 x 1,000 streams at once", None, true, 1, many_lookups),
    requests("overrides of 8 KB that lead to 100 names each", Some(50_000), true, 1, |n| {
        let branches = (0..100).map(|at| format!("/any/n{n}-{at}/{}", "y".repeat(50)));
        overridden(format!("/svc/world => {}", branches.collect::<Vec<_>>().join(" & ")))
    }),
    others("connections that say nothing, without end", Kind::Connections(b"")),
    others("connections that begin a head, without end", Kind::Connections(b"GET / HTTP/1.1\r\nHost: wor")),
    others("3,600 bodies that never come, on 4 connections", held(4, 1, 900, "/world/x", HeldBody::Silent)),
    others("1,600 bodies that never come, on 16 connections", held(16, 1, 100, "/world/x", HeldBody::Silent)),
    // It lasts for longer than such bodies may be silent.
    Load {
        times: 4,
        ..others(
            "800 bodies that never come, 8 from each of 100 addresses",
            held(100, 100, 8, "/world/x", HeldBody::Silent),
        )
    },
    others(
        "100 connections x 100 requests that are not answered, from one address",
        held(100, 1, 100, "/silent/x", HeldBody::None),
    ),
    others(
        "the same, each connection from an address of its own",
        held(100, 100, 100, "/silent/x", HeldBody::None),
    ),
    others(
        "the same with bodies, of which nothing is passed on",
        held(100, 100, 100, "/silent/x", HeldBody::Windows),
    ),
    others("SETTINGS that toggle the window of 90 streams", Kind::Frames(toggles)),
    others("PING in the same way", Kind::Frames(pings)),
];

const fn held(connections: u8, addresses: u8, streams: u32, path: &'static str, body: HeldBody) -> Kind {
    Kind::Held(Held { connections, addresses, streams, path, body })
}

impl Load {
    /// Loads a listener until it is stopped; returns how much was done: requests answered or held open, or connections.
    pub(crate) async fn run(&self, listener: SocketAddr, mut stop: watch::Receiver<bool>) -> u64 {
        let done = Rc::<Cell<u64>>::default();
        let loading = async {
            match self.kind {
                Kind::Requests(requests) => send(listener, requests, &done).await,
                Kind::Connections(begun) => open(listener, begun, &done).await,
                Kind::Held(held) => hold(listener, held, &done).await,
                Kind::Frames(frames) => flood(listener, &frames(), &done).await,
            }
        };
        let ended: Result<(), Error> = tokio::select! {
            ended = loading => ended,
            _ = stop.wait_for(|stop| *stop) => Ok(()),
        };
        if let Err(error) = ended {
            eprintln!("hostile: {}: {error}", self.name);
        }
        done.get()
    }
}
