//! Reports whether a `Dtab` is valid: in its status, and by an event if it is not.
//!
//! The status is written once for each generation, by the first router that gets there: it is written with the
//! version that was read, so that the server refuses the other routers, which then see it written. Routers that
//! disagree, because one knows a newer notation, do not overwrite each other. Routing needs none of this: a missing
//! right is logged once.

use super::config::KubernetesStoreConfig;
use super::publish::DtabError;
use super::resource::{ACCEPTED, DtabResource, DtabStatus, SignpostDtab};
use crate::kubernetes::{ApiClient, EventText, WriteError, event_about};
use k8s_openapi::Resource as _;
use k8s_openapi::api::core::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::sleep;

/// How long to wait after a failure that may pass.
const RETRY: Duration = Duration::from_secs(5);

/// How long to wait until a right may have been granted.
const FORBIDDEN: Duration = Duration::from_secs(60);

/// A report on one generation of a `Dtab`: the status to write, and the error if it is not valid.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct DtabReport {
    uid: Option<String>,
    resource_version: Option<String>,
    status: DtabStatus,
    error: Option<String>,
}

impl DtabReport {
    /// Returns the report on this generation, if no router has written it yet.
    pub(super) fn new(object: &SignpostDtab, result: Result<usize, &DtabError>) -> Option<Self> {
        let generation = object.generation?;
        if object.status.observed_generation == Some(generation) {
            return None;
        }
        let (entries, error) = match result {
            Ok(entries) => (Some(entries.try_into().unwrap_or(i64::MAX)), None),
            Err(error) => (None, Some(error.line().to_owned())),
        };
        let (status, reason, message) = match &error {
            None => ("True", "Valid", "the routers use it".to_owned()),
            Some(message) => ("False", "Invalid", message.clone()),
        };
        let before = object.status.conditions.iter().find(|condition| condition.type_ == ACCEPTED);
        let same = before.filter(|before| before.status == status);
        let since = same.map_or_else(|| Time(Timestamp::now()), |before| before.last_transition_time.clone());
        let condition = Condition {
            last_transition_time: since,
            message,
            observed_generation: Some(generation),
            reason: reason.to_owned(),
            status: status.to_owned(),
            type_: ACCEPTED.to_owned(),
        };
        Some(Self {
            uid: object.uid.clone(),
            resource_version: object.resource_version.clone(),
            status: DtabStatus {
                observed_generation: Some(generation),
                entries,
                conditions: vec![condition],
            },
            error,
        })
    }

    /// Returns the object to apply, with the status alone.
    fn patch(&self, KubernetesStoreConfig { namespace, name, .. }: &KubernetesStoreConfig) -> Value {
        json!({
            "apiVersion": DtabResource::API_VERSION,
            "kind": DtabResource::KIND,
            "metadata": { "namespace": namespace, "name": name, "resourceVersion": self.resource_version },
            "status": self.status,
        })
    }

    /// Returns the event that tells the error, if there is one.
    fn event(&self, KubernetesStoreConfig { namespace, name, .. }: &KubernetesStoreConfig) -> Option<Event> {
        let message = format!("{}; the last good dtab stays in use", self.error.as_ref()?);
        let object = ObjectMeta {
            namespace: Some(namespace.clone()),
            name: Some(name.clone()),
            uid: self.uid.clone(),
            resource_version: self.resource_version.clone(),
            ..ObjectMeta::default()
        };
        let text = EventText {
            kind: "Warning",
            reason: "Rejected",
            message: &message,
            field: Some("spec.dtab"),
            component: "signpost",
        };
        Some(event_about::<DtabResource>(&object, text))
    }
}

/// Writes each report on a `Dtab`, until its store is closed.
pub(super) async fn write_reports(
    client: ApiClient,
    config: KubernetesStoreConfig,
    mut reports: watch::Receiver<Option<DtabReport>>,
) {
    let mut reporter = Reporter { client, config, status_failed: false, event_failed: false };
    loop {
        let now = reports.borrow_and_update().clone();
        let again = match now {
            None => None,
            Some(report) => reporter.write(&report).await,
        };
        let pause = async {
            match again {
                Some(pause) => sleep(pause).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = reports.changed() => if changed.is_err() { return },
            () = pause => {}
        }
    }
}

/// The writer of reports on one `Dtab`.
struct Reporter {
    client: ApiClient,
    config: KubernetesStoreConfig,
    /// Whether the last status could not be written, which was logged.
    status_failed: bool,
    /// Whether the last event could not be written, which was logged.
    event_failed: bool,
}

impl Reporter {
    /// Writes the status, and then the event. Returns the pause before another attempt, if that is useful.
    async fn write(&mut self, report: &DtabReport) -> Option<Duration> {
        let KubernetesStoreConfig { namespace, name, .. } = &self.config;
        let patch = report.patch(&self.config);
        let written = self.client.apply_status::<DtabResource>(namespace, name, &patch).await;
        match &written {
            Ok(()) => self.status_failed = false,
            // The watch will bring the present object.
            Err(WriteError::Outdated) => return None,
            Err(error) => {
                if !self.status_failed {
                    tracing::warn!(
                        "{}: its status cannot be written, which routing does not need: {error}",
                        self.config
                    );
                }
                self.status_failed = true;
                return Some(if matches!(error, WriteError::Forbidden(_)) { FORBIDDEN } else { RETRY });
            }
        }
        let event = report.event(&self.config)?;
        let written = self.client.create(namespace, &event).await;
        if let Err(error) = &written
            && !self.event_failed
        {
            tracing::warn!("{}: no event can be written, which routing does not need: {error}", self.config);
        }
        self.event_failed = written.is_err();
        None
    }
}
