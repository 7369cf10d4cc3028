//! Certificates from the Secrets that Ingresses name: made, renewed under load, and taken away.

use super::{CONVERGED, OWN, OWN_ADMIN, ROLLOUT, router_files};
use crate::cluster::objects::{deployment, object, service};
use crate::cluster::{Cluster, until};
use crate::load::Client;
use crate::router::{Router, admin_at, rest};
use crate::way::Way;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::authorization::v1::SubjectAccessReview;
use k8s_openapi::api::core::v1::{Event, Secret, Service};
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::Api;
use kube::api::PostParams;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet, spawn_local};
use tokio::time::{Instant, sleep};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// The host of the Ingress.
const HOST: &str = "secure.test";

/// Where the router listens with TLS.
const SECURE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 4161);

/// An authority, and a client that believes it.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    connector: TlsConnector,
}

/// A certificate that it issued.
struct Leaf {
    der: CertificateDer<'static>,
    /// A Secret has it so.
    data: BTreeMap<&'static str, String>,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().expect("a key is made");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let own = params.self_signed(&key).expect("it is signed").der().clone();
        let mut roots = RootCertStore::empty();
        roots.add(own).expect("it is an authority");
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("there are suites")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self { issuer: Issuer::new(params, key), connector: TlsConnector::from(Arc::new(config)) }
    }

    fn issue(&self) -> Leaf {
        let key = KeyPair::generate().expect("a key is made");
        let params = CertificateParams::new(vec![HOST.to_owned()]).expect("it is a name");
        let leaf = params.signed_by(&key, &self.issuer).expect("it is signed");
        let data = BTreeMap::from([("tls.crt", leaf.pem()), ("tls.key", key.serialize_pem())]);
        Leaf { der: leaf.der().clone(), data }
    }

    /// Opens a connection to the router for the host.
    async fn connect(&self) -> std::io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(HOST).expect("it is a name");
        self.connector.connect(name, TcpStream::connect(SECURE).await?).await
    }

    /// Whether a new connection is shown this certificate; every handshake has to succeed.
    async fn is_shown(&self, leaf: &Leaf) -> bool {
        let stream = self.connect().await.expect("the handshake succeeds");
        let chain = stream.get_ref().1.peer_certificates().expect("it was shown one");
        chain[0] == leaf.der
    }

    /// Starts a listener whose connections go on over TLS; returns its address.
    async fn front(self: &Arc<Self>) -> (SocketAddr, AbortHandle) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("there are free ports");
        let address = listener.local_addr().expect("it is bound");
        let authority = Arc::clone(self);
        let task = spawn_local(async move {
            while let Ok((mut plain, _)) = listener.accept().await {
                let authority = Arc::clone(&authority);
                spawn_local(async move {
                    // A connection that cannot be opened fails the request on it.
                    if let Ok(mut secure) = authority.connect().await {
                        let _ = copy_bidirectional(&mut plain, &mut secure).await;
                    }
                });
            }
        });
        (address, task.abort_handle())
    }
}

/// Requests one after the other on some connections, each of which a pod has to answer.
struct SecureLoad {
    stopping: Rc<Cell<bool>>,
    connections: JoinSet<usize>,
}

impl SecureLoad {
    fn start(way: &Way) -> Self {
        let stopping = Rc::<Cell<bool>>::default();
        let mut connections = JoinSet::new();
        for _ in 0..4 {
            let (stopping, way) = (Rc::clone(&stopping), way.clone());
            connections.spawn_local(async move {
                let mut client = Client::connect(way.router).await;
                let mut count = 0;
                while !stopping.get() {
                    let (status, text) = client.get_of(&way.host, &way.path).await.expect("it is answered");
                    assert!(status == 200 && text.starts_with("web-"), "{status}: {text}");
                    count += 1;
                    sleep(Duration::from_millis(2)).await;
                }
                count
            });
        }
        Self { stopping, connections }
    }

    /// Ends when each connection has had an answer.
    async fn stop(mut self) {
        self.stopping.set(true);
        while let Some(count) = self.connections.join_next().await {
            assert!(count.expect("every request was answered by a pod") > 0);
        }
    }
}

