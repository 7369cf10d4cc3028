//! The ends of certificates: a metric, and a warning before.

use super::certificate::CertificateFacts;
use crate::telemetry::{Gauge, Registry};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// The metric of the ends of certificates.
const NOT_AFTER: &str = "tls_certificate_not_after_seconds";

/// The share of a certificate's time at whose beginning a warning is due: a tenth of 90 days is nine.
const LAST_PART: u64 = 10;

/// The end of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Expiry {
    /// The file of the certificate.
    file: PathBuf,
    title: String,
    /// Its time, in seconds since 1970.
    at: u64,
    /// How long its time is.
    lifetime: u64,
}

impl Expiry {
    pub(super) fn of(facts: &CertificateFacts, file: &Path) -> Self {
        Self {
            file: file.to_owned(),
            title: facts.title(),
            at: facts.not_after(),
            lifetime: facts.lifetime(),
        }
    }

    /// Returns the warning that is due, if one is.
    pub(super) fn warning(&self, now: SystemTime) -> Option<String> {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let (file, title) = (self.file.display(), &self.title);
        match self.at.checked_sub(now) {
            None => {
                Some(format!("{file}: the certificate of {title} has expired: whoever checks it refuses it"))
            }
            Some(left) if left < self.lifetime / LAST_PART => {
                Some(format!("{file}: the certificate of {title} expires in {}", in_words(left)))
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

/// The gauges of all certificates, one for each file.
#[derive(Clone, Debug)]
pub(super) struct ExpiryGauges {
    registry: Registry,
    files: Arc<Mutex<HashMap<PathBuf, FileGauge>>>,
}

/// The gauge of one file, with the number of its users.
#[derive(Debug)]
struct FileGauge {
    gauge: Gauge,
    users: usize,
}

/// The use of gauges, until it is dropped.
#[derive(Debug)]
pub(super) struct GaugeUse {
    gauges: ExpiryGauges,
    files: Vec<PathBuf>,
}

impl ExpiryGauges {
    pub(super) fn new(registry: &Registry) -> Self {
        registry.describe(
            NOT_AFTER,
            "The time at which the certificate in a file expires, in seconds since 1970",
        );
        Self { registry: registry.clone(), files: Arc::default() }
    }

    /// Shows these ends until the value that is returned is dropped.
    pub(super) fn show(&self, expiries: &[Expiry]) -> GaugeUse {
        let mut files = self.files();
        for expiry in expiries {
            let shown = files.entry(expiry.file.clone()).or_insert_with(|| {
                let label = expiry.file.display().to_string();
                FileGauge { gauge: self.registry.gauge(NOT_AFTER, &[("file", &label)]), users: 0 }
            });
            shown.users += 1;
            shown.gauge.set(expiry.at.try_into().unwrap_or(i64::MAX));
        }
        drop(files);
        GaugeUse { gauges: self.clone(), files: expiries.iter().map(|expiry| expiry.file.clone()).collect() }
    }

    fn files(&self) -> MutexGuard<'_, HashMap<PathBuf, FileGauge>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for GaugeUse {
    fn drop(&mut self) {
        let mut files = self.gauges.files();
        for file in &self.files {
            let Some(shown) = files.get_mut(file) else { continue };
            shown.users -= 1;
            if shown.users == 0 {
                files.remove(file);
                self.gauges.registry.remove(NOT_AFTER, &[("file", &file.display().to_string())]);
            }
        }
    }
}
