//! The lease: of several controllers, the one that holds it leads.
//!
//! It is a `Lease` of `coordination.k8s.io`, used as Kubernetes' own controllers use theirs. The holder renews it every 2 s.
//! A leader that could not renew it for 10 s, by its own clock, leads no more; another process takes it when it has seen it
//! unchanged for 15 s, by its own clock too. So the clocks of two machines need not agree. A process that ends gives the
//! lease back, and the next one leads within 2 s.
//!
//! The libraries for this take a client of their own version of `kube`, and compare the holder's clock with their own.

use crate::kubernetes::{ApiClient, WriteError};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

/// How long others leave a lease to a holder that does not renew it.
const LEASE: Duration = Duration::from_secs(15);

/// How long a leader leads that cannot renew its lease. The difference to [`LEASE`] is for writes that are under way.
const LEAD: Duration = Duration::from_secs(10);

/// The time between two attempts, to renew or to take it.
const RETRY: Duration = Duration::from_secs(2);

/// How long an attempt may take.
const ATTEMPT: Duration = Duration::from_secs(5);

/// The most that a lease's own duration is believed.
const LONGEST: Duration = Duration::from_secs(300);

/// The lease, and the name of this process in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseConfig {
    /// Its namespace; that of the credentials if there is none.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// The name of this process, which no other one has.
    pub identity: String,
}

/// The part that this process takes in the election.
#[derive(Debug)]
pub(super) struct Election {
    client: ApiClient,
    config: LeaseConfig,
    /// The time until which this process leads, by its own clock, if it does.
    leading: watch::Sender<Option<Instant>>,
    /// The last version that was seen of another one's lease, and when that was.
    seen: Option<(String, Instant)>,
    /// The trouble that was logged last.
    trouble: Option<String>,
}

/// The result of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
enum LeaseAttempt {
    /// The lease is held.
    Held,
    /// Another process holds it.
    HeldBy(String),
    /// It was changed meanwhile.
    Contended,
}

/// The next step with a lease that was found.
#[derive(Clone, Debug, PartialEq)]
enum Move {
    /// Write this one.
    Write(Box<Lease>),
    /// Leave it to this process.
    Leave(String),
}

impl Election {
    pub(super) const fn new(
        client: ApiClient,
        config: LeaseConfig,
        leading: watch::Sender<Option<Instant>>,
    ) -> Self {
        Self { client, config, leading, seen: None, trouble: None }
    }

    /// Takes the lease when it is free, and renews it, for ever. Publishes until when this process leads.
    pub(super) async fn run(&mut self) -> Infallible {
        loop {
            // The time before the request counts: the server may have written at once.
            let began = Instant::now();
            let attempt = timeout(ATTEMPT, self.attempt()).await;
            match attempt {
                Ok(Ok(LeaseAttempt::Held)) => {
                    self.trouble = None;
                    if self.leading.send_replace(Some(began + LEAD)).is_none() {
                        tracing::info!(identity = self.config.identity, "leading: this process writes");
                    }
                }
                Ok(Ok(LeaseAttempt::HeldBy(holder))) => {
                    self.lose(&format!("{holder} leads"));
                    self.note(format!("{holder} leads, and this process waits"));
                }
                Ok(Ok(LeaseAttempt::Contended)) => {}
                Ok(Err(error)) => self.fail(&error.to_string()),
                Err(_) => self.fail(&format!("no answer for {} s", ATTEMPT.as_secs())),
            }
            self.sleep_until_next(began).await;
        }
    }

    /// Waits until the next attempt. A leader whose time is up leads no more.
    async fn sleep_until_next(&mut self, began: Instant) {
        let until = *self.leading.borrow();
        let pause = RETRY.saturating_sub(began.elapsed()).max(RETRY / 10);
        if let Some(until) = until
            && until <= Instant::now() + pause
        {
            tokio::time::sleep_until(until).await;
            self.lose("the lease could not be renewed in time");
        } else {
            sleep(pause).await;
        }
    }

