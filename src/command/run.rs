//! `signpost run`: the process's life.

use super::Exit;
use crate::app::{App, Running, Threads};
use crate::config::{self, Config};
use crate::files::Watch;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use tokio::runtime::{Builder, Handle, LocalOptions};
use tokio::signal::unix::{Signal, SignalKind, signal};

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
    let mut signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => return failed(&error),
    };
    raise_open_files();
    match App::start(config, Threads::per_core()).await {
        Ok(mut running) => {
            announce(&running);
            let asked = running.stop_asked();
            let stop = tokio::select! {
                stop = signals.stop() => stop,
                () = asked => Stop::Announced,
                error = follow(file, &mut running) => return failed(&error),
            };
            end(running, stop, signals).await
        }
        Err(error) => failed(&error),
    }
}

/// Lets the process open as many files as the system allows it to.
///
/// Shells and service managers often begin with 1,024, for the sake of programs that `select`: each request here takes
/// two, its caller's connection and its endpoint's.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::debug!(%error, ?limit, "the process may open no more files than at its start");
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
        watch.watch_paths([PathBuf::from(file)]).await;
    }
    loop {
        tokio::select! {
            // Whoever moves logs aside says so by this signal.
            Some(()) = hangup.recv() => running.reopen_logs(),
            () = watch.changed() => {}
        }
        if file != "-" {
            reload(file, running).await;
        }
    }
}

/// Takes over a changed file; one that is wrong changes nothing.
async fn reload(file: &str, running: &mut Running) {
    let read = config::load(Path::new(file));
    if let Ok(config) = &read {
        say(config);
    }
    match running.reload(read).await {
        Ok(left) => {
            left.iter().for_each(|left| tracing::warn!("{left}"));
            tracing::info!("the configuration was read again and is in use");
        }
        Err(error) => tracing::warn!("the last good configuration stays in use: {error}"),
    }
}

/// Logs where everything listens.
pub(super) fn announce(running: &Running) {
    for listener in running.listeners() {
        tracing::info!(router = listener.router, address = %listener.address, "serving");
    }
    tracing::info!(address = %running.admin(), "admin");
}

/// How a process stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// Whoever sends requests is to hear of it first.
    Announced,
    /// At once: somebody waits for it.
    Now,
}

/// The signals that stop the process.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Takes them over from the system, which would kill the process.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Waits for SIGINT (Ctrl-C), which a person sends, or for SIGTERM, which comes from what runs the process.
    pub(super) async fn stop(&mut self) -> Stop {
        tokio::select! {
            _ = self.interrupt.recv() => Stop::Now,
            _ = self.terminate.recv() => Stop::Announced,
        }
    }
}

/// Drains, after it was announced if it is to be; one more signal cuts the announcement short.
pub(super) async fn end(running: Running, stop: Stop, mut signals: Signals) -> Exit {
    if stop == Stop::Announced {
        tracing::info!("leaving: requests are served, and /admin/ready says that no more should be sent");
        tokio::select! {
            () = running.leave() => {}
            _ = signals.stop() => {}
        }
    }
    tracing::info!("stopping: requests that were begun are finished");
    if !running.stop().await {
        tracing::warn!("requests that outlasted the grace were cut off");
    }
    Exit::Done
}
