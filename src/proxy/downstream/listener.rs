//! One listener on one worker, and the context of each of its connections.

use super::access::AccessLogger;
use super::settings::{AcceptSettings, ListenerSettings};
use super::stream::Stream;
use super::tasks::TaskPool;
use crate::context::{Peer, Range};
use crate::proxy::limits::{ConnectionPlace, Http2Settings, PeerCounts, PeerRequests};
use crate::proxy::serve::Service;
use crate::proxy::wire::shutdown::{ShutdownReceiver, ShutdownSignal};
use crate::proxy::wire::timer::IdleTimer;
use crate::tls::{LiveTls, ServerTls};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

/// One listener on one worker. Each request is served by the service as it is when the request begins.
pub(crate) struct Listener {
    service: RefCell<Rc<Service>>,
    /// Settings sent to callers over HTTP/2.
    http2: Cell<Http2Settings>,
    /// The addresses of proxies in front, which say who calls, if there are any.
    proxies: RefCell<Option<Arc<[Range]>>>,
    /// The settings of accepted connections.
    accept: Cell<AcceptSettings>,
    /// The certificates, if connections are encrypted.
    tls: RefCell<Option<LiveTls<ServerTls>>>,
    access: RefCell<Option<Rc<AccessLogger>>>,
    streams: TaskPool<Stream>,
    peers: PeerCounts,
    shutdown: Rc<ShutdownSignal>,
}

impl Listener {
    pub(crate) fn new(service: Service, http2: Http2Settings, access: Option<Rc<AccessLogger>>) -> Self {
        Self {
            service: RefCell::new(Rc::new(service)),
            http2: Cell::new(http2),
            proxies: RefCell::new(None),
            accept: Cell::default(),
            tls: RefCell::new(None),
            access: RefCell::new(access),
            streams: TaskPool::default(),
            peers: PeerCounts::default(),
            shutdown: Rc::default(),
        }
    }

    /// Returns the service as it is now.
    pub(crate) fn service(&self) -> Rc<Service> {
        Rc::clone(&self.service.borrow())
    }

    /// Changes the service and the access log. Requests that have begun keep the old ones.
    pub(crate) fn change(&self, service: Service, http2: Http2Settings, access: Option<Rc<AccessLogger>>) {
        let before = self.service.replace(Rc::new(service));
        let now = self.service();
        if !Rc::ptr_eq(&before.counters, &now.counters) {
            before.counters.move_connections(&now.counters);
        }
        self.http2.set(http2);
        *self.access.borrow_mut() = access;
    }

    /// Replaces the settings of connections that are accepted from now on.
    pub(crate) fn change_transport(&self, settings: &ListenerSettings) {
        self.tls.borrow_mut().clone_from(&settings.tls);
        self.proxies.borrow_mut().clone_from(&settings.proxies);
        self.accept.set(settings.accept);
    }

    /// Returns whether something comes before the first bytes of HTTP.
    pub(crate) fn has_preamble(&self) -> bool {
        self.tls.borrow().is_some() || self.proxies.borrow().is_some()
    }

    /// Returns the certificates as they are now, if connections are encrypted.
    pub(super) fn tls(&self) -> Option<Arc<ServerTls>> {
        self.tls.borrow().as_ref().map(LiveTls::current)
    }

    /// Returns the addresses of proxies in front, which say who calls, if there are any.
    pub(super) fn proxies(&self) -> Option<Arc<[Range]>> {
        self.proxies.borrow().clone()
    }

    /// Returns the settings of accepted connections.
    pub(super) fn accept(&self) -> AcceptSettings {
        self.accept.get()
    }

    pub(super) fn http2(&self) -> Http2Settings {
        self.http2.get()
    }

    /// Returns the access log as it is now, if there is one.
    pub(crate) fn access(&self) -> Option<Rc<AccessLogger>> {
        self.access.borrow().clone()
    }

    pub(super) fn streams(&self) -> &TaskPool<Stream> {
        &self.streams
    }

    /// Returns the signal by which its connections end.
    pub(crate) fn shutdown(&self) -> &ShutdownSignal {
        &self.shutdown
    }
}

/// A connection that its listener counts as open. Its drop ends the count.
pub(crate) struct OpenConnection(Rc<Listener>);

impl OpenConnection {
    pub(crate) fn new(listener: &Rc<Listener>) -> Self {
        listener.service.borrow().counters.connected();
        Self(Rc::clone(listener))
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.service.borrow().counters.disconnected();
    }
}

/// The context of one accepted connection, for either protocol.
pub(crate) struct ConnectionContext {
    pub(super) listener: Rc<Listener>,
    pub(super) peer: Peer,
    pub(super) shutdown: ShutdownReceiver,
    pub(super) timer: IdleTimer,
    /// The connection in the table of the listener's open ones.
    pub(super) place: ConnectionPlace,
    /// The requests under way of its peer's address.
    pub(super) requests: Rc<PeerRequests>,
}

impl ConnectionContext {
    /// Makes the context of a connection that was accepted now.
    ///
    /// Its first head is due by `headersTimeoutMs`, also while nothing of it has come.
    pub(super) fn new(listener: Rc<Listener>, peer: Peer, place: ConnectionPlace) -> Self {
        let limits = listener.service().limits;
        let timer = IdleTimer::new(limits.wait(place.opened()).min(limits.head));
        let shutdown = listener.shutdown.subscribe();
        let requests = PeerRequests::of(peer.remote.ip(), &listener.peers);
        Self { listener, peer, shutdown, timer, place, requests }
    }

    /// Takes the caller that a proxy in front has named: its connection and its requests count for its own address. False
    /// if there is no room for the connection.
    pub(super) fn take_caller(&mut self, peer: Peer) -> bool {
        let address = peer.remote.ip();
        self.requests = PeerRequests::of(address, &self.listener.peers);
        self.peer = peer;
        let evicted = self.place.move_to(address, self.listener.accept().connection_limits());
        let service = self.listener.service.borrow();
        match evicted {
            Some(evicted) => service.counters.evicted_connections.add(evicted),
            None => service.counters.refused_connections.increment(),
        }
        evicted.is_some()
    }

    /// Restarts the timer for a first head that has begun: it is due by `headersTimeoutMs` after the accept.
    pub(super) fn await_first_head(&mut self) {
        let limit = self.listener.service.borrow().limits.head;
        self.timer.begin(limit.saturating_sub(self.place.opened().elapsed()));
    }

    /// Restarts the timer that bounds the wait for a request. The connection is idle from now on.
    pub(super) fn await_request(&mut self) {
        let wait = self.listener.service.borrow().limits.wait(self.place.opened());
        self.place.begin_wait(self.timer.begin(wait));
    }

    /// Becomes ready when the wait for a request has lasted too long, or the connection has to make room for another, or
    /// the worker shuts down.
    pub(super) fn poll_elapsed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.shutdown.poll_received(cx).is_ready() {
            return Poll::Ready(());
        }
        self.poll_late(cx)
    }

    /// Becomes ready when a request that has begun is late, or the connection has to make room for another.
    pub(super) fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.place.poll_evicted(cx).is_ready() {
            return Poll::Ready(());
        }
        self.timer.poll_elapsed(cx)
    }
}
