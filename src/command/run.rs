//! `signpost run`: serves until a signal stops it, and reloads the configuration when its file changes.

use super::Exit;
use crate::app::{App, RunningApp, Threads};
use crate::config::{self, Config, Finding, Severity};
use crate::files::Watch;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use tokio::runtime::{Builder, Handle, LocalOptions};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::spawn_blocking;

/// Starts the routers of a file and serves until it is told to stop.
pub(super) fn run(file: &str) -> Exit {
    run_control(async {
        // Before anything else: a tool that moves logs aside must not kill a process that is still starting.
        let hangup = match signal(SignalKind::hangup()) {
            Ok(hangup) => hangup,
            Err(error) => return fail(&error),
        };
        match config::load(Path::new(file)) {
            Ok(config) => serve(file, config, hangup).await,
            Err(errors) => refuse(&errors),
        }
    })
}

/// Prints the reason why a command fails on standard error.
pub(super) fn fail(error: &dyn std::fmt::Display) -> Exit {
    eprintln!("signpost: {error}");
    Exit::Failed
}

/// Prints the errors of a configuration on standard error, each with its place.
pub(super) fn refuse(errors: &dyn std::fmt::Display) -> Exit {
    eprintln!("{errors}");
    Exit::Failed
}

/// Runs the control runtime: one thread for all work that is not a request.
pub(super) fn run_control(work: impl Future<Output = Exit>) -> Exit {
    match Builder::new_current_thread().enable_all().build_local(LocalOptions::default()) {
        Ok(runtime) => {
            let exit = runtime.block_on(work);
            // A question to a name server that hangs must not hold up the end of the process.
            runtime.shutdown_background();
            exit
        }
        Err(error) => fail(&error),
    }
}

/// Serves until a signal, a caller of the admin server or a failure ends it.
async fn serve(file: &str, config: Config, hangup: Signal) -> Exit {
    log_notes(&config);
    let missing: Vec<_> = config.environment_findings().into_iter().filter(Finding::fails_start).collect();
    if !missing.is_empty() {
        missing.iter().for_each(|missing| eprintln!("{missing}"));
        return Exit::Failed;
    }
    let mut signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => return fail(&error),
    };
    raise_open_files();
    let threads = Threads::configured(&config);
    match App::start(config, threads).await {
        Ok(mut running) => {
            log_addresses(&running);
            let (asked, worker_ended) = (running.stop_asked(), running.worker_ended());
            let stop = tokio::select! {
                stop = signals.stop() => stop,
                () = asked => StopMode::Announced,
                () = worker_ended => return stop_without_worker(running, signals).await,
                () = reload_on_change(file, &mut running, hangup) => StopMode::Announced,
            };
            shut_down(running, stop, signals).await
        }
        Err(error) => fail(&error),
    }
}

/// Lets the process open as many files as the system allows it to.
///
/// Shells and service managers often set 1,024, for the sake of programs that use `select`. Each request here takes two
/// files: the caller's connection and the endpoint's.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::debug!(%error, ?limit, "the process may open no more files than at its start");
    }
}

/// Logs the warnings and notes of a configuration.
fn log_notes(config: &Config) {
    for warning in config.warnings.iter().chain(&config.masquerade_warnings()) {
        tracing::warn!("{warning}");
    }
    let of_environment = config.environment_findings();
    for warning in of_environment.iter().filter(|finding| finding.severity == Severity::Warning) {
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

/// Reloads the file whenever it changes, and on SIGHUP. Never returns.
async fn reload_on_change(file: &str, running: &mut RunningApp, mut hangup: Signal) {
    let mut watch = Watch::new(&Handle::current());
    // The standard input has been read to its end.
    if file != "-" {
        watch.watch_paths([PathBuf::from(file)]).await;
    }
    loop {
        tokio::select! {
            // Tools that move logs aside send this signal.
            Some(()) = hangup.recv() => running.reopen_logs(),
            _ = watch.changed() => {}
        }
        if file != "-" {
            reload(file, running).await;
        }
    }
}

/// Takes over a changed file; one that is wrong changes nothing.
async fn reload(file: &str, running: &mut RunningApp) {
    let path = PathBuf::from(file);
    // A large dtab takes as long to parse as many names to answer.
    let read = match spawn_blocking(move || config::load(&path)).await {
        Ok(read) => read,
        Err(error) => {
            return tracing::error!(%error, "reading the configuration ended: this is a bug in the router");
        }
    };
    if let Ok(config) = &read {
        log_notes(config);
    }
    let before = addresses(running);
    match running.reload(read).await {
        Ok(left) => {
            left.iter().for_each(|left| tracing::warn!("{left}"));
            let new = addresses(running).into_iter().filter(|address| !before.contains(address));
            new.for_each(|address| address.log());
            tracing::info!("the configuration was read again and is in use");
        }
        Err(error) => tracing::warn!("the last good configuration stays in use: {error}"),
    }
}

/// An address on which the process listens.
#[derive(Clone, Debug, PartialEq, Eq)]
enum ServedAddress {
    /// A router does, which has this label.
    Router(String, SocketAddr),
    Admin(SocketAddr),
    Metrics(SocketAddr),
}

impl ServedAddress {
    fn log(&self) {
        match self {
            Self::Router(router, address) => tracing::info!(router, %address, "serving"),
            Self::Admin(address) => tracing::info!(%address, "admin"),
            Self::Metrics(address) => tracing::info!(%address, "metrics"),
        }
    }
}

/// Returns the addresses of all listeners, those of routers in the order of the configuration.
fn addresses(running: &RunningApp) -> Vec<ServedAddress> {
    let listeners = running.listeners().iter();
    let routers = listeners.map(|listener| ServedAddress::Router(listener.router.clone(), listener.address));
    let admin = [ServedAddress::Admin(running.admin())];
    routers.chain(admin).chain(running.metrics_address().map(ServedAddress::Metrics)).collect()
}

/// Logs the addresses of all listeners.
pub(super) fn log_addresses(running: &RunningApp) {
    addresses(running).iter().for_each(ServedAddress::log);
}

/// The way in which the process stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StopMode {
    /// After an announcement, so that load balancers and callers can notice it first.
    Announced,
    /// At once: a person waits for it.
    Now,
}

/// The signals that stop the process.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Takes over the signals, which would otherwise kill the process.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Waits for SIGINT (Ctrl-C), which a person sends, or for SIGTERM, which a service manager sends.
    pub(super) async fn stop(&mut self) -> StopMode {
        tokio::select! {
            _ = self.interrupt.recv() => StopMode::Now,
            _ = self.terminate.recv() => StopMode::Announced,
        }
    }
}

/// Stops after a worker has ended by itself, so that its supervisor can start another process.
pub(super) async fn stop_without_worker(running: RunningApp, signals: Signals) -> Exit {
    tracing::error!("a worker has ended by itself, and its connections with it: this is a bug in the router");
    shut_down(running, StopMode::Now, signals).await;
    Exit::Failed
}

/// Drains, after the announcement if there is to be one; one more signal cuts the announcement short.
pub(super) async fn shut_down(running: RunningApp, stop: StopMode, mut signals: Signals) -> Exit {
    if stop == StopMode::Announced {
        tracing::info!("leaving: requests are served, and /admin/ready says that no more should be sent");
        tokio::select! {
            () = running.leave() => {}
            _ = signals.stop() => {}
        }
    }
    tracing::info!("stopping: requests under way are finished");
    if !running.stop().await {
        tracing::warn!("requests that took longer than the grace period were cut off");
    }
    Exit::Done
}
