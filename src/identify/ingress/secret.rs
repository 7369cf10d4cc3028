//! The Secrets that Ingresses name, each watched by its name alone: no other Secret is asked for.

use crate::kubernetes::{ApiClient, GroupState, MAX_WATCHES, Metrics, WatchedObject, Watches};
use crate::tls::PemPair;
use futures_util::future::select_all;
use k8s_openapi::api::core::v1::Secret;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::watch;

/// How many Secrets are watched at once. Those of older ingresses go first.
pub(super) const MOST_SECRETS: usize = MAX_WATCHES;

/// The type of a Secret that holds a certificate and its key.
const TLS_TYPE: &str = "kubernetes.io/tls";

/// The namespace and the name of a Secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct SecretName {
    pub(super) namespace: Arc<str>,
    pub(super) name: Arc<str>,
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// The certificate and the key in a Secret, as they are written there.
#[derive(PartialEq, Serialize, Deserialize)]
pub(super) struct SecretData {
    uid: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    /// `tls.crt` and `tls.key`. They are written nowhere.
    #[serde(skip)]
    cert: Option<Vec<u8>>,
    #[serde(skip)]
    key: Option<Vec<u8>>,
}

impl WatchedObject for SecretData {
    type ApiObject = Secret;

    const IS_SECRET: bool = true;

    fn from_api(secret: Secret) -> Self {
        let mut data = secret.data.unwrap_or_default();
        let mut take = |key: &str| data.remove(key).map(|bytes| bytes.0);
        let (cert, key) = (take("tls.crt"), take("tls.key"));
        Self { uid: secret.metadata.uid, kind: secret.type_, cert, key }
    }
}

impl SecretData {
    /// Makes a pair of it; the error is what is wrong with it.
    fn parse(&self, name: &SecretName) -> Result<PemPair, String> {
        let kind = self.kind.as_deref().unwrap_or_default();
        if kind != TLS_TYPE {
            return Err(format!("its type is `{kind}`: expected `{TLS_TYPE}`, with `tls.crt` and `tls.key`"));
        }
        let given = |value: &Option<Vec<u8>>| value.clone().filter(|bytes| !bytes.is_empty());
        let (Some(cert), Some(key)) = (given(&self.cert), given(&self.key)) else {
            return Err("`tls.crt` or `tls.key` is missing or empty: it needs both".to_owned());
        };
        PemPair::parse(&name.to_string(), &cert, &key).map_err(|error| error.to_string())
    }
}

/// The fault of a Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SecretFault {
    /// It is not there.
    Missing,
    /// It cannot be asked for, for this reason: a right is missing, say.
    Unknown(Arc<str>),
    /// It has no certificate and key that fit, for this reason. The last good ones stay in use, if there are any.
    Rejected(Arc<str>),
}

/// The knowledge of a Secret.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct SecretState {
    /// Whether the API server has said nothing yet.
    pub(super) is_pending: bool,
    /// The last good certificate and key; none once the Secret is gone.
    pub(super) pair: Option<PemPair>,
    pub(super) fault: Option<SecretFault>,
    /// The uid of the Secret that was there last.
    pub(super) uid: Option<String>,
}

/// A Secret that is watched.
struct WatchedSecret {
    receiver: watch::Receiver<GroupState<SecretData>>,
    /// The Secret as it was last looked at.
    seen: Option<Arc<SecretData>>,
    state: SecretState,
}

impl WatchedSecret {
    /// Takes what the API server said last.
    fn read(&mut self, name: &SecretName) {
        let now = self.receiver.borrow_and_update().clone();
        self.state.is_pending = matches!(now, GroupState::Pending);
        let view = match now {
            GroupState::Pending => return,
            GroupState::Failed(reason) => {
                self.state.fault = Some(SecretFault::Unknown(reason));
                return;
            }
            GroupState::Ready(view) => view,
        };
        match (view.objects.first(), view.unreadable) {
            (Some(data), _) => self.take(name, data),
            (None, Some(reason)) => self.state.fault = Some(SecretFault::Rejected(reason)),
            (None, None) => {
                (self.seen, self.state.pair) = (None, None);
                self.state.fault = Some(SecretFault::Missing);
            }
        }
    }

    fn take(&mut self, name: &SecretName, data: &Arc<SecretData>) {
        let is_known = self.seen.as_ref().is_some_and(|seen| Arc::ptr_eq(seen, data));
        if is_known && matches!(self.state.fault, None | Some(SecretFault::Rejected(_))) {
            return;
        }
        self.seen = Some(Arc::clone(data));
        self.state.uid.clone_from(&data.uid);
        self.state.fault = match data.parse(name) {
            Ok(pair) => {
                self.state.pair = Some(pair);
                None
            }
            Err(reason) => Some(SecretFault::Rejected(reason.into())),
        };
    }
}

/// The Secrets that are watched now.
pub(super) struct SecretWatches {
    client: ApiClient,
    metrics: Metrics,
    control: Handle,
    watched: HashMap<SecretName, WatchedSecret>,
}

impl SecretWatches {
    /// Makes a set without Secrets. Its watches use the API client `client`, and run on `control`.
    pub(super) fn new(client: ApiClient, metrics: Metrics, control: &Handle) -> Self {
        Self { client, metrics, control: control.clone(), watched: HashMap::new() }
    }

    /// Watches these Secrets and no others; those of them that are watched already go on.
    pub(super) fn watch(&mut self, wanted: &[SecretName]) {
        let mut before = std::mem::take(&mut self.watched);
        for name in wanted.iter().take(MOST_SECRETS) {
            let watched = before.remove(name).unwrap_or_else(|| WatchedSecret {
                receiver: Watches::watch_one(
                    self.client.clone(),
                    &name.namespace,
                    &name.name,
                    self.metrics.clone(),
                    &self.control,
                ),
                seen: None,
                state: SecretState { is_pending: true, ..SecretState::default() },
            });
            self.watched.insert(name.clone(), watched);
        }
    }

    /// Takes what the API server said last of each.
    pub(super) fn read(&mut self) {
        for (name, watched) in &mut self.watched {
            watched.read(name);
        }
    }

    /// Returns what is known of a Secret, if it is watched.
    pub(super) fn state(&self, name: &SecretName) -> Option<&SecretState> {
        self.watched.get(name).map(|watched| &watched.state)
    }

    /// Returns whether the API server has spoken of each.
    pub(super) fn are_known(&self) -> bool {
        self.watched.values().all(|watched| !watched.state.is_pending)
    }

    /// Waits until one of them changes.
    pub(super) async fn changed(&self) {
        if self.watched.is_empty() {
            std::future::pending::<()>().await;
        }
        let mut receivers: Vec<_> = self.watched.values().map(|watched| watched.receiver.clone()).collect();
        let changes = receivers.iter_mut().map(|receiver| {
            Box::pin(async move {
                // A watch that has ended says nothing more.
                if receiver.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            })
        });
        let _ = select_all(changes).await;
    }
}