pub(super) async fn ingress_tls(cluster: &Cluster) {
    let namespace = "ingress-tls";
    cluster.namespace(namespace).await;
    cluster.create::<Service>(namespace, service("web", "web")).await;
    cluster.create::<Deployment>(namespace, deployment("web", 2, &json!({}))).await;
    grant(cluster, namespace).await;
    cluster.create::<Ingress>(namespace, ingress("web", "/", Some("web-tls"))).await;
    let router = router(cluster, namespace).await;
    let clear = Way::of(OWN, "/x?y").host(HOST);

    // Until there is a Secret it is served in clear, and the Ingress says why.
    clear.until_pods("web", 2, ROLLOUT).await;
    until_told(cluster, namespace, 1).await;
    let authority = Arc::new(Authority::new());
    let refused = authority.connect().await.expect_err("there is no certificate").to_string();
    assert!(refused.contains("UnrecognisedName"), "{refused}");

    let first = authority.issue();
    cluster.create::<Secret>(namespace, secret(&first)).await;
    until_redirected(&clear, true).await;
    let (front, fronted) = authority.front().await;
    let secure = Way::of(front, "/x").host(HOST);
    secure.until_pods("web", 2, CONVERGED).await;
    assert!(authority.is_shown(&first).await);

    // The solver of a challenge is another Ingress of the same host, without TLS.
    let challenge = "/.well-known/acme-challenge/token";
    cluster.create::<Ingress>(namespace, ingress("solver", challenge, None)).await;
    let solver = Way::of(OWN, challenge).host(HOST);
    until_redirected(&solver, false).await;
    solver.until_pods("web", 2, CONVERGED).await;
    until_redirected(&Way::of(OWN, "/.well-known/acme-challenge/other").host(HOST), true).await;

    // It is renewed three times under load: no request fails, nor a handshake.
    let load = SecureLoad::start(&secure);
    for _ in 0..3 {
        let next = authority.issue();
        let change = json!({ "data": encoded(&next) });
        cluster.patch::<Secret>(namespace, "web-tls", change).await;
        until("the new one is shown", CONVERGED, async || authority.is_shown(&next).await).await;
    }
    // A key of another certificate is not used, and the one before stays.
    let last = authority.issue();
    let wrong = json!({ "data": { "tls.key": encoded(&last)["tls.key"] } });
    cluster.patch::<Secret>(namespace, "web-tls", wrong).await;
    until("it is told", CONVERGED, async || reasons(cluster, namespace).await.contains_key("SecretRejected"))
        .await;
    assert!(!authority.is_shown(&last).await && clear.status().await == 308);
    cluster.patch::<Secret>(namespace, "web-tls", json!({ "data": encoded(&last) })).await;
    until("the last one is shown", CONVERGED, async || authority.is_shown(&last).await).await;
    load.stop().await;

    // Without it there is no redirect, and another event.
    cluster.delete::<Secret>(namespace, "web-tls").await;
    until_redirected(&clear, false).await;
    clear.until_pods("web", 2, CONVERGED).await;
    until_told(cluster, namespace, 2).await;
    fronted.abort();
    let said = router.said();
    assert!(!said.contains("403 Forbidden"), "its rights are enough: {said}");
    for key in
        [&last, &first].map(|leaf| leaf.data["tls.key"].lines().nth(1).expect("it has lines").to_owned())
    {
        assert!(!said.contains(&key), "a key is logged: {said}");
    }
    router.stop().await;
    // The routers of other scenarios serve all Ingresses, and have no rights here.
    cluster.delete::<Ingress>(namespace, "web").await;
}

