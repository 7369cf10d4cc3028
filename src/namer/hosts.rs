//! Host names: one task asks the platform's resolver for all of them, and asks again while anybody holds an answer.
//!
//! What is absent: the resolver is the platform's (`getaddrinfo`), so there are no time-to-live and no SRV records.

use crate::interpret::{Answer, Bound, Endpoint, EndpointSet, Leaf, State, Target, Writer};
use crate::name::{NameTree, Path};
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

/// How often a held host name is asked for again, as in Finagle.
const REFRESH: Duration = Duration::from_secs(5);

/// Questions to the resolver at one time: each takes a thread for as long as DNS needs.
const AT_ONCE: usize = 32;

/// What is asked of the resolver; answers for equal hosts share their endpoints.
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
    lookups: mpsc::UnboundedSender<Lookup>,
}

struct Lookup {
    host: Host,
    wanted: Wanted,
    writer: Writer,
}

impl Hosts {
    pub(super) fn new(control: &Handle) -> Self {
        let ask = |host: Host| async move {
            tokio::net::lookup_host((&*host.name, host.port)).await.map(Vec::from_iter)
        };
        Self::with(control, ask)
    }

    fn with<A, F>(control: &Handle, ask: A) -> Self
    where
        A: Fn(Host) -> F + Send + 'static,
        F: Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'static,
    {
        let (lookups, received) = mpsc::unbounded_channel();
        control.spawn(Task { ask, known: HashMap::new(), asking: JoinSet::new() }.run(received));
        Self { lookups }
    }

    pub(super) fn lookup(&self, host: Host, wanted: Wanted) -> Answer {
        let (writer, answer) = Answer::pending();
        if let Err(refused) = self.lookups.send(Lookup { host, wanted, writer }) {
            refused.0.writer.publish(State::Failed("host names are looked up no longer".into()));
        }
        answer
    }
}

/// What is known of a host, and who wants to know.
struct Known {
    endpoints: watch::Sender<EndpointSet>,
    found: Found,
    asking: bool,
    names: Vec<(Wanted, Writer)>,
}

enum Found {
    /// The first answer is still to come.
    Nothing,
    Addresses,
    /// There is no such host.
    Unknown,
    Failed(Arc<str>),
    /// Addresses, but the resolver could not be asked again since.
    Stale,
}

struct Task<A> {
    ask: A,
    known: HashMap<Host, Known>,
    asking: JoinSet<(Host, io::Result<Vec<SocketAddr>>)>,
}

impl<A, F> Task<A>
where
    A: Fn(Host) -> F,
    F: Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'static,
{
    async fn run(mut self, mut lookups: mpsc::UnboundedReceiver<Lookup>) {
        let permits = Arc::new(Semaphore::new(AT_ONCE));
        let mut refresh = interval_at(Instant::now() + REFRESH, REFRESH);
        refresh.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut open = true;
        while open || !self.known.is_empty() {
            tokio::select! {
                lookup = lookups.recv(), if open => match lookup {
                    Some(lookup) => self.join(lookup, &permits),
                    None => open = false,
                },
                Some(Ok((host, addresses))) = self.asking.join_next() => self.learn(&host, addresses),
                _ = refresh.tick(), if !self.known.is_empty() => self.refresh(&permits),
            }
        }
    }

    fn join(&mut self, lookup: Lookup, permits: &Arc<Semaphore>) {
        let Lookup { host, wanted, writer } = lookup;
        let known = self.known.entry(host.clone()).or_insert_with(|| Known {
            endpoints: watch::Sender::default(),
            found: Found::Nothing,
            asking: false,
            names: Vec::new(),
        });
        known.say(&wanted, &writer);
        known.names.push((wanted, writer));
        if matches!(known.found, Found::Nothing) {
            self.start(host, permits);
        }
    }

    /// Drops what nobody holds, and asks again for the rest.
    fn refresh(&mut self, permits: &Arc<Semaphore>) {
        self.known.retain(|_, known| {
            known.names.retain(|(_, writer)| !writer.is_closed());
            // A client may hold the endpoints longer than anybody holds the name.
            known.asking || !known.names.is_empty() || known.endpoints.receiver_count() > 0
        });
        let settled = |host: &Host, known: &Known| host.once && matches!(known.found, Found::Addresses);
        let again: Vec<Host> = self
            .known
            .iter()
            .filter(|(host, known)| !settled(host, known))
            .map(|(host, _)| host.clone())
            .collect();
        for host in again {
            self.start(host, permits);
        }
    }

    fn start(&mut self, host: Host, permits: &Arc<Semaphore>) {
        let Some(known) = self.known.get_mut(&host).filter(|known| !known.asking) else { return };
        known.asking = true;
        let answer = (self.ask)(host.clone());
        let permits = Arc::clone(permits);
        self.asking.spawn(async move {
            // The semaphore is never closed; without a permit the question is asked all the same.
            let _permit = permits.acquire().await;
            (host, answer.await)
        });
    }

    fn learn(&mut self, host: &Host, addresses: io::Result<Vec<SocketAddr>>) {
        let Some(known) = self.known.get_mut(host) else { return };
        known.asking = false;
        match addresses {
            Ok(addresses) if addresses.is_empty() => known.become_unknown(),
            Ok(mut addresses) => {
                // Resolvers rotate their answers: in order, equal sets are equal.
                addresses.sort_unstable();
                addresses.dedup();
                known.become_addresses(EndpointSet::new(addresses.into_iter().map(Endpoint::at).collect()));
            }
            Err(error) if is_unknown(&error) => known.become_unknown(),
            Err(error) => known.fail(&format!("looking up {}: {error}", host.name)),
        }
    }
}

