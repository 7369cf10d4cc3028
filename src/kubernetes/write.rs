//! The little that is written: the status of an object, and events.

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

/// As whom fields are owned: every replica is the same owner, so that they have nothing to fight about.
const OWNER: &str = "signpost";

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(30);

/// Why something was not written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The object is another one by now, or gone: 409, 404.
    #[error("the object has changed meanwhile")]
    Outdated,
    /// The credentials may not do this: 401 and 403. The text says which right is missing.
    #[error("{0}")]
    Forbidden(String),
    /// Anything else, which may pass.
    #[error("{0}")]
    Failed(String),
}

/// A resource whose objects can be written.
pub trait WritableResource:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned + Clone + Debug
{
}

impl<K> WritableResource for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned + Clone + Debug
{
}

impl ApiClient {
    /// Puts the status that `object` has, by server-side apply. With a `resourceVersion` in it, that of a newer object
    /// stays as it is.
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
        // What was owned in a form that is no longer written is taken over, not fought for.
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

    /// Writes, and says what it means when that fails. `right` is the verb, the resource and the group that are needed.
    async fn write<K: WritableResource>(
        &self,
        right: (&str, &str, &str),
        namespace: &str,
        write: impl AsyncFnOnce(Api<K>) -> kube::Result<()>,
    ) -> Result<(), WriteError> {
        let client = self.connected().await.map_err(|error| WriteError::Forbidden(error.to_string()))?;
        let api = Api::namespaced(client.kube.clone(), namespace);
        let failure = match timeout(ANSWER, write(api)).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(kube::Error::Api(status))) => {
                let (verb, resource, group) = right;
                let said = format!("{} {}: {}", status.code, status.reason, status.message);
                return Err(match status.code {
                    404 | 409 => WriteError::Outdated,
                    401 | 403 => WriteError::Forbidden(format!(
                        "{said}; grant the verb {verb} on resource `{resource}` of apiGroup \"{group}\" in the namespace {namespace}"
                    )),
                    _ => WriteError::Failed(said),
                });
            }
            Ok(Err(error)) => ApiFailure::of::<K>(error, Some(namespace)),
            Err(_) => ApiFailure::too_slow("no answer came", ANSWER),
        };
        self.failed(&client).await;
        Err(match failure.kind {
            FailureKind::Forbidden => WriteError::Forbidden(failure.text),
            _ => WriteError::Failed(failure.text),
        })
    }
}
