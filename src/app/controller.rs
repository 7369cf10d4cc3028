//! Builds the controller of sandboxes from the configuration of the routers, and runs it with an admin server.

use super::admin_servers::ADMIN;
use super::live::admin_tls;
use super::naming::RouterNaming;
use super::sockets::{bind_socket, watch_socket};
use super::{ANSWER_IDLE, END_TIMEOUT, Error};
use crate::admin::{self, AdminState, PageSet, Readiness, RouterView};
use crate::config::{Config, Router};
use crate::controller::{self, ControllerParts, LeaseConfig};
use crate::drain::{self, Drain};
use crate::interpret::NamerRegistry;
use crate::kubernetes::{self, ApiClients};
use crate::namer;
use crate::proxy::{DialGuard, EndpointRegistry, SocketOptions};
use crate::sandbox::{self, Sandboxes};
use crate::store::{DtabStore, DtabStores};
use crate::telemetry::Registry;
use crate::tls::OpenTls;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot, watch};

/// A controller that is built and not running yet; its admin server answers.
#[derive(Debug)]
pub struct Controller {
    parts: ControllerParts,
    admin: SocketAddr,
    stop_asked: Arc<Notify>,
    drain: Drain,
    admin_drain: Drain,
    /// The naming of the router, and its store, which stay open.
    _naming: RouterNaming,
    _store: Option<DtabStore>,
    /// The sandboxes of the configuration, which stay open.
    _embedded: Sandboxes,
}

impl Controller {
    /// Builds the namers and the dtab of the router under which destinations are asked, and binds the admin server.
    ///
    /// Must be called on the runtime that is to run control.
    ///
    /// # Errors
    ///
    /// The configuration names no namespace, or several routers and none of them for this; a namer cannot be made, a
    /// stored dtab or the file of sandboxes cannot be used, or the admin server cannot be bound.
    pub async fn build(config: Config, lease: LeaseConfig) -> Result<Self, Error> {
        let control = Handle::current();
        let registry = Registry::default();
        let clients = ApiClients::default();
        clients.limit_attempts(config.kubernetes.watch_attempts);
        let sandboxes = &config.sandboxes.objects;
        if sandboxes.namespaces.is_empty() {
            return Err(Error::NothingToControl);
        }
        let router = choose_router(&config)?;
        let namers = namer::build(&config.namers, config.interpreters(), &clients, &registry, &control)?;
        let store = match &router.interpreter.store {
            Some(of) => Some(DtabStores::new(&clients, &registry, &control).open(of).await?),
            None => None,
        };
        // The leader watches the namespaces by itself.
        let own = sandbox::Config { namespaces: Vec::new(), ..sandboxes.clone() };
        let opened = Sandboxes::new(&clients, &registry, &control);
        let embedded = opened.reopen(&own, config.namespace_roots()).await?;
        let behind = namers.namers_behind(&router.interpreter.transformers);
        let naming = RouterNaming::new(router, store.as_ref().map(DtabStore::stored), &behind, &control);
        let (namer_registry, namer_handle) = NamerRegistry::new(ANSWER_IDLE);
        control.spawn(namer_registry.run());

        let options = SocketOptions::default();
        let (socket, address) = bind_socket(ADMIN, config.admin.address(), &options, &[])?;
        let listener = watch_socket(ADMIN, (socket, address))?;
        let tls = OpenTls::new(&registry, &control)
            .reopen(super::live::admin_files(&config), std::iter::empty())
            .await?;
        let (drain, _) = drain::channel();
        let (admin_drain, admin_guard) = drain::channel();
        let (readiness, stop_asked) = (Readiness::new(drain.stages()), Arc::<Notify>::default());
        let view = RouterView {
            label: router.label.clone(),
            prefix: router.dst_prefix.clone(),
            naming: naming.naming(),
            max_override_lookups: router.max_override_lookups,
            sandboxes: embedded.table(),
            store: store.clone(),
            listeners: Vec::new(),
        };
        let state = AdminState {
            readiness: readiness.clone(),
            access: watch::channel(config.admin.access()).1,
            tls: watch::channel(admin_tls(&config, &tls)).1,
            stop: Arc::clone(&stop_asked),
            registry: registry.clone(),
            config: watch::channel(config.to_json()).1,
            routers: watch::channel(vec![view]).1,
            namers: watch::channel(namers.namers().clone()).1,
            clients: clients.clone(),
            namer_handle: namer_handle.clone(),
            endpoint_registry: Arc::new(EndpointRegistry::new(DialGuard::new([address]))),
        };
        let (closing, _) = oneshot::channel();
        control.spawn(admin::serve(listener, PageSet::All, state, admin_guard, closing));
        readiness.serving();

        let access = sandboxes.client.access.clone();
        let parts = ControllerParts {
            client: clients.get(&kubernetes::Config { access, snapshot: None }),
            namespaces: sandboxes.namespaces.clone(),
            rules: Arc::new(config.sandbox_rules()),
            embedded: embedded.embedded(),
            naming: naming.naming(),
            namer_handle,
            lease,
            registry,
            control,
        };
        Ok(Self {
            parts,
            admin: address,
            stop_asked,
            drain,
            admin_drain,
            _naming: naming,
            _store: store,
            _embedded: embedded,
        })
    }

    /// Returns the address on which the admin server listens.
    pub const fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Runs until `stop` is done, or a caller of the admin server asks for a stop; then gives the lease back.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let asked = Arc::clone(&self.stop_asked);
        let stop = async {
            tokio::select! {
                () = stop => {}
                () = asked.notified() => {}
            }
            self.drain.leave();
        };
        controller::run(self.parts, stop).await;
        self.admin_drain.drain(Duration::ZERO, END_TIMEOUT).await;
    }
}

/// Returns the router under which destinations are asked: the one that the configuration names, or the only one.
fn choose_router(config: &Config) -> Result<&Router, Error> {
    let label = config.sandboxes.objects.router.as_deref();
    match (label, config.routers.as_slice()) {
        (None, [only]) => Ok(only),
        (label, routers) => {
            let chosen = routers.iter().find(|router| Some(&*router.label) == label);
            chosen.ok_or_else(|| Error::ControllerRouter {
                labels: routers.iter().map(|router| router.label.clone()).collect::<Vec<_>>().join(", "),
            })
        }
    }
}
