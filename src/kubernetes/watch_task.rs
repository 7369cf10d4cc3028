//! The task that runs one watch: a list, then its changes, then again from the beginning.
//!
//! The state of a watch is the place in the program: [`WatchTask::run`] is the whole of it.

use super::backoff::{Backoff, LONGEST, NextAttempt};
use super::failure::{ApiFailure, FailureKind};
use super::object_store::{ObjectStore, Objects, ReceivedObject};
use super::progress::Phase;
use super::resource_watch::{GRACE, LONGEST_GRACE, ResourceWatch};
use super::save::Saver;
use super::watched_object::WatchedObject;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use kube::Api;
use kube::api::{ListParams, WatchParams};
use kube::core::WatchEvent;
use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

/// How long a watch lasts before the server ends it, in seconds: at least the first number, and up to the second more
/// by chance, so that watches do not all begin anew at one time. It is short because a connection that died in
/// silence is found out at its end.
const LIFE: (u32, u32) = (90, 30);

/// How much longer than that a watch may be silent.
const SLACK: Duration = Duration::from_secs(10);

/// How long an answer, or a page of a list, may take.
const ANSWER: Duration = Duration::from_secs(30);

/// How long a streamed list may pause before its end.
const SILENCE: Duration = Duration::from_secs(5);

/// How long nothing may come of the first streamed list before pages are requested beside it. A server that streams begins
/// sooner.
const PATIENCE: Duration = Duration::from_secs(1);

/// The shortest watch that did not fail: a proxy that closes each watch at once must not be asked in a hot loop.
const SHORTEST: Duration = Duration::from_secs(1);

/// How long a watch must last so that the failures before it are forgotten.
const HEALTHY: Duration = Duration::from_secs(10);

/// How many objects a page of a list has.
const PAGE: u32 = 500;

/// The annotation at the end of a streamed list.
const END_OF_LIST: &str = "k8s.io/initial-events-end";

/// The task that runs a watch.
pub(super) struct WatchTask<T: WatchedObject> {
    watched: Arc<ResourceWatch<T>>,
    /// Access to the snapshot, if the configuration names a folder.
    saver: Option<Saver<T>>,
    backoff: Backoff,
    /// The server of the current attempt.
    server: Option<Arc<str>>,
}

/// The events of an open watch.
struct WatchStream<T: WatchedObject> {
    stream: BoxStream<'static, kube::Result<WatchEvent<ReceivedObject<T>>>>,
    opened: Instant,
    /// The time by which the server should have ended it.
    until: Instant,
}

impl<T: WatchedObject> WatchTask<T> {
    pub(super) fn new(watched: Arc<ResourceWatch<T>>, saver: Option<Saver<T>>) -> Self {
        Self { watched, saver, backoff: Backoff::default(), server: None }
    }

    /// Lists and watches; after each failure waits a while and begins anew, for ever.
    pub(super) async fn run(mut self) -> Infallible {
        self.wait_after_last_run().await;
        let mut began = Instant::now();
        let mut failure = self.first_attempt().await;
        loop {
            let watched = self.watched.lock().progress.listed.filter(|listed| *listed >= began);
            if watched.is_some_and(|listed| listed.elapsed() >= HEALTHY) {
                self.backoff.reset();
            }
            self.record_failure(&failure);
            let next = self.backoff.next(&failure);
            self.wait_for_attempt(next).await;
            began = Instant::now();
            Err(failure) = self.attempt().await;
        }
    }

    /// Waits until an attempt may follow the last one of an earlier run.
    async fn wait_after_last_run(&self) {
        let failed = self.watched.lock().failed;
        if let Some(failed) = failed {
            sleep_until(failed + LONGEST).await;
        }
    }

    /// Waits for the time of the next attempt, which comes sooner when a request asks for it.
    async fn wait_for_attempt(&self, NextAttempt { asked, unasked }: NextAttempt) {
        if self.watched.is_configured() {
            return sleep_until(asked).await;
        }
        let wanted = async {
            self.watched.wanted.notified().await;
            sleep_until(asked).await;
        };
        tokio::select! {
            () = sleep_until(unasked) => {}
            () = wanted => {}
        }
    }

    /// Waits until the budget of the client allows an attempt.
    async fn wait_for_budget(&self) {
        loop {
            tokio::select! {
                biased;
                () = self.watched.client.budget().acquire(self.watched.attempt_class()) => return,
                // It waits again, before all that have waited longer.
                () = self.watched.wanted.notified() => {}
            }
        }
    }

    /// Does the same as [`WatchTask::attempt`], but serves the snapshot when the attempt fails, before subscribers
    /// are told, or when its list takes too long.
    async fn first_attempt(&mut self) -> ApiFailure {
        let Some(saver) = self.saver.clone() else {
            let Err(failure) = self.attempt().await;
            return failure;
        };
        let watched = Arc::clone(&self.watched);
        let late = async {
            watched.wait_for_silence(GRACE, LONGEST_GRACE).await;
            saver.restore().await;
        };
        let mut restored = false;
        let failure = {
            let (mut attempt, mut late) = (pin!(self.attempt()), pin!(late));
            loop {
                tokio::select! {
                    biased;
                    Err(failure) = &mut attempt => break failure,
                    () = &mut late, if !restored => restored = true,
                }
            }
        };
        if !restored {
            saver.restore().await;
        }
        failure
    }

