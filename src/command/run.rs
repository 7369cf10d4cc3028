//! `signpost run`: the process's life.

use super::Exit;
use crate::app::{App, Running, Threads};
use crate::config::Config;
use std::future::Future;
use std::io;
use std::path::Path;
use tokio::runtime::{Builder, LocalOptions};
use tokio::signal::unix::{SignalKind, signal};

/// Starts the routers of a file and serves until it is told to stop.
pub(super) fn run(file: &str) -> Exit {
    match crate::config::load(Path::new(file)) {
        Ok(config) => control(serve(config)),
        Err(errors) => failed(&errors),
    }
}

/// Says on standard error why a command cannot go on.
pub(super) fn failed(error: &dyn std::fmt::Display) -> Exit {
    eprintln!("signpost: {error}");
    Exit::Failed
}

/// Runs control: one thread, on which everything goes on that is not a request.
pub(super) fn control(work: impl Future<Output = Exit>) -> Exit {
    match Builder::new_current_thread().enable_all().build_local(LocalOptions::default()) {
        Ok(runtime) => {
            let exit = runtime.block_on(work);
            // A question to a name server that hangs must not hold up the end of the process.
            runtime.shutdown_background();
            exit
        }
        Err(error) => failed(&error),
    }
}

async fn serve(config: Config) -> Exit {
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    for note in config.notes() {
        if note.is_surprising {
            tracing::warn!("{note}");
        } else {
            tracing::info!("{note}");
        }
    }
    let stop = match stop_signal() {
        Ok(stop) => stop,
        Err(error) => return failed(&error),
    };
    match App::start(config, Threads::per_core()).await {
        Ok(running) => until(running, stop).await,
        Err(error) => failed(&error),
    }
}

/// Waits for `stop` and drains.
pub(super) async fn until(running: Running, stop: impl Future<Output = ()>) -> Exit {
    for listener in running.listeners() {
        tracing::info!(router = listener.router, address = %listener.address, "serving");
    }
    tracing::info!(address = %running.admin(), "admin");
    stop.await;
    tracing::info!("stopping: requests that were begun are finished");
    if !running.stop().await {
        tracing::warn!("requests that outlasted the grace were cut off");
    }
    Exit::Done
}

/// Waits for SIGINT (Ctrl-C) or SIGTERM.
pub(super) fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
