//! What a proxy keeps in memory: when it has just started, for connections that wait, and under load.

use super::child::{Child, Error};
use super::exchange::{Exchange, Protocol};
use super::load::{Callers, Load};

/// What was resident, in bytes.
#[derive(Default)]
pub(crate) struct Memory {
    /// After one request.
    pub(crate) started: u64,
    /// With many connections that made one request and wait, over HTTP/1 and over HTTP/2.
    pub(crate) idle: [u64; 2],
    /// How much that is for each of them.
    pub(crate) each: [f64; 2],
    /// At most, under load: small bodies over HTTP/1, large ones over HTTP/2.
    pub(crate) loaded: [u64; 2],
}

/// What the load is: 32 connections over HTTP/1, 64 streams over HTTP/2.
const LOADS: [(Protocol, Callers); 2] = [
    (Protocol::Http1, Callers { exchange: Exchange::get(1024), connections: 32, streams: 1 }),
    (Protocol::Http2, Callers { exchange: Exchange::get(1 << 20), connections: 8, streams: 8 }),
];

/// Measures one kind of proxy, in fresh processes, with so many connections that wait, and under so many requests of 1
/// KiB and a hundredth as many of 1 MiB.
pub(crate) fn measure(
    load: &mut Load,
    start: impl Fn(Protocol) -> Result<(Child, String), Error>,
    connections: usize,
    requests: usize,
) -> Result<Memory, Error> {
    let mut memory = Memory::default();
    for (at, (protocol, callers)) in LOADS.into_iter().enumerate() {
        let (proxy, address) = start(protocol)?;
        let waiting = |connections| Callers { exchange: Exchange::get(1024), connections, streams: 1 };
        load.open(&address, protocol, waiting(1))?;
        if protocol == Protocol::Http1 {
            memory.started = proxy.resident()?;
        }
        // Some come before, so that what is made once, or lent from one to the other, is not counted.
        load.open(&address, protocol, waiting(connections / 10))?;
        let before = proxy.resident()?;
        load.open(&address, protocol, waiting(connections))?;
        memory.idle[at] = proxy.resident()?;
        memory.each[at] = memory.idle[at].saturating_sub(before) as f64 / connections as f64;
        load.close()?;

        let (proxy, address) = start(protocol)?;
        load.open(&address, protocol, callers)?;
        load.run(if protocol == Protocol::Http1 { requests } else { requests / 100 })?;
        memory.loaded[at] = proxy.most_resident()?;
        load.close()?;
    }
    Ok(memory)
}
