//! A bare hyper pass-through: hyper on both sides, every field forwarded, bodies streamed. Connections to the upstream
//! are kept: over HTTP/1 in a pool, over HTTP/2 one that all share. It does nothing else: no routing, no limits on time,
//! no counting.
//!
//! It runs as the router does, one current-thread runtime for one worker, with the router's windows, so that what
//! differs is the work itself.

mod upstream;

use self::upstream::Upstream;
use super::child::{Error, commands, on_one_thread};
use super::exchange::Protocol;
use hyper::server;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use signpost::proxy::Http2Settings;
use std::rc::Rc;
use tokio::net::{TcpListener, TcpStream};

/// The window of a connection, as the router gives it to a trusted caller.
const CONNECTION_WINDOW: u32 = 16 << 20;

/// Serves callers of one protocol on a port of its own, and prints where.
pub(crate) fn run(from: &str, to: &str, address: &str) -> Result<(), Error> {
    let _commands = commands();
    let from: Protocol = from.parse()?;
    let upstream = Rc::new(Upstream::new(to.parse()?, address.parse()?));
    on_one_thread(async move {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::task::spawn_local(serve(stream, from, Rc::clone(&upstream)));
        }
    })
}

/// Serves one connection; its end, however it comes, ends this.
async fn serve(stream: TcpStream, from: Protocol, upstream: Rc<Upstream>) {
    let service = service_fn(|request| {
        let upstream = Rc::clone(&upstream);
        async move { upstream.send(request).await }
    });
    let io = TokioIo::new(stream);
    let settings = Http2Settings::default();
    let _ = match from {
        Protocol::Http1 => server::conn::http1::Builder::new().serve_connection(io, service).await,
        Protocol::Http2 => {
            server::conn::http2::Builder::new(OnThisThread)
                .initial_stream_window_size(settings.stream_window)
                .initial_connection_window_size(CONNECTION_WINDOW)
                .serve_connection(io, service)
                .await
        }
    };
}

/// Runs hyper's futures beside what asks for it.
#[derive(Clone, Copy)]
struct OnThisThread;

impl<F: Future<Output: 'static> + 'static> hyper::rt::Executor<F> for OnThisThread {
    fn execute(&self, work: F) {
        tokio::task::spawn_local(work);
    }
}
