//! The callers: each has one request under way at a time, on a keep-alive connection of its own over HTTP/1, on one of
//! the streams of a connection over HTTP/2.

mod http1;
mod http2;

use super::child::{Child, Core, Error, commands, on_one_thread};
use super::exchange::{Exchange, Protocol};
use tokio::task::JoinSet;

/// The process that makes the requests.
pub(crate) struct Load {
    process: Child,
    callers: usize,
}

/// The callers that make them: as many as there are streams, over HTTP/1 as there are connections.
#[derive(Clone, Copy)]
pub(crate) struct Callers {
    pub(crate) exchange: Exchange,
    pub(crate) connections: usize,
    /// How many each connection has; one, over HTTP/1.
    pub(crate) streams: usize,
}

impl Load {
    pub(crate) fn start() -> Result<Self, Error> {
        Ok(Self { process: Child::start(Core::Others, &["load"])?, callers: 0 })
    }

    /// Opens connections, beside those that are there; each caller asks once.
    pub(crate) fn open(&mut self, address: &str, protocol: Protocol, callers: Callers) -> Result<(), Error> {
        let Callers { exchange, connections, streams } = callers;
        self.callers += connections * streams;
        let protocol = protocol.name();
        self.process.ask(&format!("open {address} {protocol} {exchange} {connections} {streams}"))
    }

    /// Makes about so many requests, each caller as many as the others; says how many it were.
    pub(crate) fn run(&mut self, requests: usize) -> Result<usize, Error> {
        let each = (requests / self.callers).max(1);
        self.process.ask(&format!("run {each}"))?;
        Ok(each * self.callers)
    }

    pub(crate) fn close(&mut self) -> Result<(), Error> {
        self.callers = 0;
        self.process.ask("close")
    }
}

/// A caller that makes one request after the other.
enum Caller {
    Http1(http1::Caller),
    Http2(http2::Caller),
}

impl Caller {
    /// Makes one request and reads its answer.
    async fn ask(&mut self) -> Result<(), Error> {
        match self {
            Self::Http1(caller) => caller.ask().await,
            Self::Http2(caller) => caller.ask().await,
        }
    }
}

/// Does what a [`Load`] tells it.
pub(crate) fn run() -> Result<(), Error> {
    let mut commands = commands();
    on_one_thread(async {
        let mut callers = Vec::new();
        while let Some(command) = commands.recv().await {
            match obey(&command, &mut callers).await {
                Ok(()) => println!("done"),
                Err(error) => println!("{error}"),
            }
        }
        Ok(())
    })
}

async fn obey(command: &str, callers: &mut Vec<Caller>) -> Result<(), Error> {
    match command.split(' ').collect::<Vec<_>>()[..] {
        ["open", address, protocol, exchange, connections, streams] => {
            let (protocol, exchange) = (protocol.parse()?, exchange.parse()?);
            for _ in 0..connections.parse()? {
                let mut opened = open(address, protocol, exchange, streams.parse()?).await?;
                for caller in &mut opened {
                    caller.ask().await?;
                }
                callers.append(&mut opened);
            }
        }
        ["run", each] => {
            let each = each.parse()?;
            let mut running = JoinSet::new();
            for mut caller in callers.drain(..) {
                running.spawn_local(async move {
                    for _ in 0..each {
                        caller.ask().await?;
                    }
                    Ok::<_, Error>(caller)
                });
            }
            while let Some(ended) = running.join_next().await {
                callers.push(ended??);
            }
        }
        ["close"] => callers.clear(),
        _ => return Err(format!("unknown command: {command}").into()),
    }
    Ok(())
}

/// The callers of one connection.
async fn open(
    address: &str,
    protocol: Protocol,
    exchange: Exchange,
    streams: usize,
) -> Result<Vec<Caller>, Error> {
    Ok(match protocol {
        Protocol::Http1 => vec![Caller::Http1(http1::Caller::connect(address, exchange).await?)],
        Protocol::Http2 => {
            let caller = http2::Caller::connect(address, exchange).await?;
            std::iter::repeat_n(caller, streams).map(Caller::Http2).collect()
        }
    })
}
