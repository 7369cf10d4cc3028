//! A client of the API server.

use super::Config;
use super::attempts::{ATTEMPTS_PER_SECOND, AttemptBudget};
use super::config::Error;
use super::retry_after::tell_pause;
use super::snapshot::{Folder, LastSave, Snapshots};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::client::ConfigExt as _;
use serde_json::{Map, Value, json};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tokio::time::Instant;
use tower::{BoxError, ServiceBuilder};

/// How long a TCP connection may take to open.
const CONNECT: Duration = Duration::from_secs(5);

/// The TCP keep-alive of a connection: the silence before the first probe, the time between probes, and how many may
/// be lost. A peer that is gone without a word is found out within half a minute, though a watch may be silent for
/// minutes.
const KEEP_ALIVE: (Duration, Duration, u32) = (Duration::from_secs(15), Duration::from_secs(5), 3);

/// How many bytes are read at once. hyper would make it up to 400 KiB for a list, and keep that for each watch.
const READ: usize = 16 << 10;

/// How long credentials that the server refuses are used before they are read again.
const REREAD: Duration = Duration::from_secs(2);

/// How long a connection without a request is kept.
const IDLE: Duration = Duration::from_secs(30);

/// A client of the API server, with the credentials of its configuration. Cheap to clone.
///
/// It connects when it is first used. After a failure it reads the credentials again and makes new connections, so
/// that neither a replaced token nor a dead connection is used twice. A token in a file is also read again each
/// minute.
#[derive(Clone, Debug)]
pub struct ApiClient(Arc<ApiClientState>);

/// The clients in use, one for each configuration, shared by namers, stores and identifiers. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ApiClients {
    used: Arc<std::sync::Mutex<Vec<Weak<ApiClientState>>>>,
    last_save: LastSave,
    /// How many attempts a second the watches of each client have.
    attempts: Arc<AtomicU32>,
}

impl Default for ApiClients {
    fn default() -> Self {
        let attempts = Arc::new(AtomicU32::new(ATTEMPTS_PER_SECOND.get()));
        Self { used: Arc::default(), last_save: LastSave::default(), attempts }
    }
}

/// The state that all clones of a client share.
struct ApiClientState {
    config: Config,
    /// The client of a test, which takes the place of one that is built.
    #[cfg(test)]
    fixed: Option<kube::Client>,
    current: Mutex<CurrentClient>,
    /// Whether lists are requested as streams.
    can_stream: AtomicBool,
    /// Whether the server has ever streamed a list to its end.
    has_streamed: AtomicBool,
    snapshots: Option<Arc<Snapshots>>,
    last_save: LastSave,
    /// The attempts that its watches may make.
    budget: AttemptBudget,
    /// The watches that use this client.
    watches: std::sync::Mutex<Vec<Weak<dyn WatchDescriber>>>,
}

/// A table of watches that can describe them, for people.
pub(super) trait WatchDescriber: Send + Sync {
    /// Returns the state of each watch, by the name of the watch.
    fn describe(&self) -> Map<String, Value>;
}

impl std::fmt::Debug for ApiClientState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiClient").field("config", &self.config).finish_non_exhaustive()
    }
}

/// The client of `kube` that is in use, if there is one.
#[derive(Default)]
struct CurrentClient {
    /// How many clients were made so far.
    generation: u64,
    /// The client, with the URL of its server.
    client: Option<(kube::Client, Arc<str>)>,
    /// The time when it was made.
    made: Option<Instant>,
}

/// A client of `kube` as it was when a request began; it may have failed since.
#[derive(Clone)]
pub(super) struct ConnectedClient {
    pub(super) kube: kube::Client,
    /// The URL of the server.
    pub(super) server: Arc<str>,
    generation: u64,
}

