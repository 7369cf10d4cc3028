//! The listeners of the routers. A reload finds each of them again, opens the new ones, and closes those that go.
//!
//! A listener is its socket: it is the same as before if its configured address is. Several with one address, which have
//! port 0, are told apart by their router, their label, and their order. So a listener may go from one router to another.

use super::settings::{self, RouterParts};
use super::sockets::{BoundSocket, ClosingSocket, bind_socket};
use super::{Error, LAST_CALL, ListenerInfo};
use crate::config::{Config, Router, Server};
use crate::drain::Drain;
use crate::proxy::{AccessLog, ListenerHandle, Proxy};
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

/// The listeners in use, in the order of the routers and their servers.
#[derive(Debug, Default)]
pub(super) struct Listeners(Vec<LiveListener>);

/// A listener, and how the configuration describes it.
#[derive(Debug)]
struct LiveListener {
    description: ListenerDescription,
    handle: ListenerHandle,
}

/// The description of a listener in a configuration, by which it is found again.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ListenerDescription {
    address: SocketAddr,
    router: String,
    label: Option<String>,
}

/// A listener of a changed configuration.
#[derive(Debug)]
enum ListenerSource<S> {
    /// It is the one at this position until now.
    Same(usize),
    /// It is new.
    New(S),
}

/// The listeners of a changed configuration, in its order.
#[derive(Debug)]
pub(super) struct ListenerPlan<S>(Vec<(ListenerDescription, ListenerSource<S>)>);

impl Listeners {
    /// Returns the listeners in service.
    pub(super) fn infos(&self) -> Vec<ListenerInfo> {
        let info = |LiveListener { description, handle }: &LiveListener| ListenerInfo {
            router: description.router.clone(),
            server: description.label(handle.address()),
            address: handle.address(),
        };
        self.0.iter().map(info).collect()
    }

    /// Finds the listeners of a changed configuration: those that stay, and the servers that are new.
    pub(super) fn plan(&self, config: &Config) -> ListenerPlan<()> {
        let running: Vec<_> = self.0.iter().map(|live| &live.description).collect();
        let servers = config.routers.iter().flat_map(|router| {
            router.servers.iter().map(|server| ListenerDescription::new(&router.label, server))
        });
        let new: Vec<_> = servers.collect();
        let found = find_again(&running, &new);
        let source = |at: Option<usize>| at.map_or(ListenerSource::New(()), ListenerSource::Same);
        ListenerPlan(new.into_iter().zip(found.into_iter().map(source)).collect())
    }

    /// Returns the sockets that are closed when this plan is carried out.
    pub(super) fn leaving<S>(&self, plan: &ListenerPlan<S>) -> Vec<&TcpListener> {
        let stays = |at: usize| {
            plan.0.iter().any(|(_, source)| matches!(source, ListenerSource::Same(same) if *same == at))
        };
        let leaving = self.0.iter().enumerate().filter(|(at, _)| !stays(*at));
        leaving.map(|(_, live)| live.handle.socket()).collect()
    }

    /// Replaces the listeners by those of a plan. Returns those that go.
    pub(super) fn replace(&mut self, plan: ListenerPlan<ListenerHandle>) -> Vec<ListenerHandle> {
        let mut before: Vec<_> = self.0.drain(..).map(|live| Some(live.handle)).collect();
        for (description, source) in plan.0 {
            let handle = match source {
                ListenerSource::New(handle) => Some(handle),
                ListenerSource::Same(at) => before.get_mut(at).and_then(Option::take),
            };
            self.0.extend(handle.map(|handle| LiveListener { description, handle }));
        }
        before.into_iter().flatten().collect()
    }

    /// Returns the parts of the routers' settings, in their order; `logs` are the routers' access logs.
    pub(super) fn parts(&self, config: &Config, logs: Vec<Option<AccessLog>>) -> Vec<RouterParts> {
        let mut listeners = self.0.iter();
        let mut part = |(router, access_log): (&Router, _)| {
            let own = listeners.by_ref().take(router.servers.len());
            let name =
                |live: &LiveListener| (live.handle.id(), live.description.label(live.handle.address()));
            RouterParts { access_log, listeners: own.map(name).collect() }
        };
        config.routers.iter().zip(logs).map(&mut part).collect()
    }

    /// Returns the drains of all. Their drop forces them.
    pub(super) fn into_drains(self) -> Vec<Drain> {
        self.0.into_iter().map(|live| live.handle.into_drain()).collect()
    }

    /// Returns the handles, to be served.
    pub(super) fn handles(&mut self) -> impl Iterator<Item = &mut ListenerHandle> {
        self.0.iter_mut().map(|live| &mut live.handle)
    }
}

impl ListenerPlan<()> {
    /// Binds the sockets of the new listeners; when one cannot be bound, those bound before it are closed again.
    pub(super) fn bind(
        self,
        config: &Config,
        leaving: &[&TcpListener],
    ) -> Result<ListenerPlan<BoundSocket>, Error> {
        let mut sources = self.0.into_iter();
        let mut bound = Vec::new();
        for (router, places) in config.routers.iter().zip(&config.places.routers) {
            let servers = router.servers.iter().zip(&places.ports).zip(sources.by_ref()).enumerate();
            for (at, ((server, place), (description, source))) in servers {
                let key = format!("{}.servers[{at}].port", places.key);
                let what = format!("{}:{place}: {key}: router {}", config.file, router.label);
                let options = settings::socket(&server.socket_options);
                let source = match source {
                    ListenerSource::Same(at) => ListenerSource::Same(at),
                    ListenerSource::New(()) => {
                        ListenerSource::New(bind_socket(&what, server.address(), &options, leaving)?)
                    }
                };
                bound.push((description, source));
            }
        }
        Ok(ListenerPlan(bound))
    }
}

