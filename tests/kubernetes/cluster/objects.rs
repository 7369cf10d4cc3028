//! The objects of the cluster.

use super::Cluster;
use crate::kubelet::GRACE;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt::Debug;

/// An object in a namespace.
pub(crate) trait Namespaced:
    kube::Resource<Scope = NamespaceResourceScope, DynamicType = ()>
    + k8s_openapi::Resource
    + Clone
    + Debug
    + Serialize
    + DeserializeOwned
{
}

impl<K> Namespaced for K where
    K: kube::Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + k8s_openapi::Resource
        + Clone
        + Debug
        + Serialize
        + DeserializeOwned
{
}

impl Cluster {
    /// Creates an object in a namespace.
    pub(crate) async fn create<K: Namespaced>(&self, namespace: &str, value: Value) {
        let created = self.api::<K>(namespace).create(&PostParams::default(), &object(value)).await;
        created.expect("it is created");
    }

    /// Changes an object by a merge patch.
    pub(crate) async fn patch<K: Namespaced>(&self, namespace: &str, name: &str, patch: Value) {
        let patch = Patch::Merge(patch);
        let patched = self.api::<K>(namespace).patch(name, &PatchParams::default(), &patch).await;
        patched.expect("it is patched");
    }

    /// Changes the status of an object by a merge patch.
    pub(crate) async fn patch_status<K: Namespaced>(&self, namespace: &str, name: &str, status: Value) {
        let patch = Patch::Merge(json!({ "status": status }));
        let patched = self.api::<K>(namespace).patch_status(name, &PatchParams::default(), &patch).await;
        patched.expect("it is patched");
    }

    /// Deletes an object.
    pub(crate) async fn delete<K: Namespaced>(&self, namespace: &str, name: &str) {
        self.api::<K>(namespace).delete(name, &DeleteParams::default()).await.expect("it is there");
    }

    /// Returns an object.
    pub(crate) async fn get<K: Namespaced>(&self, namespace: &str, name: &str) -> K {
        self.api::<K>(namespace).get(name).await.expect("it is there")
    }

    /// Returns all objects of a kind in a namespace.
    pub(crate) async fn list<K: Namespaced>(&self, namespace: &str) -> Vec<K> {
        self.api::<K>(namespace).list(&ListParams::default()).await.expect("the server answers").items
    }

    fn api<K: Namespaced>(&self, namespace: &str) -> Api<K> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// The pods of the service `web` that are ready, as the API server shows them.
    pub(crate) async fn ready_pods(&self, namespace: &str) -> BTreeSet<String> {
        let of_web = |slice: &EndpointSlice| {
            let labels = slice.metadata.labels.as_ref();
            labels.and_then(|labels| labels.get("kubernetes.io/service-name")).is_some_and(|of| of == "web")
        };
        let slices = self.list::<EndpointSlice>(namespace).await.into_iter().filter(of_web);
        let endpoints = slices.flat_map(|slice| slice.endpoints);
        let is_ready = |endpoint: &k8s_openapi::api::discovery::v1::Endpoint| {
            endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true)
        };
        endpoints.filter(is_ready).filter_map(|endpoint| endpoint.target_ref?.name).collect()
    }
}

/// A service whose port `http`, 80, is `web` of the pods of an app.
pub(crate) fn service(name: &str, app: &str) -> Value {
    json!({
        "metadata": { "name": name },
        "spec": { "selector": { "app": app }, "ports": [{ "name": "http", "port": 80, "targetPort": "web" }] },
    })
}

/// A deployment of so many pods, whose labels are its app, which is called as it is, and these.
pub(crate) fn deployment(name: &str, replicas: usize, more: &Value) -> Value {
    let mut labels = json!({ "app": name });
    let own = labels.as_object_mut().expect("a map");
    own.extend(more.as_object().expect("labels").clone());
    let selector = json!({ "matchLabels": labels });
    json!({
        "metadata": { "name": name },
        "spec": { "replicas": replicas, "selector": selector, "template": template(&labels) },
    })
}

/// A pod with these labels, whose port `web` is what the kubelet opens.
pub(crate) fn template(labels: &Value) -> Value {
    let ports = json!([{ "name": "web", "containerPort": 8080 }]);
    json!({
        "metadata": { "labels": labels },
        "spec": {
            "terminationGracePeriodSeconds": GRACE.as_secs(),
            "containers": [{ "name": "main", "image": "none", "ports": ports }],
        },
    })
}

/// The patch that replaces every pod of a deployment or daemon set, as `kubectl rollout restart` does.
pub(crate) fn restarted(mark: &str) -> Value {
    let annotations = json!({ "kubectl.kubernetes.io/restartedAt": mark });
    json!({ "spec": { "template": { "metadata": { "annotations": annotations } } } })
}

pub(crate) fn object<K: DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).expect("an object of its kind")
}