    /// Connects, lists and watches until something fails.
    async fn attempt(&mut self) -> Result<Infallible, ApiFailure> {
        self.watched.lock().progress.phase = Phase::Connecting;
        self.wait_for_budget().await;
        let client =
            self.watched.client.connect().await.map_err(|error| ApiFailure::from_config_error(&error))?;
        self.server = Some(Arc::clone(&client.server));
        let ended = self.list_and_watch(&client.kube).await;
        match &ended {
            Err(ApiFailure { kind: FailureKind::Unreached, .. }) => {
                self.watched.client.discard(&client).await;
            }
            Err(ApiFailure { kind: FailureKind::Forbidden, .. }) => {
                self.watched.client.discard_refused(&client).await;
            }
            _ => {}
        }
        ended
    }

    /// Lists, then watches from the version of the list; watches again from the last version each time the server
    /// ends the watch.
    async fn list_and_watch(&mut self, client: &kube::Client) -> Result<Infallible, ApiFailure> {
        let api = match &self.watched.namespace {
            Some(namespace) => Api::namespaced(client.clone(), namespace),
            None => Api::all(client.clone()),
        };
        self.watched.lock().progress.phase = Phase::Listing;
        let (mut version, mut events) = match self.streamed_or_paged_list(&api).await? {
            Some(listed) => listed,
            None => {
                let version = self.paged_list(&api).await?;
                let events = self.open_watch(&api, Some(&version)).await?;
                (version, events)
            }
        };
        if self.watched.lock().store.len() > 0 {
            self.watched.client.budget().refund();
        }
        loop {
            self.read_events(&mut events, &mut version).await?;
            events = self.open_watch(&api, Some(&version)).await?;
        }
    }

    /// Does the same as [`WatchTask::streamed_list`], but lists by pages as well when nothing comes of it soon: a server
    /// that cannot stream lists may not say so. What is complete first is used.
    async fn streamed_or_paged_list(
        &self,
        api: &Api<ReceivedObject<T>>,
    ) -> Result<Option<(String, WatchStream<T>)>, ApiFailure> {
        if self.watched.client.has_streamed() {
            return self.streamed_list(api).await;
        }
        let paged = async {
            self.watched.wait_for_silence(PATIENCE, Duration::MAX).await;
            self.paged_list(api).await
        };
        // A failure of the second says nothing about the first.
        tokio::select! {
            biased;
            streamed = self.streamed_list(api) => streamed,
            Ok(version) = paged => {
                self.watched.client.disable_streamed_lists();
                let events = self.open_watch(api, Some(&version)).await?;
                Ok(Some((version, events)))
            }
        }
    }

