//! Builds all parts, binds all listeners, and runs them: the only module that knows every part.

mod access_logs;
mod admin_servers;
mod controller;
mod listeners;
mod live;
mod naming;
mod reload;
mod settings;
mod sockets;
mod workers;

pub use self::controller::Controller;

use self::admin_servers::{AdminPlan, AdminServers, AdminSocket};
use self::listeners::{ListenerPlan, Listeners};
use self::live::LiveConfig;
use self::sockets::ClosingSocket;
use self::workers::Workers;
use crate::admin::{AdminState, Readiness};
use crate::config::{Config, Errors, Warning};
use crate::drain::{self, Drain, Guard, Stage};
use crate::interpret::NamerRegistry;
use crate::proxy::{AccessLog, DialGuard, ListenerHandle, Proxy, ProxyParts};
use crate::telemetry::{Logs, Registry};
use crate::{config, context, identify, namer, sandbox, store, tls};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
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

    /// Returns how many workers there are.
    fn count(self) -> usize {
        match self {
            Self::Here => 1,
            Self::Workers(count) => count.max(1),
        }
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
    registry: Registry,
    stop_asked: Arc<Notify>,
    drain: Drain,
    admin_drain: Drain,
    live: LiveConfig,
    sockets: AppSockets,
    /// The listeners in service, as they are shown.
    infos: Vec<ListenerInfo>,
    workers: Workers,
}

/// The parts of the app that a reload opens and closes.
#[derive(Debug)]
struct AppSockets {
    proxy: Proxy,
    listeners: Listeners,
    admin: AdminServers,
    admin_state: AdminState,
    admin_guard: Guard,
    dial_guard: DialGuard,
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
        let (drain, guard) = drain::channel();
        let (admin_drain, admin_guard) = drain::channel();
        let readiness = Readiness::new(drain.stages());
        let stop_asked = Arc::<Notify>::default();
        let (namer_registry, namer_handle) = NamerRegistry::new(ANSWER_IDLE);
        control.spawn(namer_registry.run());
        let dial_guard = DialGuard::default();
        let parts = ProxyParts {
            dial_guard: dial_guard.clone(),
            zone: config::own_zone().map(Into::into),
            namer_handle: namer_handle.clone(),
            registry: registry.clone(),
        };
        let (proxy, workers) = Proxy::new(parts, threads.count(), guard);
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
        let (listeners, admin) = (Listeners::default(), AdminServers::default());
        let logs = Logs::default();
        let mut sockets = AppSockets { proxy, listeners, admin, admin_state, admin_guard, dial_guard, logs };
        let opened = async {
            let workers = Workers::start(workers, threads).await.map_err(Error::Worker)?;
            Ok((workers, sockets.open(live.config()).await?))
        };
        let (workers, opened) = match opened.await {
            Ok(opened) => opened,
            Err(error) => {
                drop(sockets);
                drain.drain(Duration::ZERO, Duration::ZERO).await;
                return Err(error);
            }
        };
        sockets.take_over(opened, &live);
        let infos = sockets.listeners.infos();
        readiness.serving();
        Ok(RunningApp { registry, stop_asked, drain, admin_drain, live, sockets, infos, workers })
    }
}

/// The listeners and logs that a configuration needs beside those that are open already.
#[derive(Debug)]
struct OpenPlan {
    listeners: ListenerPlan<ListenerHandle>,
    admin: AdminPlan<AdminSocket>,
    access_logs: Vec<Option<AccessLog>>,
}

impl AppSockets {
    /// Opens what a configuration needs beside what is open. Nothing of it is in use yet, and nothing is closed.
    ///
    /// # Errors
    ///
    /// A listener cannot be bound, or an access log cannot be opened. Then what was opened is closed again.
    async fn open(&mut self, config: &Config) -> Result<OpenPlan, Error> {
        let (listeners, admin) = (self.listeners.plan(config), self.admin.plan(&config.admin));
        let leaving = [self.listeners.leaving(&listeners), self.admin.leaving(&admin)].concat();
        let admin = admin.bind(&leaving)?;
        let listeners = listeners.bind(config, &leaving)?.open(&mut self.proxy).await?;
        // Last, because to open a log may empty it.
        match access_logs::open(config, &mut self.logs, &self.admin_state.registry) {
            Ok(access_logs) => Ok(OpenPlan { listeners, admin, access_logs }),
            Err(error) => {
                sockets::closed(listeners.abandon()).await;
                Err(error)
            }
        }
    }

