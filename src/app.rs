//! Builds all parts, binds all listeners, and runs them: the only module that knows every part.

mod controller;
mod live;
mod naming;
mod reload;
mod settings;
mod workers;

pub use self::controller::Controller;

use self::live::LiveConfig;
use self::workers::Workers;
use crate::admin::{AdminState, PageSet, Readiness};
use crate::config::{Config, Errors, Warning};
use crate::drain::{self, Drain, Stage};
use crate::interpret::NamerRegistry;
use crate::proxy::{AccessLog, DialGuard, ListenerConfig, Proxy, ProxyParts, RouterConfig, SocketOptions};
use crate::telemetry::{Logs, Registry};
use crate::{admin, config, context, identify, namer, proxy, sandbox, store, tls};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Notify;

/// How long a namer's answer is kept after its last use, so that a name asked for now and then need not be watched anew
/// each time.
const ANSWER_IDLE: Duration = Duration::from_secs(60);

/// How long the workers may take to end after the drain has forced them, and the admin server to send its last answers.
const END_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a stop waits for snapshots to be written.
const SAVE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long an idle connection may still begin a request after an announced stop has begun to drain: long enough for a
/// request that the caller sent before it could know of the stop, so that it is answered and not lost.
const LAST_CALL: Duration = Duration::from_secs(1);

/// The threads that serve requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threads {
    /// The thread that starts the app, which must run a local runtime: everything runs on one clock.
    Here,
    /// So many threads of their own.
    Workers(usize),
}

impl Threads {
    /// Returns as many workers as the configuration says, or one for each core that the process may use.
    pub fn configured(config: &Config) -> Self {
        Self::Workers(workers(config))
    }
}

/// Returns how many workers the configuration asks for.
fn workers(config: &Config) -> usize {
    let per_core = || std::thread::available_parallelism().map_or(1, Into::into);
    config.workers.unwrap_or_else(per_core)
}

/// A failed start, after which nothing is left running or bound; or the reason why a changed configuration is refused.
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
    /// The sandboxes cannot be used.
    #[error(transparent)]
    Sandboxes(#[from] sandbox::Error),
    /// A file of keys cannot be used.
    #[error(transparent)]
    Keys(#[from] context::token::KeyError),
    /// A file of certificates or keys cannot be used.
    #[error(transparent)]
    Tls(#[from] tls::TlsError),
    /// A listener cannot be bound.
    #[error("{what} cannot listen on {address}: {source}{}", advice(source))]
    Bind {
        /// The listener, with the place in the configuration.
        what: String,
        /// The address on which it should listen.
        address: SocketAddr,
        /// The error of the system.
        source: io::Error,
    },
    /// An access log cannot be opened.
    #[error(
        "{what}: the access log cannot be opened: {source}. Correct the path, or the permissions of its folder"
    )]
    AccessLog {
        /// The router, with the place in the configuration.
        what: String,
        /// The error of the system.
        source: io::Error,
    },
    /// The controller has nothing to look after.
    #[error(
        "the controller has nothing to do: name the namespaces of sandboxes in `sandboxes: {{namespaces: [..]}}`"
    )]
    NothingToControl,
    /// The controller does not know under which router it should ask destinations.
    #[error(
        "the file has several routers: say in `sandboxes: {{router: ..}}` under which one a sandbox has to be ready ({labels})"
    )]
    ControllerRouter {
        /// The labels of the routers.
        labels: String,
    },
    /// A thread cannot be started.
    #[error("a worker cannot be started: {0}")]
    Worker(io::Error),
}

/// Returns the advice that follows an error of the system.
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

/// A listener in service.
#[derive(Clone, Debug)]
pub struct ListenerInfo {
    /// The label of its router.
    pub router: String,
    /// Its label in metrics: `<ip>/<port>`, as it is bound, unless the configuration gives it one.
    pub server: String,
    /// The address on which it listens.
    pub address: SocketAddr,
}

/// A running application.
#[derive(Debug)]
pub struct RunningApp {
    listeners: Vec<ListenerInfo>,
    admin: SocketAddr,
    metrics: Option<SocketAddr>,
    registry: Registry,
    stop_asked: Arc<Notify>,
    drain: Drain,
    admin_drain: Drain,
    live: LiveConfig,
    workers: Workers,
    logs: Logs,
}

