//! Writes to the API server: the status of an object, events, leases, and deletions.

use super::client::ApiClient;
use super::failure::{ApiFailure, FailureKind};
use k8s_openapi::NamespaceResourceScope;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
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

    /// Returns an object; none if it is not there.
    ///
    /// # Errors
    ///
    /// The server cannot be reached within 30 s, or refuses.
    pub async fn get<K: WritableResource>(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<K>, WriteError> {
        self.write(("get", &K::plural(&()), &K::group(&())), namespace, async |api| {
            Api::<K>::get_opt(&api, name).await
        })
        .await
    }

    /// Returns the objects of a namespace.
    ///
    /// # Errors
    ///
    /// The server cannot be reached within 30 s, or refuses.
    pub async fn list<K: WritableResource>(&self, namespace: &str) -> Result<Vec<K>, WriteError> {
        self.write(("list", &K::plural(&()), &K::group(&())), namespace, async |api| {
            Api::<K>::list(&api, &ListParams::default()).await.map(|list| list.items)
        })
        .await
    }

    /// Replaces an object, if it still has the `resourceVersion` that `object` has.
    ///
    /// # Errors
    ///
    /// The object has changed, or the server cannot be reached within 30 s, or refuses.
    pub async fn replace<K: WritableResource + Serialize>(
        &self,
        namespace: &str,
        name: &str,
        object: &K,
    ) -> Result<(), WriteError> {
        let params = PostParams { field_manager: Some(OWNER.to_owned()), ..PostParams::default() };
        self.write(("update", &K::plural(&()), &K::group(&())), namespace, async |api| {
            Api::<K>::replace(&api, name, &params, object).await.map(drop)
        })
        .await
    }

    /// Deletes an object, if it is still this one, in this version.
    ///
    /// # Errors
    ///
    /// The object has changed, or the server cannot be reached within 30 s, or refuses.
    pub async fn delete<K: WritableResource>(
        &self,
        namespace: &str,
        name: &str,
        (uid, resource_version): (Option<String>, Option<String>),
    ) -> Result<(), WriteError> {
        let params = DeleteParams {
            preconditions: Some(Preconditions { uid, resource_version }),
            ..DeleteParams::default()
        };
        self.write(("delete", &K::plural(&()), &K::group(&())), namespace, async |api| {
            Api::<K>::delete(&api, name, &params).await.map(drop)
        })
        .await
    }

    /// Returns the namespace of the credentials: that of the pod, or that of the kubeconfig's context; `default` otherwise.
    ///
    /// # Errors
    ///
    /// There are no credentials.
    pub async fn default_namespace(&self) -> Result<String, WriteError> {
        let client = self.connect().await.map_err(|error| WriteError::Forbidden(error.to_string()))?;
        Ok(client.kube.default_namespace().to_owned())
    }

    /// Writes by `write`, and explains a failure. `right` is the verb, the resource and the group of the right that
    /// is needed.
    async fn write<K: WritableResource, A>(
        &self,
        right: (&str, &str, &str),
        namespace: &str,
        write: impl AsyncFnOnce(Api<K>) -> kube::Result<A>,
    ) -> Result<A, WriteError> {
        let client = self.connect().await.map_err(|error| WriteError::Forbidden(error.to_string()))?;
        let api = Api::namespaced(client.kube.clone(), namespace);
        let failure = match timeout(ANSWER, write(api)).await {
            Ok(Ok(answer)) => return Ok(answer),
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
