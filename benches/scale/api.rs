//! The API server: lists, page by page or streamed, and watches. It holds every object as the text that it sends, so
//! that it is not what is waited for.

mod question;
mod state;

use self::question::{Question, Resource};
use self::state::{Event, State};
use super::cluster::Size;
use super::process::{Error, on_one_thread};
use bytes::Bytes;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, mpsc};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::WriteHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio::time::timeout;

/// The API server, on a thread of its own that ends with the process.
pub(crate) struct Api {
    pub(crate) address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Api {
    /// Starts the server of a cluster whose pods all serve at one port.
    pub(crate) fn start(size: Size, port: u16) -> Result<Self, Error> {
        let state = Arc::new(Mutex::new(State::new(size, port)));
        let serving = Arc::clone(&state);
        let (sender, address) = mpsc::channel();
        std::thread::spawn(move || {
            on_one_thread(async move {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
                sender.send(listener.local_addr()?)?;
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::task::spawn_local(serve(stream, Arc::clone(&serving)));
                }
                Ok(())
            })
        });
        Ok(Self { address: address.recv()?, state })
    }

    /// Says whether lists are streamed, or asked for page by page because that is refused.
    pub(crate) fn stream_lists(&self, streams: bool) {
        lock(&self.state).streams = streams;
    }

    /// Moves a service to another pod. When the first watch is told, the time is set.
    pub(crate) fn change(&self, service: usize, generation: u16) -> Arc<OnceLock<Instant>> {
        lock(&self.state).change(service, generation)
    }

    /// Ends every watch, and forgets all that was before: a watch that goes on from there is told 410.
    pub(crate) fn forget(&self) {
        lock(&self.state).forget();
    }

    /// How many complete lists were sent so far.
    pub(crate) fn lists(&self) -> usize {
        lock(&self.state).lists
    }

    /// How many bytes the objects have.
    pub(crate) fn bytes(&self) -> usize {
        lock(&self.state).bytes()
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Serves one connection; its end, however it comes, ends this.
async fn serve(mut stream: TcpStream, state: Arc<Mutex<State>>) -> Result<(), Error> {
    stream.set_nodelay(true)?;
    while let Some(question) = read(&mut stream).await? {
        if question.stream && !lock(&state).streams {
            answer(&mut stream, "422 Unprocessable Entity", &status(422, "Invalid")).await?;
        } else if question.watch {
            watch(&mut stream, &question, &state).await?;
        } else {
            let page = lock(&state).page(&question);
            answer(&mut stream, "200 OK", &page).await?;
        }
    }
    Ok(())
}

/// Reads a request, which has no body; None at the end of the connection.
async fn read(stream: &mut TcpStream) -> Result<Option<Question>, Error> {
    let mut received = Vec::with_capacity(4 * 1024);
    while stream.read_buf(&mut received).await? > 0 {
        if received.ends_with(b"\r\n\r\n") {
            let head = std::str::from_utf8(&received)?;
            let target = head.split(' ').nth(1).ok_or("a request without a target")?;
            return Ok(Some(Question::of(target)?));
        }
    }
    Ok(None)
}

async fn answer(stream: &mut TcpStream, status: &str, body: &str) -> Result<(), Error> {
    let head = format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\n");
    let head = format!("{head}Content-Length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).await?;
    Ok(stream.write_all(body.as_bytes()).await?)
}

/// Sends the list, if it is streamed, and then what changes, until the client has had enough or is gone.
async fn watch(stream: &mut TcpStream, question: &Question, state: &Mutex<State>) -> Result<(), Error> {
    let (reader, mut writer) = stream.split();
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    // A client that has seen the head misses no change.
    let (first, mut events) = lock(state).watch(question);
    writer.write_all(head.as_bytes()).await?;
    for event in &first {
        send(&mut writer, event).await?;
    }
    lock(state).lists += usize::from(question.stream);
    let told = async {
        while let Some(event) = events.recv().await {
            send(&mut writer, &event).await?;
        }
        Ok::<_, Error>(())
    };
    tokio::select! {
        ended = timeout(question.life, told) => ended.unwrap_or(Ok(()))?,
        _ = reader.readable() => return Err("the client has gone".into()),
    }
    Ok(writer.write_all(b"0\r\n\r\n").await?)
}

async fn send(writer: &mut WriteHalf<'_>, Event { line, written }: &Event) -> Result<(), Error> {
    let chunk = [format!("{:x}\r\n", line.len()).as_bytes(), line, b"\r\n"].concat();
    // Only the first watch that is told counts.
    let _ = written.set(Instant::now());
    Ok(writer.write_all(&chunk).await?)
}

fn status(code: u16, reason: &str) -> String {
    format!(
        r#"{{"kind":"Status","apiVersion":"v1","metadata":{{}},"status":"Failure","message":"{reason}","reason":"{reason}","code":{code}}}"#
    )
}
