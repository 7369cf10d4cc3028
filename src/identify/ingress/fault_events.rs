//! Tells the faults of ingresses, each once: in the log, and by an event on the ingress.
//!
//! The name of an event is made of what it says. So of the routers on all nodes the first creates it, and the API server
//! refuses those of the others, as long as it keeps the event. Serving needs none of this: a missing right is logged once.

use super::certificates::IngressFault;
use crate::kubernetes::{ApiClient, EventText, WriteError, event_about};
use aws_lc_rs::digest::{SHA256, digest};
use k8s_openapi::api::core::v1::Event;
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

/// How long to wait after a failure that may pass.
const RETRY: Duration = Duration::from_secs(5);

/// How long to wait until a right may have been granted.
const FORBIDDEN: Duration = Duration::from_secs(60);

/// How many characters of an ingress's name are part of the event's: that has 253 at most.
const MOST_OF_NAME: usize = 200;

/// The faults that there are now, live.
pub(super) type LiveFaults = watch::Receiver<Arc<[IngressFault]>>;

/// Tells of each fault when it is new, until nobody finds faults any more.
pub(super) async fn tell_faults(client: ApiClient, mut faults: LiveFaults) {
    let mut teller = FaultTeller {
        client,
        logged: HashSet::new(),
        told: HashSet::new(),
        forbidden: HashMap::new(),
        failed: false,
    };
    loop {
        let now = Arc::clone(&faults.borrow_and_update());
        teller.log(&now);
        let again = tokio::select! {
            again = teller.tell(&now) => again,
            // What is not told yet is told with the new faults.
            changed = faults.changed() => {
                if changed.is_err() {
                    return;
                }
                continue;
            }
        };
        let pause = async {
            match again {
                Some(pause) => sleep(pause).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = faults.changed() => if changed.is_err() { return },
            () = pause => {}
        }
    }
}

/// The teller of faults.
struct FaultTeller {
    client: ApiClient,
    logged: HashSet<IngressFault>,
    told: HashSet<IngressFault>,
    /// The namespaces in which events may not be written, each with the time at which that may have been granted: others do
    /// not wait for it.
    forbidden: HashMap<String, Instant>,
    /// Whether the last event could not be written, which was logged.
    failed: bool,
}

impl FaultTeller {
    /// Logs the faults that are new, and forgets those that are gone.
    fn log(&mut self, now: &[IngressFault]) {
        let is_there: HashSet<&IngressFault> = now.iter().collect();
        self.logged.retain(|fault| is_there.contains(fault));
        self.told.retain(|fault| is_there.contains(fault));
        self.forbidden.retain(|namespace, _| now.iter().any(|fault| fault.ingress.0 == *namespace));
        for fault in now {
            if self.logged.insert(fault.clone()) {
                let (namespace, name, _) = &fault.ingress;
                tracing::warn!("ingress {namespace}/{name}: {}", fault.message);
            }
        }
    }

    /// Writes an event for each fault that has none. Returns the pause before another attempt, if one failed.
    async fn tell(&mut self, now: &[IngressFault]) -> Option<Duration> {
        let began = Instant::now();
        for fault in now {
            let namespace = &fault.ingress.0;
            let is_forbidden = self.forbidden.get(namespace).is_some_and(|until| *until > began);
            if is_forbidden || self.told.contains(fault) {
                continue;
            }
            match self.client.create(namespace, &event(fault)).await {
                // Another router has told it, or the namespace is gone.
                Ok(()) | Err(WriteError::Outdated) => {
                    self.failed = false;
                    self.forbidden.remove(namespace);
                    self.told.insert(fault.clone());
                }
                Err(error @ WriteError::Forbidden(_)) => {
                    if self.forbidden.insert(namespace.clone(), began + FORBIDDEN).is_none() {
                        tracing::warn!("no event can be written, which serving does not need: {error}");
                    }
                }
                Err(error) => {
                    if !std::mem::replace(&mut self.failed, true) {
                        tracing::warn!("no event can be written, which serving does not need: {error}");
                    }
                    return Some(RETRY);
                }
            }
        }
        let next = self.forbidden.values().min()?;
        Some(next.saturating_duration_since(Instant::now()))
    }
}

/// Makes the event of a fault.
fn event(fault: &IngressFault) -> Event {
    let (namespace, name, uid) = fault.ingress.clone();
    let object = ObjectMeta { namespace: Some(namespace), name: Some(name), uid, ..ObjectMeta::default() };
    let text = EventText {
        kind: "Warning",
        reason: fault.reason,
        message: &fault.message,
        field: Some("spec.tls"),
        component: "signpost",
    };
    let mut event = event_about::<Ingress>(&object, text);
    event.metadata.generate_name = None;
    event.metadata.name = Some(event_name(fault));
    event
}

/// Returns the name of a fault's event: the same on all routers.
fn event_name(fault: &IngressFault) -> String {
    let (_, name, uid) = &fault.ingress;
    let parts = [uid.as_deref(), Some(fault.reason), Some(&fault.message), fault.secret.as_deref()];
    let said = parts.map(Option::unwrap_or_default).join("\n");
    let mut whole: String = name.chars().take(MOST_OF_NAME).collect();
    whole.push('.');
    for byte in digest(&SHA256, said.as_bytes()).as_ref().iter().take(8) {
        // Writing to memory does not fail.
        let _ = write!(whole, "{byte:02x}");
    }
    whole
}
