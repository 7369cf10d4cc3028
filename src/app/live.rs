//! The parts of the app that a reload may change while it runs.

use super::naming::RouterNaming;
use super::settings::{RouterParts, SharedParts};
use super::{Error, settings};
use crate::config::{Config, Router, Server, Warning};
use crate::context::Trust;
use crate::context::token::{KeyFiles, OpenKeys};
use crate::identify::{self, Ingresses};
use crate::interpret::Namers;
use crate::kubernetes::ApiClients;
use crate::proxy::{RouterId, RouterSettings};
use crate::sandbox::Sandboxes;
use crate::store::{DtabStore, DtabStores};
use crate::telemetry::{Gauge, Registry, SharedCounter};
use crate::tls::{CertificateSupply, ClientTlsFiles, LiveTls, OpenTls, ServerTls, ServerTlsFiles};
use crate::{admin, namer};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::watch;

/// The configuration in use, and everything made from it.
#[derive(Debug)]
pub(super) struct LiveConfig {
    config: Config,
    clients: ApiClients,
    namers: namer::NamerSet,
    stores: DtabStores,
    ingresses: Ingresses,
    keys: OpenKeys,
    tls: Arc<OpenTls>,
    sandboxes: Sandboxes,
    /// In the order of the routers.
    bases: Vec<RouterBase>,
    /// How many routers there have been.
    routers: u64,
    channels: AdminChannels,
    reloads: ReloadMetrics,
}

/// The identity of a router, and its naming.
#[derive(Debug)]
struct RouterBase {
    id: RouterId,
    naming: RouterNaming,
}

/// The parts of a configuration that were made from it and are not in use yet.
#[derive(Debug)]
pub(super) struct RebuiltParts {
    namers: namer::NamerSet,
    stores: Vec<Option<DtabStore>>,
    ingresses: Ingresses,
    keys: OpenKeys,
    tls: Arc<OpenTls>,
    sandboxes: Sandboxes,
}

/// The sending ends of the values that the admin server shows.
#[derive(Debug)]
struct AdminChannels {
    access: watch::Sender<admin::AdminAccess>,
    tls: watch::Sender<Option<LiveTls<ServerTls>>>,
    config: watch::Sender<serde_json::Value>,
    routers: watch::Sender<Vec<admin::RouterView>>,
    namers: watch::Sender<Namers>,
}

/// The metrics of reloads.
#[derive(Debug)]
struct ReloadMetrics {
    done: SharedCounter,
    failed: SharedCounter,
    is_rejected: Gauge,
    waiting: Gauge,
}

impl LiveConfig {
    /// Makes the namers, and opens the stores, the sandboxes and the files of keys.
    ///
    /// # Errors
    ///
    /// A namer cannot be made, a store has no good dtab, an identifier does not lead to an API server, the file of
    /// sandboxes is wrong, or a file holds no usable key.
    pub(super) async fn open(config: Config, registry: &Registry, control: &Handle) -> Result<Self, Error> {
        let clients = ApiClients::default();
        clients.limit_attempts(config.kubernetes.watch_attempts);
        let namers = namer::build(&config.namers, config.interpreters(), &clients, registry, control)?;
        let stores = DtabStores::new(&clients, registry, control);
        let opened = open_stores(&stores, &config.routers).await?;
        let bases: Vec<_> = (0..)
            .zip(config.routers.iter().zip(&opened))
            .map(|(id, (router, store))| RouterBase {
                id: RouterId(id),
                naming: router_naming(router, store.as_ref(), &namers, control),
            })
            .collect();
        let ingresses = Ingresses::new(&clients, registry, control).rebuild(identifiers(&config)).await?;
        let keys = OpenKeys::new(registry, control).reopen(key_files(&config)).await?;
        let tls = OpenTls::new(registry, control);
        let tls = Arc::new(tls.reopen(server_tls(&config, &ingresses), client_tls(&config)).await?);
        let sandboxes = Sandboxes::new(&clients, registry, control);
        let sandboxes = sandboxes.reopen(&config.sandboxes.objects, config.namespace_roots()).await?;
        let channels = AdminChannels {
            access: watch::Sender::new(config.admin.access()),
            tls: watch::Sender::new(admin_tls(&config, &tls)),
            config: watch::Sender::new(config.to_json()),
            routers: watch::Sender::new(router_views(&config, &bases, &sandboxes, opened)),
            namers: watch::Sender::new(namers.namers().clone()),
        };
        Ok(Self {
            routers: bases.len() as u64,
            reloads: ReloadMetrics::new(registry),
            config,
            clients,
            namers,
            stores,
            ingresses,
            keys,
            tls,
            sandboxes,
            bases,
            channels,
        })
    }

    /// Returns the configuration in use.
    pub(super) const fn config(&self) -> &Config {
        &self.config
    }

    /// Returns the settings of the routers, in their order, from their parts.
    pub(super) fn settings(&self, parts: Vec<RouterParts>) -> Vec<RouterSettings> {
        let Self { config, ingresses, keys, tls, sandboxes, .. } = self;
        let shared = SharedParts { ingresses, keys, tls, sandboxes, workers: super::workers(config) };
        let routers = config.routers.iter().zip(&self.bases).zip(parts);
        routers
            .map(|((router, base), own)| {
                settings::router((config, router), (base.id, base.naming.naming()), own, &shared)
            })
            .collect()
    }

