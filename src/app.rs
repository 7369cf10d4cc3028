//! The only place that knows every part: build all, bind all, run.

mod base;
mod live;
mod reload;
mod settings;
mod workers;

use self::live::Live;
use self::workers::Workers;
use crate::admin::{Readiness, Shown};
use crate::config::{Config, Errors, Warning};
use crate::drain::{self, Drain, Stage};
use crate::interpret::Keeper;
use crate::proxy::{AccessLog, ListenerConfig, Proxy, RouterConfig, SocketOptions};
use crate::telemetry::{Logs, Registry};
use crate::{admin, config, identify, namer, proxy, store};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Notify;

/// How long an answer of a namer that nobody holds is kept, so that a name asked for now and then need not be watched
/// anew each time.
const ANSWER_IDLE: Duration = Duration::from_secs(60);

/// How long the last workers may take to end after they were told to give up, and the admin server to give its last
/// answers.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How long a stop waits for snapshots to be written.
const SAVING: Duration = Duration::from_secs(5);

/// How long a connection that waits may still begin a request when a stop that was announced has come to its end: long
/// enough for what was sent before the caller could know, so that it is answered and not lost.
const LAST_CALL: Duration = Duration::from_secs(1);

/// Where requests are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threads {
    /// On the thread that starts the app, which must be a local runtime's: everything runs on one clock.
    Here,
    /// On so many threads of their own.
    Workers(usize),
}

impl Threads {
    /// One worker for each core.
    pub fn per_core() -> Self {
        Self::Workers(std::thread::available_parallelism().map_or(1, Into::into))
    }
}

