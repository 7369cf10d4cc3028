//! The cluster of the suite: the control plane, a kubelet, and what scenarios do with them.

pub(crate) mod objects;

use self::objects::{deployment, object, restarted, service};
use super::control_plane::ControlPlane;
use super::kubelet::{Kubelet, serve};
use super::router::{REST, Router};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::authorization::v1::SubjectAccessReview;
use k8s_openapi::api::core::v1::{Namespace, Service};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use serde_json::json;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::{Instant, sleep, timeout};

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
        grant(&client, "router", &SERVICES).await;
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

    /// Creates a service `web`.
    pub(crate) async fn service(&self, namespace: &str) {
        self.create::<Service>(namespace, service("web", "web")).await;
    }

    /// Deletes the service `web`.
    pub(crate) async fn delete_service(&self, namespace: &str) {
        self.delete::<Service>(namespace, "web").await;
    }

    /// Creates a deployment `web` of so many pods.
    pub(crate) async fn deployment(&self, namespace: &str, replicas: usize) {
        self.create::<Deployment>(namespace, deployment("web", replicas, &json!({}))).await;
    }

    /// Scales the deployment `web`.
    pub(crate) async fn scale(&self, namespace: &str, replicas: usize) {
        self.patch::<Deployment>(namespace, "web", json!({ "spec": { "replicas": replicas } })).await;
    }

    /// Replaces every pod of the deployment `web`.
    pub(crate) async fn restart(&self, namespace: &str, mark: &str) {
        self.patch::<Deployment>(namespace, "web", restarted(mark)).await;
    }

    /// Whether the deployment `web` has come to rest with so many pods.
    pub(crate) async fn is_rolled_out(&self, namespace: &str, replicas: i32) -> bool {
        let deployment = self.get::<Deployment>(namespace, "web").await;
        let (observed, status) = (deployment.metadata.generation, deployment.status.unwrap_or_default());
        let all =
            [status.replicas, status.updated_replicas, status.available_replicas, status.ready_replicas];
        status.observed_generation == observed && all.iter().all(|count| count.unwrap_or(0) == replicas)
    }

    /// Gives a user rights to read in all namespaces, which it has then.
    pub(crate) async fn grant(&self, user: &str, resources: &[Resource]) {
        grant(&self.client, user, resources).await;
    }

    /// Takes these rights away, all of which it was given at once.
    pub(crate) async fn revoke(&self, user: &str, resources: &[Resource]) {
        let (name, now) = (name_of(user, resources), DeleteParams::default());
        Api::<ClusterRoleBinding>::all(self.client.clone()).delete(&name, &now).await.expect("it is there");
        Api::<ClusterRole>::all(self.client.clone()).delete(&name, &now).await.expect("it is there");
        until_allowed(&self.client, user, resources, false).await;
    }
}

/// How long the last answer of those that are waited for may take.
const HANGS: Duration = Duration::from_secs(30);

/// The group of a resource, and its name.
pub(crate) type Resource = (&'static str, &'static str);

/// What the book says a router of services has to list and watch.
pub(crate) const SERVICES: [Resource; 2] = [("", "services"), ("discovery.k8s.io", "endpointslices")];

/// What the role is called that lets a user read these.
fn name_of(user: &str, resources: &[Resource]) -> String {
    resources.iter().fold(user.to_owned(), |name, (_, resource)| name + "-" + resource)
}

async fn grant(client: &kube::Client, user: &str, resources: &[Resource]) {
    let name = name_of(user, resources);
    let rule = |(group, resource): &Resource| json!({ "apiGroups": [group], "resources": [resource], "verbs": ["list", "watch"] });
    let rules: Vec<_> = resources.iter().map(rule).collect();
    let role: ClusterRole = object(json!({ "metadata": { "name": name }, "rules": rules }));
    let binding: ClusterRoleBinding = object(json!({
        "metadata": { "name": name },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name },
        "subjects": [{ "kind": "User", "name": user, "apiGroup": "rbac.authorization.k8s.io" }],
    }));
    let post = PostParams::default();
    Api::all(client.clone()).create(&post, &role).await.expect("it is created");
    Api::all(client.clone()).create(&post, &binding).await.expect("it is created");
    until_allowed(client, user, resources, true).await;
}

/// Waits until the API server goes by what was changed.
async fn until_allowed(client: &kube::Client, user: &str, resources: &[Resource], allowed: bool) {
    let reviews = Api::<SubjectAccessReview>::all(client.clone());
    for (group, resource) in resources {
        let attributes = json!({ "group": group, "resource": resource, "verb": "watch" });
        let review =
            object(json!({ "metadata": {}, "spec": { "user": user, "resourceAttributes": attributes } }));
        until(&format!("{user} may watch {resource}: {allowed}"), Duration::from_secs(30), async || {
            let judged = reviews.create(&PostParams::default(), &review).await.expect("the server answers");
            judged.status.is_some_and(|status| status.allowed == allowed)
        })
        .await;
    }
}

/// Asks until it is so, and fails when that takes longer, or when an answer does not come in [`HANGS`] after that.
pub(crate) async fn until(what: &str, limit: Duration, mut answers: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    let asking = async {
        while !answers().await {
            assert!(began.elapsed() < limit, "{what}: not after {limit:?}");
            sleep(Duration::from_millis(20)).await;
        }
    };
    if timeout(limit + HANGS, asking).await.is_err() {
        panic!("{what}: no answer after {:?}", limit + HANGS);
    }
}