    /// Uses what was opened for the configuration, and closes what it does not need any longer. Returns the signals that
    /// sockets are closed.
    fn take_over(&mut self, opened: OpenPlan, live: &LiveConfig) -> Vec<ClosingSocket> {
        let config = live.config();
        let grace = config.admin.shutdown_grace;
        // First, because no request may be carried to it.
        let parts = (&self.admin_state, &self.admin_guard, &self.dial_guard);
        let mut closing = self.admin.replace(opened.admin, parts, grace);
        let gone = self.listeners.replace(opened.listeners);
        let settings = live.settings(self.listeners.parts(config, opened.access_logs));
        self.proxy.serve(settings, self.listeners.handles());
        closing.extend(listeners::close(gone, grace));
        access_logs::keep(config, &mut self.logs);
        closing
    }
}

impl RunningApp {
    /// Returns the listeners, in the order of the configuration.
    pub fn listeners(&self) -> &[ListenerInfo] {
        &self.infos
    }

    /// Returns the address on which the admin server listens.
    pub fn admin(&self) -> SocketAddr {
        // There always is one.
        self.sockets.admin.address().unwrap_or_else(|| SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)))
    }

    /// Returns the address of the listener for metrics and probes, if there is one.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.sockets.admin.metrics_address()
    }

    /// Returns the metrics.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Takes over a changed configuration: everything but the number of workers. Requests under way are not touched; the
    /// next ones are served by the new configuration, also on open connections. Connections of a listener that goes are
    /// drained.
    ///
    /// Returns the changes that take a restart, each with its place.
    ///
    /// # Errors
    ///
    /// The configuration is wrong, a namer cannot be made, a stored dtab, an identifier or the sandboxes cannot be used, a
    /// listener cannot be bound, or an access log cannot be opened. Then everything stays as it is.
    pub async fn reload(&mut self, read: Result<Config, Errors>) -> Result<Vec<Warning>, Error> {
        let taken = match read {
            Ok(new) => self.take_over(new).await,
            Err(errors) => Err(errors.into()),
        };
        let (taken, closing) = match taken {
            Ok((left, closing)) => (Ok(left), closing),
            Err(error) => (Err(error), Vec::new()),
        };
        self.live.count(&taken);
        // Their addresses are free when this returns.
        sockets::closed(closing).await;
        taken
    }

    /// Takes over a configuration, or nothing of it. Returns the changes that take a restart, and the signals that sockets
    /// are closed.
    async fn take_over(&mut self, new: Config) -> Result<(Vec<Warning>, Vec<ClosingSocket>), Error> {
        let (config, left) = reload::keep_workers(self.live.config(), new);
        // Every step that can fail comes first, so that all of it is taken over or nothing.
        let parts = self.live.rebuild(&config).await?;
        let opened = match self.sockets.open(&config).await {
            Ok(opened) => opened,
            Err(error) => {
                access_logs::keep(self.live.config(), &mut self.sockets.logs);
                return Err(error);
            }
        };
        self.live.take_over(config, parts);
        let closing = self.sockets.take_over(opened, &self.live);
        self.infos = self.sockets.listeners.infos();
        Ok((left, closing))
    }

    /// Opens every access log anew, so that a file that was moved aside is replaced.
    pub fn reopen_logs(&self) {
        self.sockets.logs.reopen();
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
        let Self { drain, admin_drain, live, sockets, workers, .. } = self;
        let AppSockets { proxy, listeners, admin, admin_guard, logs, .. } = sockets;
        // These hold guards.
        drop((proxy, admin_guard));
        // Their drop would force what they drain.
        let _inner = (listeners.into_drains(), admin.into_drains());
        let announced = drain.stages().stage() >= Stage::Leaving;
        let last_call = if announced { LAST_CALL } else { Duration::ZERO };
        let drained = drain.drain(last_call, live.config().admin.shutdown_grace);
        // Saved now, because the process that takes over may start without an API server, and may not wait for the end.
        let (in_time, saved) = tokio::join!(drained, live.save(SAVE_TIMEOUT));
        if !saved {
            tracing::warn!("not all snapshots were written within {} s", SAVE_TIMEOUT.as_secs());
        }
        workers.ended().await;
        // A log without a reader, such as a pipe, must not hold up the end.
        let _ = tokio::time::timeout(END_TIMEOUT, logs.ended()).await;
        admin_drain.drain(Duration::ZERO, END_TIMEOUT).await;
        in_time
    }
}
