//! What becomes of a `Dtab`, said in its status; and an event when it is wrong.
//!
//! A status is written once for each generation, by whichever router is first: with the version that it was read at, so
//! that the others are refused and see it already written. Routers that disagree, because one knows a newer notation,
//! do not fight. To route, none of this is needed: a right that is missing is said once.

use super::config::KubernetesStoreConfig;
use super::follow::DtabError;
use super::resource::{ACCEPTED, DtabResource, DtabStatus, SignpostDtab};
use crate::kubernetes::{ApiClient, WriteError};
use k8s_openapi::Resource as _;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::sleep;

/// How long to wait after a failure that may pass.
const PAUSE: Duration = Duration::from_secs(5);

/// How long to wait until a right may have been granted.
const FORBIDDEN: Duration = Duration::from_secs(60);

/// A `Dtab` and what is to be said of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct DtabReport {
    uid: Option<String>,
    resource_version: Option<String>,
    status: DtabStatus,
    reject: Option<String>,
}

impl DtabReport {
    /// Returns what is to be said, if nobody has said it of this generation.
    pub(super) fn new(object: &SignpostDtab, verdict: Result<usize, &DtabError>) -> Option<Self> {
        let generation = object.generation?;
        if object.status.observed_generation == Some(generation) {
            return None;
        }
        let (entries, reject) = match verdict {
            Ok(entries) => (Some(entries.try_into().unwrap_or(i64::MAX)), None),
            Err(wrong) => (None, Some(wrong.line().to_owned())),
        };
        let (status, reason, message) = match &reject {
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
            reject,
        })
    }

    /// The object as it is applied.
    fn patch(&self, KubernetesStoreConfig { namespace, name, .. }: &KubernetesStoreConfig) -> Value {
        json!({
            "apiVersion": DtabResource::API_VERSION,
            "kind": DtabResource::KIND,
            "metadata": { "namespace": namespace, "name": name, "resourceVersion": self.resource_version },
            "status": self.status,
        })
    }

    /// The event that says why it is rejected.
    fn event(&self, KubernetesStoreConfig { namespace, name, .. }: &KubernetesStoreConfig) -> Option<Event> {
        let now = || Some(Time(Timestamp::now()));
        let message = self.reject.as_ref()?;
        Some(Event {
            metadata: ObjectMeta {
                generate_name: Some(format!("{name}.")),
                namespace: Some(namespace.clone()),
                ..ObjectMeta::default()
            },
            involved_object: ObjectReference {
                api_version: Some(DtabResource::API_VERSION.to_owned()),
                kind: Some(DtabResource::KIND.to_owned()),
                namespace: Some(namespace.clone()),
                name: Some(name.clone()),
                uid: self.uid.clone(),
                resource_version: self.resource_version.clone(),
                field_path: Some("spec.dtab".to_owned()),
            },
            type_: Some("Warning".to_owned()),
            reason: Some("Rejected".to_owned()),
            message: Some(format!("{message}; the last good dtab stays in use")),
            count: Some(1),
            first_timestamp: now(),
            last_timestamp: now(),
            source: Some(EventSource { component: Some("signpost".to_owned()), host: None }),
            ..Event::default()
        })
    }
}

/// Says what is to be said of a `Dtab`, until nobody follows it any more.
pub(super) async fn report(
    client: ApiClient,
    config: KubernetesStoreConfig,
    mut judged: watch::Receiver<Option<DtabReport>>,
) {
    let mut reporter = Reporter { client, config, status_failed: false, event_failed: false };
    loop {
        let now = judged.borrow_and_update().clone();
        let again = match now {
            None => None,
            Some(judged) => reporter.say(&judged).await,
        };
        let pause = async {
            match again {
                Some(pause) => sleep(pause).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = judged.changed() => if changed.is_err() { return },
            () = pause => {}
        }
    }
}

struct Reporter {
    client: ApiClient,
    config: KubernetesStoreConfig,
    /// Whether it was logged that the last one could not be written.
    status_failed: bool,
    event_failed: bool,
}

impl Reporter {
    /// Writes the status, and the event that belongs to it. Returns when to try again, if that is worth it.
    async fn say(&mut self, judged: &DtabReport) -> Option<Duration> {
        let KubernetesStoreConfig { namespace, name, .. } = &self.config;
        let patch = judged.patch(&self.config);
        let written = self.client.apply_status::<DtabResource>(namespace, name, &patch).await;
        match &written {
            Ok(()) => self.status_failed = false,
            // What is there now comes with the watch.
            Err(WriteError::Outdated) => return None,
            Err(error) => {
                if !self.status_failed {
                    tracing::warn!(
                        "{}: its status cannot be written, which routing does not need: {error}",
                        self.config
                    );
                }
                self.status_failed = true;
                return Some(if matches!(error, WriteError::Forbidden(_)) { FORBIDDEN } else { PAUSE });
            }
        }
        let event = judged.event(&self.config)?;
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