impl App {
    /// Builds everything, binds every listener, and only then accepts.
    ///
    /// Must be called on the runtime that is to run control.
    ///
    /// # Errors
    ///
    /// A namer cannot be made, a store, an identifier, the sandboxes or a file of keys cannot be used, a listener cannot be bound, an
    /// access log cannot be opened, or a thread cannot be started.
    pub async fn start(config: Config, threads: Threads) -> Result<RunningApp, Error> {
        let control = Handle::current();
        let registry = Registry::default();
        let live = LiveConfig::open(config, &registry, &control).await?;
        let (admin_socket, admin) =
            bind_socket(ADMIN, live.config().admin.address(), &SocketOptions::default())?;
        let metrics = bind_metrics(live.config())?;
        let metrics_address = metrics.as_ref().map(|(_, address)| *address);
        let (sockets, listeners) = bind_listeners(live.config())?;
        let mut logs = Logs::default();
        let access_logs = open_access_logs(live.config(), &mut logs, &registry)?;
        let routers = router_configs(&live, access_logs, &listeners);

        let (drain, guard) = drain::channel();
        let (admin_drain, admin_guard) = drain::channel();
        let readiness = Readiness::new(drain.stages());
        let stop_asked = Arc::<Notify>::default();
        let (namer_registry, namer_handle) = NamerRegistry::new(ANSWER_IDLE);
        control.spawn(namer_registry.run());
        let proxy = Proxy::new(ProxyParts {
            routers,
            settings: live.settings(),
            sockets,
            dial_guard: DialGuard::new([admin].into_iter().chain(metrics_address)),
            zone: config::own_zone().map(Into::into),
            namer_handle: namer_handle.clone(),
            registry: registry.clone(),
        });
        let (config, routers, namers) = live.admin_values();
        let admin_state = AdminState {
            readiness: readiness.clone(),
            access: live.admin_access(),
            tls: live.admin_tls(),
            stop: Arc::clone(&stop_asked),
            registry: registry.clone(),
            config,
            routers,
            namers,
            clients: live.clients(),
            namer_handle,
            endpoint_registry: proxy.endpoint_registry(),
        };
        if let Some((socket, address)) = metrics {
            let listener = watched(METRICS, socket, address)?;
            control.spawn(admin::serve(listener, PageSet::Metrics, admin_state.clone(), admin_guard.clone()));
        }
        let admin_listener = watched(ADMIN, admin_socket, admin)?;
        control.spawn(admin::serve(admin_listener, PageSet::All, admin_state, admin_guard));
        let workers = match Workers::start(proxy, &guard, threads).await {
            Ok(workers) => workers,
            Err(error) => {
                drop(guard);
                drain.drain(Duration::ZERO, Duration::ZERO).await;
                return Err(Error::Worker(error));
            }
        };
        readiness.serving();
        let metrics = metrics_address;
        Ok(RunningApp {
            listeners,
            admin,
            metrics,
            registry,
            stop_asked,
            drain,
            admin_drain,
            live,
            workers,
            logs,
        })
    }
}

impl RunningApp {
    /// Returns the listeners, in the order of the configuration.
    pub fn listeners(&self) -> &[ListenerInfo] {
        &self.listeners
    }

    /// Returns the address on which the admin server listens.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Returns the address of the listener for metrics and probes, if there is one.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics
    }

    /// Returns the metrics.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Takes over a changed configuration: everything but listeners, which stay as they are until a restart. Requests
    /// under way are not touched; the next ones are served by the new configuration, also on open connections.
    ///
    /// Returns the changes that take a restart, each with its place.
    ///
    /// # Errors
    ///
    /// The configuration is wrong, a namer cannot be made, or a stored dtab, an identifier or the sandboxes cannot be
    /// used. Then everything stays as it is.
    pub async fn reload(&mut self, read: Result<Config, Errors>) -> Result<Vec<Warning>, Error> {
        self.live.reload(read.map_err(Error::from)).await
    }

    /// Opens every access log anew, so that a file that was moved aside is replaced.
    pub fn reopen_logs(&self) {
        self.logs.reopen();
    }

    /// Waits until a caller of the admin server asks for a stop: then [`RunningApp::leave`] should be called, and
    /// [`RunningApp::stop`].
    pub fn stop_asked(&self) -> impl Future<Output = ()> + use<> {
        let asked = Arc::clone(&self.stop_asked);
        async move { asked.notified().await }
    }

    /// Waits until a worker has ended without being told to: its connections are lost, and perhaps a listener is no longer
    /// served. Then [`RunningApp::stop`] should be called, and the process should end.
    pub fn worker_ended(&self) -> impl Future<Output = ()> + use<> {
        self.workers.one_ended()
    }

    /// Announces the stop, and waits for the configured delay, so that load balancers and callers can notice it. Until
    /// then requests are served as before.
    ///
    /// A caller that does not want to wait drops the future; the announcement is made when it is first polled.
    pub async fn leave(&self) {
        self.drain.leave();
        tokio::time::sleep(self.live.config().admin.shutdown_delay).await;
    }

    /// Stops accepting, finishes the requests under way within the configured grace, and forces the rest to end.
    ///
    /// After [`RunningApp::leave`], a request that comes on an open connection within the first second is served as
    /// well, and its response closes the connection; without `leave`, idle connections are closed at once.
    ///
    /// The admin server answers until the end, so that the progress of the drain can be seen. Returns whether all
    /// requests of the routers finished in time.
    pub async fn stop(self) -> bool {
        let announced = self.drain.stages().stage() >= Stage::Leaving;
        let last_call = if announced { LAST_CALL } else { Duration::ZERO };
        let drained = self.drain.drain(last_call, self.live.config().admin.shutdown_grace);
        // Saved now, because the process that takes over may start without an API server, and may not wait for the end.
        let (in_time, saved) = tokio::join!(drained, self.live.save(SAVE_TIMEOUT));
        if !saved {
            tracing::warn!("not all snapshots were written within {} s", SAVE_TIMEOUT.as_secs());
        }
        self.workers.ended().await;
        // A log without a reader, such as a pipe, must not hold up the end.
        let _ = tokio::time::timeout(END_TIMEOUT, self.logs.ended()).await;
        self.admin_drain.drain(Duration::ZERO, END_TIMEOUT).await;
        in_time
    }
}

