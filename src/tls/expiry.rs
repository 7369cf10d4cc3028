//! The ends of certificates: a metric, and a warning before.

use super::certificate::CertificateFacts;
use crate::telemetry::{Gauge, Registry};
use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// The metric of the ends of certificates.
const NOT_AFTER: &str = "tls_certificate_not_after_seconds";

/// The share of a certificate's time at whose beginning a warning is due: a tenth of 90 days is nine.
const LAST_PART: u64 = 10;

/// The source of a certificate, as messages and metrics name it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum CertificateSource {
    File(PathBuf),
    /// A Secret of Kubernetes, `<namespace>/<name>`.
    Secret(Arc<str>),
}

impl CertificateSource {
    /// Returns the label of its metric, name and value.
    fn label(&self) -> (&'static str, String) {
        match self {
            Self::File(path) => ("file", path.display().to_string()),
            Self::Secret(name) => ("secret", name.to_string()),
        }
    }
}

impl fmt::Display for CertificateSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Secret(name) => write!(f, "secret {name}"),
        }
    }
}

/// The end of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Expiry {
    source: CertificateSource,
    title: String,
    /// Its time, in seconds since 1970.
    at: u64,
    /// How long its time is.
    lifetime: u64,
}

impl Expiry {
    pub(super) fn of(facts: &CertificateFacts, source: CertificateSource) -> Self {
        Self { source, title: facts.title(), at: facts.not_after(), lifetime: facts.lifetime() }
    }

    /// Returns the warning that is due, if one is.
    pub(super) fn warning(&self, now: SystemTime) -> Option<String> {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let (source, title) = (&self.source, &self.title);
        match self.at.checked_sub(now) {
            None => Some(format!(
                "{source}: the certificate of {title} has expired: whoever checks it refuses it"
            )),
            Some(left) if left < self.lifetime / LAST_PART => {
                Some(format!("{source}: the certificate of {title} expires in {}", in_words(left)))
            }
            Some(_) => None,
        }
    }
}

fn in_words(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} seconds"),
        120..7200 => format!("{} minutes", seconds / 60),
        7200..172_800 => format!("{} hours", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// The gauges of all certificates, one for each source.
#[derive(Clone, Debug)]
pub(super) struct ExpiryGauges {
    registry: Registry,
    shown: Arc<Mutex<HashMap<CertificateSource, SourceGauge>>>,
}

/// The gauge of one source, with the number of its users.
#[derive(Debug)]
struct SourceGauge {
    gauge: Gauge,
    users: usize,
}

/// The use of gauges, until it is dropped.
#[derive(Debug)]
pub(super) struct GaugeUse {
    gauges: ExpiryGauges,
    sources: Vec<CertificateSource>,
}

impl ExpiryGauges {
    pub(super) fn new(registry: &Registry) -> Self {
        registry.describe(
            NOT_AFTER,
            "The time at which the certificate in a file, or in a Secret, expires, in seconds since 1970",
        );
        Self { registry: registry.clone(), shown: Arc::default() }
    }

    /// Shows these ends until the value that is returned is dropped.
    pub(super) fn show(&self, expiries: &[Expiry]) -> GaugeUse {
        let mut shown = self.lock();
        for expiry in expiries {
            let gauge = shown.entry(expiry.source.clone()).or_insert_with(|| {
                let (label, value) = expiry.source.label();
                SourceGauge { gauge: self.registry.gauge(NOT_AFTER, &[(label, &value)]), users: 0 }
            });
            gauge.users += 1;
            gauge.gauge.set(expiry.at.try_into().unwrap_or(i64::MAX));
        }
        drop(shown);
        let sources = expiries.iter().map(|expiry| expiry.source.clone()).collect();
        GaugeUse { gauges: self.clone(), sources }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<CertificateSource, SourceGauge>> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for GaugeUse {
    fn drop(&mut self) {
        let mut shown = self.gauges.lock();
        for source in &self.sources {
            let Some(gauge) = shown.get_mut(source) else { continue };
            gauge.users -= 1;
            if gauge.users == 0 {
                shown.remove(source);
                let (label, value) = source.label();
                self.gauges.registry.remove(NOT_AFTER, &[(label, &value)]);
            }
        }
    }
}
