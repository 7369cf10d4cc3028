//! Writes to the API server: the status of an object, and events.

use super::client::ApiClient;
use super::failure::{ApiFailure, FailureKind};
use k8s_openapi::NamespaceResourceScope;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::fmt::Debug;
use std::time::Duration;
use tokio::time::timeout;

/// The owner of the written fields: every replica is the same owner, so that replicas do not conflict.
const OWNER: &str = "signpost";

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(30);

/// The reason why an object was not written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The object has changed or is gone: 409, 404.
    #[error("the object has changed meanwhile")]
    Outdated,
    /// The credentials lack a right: 401 and 403. The text says which.
    #[error("{0}")]
    Forbidden(String),
    /// Any other failure, which may pass.
    #[error("{0}")]
    Failed(String),
}

/// A resource with objects that can be written.
pub trait WritableResource:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned + Clone + Debug
{
}

impl<K> WritableResource for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned + Clone + Debug
{
}

impl ApiClient {
    /// Writes the status in `object`, by server-side apply. If `object` has a `resourceVersion` and the server has a
    /// newer one, nothing changes.
    ///
    /// # Errors
    ///
    /// The server cannot be reached within 30 s, or refuses.
    pub async fn apply_status<K: WritableResource>(
        &self,
        namespace: &str,
        name: &str,
        object: &Value,
    ) -> Result<(), WriteError> {
        // Fields owned by an earlier version of the router are taken over without a conflict.
        let params = PatchParams::apply(OWNER).force();
        let patch = Patch::Apply(object);
        self.write(("patch", &format!("{}/status", K::plural(&())), &K::group(&())), namespace, async |api| {
            Api::<K>::patch_status(&api, name, &params, &patch).await.map(drop)
        })
        .await
    }

    /// Creates an object.
    ///
    /// # Errors
    ///
    /// The server cannot be reached within 30 s, or refuses.
    pub async fn create<K: WritableResource + Serialize>(
        &self,
        namespace: &str,
        object: &K,
    ) -> Result<(), WriteError> {
        let params = PostParams { field_manager: Some(OWNER.to_owned()), ..PostParams::default() };
        self.write(("create", &K::plural(&()), &K::group(&())), namespace, async |api| {
            Api::<K>::create(&api, &params, object).await.map(drop)
        })
        .await
    }

    /// Writes by `write`, and explains a failure. `right` is the verb, the resource and the group of the right that
    /// is needed.
    async fn write<K: WritableResource>(
        &self,
        right: (&str, &str, &str),
        namespace: &str,
        write: impl AsyncFnOnce(Api<K>) -> kube::Result<()>,
    ) -> Result<(), WriteError> {
        let client = self.connect().await.map_err(|error| WriteError::Forbidden(error.to_string()))?;
        let api = Api::namespaced(client.kube.clone(), namespace);
        let failure = match timeout(ANSWER, write(api)).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(kube::Error::Api(status))) => {
                let (verb, resource, group) = right;
                let text = format!("{} {}: {}", status.code, status.reason, status.message);
                return Err(match status.code {
                    404 | 409 => WriteError::Outdated,
                    401 | 403 => WriteError::Forbidden(format!(
                        "{text}; grant the verb {verb} on resource `{resource}` of apiGroup \"{group}\" in the namespace {namespace}"
                    )),
                    _ => WriteError::Failed(text),
                });
            }
            Ok(Err(error)) => ApiFailure::from_error::<K>(error, Some(namespace)),
            Err(_) => ApiFailure::too_slow("no answer arrived", ANSWER),
        };
        self.discard(&client).await;
        Err(match failure.kind {
            FailureKind::Forbidden => WriteError::Forbidden(failure.text),
            _ => WriteError::Failed(failure.text),
        })
    }
}