    /// Returns the clients that watch API servers.
    pub(super) fn clients(&self) -> ApiClients {
        self.clients.clone()
    }

    /// Returns the rules of access to the admin server, now and whenever they change.
    pub(super) fn admin_access(&self) -> watch::Receiver<admin::AdminAccess> {
        self.channels.access.subscribe()
    }

    /// Returns the certificates of the admin server, now and whenever they change.
    pub(super) fn admin_tls(&self) -> watch::Receiver<Option<LiveTls<ServerTls>>> {
        self.channels.tls.subscribe()
    }

    /// Returns the values that the admin server shows: the configuration, the routers, the namers.
    pub(super) fn admin_values(
        &self,
    ) -> (watch::Receiver<serde_json::Value>, watch::Receiver<Vec<admin::RouterView>>, watch::Receiver<Namers>)
    {
        (
            self.channels.config.subscribe(),
            self.channels.routers.subscribe(),
            self.channels.namers.subscribe(),
        )
    }

    /// Saves the objects of Kubernetes, where the configuration says so, for a start without an API server. Waits up to
    /// `limit`, and returns whether all was saved.
    pub(super) async fn save(&self, limit: Duration) -> bool {
        self.clients.save(limit).await
    }

    /// Counts a reload, by its result.
    pub(super) fn count(&self, taken: &Result<Vec<Warning>, Error>) {
        self.reloads.count(taken);
    }

    /// Makes the parts of a changed configuration; nothing changes yet.
    ///
    /// # Errors
    ///
    /// A namer cannot be made, a store has no good dtab, an identifier does not lead to an API server, the file of
    /// sandboxes is wrong, or a file holds no usable key.
    pub(super) async fn rebuild(&self, config: &Config) -> Result<RebuiltParts, Error> {
        let ingresses = self.ingresses.rebuild(identifiers(config)).await?;
        let tls = self.tls.reopen(server_tls(config, &ingresses), client_tls(config)).await?;
        Ok(RebuiltParts {
            namers: self.namers.rebuild(&config.namers, config.interpreters())?,
            stores: open_stores(&self.stores, &config.routers).await?,
            ingresses,
            keys: self.keys.reopen(key_files(config)).await?,
            tls: Arc::new(tls),
            sandboxes: self.sandboxes.reopen(&config.sandboxes.objects, config.namespace_roots()).await?,
        })
    }

    /// Takes over a changed configuration, with the parts that were made from it.
    pub(super) fn take_over(&mut self, config: Config, parts: RebuiltParts) {
        let RebuiltParts { namers, stores, ingresses, keys, tls, sandboxes } = parts;
        let same_sandboxes = self.config.sandboxes == config.sandboxes;
        let mut before: Vec<_> = self.config.routers.iter().zip(self.bases.drain(..)).collect();
        let mut bases = Vec::new();
        for (router, store) in config.routers.iter().zip(&stores) {
            let is_it = |(known, _): &(&Router, _)| is_same_router(known, router);
            let known = before.iter().position(is_it).map(|at| before.swap_remove(at));
            bases.push(match known {
                Some((before, base)) if same_sandboxes && differs_in_naming_alone(before, router) => {
                    let namers = namers.namers_behind(&router.interpreter.transformers);
                    base.naming.change(router, store.as_ref().map(DtabStore::stored), &namers);
                    base
                }
                known => {
                    let id = known.map(|(_, base)| base.id).unwrap_or_else(|| {
                        self.routers += 1;
                        RouterId(self.routers - 1)
                    });
                    // The workers take it over together with the settings.
                    let naming = router_naming(router, store.as_ref(), &namers, &Handle::current());
                    RouterBase { id, naming }
                }
            });
        }
        self.bases = bases;
        self.clients.limit_attempts(config.kubernetes.watch_attempts);
        self.channels.access.send_replace(config.admin.access());
        self.channels.tls.send_replace(admin_tls(&config, &tls));
        self.channels.config.send_replace(config.to_json());
        self.channels.routers.send_replace(router_views(&config, &self.bases, &sandboxes, stores));
        self.channels.namers.send_replace(namers.namers().clone());
        (self.config, self.namers, self.ingresses, self.keys) = (config, namers, ingresses, keys);
        (self.sandboxes, self.tls) = (sandboxes, tls);
    }
}

/// Returns whether a router is the one that was there before: it has the same label, and its endpoints speak the same
/// protocol.
fn is_same_router(before: &Router, now: &Router) -> bool {
    before.label == now.label && before.protocol == now.protocol
}

/// Makes the naming of a router.
fn router_naming(
    router: &Router,
    store: Option<&DtabStore>,
    namers: &namer::NamerSet,
    control: &Handle,
) -> RouterNaming {
    let namers = namers.namers_behind(&router.interpreter.transformers);
    RouterNaming::new(router, store.map(DtabStore::stored), &namers, control)
}