/// Why the app did not start, and nothing is left running or bound; or why a changed configuration is not taken over.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] Errors),
    /// A namer cannot be made.
    #[error(transparent)]
    Namer(#[from] namer::Error),
    /// A stored dtab cannot be used.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// An identifier does not lead to an API server.
    #[error(transparent)]
    Identifier(#[from] identify::Error),
    /// A listener cannot be bound.
    #[error("{what} cannot listen on {address}: {source}{}", advice(source))]
    Bind {
        /// Whose address it is, and where the configuration says so.
        what: String,
        /// Where it should listen.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// An access log cannot be opened.
    #[error("{what}: the access log cannot be opened: {source}. Correct the path, or who may write there")]
    AccessLog {
        /// Whose it is, and where the configuration says so.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// A thread cannot be started.
    #[error("a worker cannot be started: {0}")]
    Worker(io::Error),
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            ". Another process has that port: stop it, or give this listener another `port`"
        }
        io::ErrorKind::AddrNotAvailable => ". This machine has no such address: correct `ip`",
        io::ErrorKind::PermissionDenied => ". Ports below 1024 need more rights: choose another `port`",
        _ => "",
    }
}

/// The application.
#[derive(Debug)]
pub struct App;

/// A listener that serves.
#[derive(Clone, Debug)]
pub struct Listener {
    /// The label of its router.
    pub router: String,
    /// Its label in metrics: `<ip>/<port>`, as it is bound, unless the configuration gives it one.
    pub server: String,
    /// Where it listens.
    pub address: SocketAddr,
}

/// The application while it runs.
#[derive(Debug)]
pub struct Running {
    listeners: Vec<Listener>,
    admin: SocketAddr,
    registry: Registry,
    stop_asked: Arc<Notify>,
    drain: Drain,
    admin_drain: Drain,
    live: Live,
    workers: Workers,
    logs: Logs,
}

impl App {
    /// Builds everything, binds every listener, and only then accepts.
    ///
    /// To be called on the runtime that is to run control.
    ///
    /// # Errors
    ///
    /// A namer cannot be made, a store or an identifier cannot be used, a listener cannot be bound, an access log
    /// cannot be opened, or a thread cannot be started.
    pub async fn start(config: Config, threads: Threads) -> Result<Running, Error> {
        let control = Handle::current();
        let registry = Registry::default();
        let live = Live::open(config, &registry, &control).await?;
        let (admin_socket, admin) = listen(ADMIN, live.config().admin.address(), &SocketOptions::default())?;
        let (sockets, listeners) = bind_all(live.config())?;
        let mut logs = Logs::default();
        let access_logs = open_access_logs(live.config(), &mut logs, &registry)?;
        let routers = router_configs(&live, access_logs, &listeners);

        let (drain, guard) = drain::channel();
        let (admin_drain, admin_guard) = drain::channel();
        let readiness = Readiness::new(drain.stages());
        let stop_asked = Arc::<Notify>::default();
        let (keeper, asker) = Keeper::new(ANSWER_IDLE);
        control.spawn(keeper.run());
        let proxy = Proxy::new(routers, live.settings(), sockets, asker.clone(), registry.clone());
        let (config, routers, namers) = live.shown();
        let shown = Shown {
            readiness: readiness.clone(),
            stop: Arc::clone(&stop_asked),
            registry: registry.clone(),
            config,
            routers,
            namers,
            clients: live.clients(),
            asker,
            loads: proxy.loads(),
        };
        let admin_listener = tokio::net::TcpListener::from_std(admin_socket)
            .map_err(|source| Error::Bind { what: ADMIN.to_owned(), address: admin, source })?;
        control.spawn(admin::serve(admin_listener, shown, admin_guard));
        let workers = Workers::start(proxy, &guard, threads).map_err(Error::Worker)?;
        readiness.serving();
        Ok(Running { listeners, admin, registry, stop_asked, drain, admin_drain, live, workers, logs })
    }
}

impl Running {
    /// The listeners, in the order of the configuration.
    pub fn listeners(&self) -> &[Listener] {
        &self.listeners
    }

    /// Where the admin server listens.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// What is counted.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Takes over what was read of the changed configuration: everything but listeners, which are what they are until a
    /// restart. Requests that have begun are not touched; those that come next, also on connections that are open, are
    /// served by what it says.
    ///
    /// Returns what takes a restart, each with its place.
    ///
    /// # Errors
    ///
    /// The configuration is wrong, a namer cannot be made, or a stored dtab or an identifier cannot be used. Then
    /// everything stays as it is.
    pub async fn reload(&mut self, read: Result<Config, Errors>) -> Result<Vec<Warning>, Error> {
        self.live.reload(read.map_err(Error::from)).await
    }

    /// Opens every access log anew, so that a file that was moved aside is replaced.
    pub fn reopen_logs(&self) {
        self.logs.reopen();
    }

    /// Waits until the admin server was asked to stop the process: then [`Running::leave`] should be called, and
    /// [`Running::stop`].
    pub fn stop_asked(&self) -> impl Future<Output = ()> + use<> {
        let asked = Arc::clone(&self.stop_asked);
        async move { asked.notified().await }
    }

    /// Says that the process is going to stop, and waits until whoever sends requests here may have heard it: for the
    /// configured delay. Until then all goes on as before.
    ///
    /// Who does not want to wait drops the future; it has its effect when it is first polled.
    pub async fn leave(&self) {
        self.drain.leave();
        tokio::time::sleep(self.live.config().admin.shutdown_delay).await;
    }

    /// Stops accepting, finishes what was begun within the configured grace, and forces what is left.
    ///
    /// After [`Running::leave`], a request that comes on an open connection within the first second is served, too, and
    /// told that it was the last; without, connections that wait are closed at once.
    ///
    /// The admin server answers until the end, so that it can be asked how far this has come. Returns whether all
    /// requests of the routers finished in time.
    pub async fn stop(self) -> bool {
        let announced = self.drain.stages().stage() >= Stage::Leaving;
        let last_call = if announced { LAST_CALL } else { Duration::ZERO };
        let drained = self.drain.drain(last_call, self.live.config().admin.shutdown_grace);
        // Now, because whoever takes over may start without an API server, and nobody may wait for the end.
        let (in_time, saved) = tokio::join!(drained, self.live.save(SAVING));
        if !saved {
            tracing::warn!("not all snapshots were written within {} s", SAVING.as_secs());
        }
        self.workers.ended().await;
        // A log that nobody reads, such as a pipe, must not hold up the end.
        let _ = tokio::time::timeout(LAST_WORDS, self.logs.ended()).await;
        self.admin_drain.drain(Duration::ZERO, LAST_WORDS).await;
        in_time
    }
}

/// What errors call the admin server.
const ADMIN: &str = "the admin server";

/// Binds every listener; what was bound is closed again when one cannot be.
fn bind_all(config: &Config) -> Result<(Vec<TcpListener>, Vec<Listener>), Error> {
    let mut sockets = Vec::new();
    let mut listeners = Vec::new();
    for (router, places) in config.routers.iter().zip(&config.places.routers) {
        for (at, (server, place)) in router.servers.iter().zip(&places.ports).enumerate() {
            let key = format!("{}.servers[{at}].port", places.key);
            let what = format!("{}:{place}: {key}: router {}", config.file, router.label);
            let (socket, address) =
                listen(&what, server.address(), &settings::socket(&server.socket_options))?;
            let unnamed = || format!("{}/{}", address.ip(), address.port());
            let label = server.label.clone().unwrap_or_else(unnamed);
            listeners.push(Listener { router: router.label.clone(), server: label, address });
            sockets.push(socket);
        }
    }
    Ok((sockets, listeners))
}

fn listen(
    what: &str,
    address: SocketAddr,
    options: &SocketOptions,
) -> Result<(TcpListener, SocketAddr), Error> {
    let failed = |source| Error::Bind { what: what.to_owned(), address, source };
    let socket = proxy::bind(address, options).map_err(failed)?;
    let bound = socket.local_addr().map_err(failed)?;
    Ok((socket, bound))
}

/// Opens the access logs of the routers, in their order; those of one file have one writer.
fn open_access_logs(
    config: &Config,
    logs: &mut Logs,
    registry: &Registry,
) -> Result<Vec<Option<AccessLog>>, Error> {
    let mut opened = Vec::new();
    for (router, places) in config.routers.iter().zip(&config.places.routers) {
        let open = |log: &config::AccessLogConfig| match logs.open(&log.target, registry) {
            Ok(lines) => Ok(AccessLog { lines, format: log.format }),
            Err(source) => {
                let (key, place) = &places.access_log;
                let what = format!("{}:{place}: {key}: router {}", config.file, router.label);
                Err(Error::AccessLog { what, source })
            }
        };
        opened.push(router.access_log.as_ref().map(open).transpose()?);
    }
    Ok(opened)
}

/// What the proxy has to know of the routers for as long as they run.
fn router_configs(
    live: &Live,
    access_logs: Vec<Option<AccessLog>>,
    listeners: &[Listener],
) -> Vec<RouterConfig> {
    let mut listeners = listeners.iter();
    let routers = live.config().routers.iter().zip(live.namings()).zip(access_logs);
    let config = routers.map(|((router, naming), access_log)| {
        let listeners = router.servers.iter().zip(listeners.by_ref()).map(|(server, listener)| {
            let socket = settings::socket(&server.socket_options);
            ListenerConfig { label: listener.server.clone(), socket }
        });
        RouterConfig { label: router.label.clone(), naming, access_log, listeners: listeners.collect() }
    });
    config.collect()
}
