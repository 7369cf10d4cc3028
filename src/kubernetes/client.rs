//! One client of the API server.

use super::Config;
use super::config::Error;
use super::snapshot::{Folder, LastSave, Snapshots};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::client::ConfigExt as _;
use serde_json::{Map, Value, json};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tower::{BoxError, ServiceBuilder};

/// How long a TCP connection may take to open.
const CONNECT: Duration = Duration::from_secs(5);

/// When a silent connection is probed, how often, and how many probes may be lost: a peer that is gone without a word
/// is found out within half a minute, though a watch may be silent for minutes.
const KEEP_ALIVE: (Duration, Duration, u32) = (Duration::from_secs(15), Duration::from_secs(5), 3);

/// How much is read at once. hyper would make it up to 400 KiB for a list, and keep that for each watch.
const READ: usize = 16 << 10;

/// How long a connection without a request is kept.
const IDLE: Duration = Duration::from_secs(30);

/// One client of the API server, with the credentials of its configuration. Cheap to clone.
///
/// It connects when it is first used. Credentials are read again, and connections made anew, after a failure, so that
/// neither a token that was replaced nor a connection that died is used twice; a token in a file is read again each
/// minute besides.
#[derive(Clone, Debug)]
pub struct ApiClient(Arc<ApiClientState>);

/// The clients in use, one for each configuration, whoever asks by it: namers, stores and identifiers. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct ApiClients {
    used: Arc<std::sync::Mutex<Vec<Weak<ApiClientState>>>>,
    last_save: LastSave,
}

struct ApiClientState {
    config: Config,
    made: Mutex<CurrentClient>,
    /// Whether lists are asked for as streams.
    streams: AtomicBool,
    /// Whether one came as such.
    streamed: AtomicBool,
    snapshots: Option<Arc<Snapshots>>,
    last_save: LastSave,
    /// Whose watches it serves.
    watches: std::sync::Mutex<Vec<Weak<dyn WatchDescriber>>>,
}

/// Watches that can be described, for people.
pub(super) trait WatchDescriber: Send + Sync {
    /// Returns how each is doing, by what is watched.
    fn describe(&self) -> Map<String, Value>;
}

impl std::fmt::Debug for ApiClientState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiClient").field("config", &self.config).finish_non_exhaustive()
    }
}

#[derive(Default)]
struct CurrentClient {
    /// How often one was made.
    generation: u64,
    client: Option<(kube::Client, Arc<str>)>,
}

/// A client that may still be good.
#[derive(Clone)]
pub(super) struct ConnectedClient {
    pub(super) kube: kube::Client,
    /// The URL of the server.
    pub(super) server: Arc<str>,
    generation: u64,
}

impl ApiClients {
    /// Returns the client that is configured so: the one in use, or a new one.
    pub fn get(&self, config: &Config) -> ApiClient {
        let mut clients = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        clients.retain(|client| client.strong_count() > 0);
        let used = clients.iter().filter_map(Weak::upgrade).find(|client| client.config == *config);
        ApiClient(used.unwrap_or_else(|| {
            let folder = config.snapshot.clone().map(Folder::new);
            let client = Arc::new(ApiClientState {
                config: config.clone(),
                made: Mutex::default(),
                streams: AtomicBool::new(true),
                streamed: AtomicBool::new(false),
                snapshots: folder.map(|folder| Arc::new(Snapshots::new(folder))),
                last_save: self.last_save.clone(),
                watches: std::sync::Mutex::default(),
            });
            clients.push(Arc::downgrade(&client));
            client
        }))
    }

    /// Has every watch write the snapshot that is due, and none after: for the end of the process. Waits for it, up to
    /// `limit`, and returns whether all was written.
    pub async fn save(&self, limit: Duration) -> bool {
        self.last_save.now(limit).await
    }

    /// Describes every watch that is kept up, for people:
    /// `[{"watch": "endpointslices in default", "server": {}, "state": "watching", ...}]`. `server` has the keys of the
    /// configuration that say which API server it is.
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
    /// Takes note of watches that it serves, to be described with all others.
    pub(super) fn serves(&self, watches: Weak<dyn WatchDescriber>) {
        let mut known = self.0.watches.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|watches| watches.strong_count() > 0);
        known.push(watches);
    }

    /// Returns the client, made from credentials that are read now if there is none.
    pub(super) async fn connected(&self) -> Result<ConnectedClient, Error> {
        let mut made = self.0.made.lock().await;
        let (client, server) = match &made.client {
            Some(made) => made.clone(),
            None => {
                let config = self.0.config.clone();
                let runtime = Handle::current();
                // Files are read, and the program that a kubeconfig names for credentials is run.
                let making = spawn_blocking(move || runtime.block_on(make(&config))).await;
                let (client, server) = making.map_err(Error::Unmade)??;
                let server = Arc::<str>::from(server.to_string());
                if made.generation == 0 {
                    tracing::info!(server = %server, "connecting to the Kubernetes API");
                }
                made.generation += 1;
                made.client = Some((client.clone(), Arc::clone(&server)));
                (client, server)
            }
        };
        Ok(ConnectedClient { kube: client, server, generation: made.generation })
    }

    /// Returns the URL of the server, by what the configuration leads to now; asks nobody.
    pub(super) async fn server(&self) -> Result<Arc<str>, Error> {
        let (config, runtime) = (self.0.config.clone(), Handle::current());
        let loading = spawn_blocking(move || runtime.block_on(config.access.load())).await;
        Ok(loading.map_err(Error::Unmade)??.cluster_url.to_string().into())
    }

    /// Where snapshots are kept, if they are.
    pub(super) fn snapshots(&self) -> Option<&Arc<Snapshots>> {
        self.0.snapshots.as_ref()
    }

    /// What the end of the process waits for.
    pub(super) fn last_save(&self) -> &LastSave {
        &self.0.last_save
    }

    /// Says that something failed with this client: the next one is made anew.
    pub(super) async fn failed(&self, client: &ConnectedClient) {
        let mut made = self.0.made.lock().await;
        if made.generation == client.generation {
            made.client = None;
        }
    }

    /// Returns whether the server is believed to be able to stream lists.
    pub(super) fn streams_lists(&self) -> bool {
        self.0.streams.load(Relaxed)
    }

    /// Returns whether the server has ever streamed a list to its end.
    pub(super) fn has_streamed(&self) -> bool {
        self.0.streamed.load(Relaxed)
    }

    /// Says that the server has streamed a list to its end.
    pub(super) fn streamed(&self) {
        self.0.streamed.store(true, Relaxed);
    }

    /// Says that the server cannot stream lists: none is asked for again.
    pub(super) fn cannot_stream_lists(&self) {
        self.0.streams.store(false, Relaxed);
    }
}

/// Makes a client. Not `kube`'s own stack: it would repeat requests unseen and log each failure as an error.
/// Returns the server as well.
async fn make(config: &Config) -> Result<(kube::Client, http::Uri), Error> {
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
        .service(http);
    Ok((kube::Client::new(service, config.default_namespace), config.cluster_url))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::Access;

    #[test]
    fn who_is_configured_alike_shares_a_client() {
        let clients = ApiClients::default();
        let [here, there] = ["a", "b"].map(|host| Access::plain(Some(host.into()), None).into());
        let first = clients.get(&here);
        assert!(Arc::ptr_eq(&first.0, &clients.get(&here).0));
        assert!(!Arc::ptr_eq(&first.0, &clients.get(&there).0));
        drop(first);
        let _there = clients.get(&there);
        assert_eq!(clients.used.lock().unwrap().len(), 1, "one that nobody has is forgotten");
    }
}
