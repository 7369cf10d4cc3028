//! The cluster of the suite: the control plane, a kubelet, and what scenarios do with them.

use super::control_plane::ControlPlane;
use super::kubelet::{GRACE, Kubelet, serve};
use super::load::Client;
use super::router::{REST, ROUTER, Router};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, Service};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::{Instant, sleep};

/// The cluster, and the router in it.
pub(crate) struct Cluster {
    pub(crate) control_plane: Mutex<ControlPlane>,
    pub(crate) client: kube::Client,
    pub(crate) router: Router,
    pub(crate) kubelet: Kubelet,
    rest: AbortHandle,
}

impl Cluster {
    /// Gives the router its rights, starts it, and a kubelet.
    pub(crate) async fn new(control_plane: ControlPlane) -> Self {
        let client = control_plane.client("admin").await;
        let kubelet = Kubelet::start(client.clone(), control_plane.host()).await;
        grant(&client).await;
        let rest = spawn_local(serve(REST.parse().expect("an address"), "rest".into())).abort_handle();
        let router = Router::start(control_plane.folder(), &control_plane.kubeconfig("router")).await;
        Self { control_plane: Mutex::new(control_plane), client, router, kubelet, rest }
    }

    /// Stops the router in order.
    pub(crate) async fn stop(self) {
        self.router.stop().await;
        self.rest.abort();
    }

    /// Creates a namespace.
    pub(crate) async fn namespace(&self, name: &str) {
        let namespace: Namespace = object(json!({ "metadata": { "name": name } }));
        Api::all(self.client.clone())
            .create(&PostParams::default(), &namespace)
            .await
            .expect("it is created");
    }

    /// Deletes a namespace and waits until it is gone.
    pub(crate) async fn delete_namespace(&self, name: &str) {
        let api = Api::<Namespace>::all(self.client.clone());
        api.delete(name, &DeleteParams::default()).await.expect("it is there");
        until("the namespace is gone", Duration::from_secs(60), async || {
            api.get_opt(name).await.expect("the server answers").is_none()
        })
        .await;
    }

    /// Creates a service `web` whose port `http`, 80, is `web` of its pods.
    pub(crate) async fn service(&self, namespace: &str) {
        let service: Service = object(json!({
            "metadata": { "name": "web" },
            "spec": { "selector": { "app": "web" }, "ports": [{ "name": "http", "port": 80, "targetPort": "web" }] },
        }));
        let api = Api::namespaced(self.client.clone(), namespace);
        api.create(&PostParams::default(), &service).await.expect("it is created");
    }

    /// Deletes the service `web`.
    pub(crate) async fn delete_service(&self, namespace: &str) {
        let api = Api::<Service>::namespaced(self.client.clone(), namespace);
        api.delete("web", &DeleteParams::default()).await.expect("it is there");
    }

    /// Creates a deployment `web` of so many pods.
    pub(crate) async fn deployment(&self, namespace: &str, replicas: usize) {
        let deployment: Deployment = object(json!({
            "metadata": { "name": "web" },
            "spec": {
                "replicas": replicas,
                "selector": { "matchLabels": { "app": "web" } },
                "template": {
                    "metadata": { "labels": { "app": "web" } },
                    "spec": {
                        "terminationGracePeriodSeconds": GRACE.as_secs(),
                        "containers": [{
                            "name": "main", "image": "none",
                            "ports": [{ "name": "web", "containerPort": 8080 }],
                        }],
                    },
                },
            },
        }));
        let api = Api::namespaced(self.client.clone(), namespace);
        api.create(&PostParams::default(), &deployment).await.expect("it is created");
    }

    /// Scales the deployment `web`.
    pub(crate) async fn scale(&self, namespace: &str, replicas: usize) {
        self.patch(namespace, json!({ "spec": { "replicas": replicas } })).await;
    }

    /// Replaces every pod of the deployment `web`, as `kubectl rollout restart` does.
    pub(crate) async fn restart(&self, namespace: &str, mark: &str) {
        let annotations = json!({ "kubectl.kubernetes.io/restartedAt": mark });
        self.patch(
            namespace,
            json!({ "spec": { "template": { "metadata": { "annotations": annotations } } } }),
        )
        .await;
    }

    async fn patch(&self, namespace: &str, patch: Value) {
        let api = Api::<Deployment>::namespaced(self.client.clone(), namespace);
        api.patch("web", &PatchParams::default(), &Patch::Merge(patch)).await.expect("it is patched");
    }

    /// Whether the deployment `web` has come to rest with so many pods.
    pub(crate) async fn is_rolled_out(&self, namespace: &str, replicas: i32) -> bool {
        let api = Api::<Deployment>::namespaced(self.client.clone(), namespace);
        let deployment = api.get("web").await.expect("it is there");
        let (observed, status) = (deployment.metadata.generation, deployment.status.unwrap_or_default());
        let all =
            [status.replicas, status.updated_replicas, status.available_replicas, status.ready_replicas];
        status.observed_generation == observed && all.iter().all(|count| count.unwrap_or(0) == replicas)
    }

    /// The pods that the router sends requests of a namespace to now, one request after the other.
    pub(crate) async fn answers(&self, namespace: &str) -> Vec<String> {
        let mut client = Client::connect(ROUTER).await;
        let mut answers = Vec::new();
        for _ in 0..100 {
            let (status, text) = client.get(&path(namespace)).await.expect("the router answers");
            assert_eq!(status, 200, "{text}");
            if !answers.contains(&text) {
                answers.push(text);
            }
        }
        answers
    }

    /// Waits until requests of a namespace are answered by so many pods, and by nothing else.
    pub(crate) async fn until_served_by(&self, namespace: &str, pods: usize, limit: Duration) {
        until(&format!("{pods} pods serve {namespace}"), limit, async || {
            let answers = self.answers(namespace).await;
            answers.len() == pods && answers.iter().all(|text| text.starts_with("web-"))
        })
        .await;
    }

    /// Waits until requests of a namespace fall back.
    pub(crate) async fn until_rest(&self, namespace: &str, limit: Duration) {
        until(&format!("{namespace} falls back"), limit, async || self.answers(namespace).await == ["rest"])
            .await;
    }
}

/// What requests ask for: the service `web` of a namespace.
pub(crate) fn path(namespace: &str) -> String {
    format!("/{namespace}/http/web")
}

/// Gives the router what the README says it needs.
async fn grant(client: &kube::Client) {
    let rule = |group: &str, resource: &str| json!({ "apiGroups": [group], "resources": [resource], "verbs": ["get", "list", "watch"] });
    let role: ClusterRole = object(json!({
        "metadata": { "name": "router" },
        "rules": [rule("", "services"), rule("discovery.k8s.io", "endpointslices")],
    }));
    let binding: ClusterRoleBinding = object(json!({
        "metadata": { "name": "router" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "router" },
        "subjects": [{ "kind": "User", "name": "router", "apiGroup": "rbac.authorization.k8s.io" }],
    }));
    let post = PostParams::default();
    Api::all(client.clone()).create(&post, &role).await.expect("it is created");
    Api::all(client.clone()).create(&post, &binding).await.expect("it is created");
}

fn object<K: DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).expect("an object of its kind")
}

/// Asks until it is so, and fails when that takes longer.
pub(crate) async fn until(what: &str, limit: Duration, mut answers: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !answers().await {
        assert!(began.elapsed() < limit, "{what}: not after {limit:?}");
        sleep(Duration::from_millis(20)).await;
    }
}
