//! Publishes the certificates of ingresses, and tells of their faults.

use super::certificates::{IngressCertificates, IngressFault, named_secrets};
use super::fault_events::tell_faults;
use super::ingress_rules::IngressRules;
use super::secret::SecretWatches;
use crate::kubernetes::{ApiClient, Metrics};
use crate::telemetry::{Gauge, Registry};
use crate::tls::{CertificateSupply, HostCertificate, HostNames};
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::watch;

/// The metric of Secrets that are missing or wrong.
const FAULTS: &str = "ingress_tls_faults";

/// The metrics of the certificates of ingresses.
#[derive(Clone, Debug)]
pub(super) struct CertificateMetrics {
    watches: Metrics,
    faults: Gauge,
}

impl CertificateMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        registry.describe(
            FAULTS,
            "Faults of `spec.tls` of Ingresses now: Secrets that are missing, cannot be read or cannot be used, and hosts that \
             a certificate is not for",
        );
        Self { watches: Metrics::new(registry, "secrets"), faults: registry.gauge(FAULTS, &[]) }
    }
}

/// The certificates of the ingresses of one identifier, live.
#[derive(Clone, Debug)]
pub(super) struct LiveCertificates {
    pub(super) supply: CertificateSupply,
    /// Whether the API server has spoken of every Secret that is named.
    pub(super) is_complete: watch::Receiver<bool>,
}

/// The publisher of the certificates of one identifier.
pub(super) struct CertificatePublisher {
    secrets: SecretWatches,
    supply: watch::Sender<Arc<[HostCertificate]>>,
    is_complete: watch::Sender<bool>,
    faults: watch::Sender<Arc<[IngressFault]>>,
    shown: FaultCount,
}

/// A share of the gauge of faults, which its drop takes back.
struct FaultCount {
    gauge: Gauge,
    count: i64,
}

impl FaultCount {
    fn set(&mut self, count: usize) {
        let count = count.try_into().unwrap_or(i64::MAX);
        self.gauge.add(count - self.count);
        self.count = count;
    }
}

impl Drop for FaultCount {
    fn drop(&mut self) {
        self.set(0);
    }
}

impl CertificatePublisher {
    /// Makes a publisher. The watches of its Secrets, and the task that tells of faults, use `client` and run on `control`.
    pub(super) fn start(
        client: &ApiClient,
        metrics: CertificateMetrics,
        control: &Handle,
    ) -> (Self, LiveCertificates) {
        let secrets = SecretWatches::new(client.clone(), metrics.watches, control);
        let (supply, supplied) = watch::channel(Arc::from([]));
        let (is_complete, completed) = watch::channel(false);
        let (faults, told) = watch::channel(Arc::from([]));
        control.spawn(tell_faults(client.clone(), told));
        let shown = FaultCount { gauge: metrics.faults, count: 0 };
        let live = LiveCertificates { supply: CertificateSupply(supplied), is_complete: completed };
        (Self { secrets, supply, is_complete, faults, shown }, live)
    }

    /// Publishes the certificates of these ingresses, and watches the Secrets that they name. Returns the hosts of each
    /// that have a certificate.
    pub(super) fn publish(&mut self, ingresses: &[&IngressRules]) -> Vec<Arc<HostNames>> {
        self.secrets.watch(&named_secrets(ingresses));
        self.secrets.read();
        let found = IngressCertificates::new(ingresses, |name| self.secrets.state(name));
        self.shown.set(found.faults.len());
        self.supply.send_if_modified(|known| replace_if_new(known, found.supply));
        self.faults.send_if_modified(|known| replace_if_new(known, found.faults));
        if self.secrets.are_known() {
            self.give_up_waiting();
        }
        found.secured
    }

    /// Has nobody wait any longer for certificates.
    pub(super) fn give_up_waiting(&self) {
        self.is_complete.send_replace(true);
    }

    /// Waits until a Secret changes.
    pub(super) async fn changed(&self) {
        self.secrets.changed().await;
    }
}

/// Replaces a list by another one; returns whether it differs.
fn replace_if_new<T: PartialEq>(known: &mut Arc<[T]>, new: Vec<T>) -> bool {
    let is_new = **known != *new;
    if is_new {
        *known = new.into();
    }
    is_new
}