impl ApiClients {
    /// Returns the client of a configuration: the one in use, or a new one.
    pub fn get(&self, config: &Config) -> ApiClient {
        let mut clients = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        clients.retain(|client| client.strong_count() > 0);
        let used = clients.iter().filter_map(Weak::upgrade).find(|client| client.config == *config);
        ApiClient(used.unwrap_or_else(|| {
            let folder = config.snapshot.clone().map(Folder::new);
            let client = Arc::new(ApiClientState {
                config: config.clone(),
                #[cfg(test)]
                fixed: None,
                current: Mutex::default(),
                can_stream: AtomicBool::new(true),
                has_streamed: AtomicBool::new(false),
                snapshots: folder.map(|folder| Arc::new(Snapshots::new(folder))),
                last_save: self.last_save.clone(),
                budget: AttemptBudget::new(Arc::clone(&self.attempts)),
                watches: std::sync::Mutex::default(),
            });
            clients.push(Arc::downgrade(&client));
            client
        }))
    }

    /// Sets how many attempts a second the watches of each client have together, from now on; 20 unless set.
    pub fn limit_attempts(&self, per_second: NonZeroU32) {
        self.attempts.store(per_second.get(), Relaxed);
    }

    /// Has every watch write the snapshot that is due, and none after that: for the end of the process. Waits up to
    /// `limit`, and returns whether all snapshots were written.
    pub async fn save(&self, limit: Duration) -> bool {
        self.last_save.run(limit).await
    }

    /// Describes every running watch, for people:
    /// `[{"watch": "endpointslices in default", "server": {}, "state": "watching", ...}]`. `server` has the
    /// configuration keys that say which API server it is.
    pub fn state(&self) -> Vec<Value> {
        let clients = self.used.lock().unwrap_or_else(PoisonError::into_inner).clone();
        clients.iter().filter_map(Weak::upgrade).flat_map(|client| client.state()).collect()
    }
}

impl ApiClientState {
    fn state(&self) -> Vec<Value> {
        let watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let described = watches.iter().filter_map(Weak::upgrade).flat_map(|watches| watches.describe());
        let whole = |(watch, state): (String, Value)| {
            let mut whole = Map::from_iter([("watch".to_owned(), watch.into())]);
            whole.insert("server".to_owned(), json!(self.config.access));
            whole.extend(state.as_object().cloned().unwrap_or_default());
            Value::Object(whole)
        };
        described.map(whole).collect()
    }
}

