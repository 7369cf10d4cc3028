//! The callers: keep-alive connections from raw sockets, each with one request under way at a time.

use super::child::{Error, commands, on_one_thread};
use super::upstream::{BODY, STABLE, STAGED};
use std::fmt;
use std::str::FromStr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// What is asked.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// The service as everyone gets it.
    Plain,
    /// Its other version, by an override of 30 bytes.
    Overriding,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "plain",
            Self::Overriding => "overriding",
        })
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "plain" => Ok(Self::Plain),
            "overriding" => Ok(Self::Overriding),
            _ => Err(format!("unknown kind of request: {text}")),
        }
    }
}

impl Kind {
    fn request(self) -> &'static [u8] {
        match self {
            Self::Plain => {
                b"GET /a/path HTTP/1.1\r\nHost: world\r\nUser-Agent: loopback\r\nAccept: */*\r\n\
                Accept-Encoding: gzip\r\n\r\n"
            }
            Self::Overriding => {
                b"GET /a/path HTTP/1.1\r\nHost: world\r\nUser-Agent: loopback\r\nAccept: */*\r\n\
                Accept-Encoding: gzip\r\nl5d-dtab: /host/world => /srv/world-v2;\r\n\r\n"
            }
        }
    }

    /// What the answer's body consists of.
    fn version(self) -> u8 {
        match self {
            Self::Plain => STABLE,
            Self::Overriding => STAGED,
        }
    }
}

/// One keep-alive connection.
struct Caller {
    stream: TcpStream,
    kind: Kind,
    answer: Vec<u8>,
}

/// Does what it is told: `open <address> <kind> <count>`, `run <requests>`, `close`.
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
        ["open", address, kind, count] => {
            for _ in 0..count.parse()? {
                let mut caller = Caller::connect(address, kind.parse()?).await?;
                caller.ask().await?;
                callers.push(caller);
            }
        }
        ["run", requests] => {
            let each = requests.parse::<usize>()? / callers.len();
            let mut running = JoinSet::new();
            for mut caller in callers.drain(..) {
                running.spawn_local(async move {
                    for _ in 0..each {
                        caller.ask().await?;
                    }
                    Ok::<_, String>(caller)
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

impl Caller {
    async fn connect(address: &str, kind: Kind) -> Result<Self, Error> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, kind, answer: Vec::with_capacity(4096) })
    }

    /// Makes one request and reads its answer.
    async fn ask(&mut self) -> Result<(), String> {
        self.answer.clear();
        let said = |error: std::io::Error| error.to_string();
        self.stream.write_all(self.kind.request()).await.map_err(said)?;
        loop {
            if self.stream.read_buf(&mut self.answer).await.map_err(said)? == 0 {
                return Err("the connection was closed".to_owned());
            }
            let head = self.answer.windows(4).position(|end| end == b"\r\n\r\n");
            if head.is_some_and(|head| self.answer.len() >= head + 4 + BODY) {
                break;
            }
        }
        let right =
            self.answer.starts_with(b"HTTP/1.1 200 ") && self.answer.ends_with(&[self.kind.version()]);
        right.then_some(()).ok_or_else(|| format!("an unexpected answer: {}", self.answer.escape_ascii()))
    }
}
