//! The only place that knows every part: build all, bind all, run.

mod base;

use self::base::Base;
use crate::admin::{Readiness, Shown};
use crate::config::{self, Config};
use crate::context;
use crate::drain::{self, Drain, Guard};
use crate::interpret::Keeper;
use crate::namer;
use crate::proxy::{CacheConfig, Limits, ListenerConfig, Proxy, RouterConfig, SocketOptions, Task};
use crate::telemetry::Registry;
use crate::{admin, message, proxy, store};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::{Builder, Handle, LocalOptions};
use tokio::sync::{Notify, oneshot, watch};

/// How long an answer of a namer that nobody holds is kept, so that a name asked for now and then need not be watched
/// anew each time.
const ANSWER_IDLE: Duration = Duration::from_secs(60);

/// How long the last workers may take to end after they were told to give up, and the admin server to give its last
/// answers.
const LAST_WORDS: Duration = Duration::from_secs(1);

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

/// Why the app did not start. Nothing is left running or bound.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A namer cannot be made.
    #[error(transparent)]
    Namer(#[from] namer::Error),
    /// A stored dtab cannot be used.
    #[error(transparent)]
    Store(#[from] store::Error),
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
    config: Config,
    /// The configuration as the admin server shows it.
    shown_config: watch::Sender<serde_json::Value>,
    /// In the order of the routers.
    bases: Vec<Base>,
    workers: Workers,
}

impl App {
    /// Builds everything, binds every listener, and only then accepts.
    ///
    /// To be called on the runtime that is to run control.
    ///
    /// # Errors
    ///
    /// A namer cannot be made, a listener cannot be bound, or a thread cannot be started.
    pub async fn start(config: Config, threads: Threads) -> Result<Running, Error> {
        let control = Handle::current();
        let registry = Registry::default();
        let namers = namer::build(&config.namers, &registry, &control)?;
        let (admin_socket, admin) = listen(ADMIN, config.admin.address(), &SocketOptions::default())?;
        let (sockets, listeners) = bind_all(&config)?;
        let mut bases = Vec::new();
        for router in &config.routers {
            bases.push(Base::open(router, &control).await?);
        }
        let mut at = listeners.iter();
        let routers = config
            .routers
            .iter()
            .zip(&bases)
            .map(|(router, base)| router_config(router, base, &mut at))
            .collect();

        let (drain, guard) = drain::channel();
        let (admin_drain, admin_guard) = drain::channel();
        let readiness = Readiness::new(drain.stages());
        let stop_asked = Arc::<Notify>::default();
        let (keeper, asker) = Keeper::new(namers, ANSWER_IDLE);
        control.spawn(keeper.run());
        let proxy = Proxy::new(routers, sockets, asker.clone(), registry.clone());
        let shown_config = watch::Sender::new(config.to_json());
        let shown = Shown {
            readiness: readiness.clone(),
            stop: Arc::clone(&stop_asked),
            registry: registry.clone(),
            config: shown_config.subscribe(),
            routers: config.routers.iter().zip(&bases).map(shown_router).collect(),
            asker,
            loads: proxy.loads(),
        };
        let admin_listener = tokio::net::TcpListener::from_std(admin_socket)
            .map_err(|source| Error::Bind { what: ADMIN.to_owned(), address: admin, source })?;
        control.spawn(admin::serve(admin_listener, shown, admin_guard));
        let workers = Workers::start(proxy, &guard, threads)?;
        readiness.serving();
        Ok(Running {
            listeners,
            admin,
            registry,
            stop_asked,
            drain,
            admin_drain,
            config,
            shown_config,
            bases,
            workers,
        })
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

    /// Takes over what a new configuration says of the routers' dtabs, which serve at once.
    ///
    /// Returns what else differs: it needs a restart.
    pub fn reload(&mut self, new: &Config) -> Vec<String> {
        let mut left = Vec::new();
        for (router, base) in self.config.routers.iter_mut().zip(&self.bases) {
            let Some(now) = new.routers.iter().find(|now| now.label == router.label) else {
                left.push(format!("router {} is gone", router.label));
                continue;
            };
            if router.dtab != now.dtab {
                router.dtab = now.dtab.clone();
                base.configure(now.dtab.clone());
                tracing::info!(router = %router.label, "the dtab has changed");
            }
            if *router != *now {
                left.push(format!("router {} differs in more than its dtab", router.label));
            }
        }
        let known = |label: &String| self.config.routers.iter().any(|router| router.label == *label);
        let added = new.routers.iter().filter(|router| !known(&router.label));
        left.extend(added.map(|router| format!("router {} is new", router.label)));
        if self.config.namers != new.namers {
            left.push("the namers differ".to_owned());
        }
        if self.config.admin != new.admin {
            left.push("the admin server differs".to_owned());
        }
        self.shown_config.send_replace(self.config.to_json());
        left
    }

    /// Waits until the admin server was asked to stop the process: then [`Running::stop`] should be called.
    pub fn stop_asked(&self) -> impl Future<Output = ()> + use<> {
        let asked = Arc::clone(&self.stop_asked);
        async move { asked.notified().await }
    }

    /// Stops accepting, finishes what was begun within the configured grace, and forces what is left.
    ///
    /// The admin server answers until the end, so that it can be asked how far this has come. Returns whether all
    /// requests of the routers finished in time.
    pub async fn stop(self) -> bool {
        let in_time = self.drain.drain(self.config.admin.shutdown_grace).await;
        self.workers.ended().await;
        self.admin_drain.drain(LAST_WORDS).await;
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
            let (socket, address) = listen(&what, server.address(), &socket_options(&server.socket_options))?;
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

/// What the proxy has to know of a router of the file, whose listeners are the next ones.
fn router_config<'a>(
    router: &config::Router,
    base: &Base,
    listeners: &mut impl Iterator<Item = &'a Listener>,
) -> RouterConfig {
    let at_least_one = |count| NonZeroUsize::new(count).unwrap_or(NonZeroUsize::MIN);
    RouterConfig {
        label: router.label.clone(),
        dtab: base.dtab(),
        prefix: router.dst_prefix.clone(),
        identifiers: router.identifiers.clone(),
        binding_timeout: router.binding_timeout,
        caches: CacheConfig {
            names: at_least_one(router.binding_cache.paths),
            clients: at_least_one(router.binding_cache.clients),
            idle: router.binding_cache.idle_ttl,
        },
        listeners: router
            .servers
            .iter()
            .zip(listeners)
            .map(|(server, listener)| listener_config(router, server, listener))
            .collect(),
    }
}

/// What is shown of a router of the file.
fn shown_router((router, base): (&config::Router, &Base)) -> admin::Router {
    admin::Router { label: router.label.clone(), prefix: router.dst_prefix.clone(), dtab: base.dtab() }
}

fn listener_config(router: &config::Router, server: &config::Server, listener: &Listener) -> ListenerConfig {
    let policy = context::Config {
        trust: server.trust,
        router: router.label.clone(),
        max_call_depth: server.max_call_depth,
        forwarded: server.add_forwarded_header.clone(),
        timestamp_header: server.timestamp_header.clone(),
        ..context::Config::default()
    };
    let default = Limits::default();
    let options = &server.socket_options;
    let stalled = [options.read_timeout, options.write_timeout].into_iter().flatten().min();
    let limits = Limits {
        heads: message::Limits {
            line: router.max_initial_line_kb * 1024,
            fields_bytes: router.max_headers_kb * 1024,
            ..default.heads
        },
        idle: options.read_timeout.unwrap_or(default.idle),
        request: server.timeout,
        stalled: stalled.unwrap_or(default.stalled),
        error_bytes: router.max_err_response_kb * 1024,
        ..default
    };
    ListenerConfig {
        label: listener.server.clone(),
        policy,
        limits,
        max_concurrent_requests: server.max_concurrent_requests,
        socket: socket_options(&server.socket_options),
    }
}

fn socket_options(options: &config::SocketOptions) -> SocketOptions {
    let default = SocketOptions::default();
    SocketOptions {
        no_delay: options.no_delay,
        reuse_port: options.reuse_port,
        keep_alive: options.keep_alive.unwrap_or(default.keep_alive),
        backlog: options.backlog.and_then(|backlog| backlog.try_into().ok()).unwrap_or(default.backlog),
    }
}

/// The threads that serve.
#[derive(Debug)]
enum Workers {
    Here(tokio::task::JoinHandle<()>),
    Threads(Vec<oneshot::Receiver<()>>),
}

impl Workers {
    fn start(proxy: Proxy, guard: &Guard, threads: Threads) -> Result<Self, Error> {
        match threads {
            Threads::Here => {
                let tasks = proxy.split(1, guard);
                Ok(Self::Here(tokio::task::spawn_local(async move {
                    for task in tasks {
                        run(task).await;
                    }
                })))
            }
            Threads::Workers(count) => {
                let tasks = proxy.split(count.max(1), guard);
                let threads = tasks.into_iter().enumerate().map(|(at, task)| thread(at, task));
                Ok(Self::Threads(threads.collect::<io::Result<_>>().map_err(Error::Worker)?))
            }
        }
    }

    /// Waits until the last of them has ended.
    async fn ended(self) {
        let all = async {
            match self {
                Self::Here(task) => drop(task.await),
                Self::Threads(threads) => {
                    for ended in threads {
                        // An error is an end as well.
                        let _ = ended.await;
                    }
                }
            }
        };
        let _ = tokio::time::timeout(LAST_WORDS, all).await;
    }
}

async fn run(task: Task) {
    if let Err(error) = task.run().await {
        tracing::error!(%error, "a worker ended");
    }
}

/// The stack of a worker's thread: twice what the deepest delegation takes in a debug build. Only what is used of it
/// costs memory.
const STACK: usize = 4 * 1024 * 1024;

/// Starts a worker's thread; what comes back says when it has ended.
fn thread(at: usize, task: Task) -> io::Result<oneshot::Receiver<()>> {
    let runtime = || Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
    let (ended, ending) = oneshot::channel();
    let builder = std::thread::Builder::new().name(format!("worker-{at}")).stack_size(STACK);
    builder.spawn(move || match runtime() {
        Ok(runtime) => {
            runtime.block_on(run(task));
            drop(runtime);
            drop(ended);
        }
        Err(error) => tracing::error!(%error, "a worker has no runtime"),
    })?;
    Ok(ending)
}
