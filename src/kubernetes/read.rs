//! Single reads from the API server, for what does not change.

use super::client::ApiClient;
use super::failure::ApiFailure;
use kube::Api;
use kube::api::ListParams;
use kube::core::{ApiResource, DynamicObject};
use serde_json::Value;
use std::time::Duration;
use tokio::time::timeout;

/// How many objects are asked for at once.
const PAGE: u32 = 500;

/// The resources that can be read once.
pub trait ReadableResource: kube::Resource<DynamicType = ()> {}

impl<K: kube::Resource<DynamicType = ()>> ReadableResource for K {}

impl ApiClient {
    /// Searches the objects of a resource, without their metadata, and returns what `find` makes of the first one of
    /// which it makes anything. They are those of a namespace, or of all if there is none, that a field selector such as
    /// `status.podIP=10.0.0.1` chooses.
    ///
    /// # Errors
    ///
    /// The reason, for people, why not all of them could be searched within `limit`.
    pub async fn find<K: ReadableResource, T>(
        &self,
        namespace: Option<&str>,
        fields: Option<&str>,
        limit: Duration,
        find: impl Fn(&Value) -> Option<T>,
    ) -> Result<Option<T>, String> {
        let client = self.connect().await.map_err(|error| error.to_string())?;
        let resource = ApiResource::erase::<K>(&());
        let api: Api<DynamicObject> = match namespace {
            Some(namespace) => Api::namespaced_with(client.kube.clone(), namespace, &resource),
            None => Api::all_with(client.kube.clone(), &resource),
        };
        let searching = async {
            let mut params =
                ListParams { field_selector: fields.map(str::to_owned), ..ListParams::default() };
            params.limit = Some(PAGE);
            loop {
                let page = api.list(&params).await?;
                if let Some(found) = page.items.iter().find_map(|object| find(&object.data)) {
                    return Ok(Some(found));
                }
                params.continue_token = page.metadata.continue_.filter(|token| !token.is_empty());
                if params.continue_token.is_none() {
                    return Ok(None);
                }
            }
        };
        let failure = match timeout(limit, searching).await {
            Ok(Ok(found)) => return Ok(found),
            Ok(Err(error)) => ApiFailure::from_error::<K>(error, namespace),
            Err(_) => ApiFailure::too_slow("no list arrived", limit),
        };
        self.discard(&client).await;
        Err(failure.text)
    }
}
