//! Writes statuses and events, and deletes what has ended: only while this process leads, and only over the version that
//! was read.

use super::metrics::Metrics;
use super::verdict;
use crate::kubernetes::{ApiClient, EventText, WritableResource, WriteError, event_about};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use serde::Serialize;
use serde_json::json;
use std::collections::HashMap;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

/// How long to leave a namespace alone after a failure that may pass.
const RETRY: Duration = Duration::from_secs(5);

/// How long to leave it alone until a right may have been granted.
const FORBIDDEN: Duration = Duration::from_secs(60);

/// How long a write may take: no longer than the time between the end of this process' lead and the beginning of another's.
const ANSWER: Duration = Duration::from_secs(5);

/// The writer of a leader.
#[derive(Debug)]
pub(super) struct Writer {
    client: ApiClient,
    metrics: Metrics,
    leading: watch::Receiver<Option<Instant>>,
    /// The namespaces in which a write has failed, each with the time of the next attempt.
    blocked: HashMap<String, Instant>,
    /// The version over which each object was written last, by its uid: the watch brings the new one in a moment.
    written: HashMap<String, String>,
}

/// The result of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WriteOutcome {
    /// It is written.
    Done,
    /// It is not written: the watch will bring another version, or there will be another attempt.
    Later,
}

impl Writer {
    pub(super) fn new(
        client: ApiClient,
        metrics: Metrics,
        leading: watch::Receiver<Option<Instant>>,
    ) -> Self {
        Self { client, metrics, leading, blocked: HashMap::new(), written: HashMap::new() }
    }

    /// Returns the time of the next attempt in a namespace where a write has failed.
    pub(super) fn next_attempt(&self) -> Option<Instant> {
        let now = Instant::now();
        self.blocked.values().filter(|at| **at > now).min().copied()
    }

    /// Forgets the objects that are gone. `is_there` says whether there is an object of this uid.
    pub(super) fn retain(&mut self, is_there: impl Fn(&str) -> bool) {
        self.written.retain(|uid, _| is_there(uid));
    }

    /// Returns whether an object may be written now: no write over this version was made, or failed a moment ago.
    pub(super) fn may_write(&self, metadata: &ObjectMeta) -> bool {
        let namespace = metadata.namespace.as_deref().unwrap_or_default();
        let is_blocked = self.blocked.get(namespace).is_some_and(|until| Instant::now() < *until);
        let uid = metadata.uid.as_deref().unwrap_or_default();
        let is_written =
            self.written.get(uid).is_some_and(|version| Some(version) == metadata.resource_version.as_ref());
        !is_blocked && !is_written
    }

    /// Writes the status of an object, and an event for each condition that is another than before.
    pub(super) async fn write_status<K: WritableResource + k8s_openapi::Resource>(
        &mut self,
        metadata: &ObjectMeta,
        before: &[Condition],
        (status, now): (&impl Serialize, &[Condition]),
    ) -> WriteOutcome {
        let (namespace, name) = names(metadata);
        let patch = json!({
            "apiVersion": K::API_VERSION,
            "kind": K::KIND,
            "metadata": { "namespace": namespace, "name": name, "resourceVersion": metadata.resource_version },
            "status": status,
        });
        let client = self.client.clone();
        let done = self.write(metadata, client.apply_status::<K>(namespace, name, &patch)).await;
        if done == WriteOutcome::Done {
            self.metrics.written.increment();
            for condition in verdict::changed(before, now) {
                let kind = if condition.status == "True" { "Normal" } else { "Warning" };
                self.write_event::<K>(metadata, (kind, &condition.reason, &condition.message)).await;
            }
        }
        done
    }

    /// Deletes an object that has ended, if it is still the one that was read.
    pub(super) async fn delete<K: WritableResource + k8s_openapi::Resource>(
        &mut self,
        metadata: &ObjectMeta,
    ) -> WriteOutcome {
        let (namespace, name) = names(metadata);
        let version = (metadata.uid.clone(), metadata.resource_version.clone());
        let client = self.client.clone();
        let done = self.write(metadata, client.delete::<K>(namespace, name, version)).await;
        if done == WriteOutcome::Done {
            self.metrics.deleted.increment();
            tracing::info!("{namespace}/{name} has ended and is deleted");
            self.write_event::<K>(metadata, ("Normal", "Expired", "it has ended and is deleted")).await;
        }
        done
    }

    /// Waits for a write, if this process leads.
    async fn write(
        &mut self,
        metadata: &ObjectMeta,
        write: impl Future<Output = Result<(), WriteError>>,
    ) -> WriteOutcome {
        if !self.is_leading() {
            return WriteOutcome::Later;
        }
        let (namespace, name) = names(metadata);
        let result = timeout(ANSWER, write)
            .await
            .unwrap_or_else(|_| Err(WriteError::Failed(format!("no answer for {} s", ANSWER.as_secs()))));
        let pause = match &result {
            Ok(()) => {
                if self.blocked.remove(namespace).is_some() {
                    tracing::info!("namespace {namespace} is written to again");
                }
                if let (Some(uid), Some(version)) = (&metadata.uid, &metadata.resource_version) {
                    self.written.insert(uid.clone(), version.clone());
                }
                return WriteOutcome::Done;
            }
            // The watch will bring the present object.
            Err(WriteError::Outdated) => return WriteOutcome::Later,
            Err(WriteError::Forbidden(_)) => FORBIDDEN,
            Err(WriteError::Failed(_)) => RETRY,
        };
        self.metrics.failures.increment();
        let first = self.blocked.insert(namespace.to_owned(), Instant::now() + pause).is_none();
        if let (true, Err(error)) = (first, &result) {
            tracing::warn!(
                "{namespace}/{name} cannot be written, the next attempt is in {} s: {error}",
                pause.as_secs()
            );
        }
        WriteOutcome::Later
    }

    /// Writes an event, for people that describe the object. That it cannot be written changes nothing else.
    async fn write_event<K: k8s_openapi::Resource>(
        &self,
        metadata: &ObjectMeta,
        (kind, reason, message): (&str, &str, &str),
    ) {
        if !self.is_leading() {
            return;
        }
        let (namespace, name) = names(metadata);
        let text = EventText { kind, reason, message, field: None, component: "signpost-controller" };
        let event = event_about::<K>(metadata, text);
        match timeout(ANSWER, self.client.create(namespace, &event)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!("{namespace}/{name}: no event is written: {error}"),
            Err(_) => tracing::debug!("{namespace}/{name}: no event is written: there is no answer"),
        }
    }

    fn is_leading(&self) -> bool {
        self.leading.borrow().is_some_and(|until| Instant::now() < until)
    }
}

/// Returns the namespace and the name of an object.
fn names(metadata: &ObjectMeta) -> (&str, &str) {
    (metadata.namespace.as_deref().unwrap_or_default(), metadata.name.as_deref().unwrap_or_default())
}
