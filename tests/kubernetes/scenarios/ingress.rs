//! Requests that are named by Ingress resources.

use super::{CONVERGED, OWN, OWN_ADMIN, ROLLOUT, router_files};
use crate::cluster::Cluster;
use crate::cluster::objects::{deployment, service};
use crate::load::Load;
use crate::router::{Router, admin_at, rest};
use crate::way::Way;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::Ingress;
use serde_json::{Value, json};

/// A path that leads to a port of a service.
fn path(path: &str, path_type: &str, service: &str, port: &Value) -> Value {
    json!({ "path": path, "pathType": path_type, "backend": backend(service, port) })
}

fn backend(service: &str, port: &Value) -> Value {
    json!({ "service": { "name": service, "port": port } })
}

/// An ingress of a class for one host.
fn ingress_of(name: &str, class: &str, host: &str, paths: &[Value]) -> Value {
    json!({
        "metadata": { "name": name },
        "spec": { "ingressClassName": class, "rules": [{ "host": host, "http": { "paths": paths } }] },
    })
}

pub(super) async fn ingress(cluster: &Cluster) {
    let namespace = "ingress";
    cluster.namespace(namespace).await;
    for app in ["web", "other"] {
        cluster.create::<Service>(namespace, service(app, app)).await;
        cluster.create::<Deployment>(namespace, deployment(app, 2, &json!({}))).await;
    }
    cluster.grant("router", &[("networking.k8s.io", "ingresses")]).await;
    let router = router(cluster).await;
    let way = |host: &str, path: &str| Way::of(OWN, path).host(host);
    let (front, api, under) = (way("a.test", "/x"), way("a.test", "/api"), way("A.test:80", "/api/x"));
    front.until_rest(CONVERGED).await;
    let load = Load::start(&front);

    let (by_name, by_number) = (json!({ "name": "http" }), json!({ "number": 80 }));
    // Another's comes first: when ours is followed, that one was seen.
    let others = ingress_of("others", "nginx", "b.test", &[path("/", "Prefix", "web", &by_name)]);
    cluster.create::<Ingress>(namespace, others).await;
    let root = path("/", "Prefix", "web", &by_name);
    let ours = ingress_of("ours", "signpost", "a.test", std::slice::from_ref(&root));
    cluster.create::<Ingress>(namespace, ours).await;
    front.until_pods("web", 2, ROLLOUT).await;
    way("b.test", "/x").until_rest(CONVERGED).await;

    // An exact path, a wildcard, and a service by its port's number.
    let paths = [root.clone(), path("/api", "Exact", "other", &by_number)];
    let rules = json!([
        { "host": "a.test", "http": { "paths": paths } },
        { "host": "*.c.test", "http": { "paths": [path("/deep", "Prefix", "other", &by_name)] } },
    ]);
    cluster.patch::<Ingress>(namespace, "ours", json!({ "spec": { "rules": rules } })).await;
    api.until_pods("other", 2, ROLLOUT).await;
    under.until_pods("web", 2, CONVERGED).await;
    way("d.c.test", "/deep/er").until_pods("other", 2, CONVERGED).await;
    way("d.c.test", "/deeper").until_rest(CONVERGED).await;
    way("c.test", "/deep").until_rest(CONVERGED).await;

    // It leads elsewhere, becomes another's, and ours again.
    let rules = json!([{ "host": "a.test", "http": { "paths": [path("/", "Prefix", "other", &by_name)] } }]);
    cluster.patch::<Ingress>(namespace, "ours", json!({ "spec": { "rules": rules } })).await;
    front.until_pods("other", 2, CONVERGED).await;
    let class = |class: &str| json!({ "spec": { "ingressClassName": class } });
    cluster.patch::<Ingress>(namespace, "ours", class("nginx")).await;
    front.until_rest(CONVERGED).await;
    cluster.patch::<Ingress>(namespace, "ours", class("signpost")).await;
    front.until_pods("other", 2, CONVERGED).await;

    // Without it there is what another one says by default, and then nothing.
    let default = json!({
        "metadata": { "name": "default", "annotations": { "kubernetes.io/ingress.class": "signpost" } },
        "spec": { "defaultBackend": backend("web", &by_number) },
    });
    cluster.create::<Ingress>(namespace, default).await;
    cluster.delete::<Ingress>(namespace, "ours").await;
    front.until_pods("web", 2, CONVERGED).await;
    cluster.delete::<Ingress>(namespace, "default").await;
    front.until_rest(CONVERGED).await;
    load.stop().await.assert_good();
    router.stop().await;
}

/// A router for what ingresses of the class `signpost` say; what no rule matches goes to the rest.
async fn router(cluster: &Cluster) -> Router {
    let (folder, kubeconfig) = router_files(cluster).await;
    let kubeconfig = kubeconfig.display();
    let yaml = format!(
        "{}namers: [{{kind: io.l5d.k8s, kubeconfig: '{kubeconfig}'}}]\nrouters:\n\
         - protocol: http\n  identifier:\n  \
         - {{kind: io.l5d.ingress, ingressClassAnnotation: signpost, kubeconfig: '{kubeconfig}'}}\n  \
         - {{kind: io.l5d.static, path: /rest}}\n  \
         dtab: {}; /svc => /#/io.l5d.k8s; /svc/rest => /rest\n  servers: [{{port: {}}}]\n",
        admin_at(OWN_ADMIN),
        rest(),
        OWN.port(),
    );
    Router::run(&folder, "ingress", &yaml, OWN_ADMIN).await
}
