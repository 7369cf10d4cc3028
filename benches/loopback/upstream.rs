//! The service behind the proxies: it answers with as many bytes as the path asks for.

mod http1;
mod http2;

use super::child::{Error, commands, on_one_thread};
use super::exchange::{STABLE, STAGED};
use tokio::net::TcpListener;

/// Serves the stable version and the staged one over HTTP/1, and the stable one over HTTP/2, each on a port of its own,
/// and prints where, in this order.
pub(crate) fn run() -> Result<(), Error> {
    let _commands = commands();
    on_one_thread(async {
        tokio::task::spawn_local(http1::accept(listen().await?, STABLE));
        tokio::task::spawn_local(http1::accept(listen().await?, STAGED));
        http2::accept(listen().await?, STABLE).await;
        Ok(())
    })
}

async fn listen() -> Result<TcpListener, Error> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    Ok(listener)
}
