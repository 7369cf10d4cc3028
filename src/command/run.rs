//! `signpost run`: the process's life.

use super::Exit;
use crate::app::{App, Running, Threads};
use crate::config::{self, Config};
use crate::files::Watch;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use tokio::runtime::{Builder, Handle, LocalOptions};
use tokio::signal::unix::{SignalKind, signal};

/// Starts the routers of a file and serves until it is told to stop.
pub(super) fn run(file: &str) -> Exit {
    match config::load(Path::new(file)) {
        Ok(config) => control(serve(file, config)),
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

async fn serve(file: &str, config: Config) -> Exit {
    say(&config);
    let stop = match stop_signal() {
        Ok(stop) => stop,
        Err(error) => return failed(&error),
    };
    match App::start(config, Threads::per_core()).await {
        Ok(mut running) => {
            announce(&running);
            let asked = running.stop_asked();
            tokio::select! {
                () = stop => {}
                () = asked => {}
                error = follow(file, &mut running) => return failed(&error),
            }
            end(running).await
        }
        Err(error) => failed(&error),
    }
}

/// Logs what is worth knowing of a configuration.
fn say(config: &Config) {
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
}

/// Reloads the file whenever it changes, and on SIGHUP; ends only when neither can be noticed.
async fn follow(file: &str, running: &mut Running) -> io::Error {
    let mut hangup = match signal(SignalKind::hangup()) {
        Ok(hangup) => hangup,
        Err(error) => return error,
    };
    let mut watch = Watch::new(&Handle::current());
    // The standard input has been read to its end.
    if file != "-" {
        watch.follow([PathBuf::from(file)]).await;
    }
    loop {
        tokio::select! {
            // Whoever moves logs aside says so by this signal.
            Some(()) = hangup.recv() => running.reopen_logs(),
            () = watch.changed() => {}
        }
        if file != "-" {
            reload(file, running);
        }
    }
}

/// Takes over a changed file; one that is wrong changes nothing.
fn reload(file: &str, running: &mut Running) {
    match config::load(Path::new(file)) {
        Ok(config) => {
            for left in running.reload(&config) {
                tracing::warn!("{file}: not taken over, a restart is needed: {left}");
            }
        }
        Err(errors) => tracing::warn!("the last good configuration stays in use: {errors}"),
    }
}

/// Logs where everything listens.
pub(super) fn announce(running: &Running) {
    for listener in running.listeners() {
        tracing::info!(router = listener.router, address = %listener.address, "serving");
    }
    tracing::info!(address = %running.admin(), "admin");
}

/// Drains.
pub(super) async fn end(running: Running) -> Exit {
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
