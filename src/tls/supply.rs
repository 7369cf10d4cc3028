//! Certificates of Secrets beside those of files: given by another module, now and whenever they change.

use super::error::TlsError;
use super::expiry::{CertificateSource, Expiry, ExpiryGauges, GaugeUse};
use super::files::PairFiles;
use super::live::{LOOK_EVERY, LiveTls, warn_of};
use super::names::HostNames;
use super::pair::CertificatePair;
use super::server::ServerTls;
use futures_util::future::select_all;
use rustls::sign::CertifiedKey;
use std::fmt;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

/// A certificate with its chain and its key, given as text and checked. Cheap to clone. It shows nothing of its key.
#[derive(Clone)]
pub struct PemPair(Arc<PemPairParts>);

/// The parts of a [`PemPair`].
struct PemPairParts {
    pair: CertificatePair,
    names: HostNames,
    expiry: Expiry,
}

impl PemPair {
    /// Parses the certificate and the key of a Secret, and checks them as those of files are. `secret` is its
    /// namespace and name, for messages and metrics.
    ///
    /// # Errors
    ///
    /// The part that is wrong, as `tls.crt` or `tls.key`.
    pub fn parse(secret: &str, cert: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let places = PairFiles { cert: "tls.crt".into(), key: "tls.key".into(), intermediates: None };
        let pair = CertificatePair::parse(cert, key, &places)?;
        let expiry = Expiry::of(&pair.facts, CertificateSource::Secret(secret.into()));
        let names = HostNames::of(&pair.facts);
        Ok(Self(Arc::new(PemPairParts { pair, names, expiry })))
    }

    /// Returns the names that the certificate is for.
    pub fn names(&self) -> &HostNames {
        &self.0.names
    }

    pub(super) fn key(&self) -> &Arc<CertifiedKey> {
        &self.0.pair.key
    }

    pub(super) fn expiry(&self) -> &Expiry {
        &self.0.expiry
    }
}

impl PartialEq for PemPair {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for PemPair {}

impl fmt::Debug for PemPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PemPair").field("names", &self.0.names).finish_non_exhaustive()
    }
}

/// A certificate of a Secret, and the hosts for which it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostCertificate {
    /// The certificate.
    pub pair: PemPair,
    /// The hosts, all of which are names of the certificate.
    pub hosts: HostNames,
}

/// The certificates of one source, live. Of two for one host the first counts. Cheap to clone.
#[derive(Clone, Debug)]
pub struct CertificateSupply(pub watch::Receiver<Arc<[HostCertificate]>>);

impl PartialEq for CertificateSupply {
    fn eq(&self, other: &Self) -> bool {
        self.0.same_channel(&other.0)
    }
}

/// The task that puts the certificates of files and those of supplies together.
pub(super) struct Combiner {
    files: LiveTls<ServerTls>,
    supplies: Vec<CertificateSupply>,
    gauges: ExpiryGauges,
    /// The use of the gauges of certificates that were supplied.
    shown: Option<GaugeUse>,
}

impl Combiner {
    pub(super) fn new(
        files: LiveTls<ServerTls>,
        supplies: Vec<CertificateSupply>,
        gauges: ExpiryGauges,
    ) -> Self {
        Self { files, supplies, gauges, shown: None }
    }

    /// Puts the certificates together as they are now.
    pub(super) fn combine(&mut self, before: Option<&ServerTls>) -> Result<ServerTls, rustls::Error> {
        let files = self.files.latest();
        let supplied: Vec<_> =
            self.supplies.iter_mut().map(|supply| Arc::clone(&supply.0.borrow_and_update())).collect();
        let whole = files.with_supplied(supplied.iter().flat_map(|list| list.iter()), before)?;
        self.shown = Some(self.gauges.show(whole.supplied_expiries()));
        Ok(whole)
    }

    /// Publishes each change of a file or a supply until nobody uses them any more, and warns before a certificate of a
    /// supply expires.
    pub(super) async fn run(mut self, sender: watch::Sender<Arc<ServerTls>>) {
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let before = Arc::clone(&sender.borrow());
            let is_changed = {
                let supplies = self.supplies.iter_mut().map(|supply| Box::pin(changed(&mut supply.0)));
                tokio::select! {
                    () = self.files.changed() => true,
                    _ = select_all(supplies) => true,
                    _ = look.tick() => false,
                    () = sender.closed() => return,
                }
            };
            if !is_changed {
                warn_of(before.supplied_expiries());
                continue;
            }
            match self.combine(Some(&before)) {
                Ok(whole) => drop(sender.send_replace(Arc::new(whole))),
                Err(error) => tracing::error!("the certificates before stay in use: {error}"),
            }
        }
    }
}

/// Waits for a change. A sender that is gone makes none any more.
async fn changed<T>(receiver: &mut watch::Receiver<T>) {
    if receiver.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}