impl ListenerPlan<BoundSocket> {
    /// Opens the new listeners: workers watch their sockets. They do not accept yet.
    pub(super) async fn open(self, proxy: &mut Proxy) -> Result<ListenerPlan<ListenerHandle>, Error> {
        let mut opened = Vec::new();
        for (description, source) in self.0 {
            let source = match source {
                ListenerSource::Same(at) => ListenerSource::Same(at),
                ListenerSource::New((socket, address)) => {
                    let what = format!("router {}", description.router);
                    let failed = |source| Error::Bind { what, address, source };
                    ListenerSource::New(proxy.open(socket).await.map_err(failed)?)
                }
            };
            opened.push((description, source));
        }
        Ok(ListenerPlan(opened))
    }
}

impl ListenerPlan<ListenerHandle> {
    /// Closes the new listeners, which have not begun to accept. Returns the signals that their sockets are closed.
    pub(super) fn abandon(self) -> Vec<ClosingSocket> {
        let new = self.0.into_iter().filter_map(|(_, source)| match source {
            ListenerSource::Same(_) => None,
            ListenerSource::New(handle) => Some(handle),
        });
        // The drop of the drain is the force.
        new.map(|handle| handle.close(Duration::ZERO, Duration::ZERO).1).collect()
    }
}

/// Closes listeners: their sockets now, and their connections within the grace. Returns the signals that the sockets are
/// closed.
pub(super) fn close(listeners: Vec<ListenerHandle>, grace: Duration) -> Vec<ClosingSocket> {
    let close = |listener: ListenerHandle| {
        let address = listener.address();
        let (drained, closed) = listener.close(LAST_CALL, grace);
        tokio::spawn(async move {
            if drained.await {
                tracing::info!(%address, "a listener was removed, and its connections have ended");
            } else {
                tracing::warn!(
                    %address,
                    "a listener was removed, and requests that took longer than the grace period were cut off"
                );
            }
        });
        closed
    };
    listeners.into_iter().map(close).collect()
}

impl ListenerDescription {
    fn new(router: &str, server: &Server) -> Self {
        Self { address: server.address(), router: router.to_owned(), label: server.label.clone() }
    }

    /// Returns the label in metrics of a listener that is bound to this address.
    fn label(&self, bound: SocketAddr) -> String {
        self.label.clone().unwrap_or_else(|| format!("{}/{}", bound.ip(), bound.port()))
    }
}

/// Finds for each new listener the position of the running one that it is, if it is one. Those that resemble each other
/// most are found first.
fn find_again(running: &[&ListenerDescription], new: &[ListenerDescription]) -> Vec<Option<usize>> {
    type Resemblance = fn(&ListenerDescription, &ListenerDescription) -> bool;
    const RESEMBLANCES: [Resemblance; 4] = [
        |a, b| a == b,
        |a, b| (a.address, &a.router) == (b.address, &b.router),
        |a, b| (a.address, &a.label) == (b.address, &b.label),
        |a, b| a.address == b.address,
    ];
    let mut found = vec![None; new.len()];
    let mut is_taken = vec![false; running.len()];
    for is_it in RESEMBLANCES {
        for (new, found) in new.iter().zip(&mut found).filter(|(_, found)| found.is_none()) {
            let mut free = running.iter().enumerate().filter(|(at, _)| !is_taken[*at]);
            *found = free.find(|(_, running)| is_it(running, new)).map(|(at, _)| at);
            if let Some(at) = *found {
                is_taken[at] = true;
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(list: &[(&str, u16, Option<&str>)]) -> Vec<ListenerDescription> {
        let one = |(router, port, label): &(&str, u16, Option<&str>)| ListenerDescription {
            address: SocketAddr::from(([127, 0, 0, 1], *port)),
            router: (*router).to_owned(),
            label: label.map(str::to_owned),
        };
        list.iter().map(one).collect()
    }

    #[test]
    fn a_listener_is_found_again_by_its_address_wherever_it_is() {
        let running = described(&[("a", 1, None), ("a", 2, Some("x")), ("b", 3, None)]);
        let new = described(&[("b", 2, None), ("c", 4, None), ("a", 3, Some("y")), ("a", 1, None)]);
        assert_eq!(find_again(&running.iter().collect::<Vec<_>>(), &new), [Some(1), None, Some(2), Some(0)]);
    }

    #[test]
    fn those_with_port_0_are_told_apart_by_router_label_and_order() {
        let running = described(&[("a", 0, None), ("a", 0, Some("x")), ("b", 0, None), ("b", 0, None)]);
        let new = described(&[
            ("b", 0, None),
            ("c", 0, Some("x")),
            ("b", 0, None),
            ("a", 0, Some("z")),
            ("a", 0, None),
        ]);
        let found = find_again(&running.iter().collect::<Vec<_>>(), &new);
        assert_eq!(found, [Some(2), None, Some(3), Some(1), Some(0)]);
    }
}
