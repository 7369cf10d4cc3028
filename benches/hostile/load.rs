//! The loads: what strangers, and a careless trusted caller, do.

use super::connections::{Held, flood, hold, open, pings, toggles};
use super::process::Error;
use super::requests::{Requests, send, write_request};
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
    /// Requests over HTTP/1.
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
    rate: u64,
    is_trusted: bool,
    times: u32,
    write: fn(u64, &mut String),
) -> Load {
    Load { name, is_trusted, times, kind: Kind::Requests(Requests { rate, write }) }
}

const fn others(name: &'static str, kind: Kind) -> Load {
    Load { name, is_trusted: false, times: 1, kind }
}

pub(crate) const LOADS: &[Load] = &[
    requests("5,000 names a second that are no file", 5_000, false, 1, |n, to| {
        write_request(to, &format!("/n{n}/x"), "");
    }),
    requests("5,000 names a second that are no service in Kubernetes", 5_000, false, 1, |n, to| {
        write_request(to, &format!("/pods/n{n}"), "");
    }),
    requests("5,000 names a second that all lead to one file", 5_000, false, 1, |n, to| {
        write_request(to, &format!("/any/n{n}"), "");
    }),
    requests("5,000 names a second of `io.l5d.inet`, each another port", 5_000, false, 1, |n, to| {
        write_request(to, &format!("/inet/{}", n % 65_536), "");
    }),
    requests("small overrides, as many as are answered", 50_000, true, 4, |n, to| {
        write_request(to, "/world/steady", &format!("/x{n} => /y"));
    }),
    requests("overrides of 300 lookups", 50_000, true, 1, |n, to| {
        let branches = vec!["/any/x"; 140].join(" & ");
        write_request(to, "/world/steady", &format!("/x{n} => /y; /svc/world => {branches}"));
    }),
    requests("overrides of 8 KB that lead to 100 names each", 50_000, true, 1, |n, to| {
        let branches = (0..100).map(|at| format!("/any/n{n}-{at}/{}", "y".repeat(50)));
        let branches = branches.collect::<Vec<_>>().join(" & ");
        write_request(to, "/world/steady", &format!("/svc/world => {branches}"));
    }),
    others("connections that say nothing, without end", Kind::Connections(b"")),
    others("connections that begin a head, without end", Kind::Connections(b"GET / HTTP/1.1\r\nHost: wor")),
    others("3,600 bodies that never come, on 4 connections", held(4, 1, 900, "/world/x", true)),
    others("1,600 bodies that never come, on 16 connections", held(16, 1, 100, "/world/x", true)),
    others("800 bodies that never come, 8 from each of 100 addresses", held(100, 100, 8, "/world/x", true)),
    others(
        "100 connections x 100 requests that are not answered, from one address",
        held(100, 1, 100, "/silent/x", false),
    ),
    others("the same, each connection from an address of its own", held(100, 100, 100, "/silent/x", false)),
    others("SETTINGS that toggle the window of 90 streams", Kind::Frames(toggles)),
    others("PING in the same way", Kind::Frames(pings)),
];

const fn held(connections: u8, addresses: u8, streams: u32, path: &'static str, has_body: bool) -> Kind {
    Kind::Held(Held { connections, addresses, streams, path, has_body })
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