/// The name of the admin server in errors.
const ADMIN: &str = "the admin server";

/// The name of the listener for metrics in errors.
const METRICS: &str = "the listener for metrics";

/// Binds the listener for metrics and probes, if there is to be one.
fn bind_metrics(config: &Config) -> Result<Option<(TcpListener, SocketAddr)>, Error> {
    let bind =
        |metrics: config::AdminMetrics| bind_socket(METRICS, metrics.address(), &SocketOptions::default());
    config.admin.metrics.map(bind).transpose()
}

/// Has the runtime watch a listening socket; `what` names it in errors.
fn watched(what: &str, socket: TcpListener, address: SocketAddr) -> Result<tokio::net::TcpListener, Error> {
    let failed = |source| Error::Bind { what: what.to_owned(), address, source };
    tokio::net::TcpListener::from_std(socket).map_err(failed)
}

/// Binds every listener; when one cannot be bound, those bound before it are closed again.
fn bind_listeners(config: &Config) -> Result<(Vec<TcpListener>, Vec<ListenerInfo>), Error> {
    let mut sockets = Vec::new();
    let mut listeners = Vec::new();
    for (router, places) in config.routers.iter().zip(&config.places.routers) {
        for (at, (server, place)) in router.servers.iter().zip(&places.ports).enumerate() {
            let key = format!("{}.servers[{at}].port", places.key);
            let what = format!("{}:{place}: {key}: router {}", config.file, router.label);
            let (socket, address) =
                bind_socket(&what, server.address(), &settings::socket(&server.socket_options))?;
            let unnamed = || format!("{}/{}", address.ip(), address.port());
            let label = server.label.clone().unwrap_or_else(unnamed);
            listeners.push(ListenerInfo { router: router.label.clone(), server: label, address });
            sockets.push(socket);
        }
    }
    Ok((sockets, listeners))
}

/// Binds one socket; `what` names it in errors.
fn bind_socket(
    what: &str,
    address: SocketAddr,
    options: &SocketOptions,
) -> Result<(TcpListener, SocketAddr), Error> {
    let failed = |source| Error::Bind { what: what.to_owned(), address, source };
    let socket = proxy::bind(address, options).map_err(failed)?;
    let bound = socket.local_addr().map_err(failed)?;
    Ok((socket, bound))
}

/// Opens the access logs of the routers, in their order; logs to one file share one writer.
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

/// Returns the configuration of the routers that stays for as long as they run.
fn router_configs(
    live: &LiveConfig,
    access_logs: Vec<Option<AccessLog>>,
    listeners: &[ListenerInfo],
) -> Vec<RouterConfig> {
    let mut listeners = listeners.iter();
    let routers = live.config().routers.iter().zip(access_logs);
    let config = routers.map(|(router, access_log)| {
        let listeners = router.servers.iter().zip(listeners.by_ref()).map(|(server, listener)| {
            let socket = settings::socket(&server.socket_options);
            ListenerConfig { label: listener.server.clone(), socket }
        });
        RouterConfig { label: router.label.clone(), access_log, listeners: listeners.collect() }
    });
    config.collect()
}