impl ApiClient {
    /// Registers watches that use this client, so that they are described with all others.
    pub(super) fn register_watches(&self, watches: Weak<dyn WatchDescriber>) {
        let mut known = self.0.watches.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|watches| watches.strong_count() > 0);
        known.push(watches);
    }

    /// Makes a client whose requests go to `kube`, with a budget of attempts.
    #[cfg(test)]
    pub(super) fn of_test(kube: kube::Client, attempts: NonZeroU32) -> Self {
        let clients = ApiClients::default();
        clients.limit_attempts(attempts);
        let mut state = Arc::try_unwrap(clients.get(&Config::default()).0).expect("it is the only one");
        state.fixed = Some(kube);
        Self(Arc::new(state))
    }

    /// Returns the client of `kube`. If there is none, makes one from credentials that it reads now.
    pub(super) async fn connect(&self) -> Result<ConnectedClient, Error> {
        #[cfg(test)]
        if let Some(kube) = &self.0.fixed {
            return Ok(ConnectedClient { kube: kube.clone(), server: "test".into(), generation: 0 });
        }
        let mut current = self.0.current.lock().await;
        let (client, server) = match &current.client {
            Some(made) => made.clone(),
            None => {
                let config = self.0.config.clone();
                let runtime = Handle::current();
                // This reads files, and runs the program that a kubeconfig names for credentials.
                let making = spawn_blocking(move || runtime.block_on(build_client(&config))).await;
                let (client, server) = making.map_err(Error::Unmade)??;
                let server = Arc::<str>::from(server.to_string());
                if current.generation == 0 {
                    tracing::info!(server = %server, "connecting to the Kubernetes API");
                }
                current.generation += 1;
                current.made = Some(Instant::now());
                current.client = Some((client.clone(), Arc::clone(&server)));
                (client, server)
            }
        };
        Ok(ConnectedClient { kube: client, server, generation: current.generation })
    }

    /// Returns the URL of the server that the configuration leads to now, without a request.
    pub(super) async fn server_url(&self) -> Result<Arc<str>, Error> {
        let (config, runtime) = (self.0.config.clone(), Handle::current());
        let loading = spawn_blocking(move || runtime.block_on(config.access.load())).await;
        Ok(loading.map_err(Error::Unmade)??.cluster_url.to_string().into())
    }

    /// Returns the attempts that its watches may make.
    pub(super) fn budget(&self) -> &AttemptBudget {
        &self.0.budget
    }

    /// Returns the folder for snapshots, if the configuration names one.
    pub(super) fn snapshots(&self) -> Option<&Arc<Snapshots>> {
        self.0.snapshots.as_ref()
    }

    /// Returns the last save, for which the end of the process waits.
    pub(super) fn last_save(&self) -> &LastSave {
        &self.0.last_save
    }

    /// Drops a client that failed, unless it was replaced already: the next request makes a new one.
    pub(super) async fn discard(&self, client: &ConnectedClient) {
        let mut current = self.0.current.lock().await;
        if current.generation == client.generation {
            current.client = None;
        }
    }

    /// Does the same as [`ApiClient::discard`] for a client that the server refused, at most once in [`REREAD`]: reading
    /// credentials and certificates costs some milliseconds, and many namespaces may be refused.
    pub(super) async fn discard_refused(&self, client: &ConnectedClient) {
        let made = self.0.current.lock().await.made;
        if made.is_none_or(|made| made.elapsed() >= REREAD) {
            self.discard(client).await;
        }
    }

    /// Returns whether lists are to be requested as streams.
    pub(super) fn streams_lists(&self) -> bool {
        self.0.can_stream.load(Relaxed)
    }

    /// Returns whether the server has ever streamed a list to its end.
    pub(super) fn has_streamed(&self) -> bool {
        self.0.has_streamed.load(Relaxed)
    }

    /// Records that the server has streamed a list to its end.
    pub(super) fn record_streamed_list(&self) {
        self.0.has_streamed.store(true, Relaxed);
    }

    /// Records that the server cannot stream lists: no other is requested as a stream.
    pub(super) fn disable_streamed_lists(&self) {
        self.0.can_stream.store(false, Relaxed);
    }
}

/// Makes a client of `kube`, and returns it with the URL of its server. It does not use the HTTP stack of `kube`,
/// which would repeat requests unseen and log each failure as an error.
async fn build_client(config: &Config) -> Result<(kube::Client, http::Uri), Error> {
    let config = config.access.load().await?;
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT));
    let (time, interval, retries) = KEEP_ALIVE;
    tcp.set_keepalive(Some(time));
    tcp.set_keepalive_interval(Some(interval));
    tcp.set_keepalive_retries(Some(retries));
    let connector = config.rustls_https_connector_with_connector(tcp)?;
    let http = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .http1_read_buf_exact_size(READ)
        .build(connector);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .and_then(async |response| Ok::<_, BoxError>(tell_pause(response).await))
        .service(http);
    Ok((kube::Client::new(service, config.default_namespace), config.cluster_url))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::Access;

    #[test]
    fn equal_configurations_share_a_client() {
        let clients = ApiClients::default();
        let [here, there] = ["a", "b"].map(|host| Access::plain(Some(host.into()), None).into());
        let first = clients.get(&here);
        assert!(Arc::ptr_eq(&first.0, &clients.get(&here).0));
        assert!(!Arc::ptr_eq(&first.0, &clients.get(&there).0));
        drop(first);
        let _there = clients.get(&there);
        assert_eq!(clients.used.lock().unwrap().len(), 1, "a client without users is forgotten");
    }
}