impl Known {
    fn become_addresses(&mut self, addresses: EndpointSet) {
        self.endpoints.send_if_modified(|endpoints| {
            let changed = *endpoints != addresses;
            *endpoints = addresses;
            changed
        });
        if !matches!(self.found, Found::Addresses) {
            self.found = Found::Addresses;
            self.say_all();
        }
    }

    fn become_unknown(&mut self) {
        if !matches!(self.found, Found::Unknown) {
            self.found = Found::Unknown;
            // First the names, so that nobody who looks at them finds a leaf without addresses.
            self.say_all();
            self.endpoints.send_replace(EndpointSet::default());
        }
    }

    fn fail(&mut self, reason: &str) {
        match &self.found {
            Found::Addresses => {
                tracing::warn!(reason, "keeping the last addresses");
                self.found = Found::Stale;
                for (_, writer) in &self.names {
                    writer.stale();
                }
            }
            Found::Stale => {}
            Found::Failed(known) if **known == *reason => {}
            Found::Nothing | Found::Unknown | Found::Failed(_) => {
                self.found = Found::Failed(reason.into());
                self.say_all();
            }
        }
    }

    fn say_all(&self) {
        for (wanted, writer) in &self.names {
            self.say(wanted, writer);
        }
    }

    fn say(&self, wanted: &Wanted, writer: &Writer) {
        let leaf = || {
            let target = Target::Endpoints(self.endpoints.subscribe());
            let bound = Bound { id: wanted.id.clone(), residual: wanted.residual.clone(), target };
            State::Ready(NameTree::Leaf(Leaf::Bound(bound)))
        };
        match &self.found {
            Found::Nothing => {}
            Found::Addresses => writer.publish(leaf()),
            Found::Unknown => writer.publish(State::Ready(NameTree::Neg)),
            Found::Failed(reason) => writer.publish(State::Failed(Arc::clone(reason))),
            Found::Stale => {
                writer.publish(leaf());
                writer.stale();
            }
        }
    }
}

/// Whether the resolver says that there is no such host, or none with addresses. Rust passes its answer on as text
/// only: these are the words of glibc, musl and macOS. Anything else is a failure, so that a resolver that is away
/// never makes a name fall back in silence.
fn is_unknown(error: &io::Error) -> bool {
    const WORDS: [&str; 6] = [
        "Name or service not known",
        "No address associated with hostname",
        "Name does not resolve",
        "Name has no usable address",
        "nodename nor servname provided, or not known",
        "No address associated with nodename",
    ];
    let text = error.to_string();
    WORDS.iter().any(|words| text.contains(words))
}

#[cfg(test)]
mod tests;
