//! The routers of one worker and their listeners, as their settings say.

use super::SharedState;
use super::listener_task::ListenerTask;
use crate::context::Policy;
use crate::identify::Identifiers;
use crate::proxy::bind::Bindings;
use crate::proxy::downstream::{
    AccessLog, AccessLogger, Listener, ListenerId, ListenerPart, ListenerSettings, RouterId, RouterSettings,
};
use crate::proxy::limits::{Counts, Permits};
use crate::proxy::metrics::{Counters, ListenerLabels, TrafficMetrics};
use crate::proxy::serve::Service;
use crate::proxy::wire::trailer_filter::TrailerFilter;
use crate::sandbox::WorkerSandboxes;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

/// The routers of one worker, and their listeners.
pub(super) struct WorkerRouters {
    shared: Arc<SharedState>,
    routers: Vec<WorkerRouter>,
    listeners: HashMap<ListenerId, WorkerListener>,
}

/// One router on one worker.
struct WorkerRouter {
    id: RouterId,
    bindings: Rc<Bindings>,
    sandboxes: Rc<WorkerSandboxes>,
}

/// One listener on one worker, with its counts over all workers.
struct WorkerListener {
    listener: Rc<Listener>,
    counts: Counts,
}

impl WorkerRouters {
    pub(super) fn new(shared: Arc<SharedState>) -> Self {
        Self { shared, routers: Vec::new(), listeners: HashMap::new() }
    }

    /// Serves the requests that begin from now on by these settings. Routers and listeners without settings are
    /// forgotten; the task of a listener keeps it until its connections have ended.
    ///
    /// Returns the tasks of the listeners that begin.
    pub(super) fn change(
        &mut self,
        settings: &[RouterSettings],
        begun: Vec<ListenerPart>,
    ) -> Vec<ListenerTask> {
        let mut routers = std::mem::take(&mut self.routers);
        let mut listeners = std::mem::take(&mut self.listeners);
        let mut begun: HashMap<_, _> = begun.into_iter().map(|part| (part.id, part)).collect();
        let mut tasks = Vec::new();
        for settings in settings {
            let known = routers.iter().position(|router| router.id == settings.id);
            let router = match known.map(|at| routers.swap_remove(at)) {
                Some(router) => router.under(settings),
                None => WorkerRouter::new(&self.shared, settings),
            };
            let identifiers = Rc::new(Identifiers::new(&settings.identifiers, &settings.prefix));
            let change = RouterChange { shared: &self.shared, router: &router, settings, identifiers };
            for settings in &settings.listeners {
                let listener = if let Some(listener) = listeners.remove(&settings.id) {
                    change.apply(settings, &listener);
                    listener
                } else if let Some(ListenerPart { incoming, counts, guard, .. }) = begun.remove(&settings.id)
                {
                    let listener = change.begin(settings, counts);
                    tasks.push(ListenerTask { listener: Rc::clone(&listener.listener), incoming, guard });
                    listener
                } else {
                    continue;
                };
                self.listeners.insert(settings.id, listener);
            }
            self.routers.push(router);
        }
        tasks
    }

    /// Returns the bindings of all routers.
    pub(super) fn bindings(&self) -> Vec<Rc<Bindings>> {
        self.routers.iter().map(|router| Rc::clone(&router.bindings)).collect()
    }
}

impl WorkerRouter {
    fn new(shared: &SharedState, settings: &RouterSettings) -> Self {
        let sandboxes = Rc::new(WorkerSandboxes::new(settings.sandboxes.clone()));
        let namer_handle = shared.namer_handle.clone();
        let bindings = Bindings::new(settings.naming.clone(), &settings.bindings, namer_handle)
            .sharing(Arc::clone(&shared.endpoint_registry))
            .counting(TrafficMetrics::new(&shared.registry, &settings.label))
            .with_sandboxes(&sandboxes);
        Self { id: settings.id, bindings: Rc::new(bindings), sandboxes }
    }

    /// Returns the router under other settings: the dtab goes live together with all others.
    fn under(self, settings: &RouterSettings) -> Self {
        self.sandboxes.follow(&settings.sandboxes);
        if self.bindings.are_under(&settings.naming) {
            self.bindings.configure(&settings.bindings);
            return self;
        }
        let bindings = self.bindings.followed_by(settings.naming.clone(), &settings.bindings);
        Self { bindings: Rc::new(bindings), ..self }
    }
}

/// The change of a router's listeners to other settings.
struct RouterChange<'a> {
    shared: &'a SharedState,
    router: &'a WorkerRouter,
    settings: &'a RouterSettings,
    identifiers: Rc<Identifiers>,
}

impl RouterChange<'_> {
    /// Begins a listener.
    fn begin(&self, settings: &ListenerSettings, counts: Counts) -> WorkerListener {
        let service = self.service(settings, &counts, None);
        let access = self.access(settings, None);
        let listener = Rc::new(Listener::new(service, settings.http2, access));
        listener.change_transport(settings);
        WorkerListener { listener, counts }
    }

    /// Applies settings to a listener, which may be one of another router until now.
    fn apply(&self, settings: &ListenerSettings, WorkerListener { listener, counts }: &WorkerListener) {
        let service = self.service(settings, counts, Some(&listener.service()));
        listener.change_transport(settings);
        listener.change(service, settings.http2, self.access(settings, listener.access()));
    }

    /// Makes the service of a listener, from the one `before` it if there is one.
    fn service(&self, settings: &ListenerSettings, counts: &Counts, before: Option<&Service>) -> Service {
        let labels = self.labels(settings);
        let policy = Policy::new(settings.policy.clone());
        let counters = before
            .filter(|before| (before.policy.router(), &*before.server) == (labels.router, labels.server))
            .map_or_else(
                || Rc::new(Counters::new(&self.shared.registry, labels)),
                |before| Rc::clone(&before.counters),
            );
        let permits = settings.max_concurrent_requests.map(|limit| Permits::new(limit, &counts.requests));
        let removed = counters.removed_trailers();
        Service {
            trailers: Rc::new(TrailerFilter::new(policy.tenant_headers().clone(), removed)),
            policy,
            identifiers: Rc::clone(&self.identifiers),
            bindings: Rc::clone(&self.router.bindings),
            sandboxes: Rc::clone(&self.router.sandboxes),
            no_sandboxes: before.map(|before| Rc::clone(&before.no_sandboxes)).unwrap_or_default(),
            unknown_key: self.settings.unknown_key,
            limits: settings.limits,
            connect: settings.connect,
            https_redirect: settings.https_redirect,
            permits,
            counters,
            log_turns: Arc::clone(&counts.log_turns),
            server: settings.label.as_str().into(),
            pools: before.map(|before| before.pools.clone()).unwrap_or_default(),
            scratch: before.map(|before| before.scratch.clone()).unwrap_or_default(),
        }
    }

    /// Returns the access log of a listener: the one `before` if it is the same.
    fn access(
        &self,
        settings: &ListenerSettings,
        before: Option<Rc<AccessLogger>>,
    ) -> Option<Rc<AccessLogger>> {
        let (log, labels) = (self.settings.access_log.as_ref()?, self.labels(settings));
        let begin = |log: &AccessLog| AccessLogger::new(log.clone(), &self.shared.registry, labels);
        Some(before.filter(|before| before.is_for(log, labels)).unwrap_or_else(|| begin(log)))
    }

    fn labels<'a>(&'a self, settings: &'a ListenerSettings) -> ListenerLabels<'a> {
        ListenerLabels { router: &self.settings.label, server: &settings.label }
    }
}