/// The rights that the book names: the Ingresses of the namespace, the one Secret, and events.
async fn grant(cluster: &Cluster, namespace: &str) {
    cluster
        .create::<Role>(
            namespace,
            json!({
                "metadata": { "name": "router" },
                "rules": [
                    { "apiGroups": ["networking.k8s.io"], "resources": ["ingresses"], "verbs": ["list", "watch"] },
                    { "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["web-tls"], "verbs": ["list", "watch"] },
                    { "apiGroups": [""], "resources": ["events"], "verbs": ["create"] },
                ],
            }),
        )
        .await;
    cluster
        .create::<RoleBinding>(
            namespace,
            json!({
                "metadata": { "name": "router" },
                "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "router" },
                "subjects": [{ "kind": "User", "name": "router", "apiGroup": "rbac.authorization.k8s.io" }],
            }),
        )
        .await;
    let reviews = Api::<SubjectAccessReview>::all(cluster.client.clone());
    let of_secret = json!({ "namespace": namespace, "group": "", "resource": "secrets", "verb": "watch", "name": "web-tls" });
    let review =
        object(json!({ "metadata": {}, "spec": { "user": "router", "resourceAttributes": of_secret } }));
    until("the Secret may be watched", ROLLOUT, async || {
        let judged = reviews.create(&PostParams::default(), &review).await.expect("the server answers");
        judged.status.is_some_and(|status| status.allowed)
    })
    .await;
}

/// An Ingress of a path of the host that leads to the pods, with a Secret or without.
fn ingress(name: &str, path: &str, secret: Option<&str>) -> Value {
    let backend = json!({ "service": { "name": "web", "port": { "name": "http" } } });
    let path = json!({ "path": path, "pathType": "Prefix", "backend": backend });
    let rules = json!([{ "host": HOST, "http": { "paths": [path] } }]);
    let tls = secret.map(|secret| json!([{ "hosts": [HOST], "secretName": secret }]));
    json!({
        "metadata": { "name": name },
        "spec": { "ingressClassName": "signpost", "rules": rules, "tls": tls },
    })
}

/// The data of a Secret, as the API server takes it.
fn encoded(leaf: &Leaf) -> Value {
    let secret: Secret = object(secret(leaf));
    let data = secret.string_data.unwrap_or_default().into_iter();
    let bytes = |text: String| json!(k8s_openapi::ByteString(text.into_bytes()));
    Value::Object(data.map(|(key, text)| (key, bytes(text))).collect())
}

fn secret(leaf: &Leaf) -> Value {
    json!({ "metadata": { "name": "web-tls" }, "type": "kubernetes.io/tls", "stringData": leaf.data })
}

/// Waits until requests in clear are sent to TLS, or are not.
async fn until_redirected(way: &Way, is_redirected: bool) {
    until("clear requests are redirected", CONVERGED, async || {
        let mut client = Client::connect(way.router).await;
        let (status, _) = client.get_of(&way.host, &way.path).await.expect("the router answers");
        (status == 308) == is_redirected
    })
    .await;
}

/// How often each reason was told about the Ingress.
async fn reasons(cluster: &Cluster, namespace: &str) -> BTreeMap<String, usize> {
    let mut reasons = BTreeMap::new();
    for event in cluster.list::<Event>(namespace).await {
        if event.involved_object.kind.as_deref() == Some("Ingress") {
            *reasons.entry(event.reason.unwrap_or_default()).or_default() += 1;
        }
    }
    reasons
}

/// Waits until it was told so often that the Secret is missing, and was told no more often a moment later.
async fn until_told(cluster: &Cluster, namespace: &str, count: usize) {
    let told = async || reasons(cluster, namespace).await.get("SecretMissing").copied().unwrap_or_default();
    until("it is told that the Secret is missing", CONVERGED, async || told().await == count).await;
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(1) {
        assert_eq!(told().await, count, "one event is enough");
        sleep(Duration::from_millis(100)).await;
    }
}

/// A router with a port for TLS, and one for requests in clear.
async fn router(cluster: &Cluster, namespace: &str) -> Router {
    let (folder, kubeconfig) = router_files(cluster).await;
    let kubeconfig = kubeconfig.display();
    let yaml = format!(
        "{}namers: [{{kind: io.l5d.k8s, kubeconfig: '{kubeconfig}'}}]\nrouters:\n\
         - protocol: http\n  identifier: {{kind: io.l5d.ingress, namespace: {namespace}, \
         ingressClassAnnotation: signpost, kubeconfig: '{kubeconfig}'}}\n  \
         dtab: {}; /svc => /#/io.l5d.k8s | /rest\n  servers:\n  \
         - {{port: {}, ingressRedirect: {{httpsPort: {}}}}}\n  - {{port: {}, tls: {{ingress: true}}}}\n",
        admin_at(OWN_ADMIN),
        rest(),
        OWN.port(),
        SECURE.port(),
        SECURE.port(),
    );
    Router::run(&folder, "ingress-tls", &yaml, OWN_ADMIN).await
}