    /// Gives the lease back, if it is held.
    pub(super) async fn release(&mut self) {
        let was_leading = self.leading.send_replace(None).is_some();
        if !was_leading {
            return;
        }
        let released = timeout(ATTEMPT, async {
            let namespace = self.namespace().await?;
            let Some(mut lease) = self.client.get::<Lease>(&namespace, &self.config.name).await? else {
                return Ok(());
            };
            let spec = lease.spec.get_or_insert_default();
            if spec.holder_identity.as_deref() == Some(&*self.config.identity) {
                spec.holder_identity = None;
                spec.renew_time = Some(MicroTime(Timestamp::now()));
                self.client.replace(&namespace, &self.config.name, &lease).await?;
            }
            Ok::<_, WriteError>(())
        });
        match released.await {
            Ok(Ok(())) => tracing::info!("the lease is given back"),
            _ => tracing::warn!("the lease could not be given back: the next leader waits until it ends"),
        }
    }

    /// Renews the lease or takes it, if it may.
    async fn attempt(&mut self) -> Result<LeaseAttempt, WriteError> {
        let namespace = self.namespace().await?;
        let name = self.config.name.clone();
        let found = self.client.get::<Lease>(&namespace, &name).await?;
        let exists = found.is_some();
        let written = match self.decide(found, Instant::now()) {
            Move::Leave(holder) => return Ok(LeaseAttempt::HeldBy(holder)),
            Move::Write(lease) if exists => self.client.replace(&namespace, &name, &*lease).await,
            Move::Write(lease) => self.client.create(&namespace, &*lease).await,
        };
        match written {
            Ok(()) => Ok(LeaseAttempt::Held),
            // The next attempt sees the present one.
            Err(WriteError::Outdated) => Ok(LeaseAttempt::Contended),
            Err(error) => Err(error),
        }
    }

    /// Decides what to do about the lease that was found.
    fn decide(&mut self, found: Option<Lease>, now: Instant) -> Move {
        let LeaseConfig { name, identity, .. } = &self.config;
        let mut lease = found.unwrap_or_else(|| Lease {
            metadata: ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() },
            spec: None,
        });
        let version = lease.metadata.resource_version.clone().unwrap_or_default();
        let spec = lease.spec.get_or_insert_default();
        let holder = spec.holder_identity.take().unwrap_or_default();
        let is_own = holder == *identity;
        if !is_own && !holder.is_empty() {
            let seconds = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
            let duration = seconds.map_or(LEASE, Duration::from_secs).min(LONGEST);
            match &self.seen {
                Some((seen, since)) if *seen == version => {
                    if now.duration_since(*since) < duration {
                        return Move::Leave(holder);
                    }
                }
                _ => {
                    self.seen = Some((version, now));
                    return Move::Leave(holder);
                }
            }
        }
        self.seen = None;
        let time = Timestamp::now();
        let transitions = spec.lease_transitions.unwrap_or(0);
        *spec = LeaseSpec {
            holder_identity: Some(identity.clone()),
            lease_duration_seconds: Some(LEASE.as_secs().try_into().unwrap_or(i32::MAX)),
            acquire_time: spec.acquire_time.take().filter(|_| is_own).or(Some(MicroTime(time))),
            renew_time: Some(MicroTime(time)),
            lease_transitions: Some(if is_own { transitions } else { transitions.saturating_add(1) }),
            ..LeaseSpec::default()
        };
        Move::Write(Box::new(lease))
    }

    async fn namespace(&self) -> Result<String, WriteError> {
        match &self.config.namespace {
            Some(namespace) => Ok(namespace.clone()),
            None => self.client.default_namespace().await,
        }
    }

    fn lose(&mut self, reason: &str) {
        if self.leading.send_replace(None).is_some() {
            tracing::warn!("this process leads no more: {reason}");
        }
    }

    fn fail(&mut self, reason: &str) {
        let text = format!("lease {}: {reason}", self.config.name);
        if self.trouble.as_ref() != Some(&text) {
            tracing::warn!("{text}");
            self.trouble = Some(text);
        }
    }

    fn note(&mut self, text: String) {
        if self.trouble.as_ref() != Some(&text) {
            tracing::info!("{text}");
            self.trouble = Some(text);
        }
    }
}

#[cfg(test)]
mod tests;