/// Returns whether a router is the same as before but for its dtab and its interpreter.
fn differs_in_naming_alone(before: &Router, now: &Router) -> bool {
    let same = Router { dtab: before.dtab.clone(), interpreter: before.interpreter.clone(), ..now.clone() };
    same == *before
}

/// Returns the identifiers of all routers, each with whether a listener of its router uses the certificates of Ingresses.
fn identifiers(config: &Config) -> impl Iterator<Item = (&identify::Config, bool)> {
    config.routers.iter().flat_map(|router| {
        let uses_certificates = router.servers.iter().any(Server::uses_ingress_certificates);
        router.identifiers.iter().map(move |identifier| (identifier, uses_certificates))
    })
}

/// Returns the files of keys of all listeners.
fn key_files(config: &Config) -> impl Iterator<Item = &KeyFiles> {
    let servers = config.routers.iter().flat_map(|router| &router.servers);
    servers.filter_map(|server| server.trust.signed()).map(|trust| &trust.signed.files)
}

/// Returns the files of certificates of all listeners, and of the admin server, each with the certificates that are supplied
/// beside them.
fn server_tls<'a>(
    config: &'a Config,
    ingresses: &Ingresses,
) -> impl Iterator<Item = (&'a ServerTlsFiles, Vec<CertificateSupply>)> {
    let of_router =
        |router: &'a Router| {
            let supplies = ingresses.certificates(&router.identifiers);
            router.servers.iter().filter_map(|server| server.tls.as_ref()).map(move |files| {
                (files, if files.ingress.is_some() { supplies.clone() } else { Vec::new() })
            })
        };
    config.routers.iter().flat_map(of_router).chain(admin_files(config))
}

/// Returns the files of certificates of the admin server.
pub(super) fn admin_files(
    config: &Config,
) -> impl Iterator<Item = (&ServerTlsFiles, Vec<CertificateSupply>)> {
    config.admin.tls.iter().map(|files| (files, Vec::new()))
}

/// Returns the files of TLS to endpoints, of all clients.
fn client_tls(config: &Config) -> impl Iterator<Item = ClientTlsFiles> {
    let clients = config.routers.iter().flat_map(|router| router.client.iter());
    clients.filter_map(|client| client.tls.as_ref()?.files())
}

/// Returns the certificates of the admin server, if it has any.
pub(super) fn admin_tls(config: &Config, tls: &OpenTls) -> Option<LiveTls<ServerTls>> {
    config.admin.tls.as_ref().and_then(|files| tls.server(files, &[]))
}

/// Opens the stores of the routers, in their order; stores that are open already stay open.
async fn open_stores(stores: &DtabStores, routers: &[Router]) -> Result<Vec<Option<DtabStore>>, Error> {
    let mut opened = Vec::new();
    for router in routers {
        opened.push(match &router.interpreter.store {
            Some(config) => Some(stores.open(config).await?),
            None => None,
        });
    }
    Ok(opened)
}

/// Returns the routers as the admin server shows them. The values hold their stores open, too.
fn router_views(
    config: &Config,
    bases: &[RouterBase],
    sandboxes: &Sandboxes,
    stores: Vec<Option<DtabStore>>,
) -> Vec<admin::RouterView> {
    let views =
        config.routers.iter().zip(bases).zip(stores).map(|((router, base), store)| admin::RouterView {
            label: router.label.clone(),
            prefix: router.dst_prefix.clone(),
            naming: base.naming.naming(),
            max_override_lookups: router.max_override_lookups,
            sandboxes: sandboxes.table(),
            store,
            listeners: router.servers.iter().map(listener_view).collect(),
        });
    views.collect()
}

/// Returns a listener as the admin server shows it.
fn listener_view(server: &Server) -> admin::ListenerView {
    admin::ListenerView {
        label: server.label.clone().unwrap_or_else(|| server.address().to_string()),
        trusts_anyone: server.trust != Trust::Nobody,
        trust: server.trust_reason.clone(),
        limits: server.overrides.clone(),
    }
}

impl ReloadMetrics {
    fn new(registry: &Registry) -> Self {
        for (name, meaning) in [
            ("config_reloads", "Times the configuration was read again and taken over"),
            ("config_reload_failures", "Times the configuration was read again and found wrong"),
            ("config_rejected", "1 while the configuration file is wrong and the last good one is in use"),
            ("config_restart_needed", "Parts of the configuration file that wait for a restart"),
        ] {
            registry.describe(name, meaning);
        }
        Self {
            done: registry.shared_counter("config_reloads", &[]),
            failed: registry.shared_counter("config_reload_failures", &[]),
            is_rejected: registry.gauge("config_rejected", &[]),
            waiting: registry.gauge("config_restart_needed", &[]),
        }
    }

    /// Counts a reload, by its result.
    fn count(&self, taken: &Result<Vec<Warning>, Error>) {
        match taken {
            Ok(left) => {
                self.done.increment();
                self.waiting.set(left.len().try_into().unwrap_or(i64::MAX));
            }
            Err(_) => self.failed.increment(),
        }
        self.is_rejected.set(taken.is_err().into());
    }
}
