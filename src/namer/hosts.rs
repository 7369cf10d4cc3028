//! Host names with a port: `/$/inet`, `/$/fixedinet` and `/$/io.buoyant.rinet`.

use super::dns::{Dns, Known, MIN_PAUSE, Question};
use super::published::{Published, Verdict};
use crate::interpret::{Answer, Endpoint, EndpointSet};
use crate::name::Path;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::watch;

/// What is asked of DNS.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Host {
    /// In lower case.
    pub(super) name: Arc<str>,
    pub(super) port: u16,
    /// Whether the first addresses are kept for ever.
    pub(super) once: bool,
}

/// The name for which a host is asked.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) id: Path,
    pub(super) residual: Path,
}

/// The end at which host names are looked up.
#[derive(Debug)]
pub(super) struct Hosts {
    dns: Dns,
    control: Handle,
}

impl Hosts {
    pub(super) fn new(dns: Dns, control: &Handle) -> Self {
        Self { dns, control: control.clone() }
    }

    pub(super) fn lookup(&self, host: Host, wanted: Wanted) -> Answer {
        let Host { name, port, once } = host;
        let (writer, answer) = Answer::pending();
        let known = self.dns.host(Question { name, min_pause: MIN_PAUSE, once });
        let published = Published::new(wanted.id, wanted.residual, writer);
        self.control.spawn(follow(known, port, published));
        answer
    }
}

/// Says what is known of the host, for as long as anybody wants to know.
async fn follow(mut known: watch::Receiver<Known<IpAddr>>, port: u16, mut published: Published) {
    loop {
        let verdict = verdict(&known.borrow_and_update(), port);
        published.say(verdict);
        tokio::select! {
            changed = known.changed() => if changed.is_err() {
                return;
            },
            () = published.released() => return,
        }
    }
}

fn verdict(known: &Known<IpAddr>, port: u16) -> Verdict {
    match known {
        Known::Pending => Verdict::Pending,
        Known::Missing => Verdict::Neg { stale: false },
        Known::Failed(reason) => Verdict::Failed(Arc::clone(reason)),
        Known::Found { records, stale } => {
            let endpoints = records.iter().map(|&ip| Endpoint::at(SocketAddr::new(ip, port)));
            Verdict::Endpoints { set: EndpointSet::new(endpoints.collect()), stale: stale.is_some() }
        }
    }
}

#[cfg(test)]
mod tests;
