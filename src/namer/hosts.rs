//! Host names with a port: `/$/inet`, `/$/fixedinet` and `/$/io.buoyant.rinet`.

use super::dns::{Dns, DnsDemand, DnsQuestion, DnsState, MIN_PAUSE};
use super::publisher::{AnswerPublisher, NameState};
use crate::interpret::{Answer, DEMAND_PACE, Endpoint, EndpointSet};
use crate::name::Path;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::Instant;

/// A host name with a port, to be looked up in DNS.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Host {
    /// The name, in lower case.
    pub(super) name: Arc<str>,
    pub(super) port: u16,
    /// Whether the first addresses are kept for ever.
    pub(super) once: bool,
}

/// The bound name that the host stands for.
#[derive(Debug)]
pub(super) struct BoundName {
    pub(super) id: Path,
    pub(super) residual: Path,
}

/// A part of the system namers that looks up host names.
#[derive(Debug)]
pub(super) struct Hosts {
    dns: Dns,
    control: Handle,
}

impl Hosts {
    /// Makes it over a client of DNS; `control` runs a task for each lookup.
    pub(super) fn new(dns: Dns, control: &Handle) -> Self {
        Self { dns, control: control.clone() }
    }

    /// Starts the watch of a host, whose addresses stand behind `bound`.
    pub(super) fn lookup(&self, host: Host, bound: BoundName) -> Answer {
        let Host { name, port, once } = host;
        let (writer, answer) = Answer::pending();
        let (known, demand) = self.dns.watch_wanted_host(DnsQuestion { name, min_pause: MIN_PAUSE, once });
        let publisher = AnswerPublisher::new(bound.id, bound.residual, writer);
        self.control.spawn(publish_addresses(known, demand, port, publisher));
        answer
    }
}

/// Publishes the addresses of a host while the answer is in use.
async fn publish_addresses(
    mut known: watch::Receiver<DnsState<IpAddr>>,
    demand: DnsDemand,
    port: u16,
    mut publisher: AnswerPublisher,
) {
    let mut quiet_until = Instant::now();
    loop {
        let state = state(&known.borrow_and_update(), port);
        let has_addresses = matches!(state, NameState::Endpoints { .. });
        publisher.publish(state);
        tokio::select! {
            changed = known.changed() => if changed.is_err() {
                return;
            },
            () = publisher.demanded_after(quiet_until), if !has_addresses => {
                quiet_until = Instant::now() + DEMAND_PACE;
                demand.pass_on();
            }
            () = publisher.released() => return,
        }
    }
}

/// Returns the state of a name that stands for the addresses of a host.
fn state(known: &DnsState<IpAddr>, port: u16) -> NameState {
    match known {
        DnsState::Pending => NameState::Pending,
        DnsState::Missing => NameState::Neg { stale: false },
        DnsState::Failed(reason) => NameState::Failed(Arc::clone(reason)),
        DnsState::Found { records, stale } => {
            let endpoints = records.iter().map(|&ip| Endpoint::at(SocketAddr::new(ip, port)));
            NameState::Endpoints { set: EndpointSet::new(endpoints.collect()), stale: stale.is_some() }
        }
    }
}

#[cfg(test)]
mod tests;
