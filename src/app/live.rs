//! What of the app can change while it runs.

use super::base::Base;
use super::{Error, reload, settings};
use crate::config::{Config, Router, Warning};
use crate::identify::{self, Ingresses};
use crate::interpret::{Namers, Naming};
use crate::kubernetes::Clients;
use crate::proxy::RouterSettings;
use crate::store::{Store, Stores};
use crate::telemetry::{Counter, Gauge, Registry};
use crate::{admin, namer};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::watch;

/// The configuration in use, and everything that follows it.
#[derive(Debug)]
pub(super) struct Live {
    config: Config,
    clients: Clients,
    namers: namer::Built,
    stores: Stores,
    ingresses: Ingresses,
    /// In the order of the routers.
    bases: Vec<Base>,
    settings: watch::Sender<Vec<RouterSettings>>,
    shown: ShownLive,
    reloads: Reloads,
}

/// What the admin server shows of it.
#[derive(Debug)]
struct ShownLive {
    config: watch::Sender<serde_json::Value>,
    routers: watch::Sender<Vec<admin::Router>>,
    namers: watch::Sender<Namers>,
}

/// What is counted of reloads.
#[derive(Debug)]
struct Reloads {
    done: Counter,
    failed: Counter,
    is_rejected: Gauge,
    waiting: Gauge,
}

impl Live {
    /// Makes the namers and opens the stores.
    ///
    /// # Errors
    ///
    /// A namer cannot be made, a store has no good dtab, or an identifier does not lead to an API server.
    pub(super) async fn open(config: Config, registry: &Registry, control: &Handle) -> Result<Self, Error> {
        let clients = Clients::default();
        let namers = namer::build(&config.namers, config.interpreters(), &clients, registry, control)?;
        let stores = Stores::new(&clients, registry, control);
        let opened = open_stores(&stores, &config.routers).await?;
        let base = |(router, store): (&Router, &Option<Store>)| {
            let namers = namers.namers_behind(&router.interpreter.transformers);
            Base::new(router, store.as_ref().map(Store::stored), &namers, control)
        };
        let bases: Vec<_> = config.routers.iter().zip(&opened).map(base).collect();
        let ingresses = Ingresses::new(&clients, registry, control).rebuilt(identifiers(&config)).await?;
        let shown = ShownLive {
            config: watch::Sender::new(config.to_json()),
            routers: watch::Sender::new(shown_routers(&config, &bases, opened)),
            namers: watch::Sender::new(namers.namers().clone()),
        };
        Ok(Self {
            settings: watch::Sender::new(settings::routers(&config, &ingresses)),
            reloads: Reloads::new(registry),
            config,
            clients,
            namers,
            stores,
            ingresses,
            bases,
            shown,
        })
    }

    /// The configuration in use.
    pub(super) const fn config(&self) -> &Config {
        &self.config
    }

    /// What names mean to each router, in their order.
    pub(super) fn namings(&self) -> impl Iterator<Item = watch::Receiver<Naming>> {
        self.bases.iter().map(Base::naming)
    }

    /// What the routers are served by.
    pub(super) fn settings(&self) -> watch::Receiver<Vec<RouterSettings>> {
        self.settings.subscribe()
    }

    /// By which API servers are watched.
    pub(super) fn clients(&self) -> Clients {
        self.clients.clone()
    }

    /// What the admin server shows: the configuration, the routers, the namers.
    pub(super) fn shown(
        &self,
    ) -> (watch::Receiver<serde_json::Value>, watch::Receiver<Vec<admin::Router>>, watch::Receiver<Namers>)
    {
        (self.shown.config.subscribe(), self.shown.routers.subscribe(), self.shown.namers.subscribe())
    }

    /// Saves what is known from Kubernetes, where the configuration says so, for a start without it; waits up to `limit`.
    pub(super) async fn save(&self, limit: Duration) -> bool {
        self.clients.save(limit).await
    }

    /// Takes over a configuration that was read, or counts that it could not be.
    ///
    /// Returns what takes a restart.
    ///
    /// # Errors
    ///
    /// It is wrong, a namer cannot be made, a store has no good dtab, or an identifier does not lead to an API server.
    /// Nothing has changed then.
    pub(super) async fn reload(&mut self, read: Result<Config, Error>) -> Result<Vec<Warning>, Error> {
        let taken = match read {
            Ok(new) => self.take_over(&new).await,
            Err(error) => Err(error),
        };
        self.reloads.count(&taken);
        taken
    }

    async fn take_over(&mut self, new: &Config) -> Result<Vec<Warning>, Error> {
        let (config, left) = reload::merge(&self.config, new);
        // Whatever can fail comes first, so that all of it is taken over or nothing.
        let namers = self.namers.rebuilt(&config.namers, config.interpreters())?;
        let opened = open_stores(&self.stores, &config.routers).await?;
        let ingresses = self.ingresses.rebuilt(identifiers(&config)).await?;
        for ((base, router), store) in self.bases.iter().zip(&config.routers).zip(&opened) {
            let namers = namers.namers_behind(&router.interpreter.transformers);
            base.change(router, store.as_ref().map(Store::stored), &namers);
        }
        self.settings.send_replace(settings::routers(&config, &ingresses));
        self.shown.config.send_replace(config.to_json());
        self.shown.routers.send_replace(shown_routers(&config, &self.bases, opened));
        self.shown.namers.send_replace(namers.namers().clone());
        (self.config, self.namers, self.ingresses) = (config, namers, ingresses);
        Ok(left)
    }
}

/// The identifiers of all routers.
fn identifiers(config: &Config) -> impl Iterator<Item = &identify::Config> {
    config.routers.iter().flat_map(|router| &router.identifiers)
}

/// Opens the stores of the routers, in their order; those that are open stay so.
async fn open_stores(stores: &Stores, routers: &[Router]) -> Result<Vec<Option<Store>>, Error> {
    let mut opened = Vec::new();
    for router in routers {
        opened.push(match &router.interpreter.store {
            Some(config) => Some(stores.open(config).await?),
            None => None,
        });
    }
    Ok(opened)
}

/// What is shown of the routers. It holds their stores open, too.
fn shown_routers(config: &Config, bases: &[Base], stores: Vec<Option<Store>>) -> Vec<admin::Router> {
    let shown = config.routers.iter().zip(bases).zip(stores).map(|((router, base), store)| admin::Router {
        label: router.label.clone(),
        prefix: router.dst_prefix.clone(),
        naming: base.naming(),
        store,
    });
    shown.collect()
}

impl Reloads {
    fn new(registry: &Registry) -> Self {
        for (name, meaning) in [
            ("config_reloads", "Times the configuration was read again and taken over"),
            ("config_reload_failures", "Times the configuration was read again and found wrong"),
            ("config_rejected", "1 while the configuration file is wrong and what it said before is in use"),
            ("config_restart_needed", "Parts of the configuration file that wait for a restart"),
        ] {
            registry.describe(name, meaning);
        }
        Self {
            done: registry.counter("config_reloads", &[]),
            failed: registry.counter("config_reload_failures", &[]),
            is_rejected: registry.gauge("config_rejected", &[]),
            waiting: registry.gauge("config_restart_needed", &[]),
        }
    }

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