    /// Requests all objects and then their changes in one answer. Returns none if the server cannot do that.
    async fn streamed_list(
        &self,
        api: &Api<ReceivedObject<T>>,
    ) -> Result<Option<(String, WatchStream<T>)>, ApiFailure> {
        if !self.watched.client.streams_lists() {
            return Ok(None);
        }
        let mut events = match self.open_watch(api, None).await {
            Err(ApiFailure { kind: FailureKind::NotUnderstood, .. }) => {
                self.watched.client.disable_streamed_lists();
                return Ok(None);
            }
            opened => opened?,
        };
        let mut objects = self.watched.lock().store.empty();
        loop {
            let Ok(next) = timeout(SILENCE, events.stream.next()).await else {
                if self.watched.client.has_streamed() {
                    return Err(ApiFailure::too_slow("nothing of the list arrived", SILENCE));
                }
                // An old server takes the request for a plain watch, which has no end of the list.
                self.watched.client.disable_streamed_lists();
                return Ok(None);
            };
            match next.ok_or_else(|| ApiFailure::unreached("the list broke off"))? {
                Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)) => {
                    self.add(&mut objects, object);
                }
                Ok(WatchEvent::Deleted(object)) => objects.delete(&object),
                Ok(WatchEvent::Bookmark(mark)) => {
                    if mark.metadata.annotations.get(END_OF_LIST).is_some_and(|end| end == "true") {
                        self.watched.client.record_streamed_list();
                        self.replace(objects);
                        return Ok(Some((mark.metadata.resource_version, events)));
                    }
                }
                Ok(WatchEvent::Error(status)) => return Err(self.refused(&status)),
                Err(error) => return Err(self.failure(error)),
            }
        }
    }

    /// Requests all objects page by page. Returns their version.
    async fn paged_list(&self, api: &Api<ReceivedObject<T>>) -> Result<String, ApiFailure> {
        let mut params = ListParams {
            label_selector: self.watched.selector.labels(),
            field_selector: self.watched.selector.fields(),
            limit: Some(PAGE),
            ..ListParams::default()
        };
        let mut objects = self.watched.lock().store.empty();
        loop {
            let page = timeout(ANSWER, api.list(&params)).await;
            let page = page.map_err(|_| ApiFailure::too_slow("no list arrived", ANSWER))?;
            let page = page.map_err(|error| self.failure(error))?;
            page.items.into_iter().for_each(|object| self.add(&mut objects, object));
            params.continue_token = page.metadata.continue_.filter(|token| !token.is_empty());
            if params.continue_token.is_none() {
                let version = page.metadata.resource_version.filter(|version| !version.is_empty());
                let said = "a list without a version, from which it cannot be watched";
                let version = version.ok_or_else(|| ApiFailure::of(FailureKind::Refused, said))?;
                self.replace(objects);
                return Ok(version);
            }
        }
    }

    /// Begins a watch at a version, or with a streamed list.
    async fn open_watch(
        &self,
        api: &Api<ReceivedObject<T>>,
        version: Option<&str>,
    ) -> Result<WatchStream<T>, ApiFailure> {
        let (least, more) = LIFE;
        let life = least + fastrand::u32(0..=more);
        let params = WatchParams {
            label_selector: self.watched.selector.labels(),
            field_selector: self.watched.selector.fields(),
            timeout: Some(life),
            bookmarks: true,
            send_initial_events: version.is_none(),
        };
        let answer = timeout(ANSWER, api.watch(&params, version.unwrap_or_default())).await;
        let answer = answer.map_err(|_| ApiFailure::too_slow("no watch began", ANSWER))?;
        let stream = answer.map_err(|error| self.failure(error))?.boxed();
        // From here on its time counts: how long the way takes, and the handshakes before, says nothing about it.
        let opened = Instant::now();
        let until = opened + Duration::from_secs(life.into()) + SLACK;
        Ok(WatchStream { stream, opened, until })
    }

    /// Applies the events of a watch, until the server ends it.
    async fn read_events(
        &mut self,
        events: &mut WatchStream<T>,
        version: &mut String,
    ) -> Result<(), ApiFailure> {
        loop {
            let next = timeout_at(events.until, events.stream.next()).await;
            let next = next.map_err(|_| {
                ApiFailure::unreached("the watch did not end in time: its connection is dead")
            })?;
            let Some(event) = next else { break };
            match event.map_err(|error| self.failure(error))? {
                WatchEvent::Error(status) => return Err(self.refused(&status)),
                WatchEvent::Bookmark(mark) => {
                    self.watched.lock().progress.heard();
                    *version = mark.metadata.resource_version;
                }
                WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                    advance_version(version, &object);
                    self.apply_event(|store| store.apply(object));
                }
                WatchEvent::Deleted(object) => {
                    advance_version(version, &object);
                    self.apply_event(|store| store.delete(&object));
                }
            }
        }
        if events.opened.elapsed() < SHORTEST {
            return Err(ApiFailure::unreached("the watch ended as soon as it began"));
        }
        Ok(())
    }

    /// Adds an object to a list that is not complete yet.
    fn add(&self, objects: &mut Objects<T>, object: ReceivedObject<T>) {
        let mut inner = self.watched.lock();
        inner.progress.heard();
        inner.store.add(objects, object);
    }

    /// Applies one event to the stored objects.
    fn apply_event(&mut self, change: impl FnOnce(&mut ObjectStore<T>)) {
        let mut inner = self.watched.lock();
        inner.progress.heard();
        inner.progress.events += 1;
        change(&mut inner.store);
        inner.update_gauges();
        drop(inner);
        self.watched.changed.notify_one();
        self.watched.metrics.events.increment();
    }

    /// Replaces all stored objects by a complete list.
    fn replace(&self, objects: Objects<T>) {
        let mut inner = self.watched.lock();
        let before = inner.store.snapshot_time().is_some();
        inner.store.replace(objects);
        inner.progress.listed(&self.watched.description(), before);
        inner.server.clone_from(&self.server);
        inner.update_gauges();
        drop(inner);
        self.watched.changed.notify_one();
        self.watched.metrics.lists.increment();
    }

    /// Records a failure in the log, the state and the metrics.
    fn record_failure(&mut self, failure: &ApiFailure) {
        let mut inner = self.watched.lock();
        let what = self.watched.description();
        let keeps_objects = inner.store.is_complete();
        inner.failed = Some(Instant::now());
        inner.progress.failed(&what, failure, keeps_objects);
        let for_good = matches!(
            failure.kind,
            FailureKind::Forbidden | FailureKind::NotDefined | FailureKind::NotUnderstood
        );
        inner.store.mark_lost(&format!("{what}: {}", failure.text).into(), for_good);
        inner.update_gauges();
        drop(inner);
        self.watched.metrics.failures.increment();
    }

    fn failure(&self, error: kube::Error) -> ApiFailure {
        ApiFailure::from_error::<T::ApiObject>(error, self.watched.namespace.as_deref())
    }

    fn refused(&self, status: &kube::core::Status) -> ApiFailure {
        ApiFailure::from_status::<T::ApiObject>(status, self.watched.namespace.as_deref())
    }
}

/// Sets the version to go on from after this object's event.
fn advance_version<K: kube::Resource>(version: &mut String, object: &K) {
    if let Some(new) = &object.meta().resource_version {
        version.clone_from(new);
    }
}
