use super::{CREDENTIALS, ExternalName, WatchedService, is_forbidden};
use crate::interpret::Answer;
use crate::kubernetes::{GroupState, GroupView, WatchedObject as _};
use crate::name::Path;
use crate::namer::dns::tests::Scripted;
use crate::namer::kubernetes::endpoints::{NamePublisher, publish_endpoints};
use crate::namer::kubernetes::load_balancer::publish_load_balancer;
use crate::namer::kubernetes::name_table::NameTable;
use crate::namer::kubernetes::service::KubernetesService;
use crate::namer::kubernetes::service_name::ServiceName;
use crate::namer::kubernetes::slice::Slice;
use crate::namer::publisher::AnswerPublisher;
use crate::namer::tests;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::sleep;

fn complete<T>(object: T, stale: bool) -> GroupState<T> {
    GroupState::Ready(GroupView { objects: [Arc::new(object)].into(), stale, ..GroupView::default() })
}

/// A list with one service of this `spec`, which has a load balancer as well.
fn service(spec: &Value) -> GroupState<KubernetesService> {
    let status = json!({ "loadBalancer": { "ingress": [{ "ip": "203.0.113.9" }] } });
    let service = json!({ "metadata": { "labels": { "version": "v2" } }, "spec": spec, "status": status });
    complete(KubernetesService::from_api(serde_json::from_value(service).unwrap()), false)
}

fn external(name: &str) -> GroupState<KubernetesService> {
    service(&json!({ "type": "ExternalName", "externalName": name }))
}

/// The slices that the service had as long as it had pods, and keeps.
fn slices() -> GroupState<Slice> {
    let slice = json!({
        "addressType": "IPv4",
        "ports": [{ "name": "", "port": 80 }],
        "endpoints": [{ "addresses": ["203.0.113.9"] }],
    });
    complete(Slice::from_api(serde_json::from_value(slice).unwrap()), false)
}

/// The sources of names.
const SOURCES: [Source; 2] = [Source::Pods, Source::Balancer];

#[derive(Clone, Copy, Debug)]
enum Source {
    Pods,
    Balancer,
}

/// A name under test: its service comes through the sender.
struct Scene {
    services: watch::Sender<GroupState<KubernetesService>>,
    _slices: watch::Sender<GroupState<Slice>>,
    answer: Answer,
}

impl Scene {
    fn new(dns: &Scripted, source: Source, path: &str, is_followed: bool) -> Self {
        let path: Path = path.parse().unwrap();
        let label = (path.len() > 3).then(|| "version".into());
        let name = ServiceName::of(&path, None, label.is_some()).unwrap();
        let (writer, answer) = Answer::pending();
        let publisher = AnswerPublisher::new(name.elems.clone(), Path::empty(), writer);
        let publisher = NamePublisher::new(publisher, NameTable::default().join(path));
        let (services, known) = watch::channel(GroupState::Pending);
        let external = ExternalName::new(is_followed, dns.dns());
        let service = WatchedService { name, label, known, external };
        let (sender, slices) = watch::channel(slices());
        match source {
            Source::Pods => tokio::spawn(publish_endpoints(publisher, service, None, slices)),
            Source::Balancer => tokio::spawn(publish_load_balancer(publisher, service, dns.dns())),
        };
        Self { services, _slices: sender, answer }
    }

    fn show(&mut self) -> String {
        tests::show(&mut self.answer, |_, endpoints| {
            let addresses: Vec<_> = endpoints.iter().map(|one| one.address.to_string()).collect();
            addresses.join(",")
        })
    }

    async fn becomes(&mut self, expected: &str) {
        for _ in 0..1000 {
            if self.show() == expected {
                return;
            }
            sleep(Duration::from_millis(100)).await;
        }
        panic!("expected {expected}, it is {}", self.show());
    }
}

#[tokio::test(start_paused = true)]
async fn they_are_followed_where_the_configuration_says_so() {
    let dns = Scripted::default();
    dns.host("www.example.org.", Ok(&["203.0.113.1", "203.0.113.2"]));
    let ports = json!([{ "name": "http", "port": 80 }]);
    let of = |ports: &Value| {
        service(&json!({ "type": "ExternalName", "externalName": "WWW.example.org", "ports": ports }))
    };
    let both = |port| format!("203.0.113.1:{port},203.0.113.2:{port}");
    for source in SOURCES {
        for (path, ports, expected) in [
            ("/default/80/web", &ports, both(80)),
            ("/default/http/web", &ports, both(80)),
            ("/default/81/web", &ports, "neg".to_owned()),
            ("/default/81/web", &Value::Null, both(81)),
            ("/default/http/web", &Value::Null, "neg".to_owned()),
            ("/default/80/web/v2", &ports, both(80)),
            ("/default/80/web/v1", &ports, "neg".to_owned()),
        ] {
            let mut scene = Scene::new(&dns, source, path, true);
            scene.services.send_replace(of(ports));
            scene.becomes(&expected).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn without_the_key_the_name_fails_and_says_why() {
    let dns = Scripted::default();
    for source in SOURCES {
        let mut scene = Scene::new(&dns, source, "/default/80/web", false);
        scene.services.send_replace(external("www.example.org"));
        scene
            .becomes(
                "failed: the service default/web is an ExternalName, `www.example.org`: \
                 the namer does not follow such names without `externalNames: true`",
            )
            .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_becomes_one_leaves_its_endpoints_behind() {
    let dns = Scripted::default();
    dns.host("a.", Ok(&["203.0.113.1"]));
    dns.host("b.", Err("no answer"));
    let with_pods = || service(&json!({ "ports": [{ "port": 80 }] }));
    for source in SOURCES {
        for is_followed in [false, true] {
            let mut scene = Scene::new(&dns, source, "/default/80/web", is_followed);
            let failed = "failed: the service default/web is an ExternalName, `a`: \
                          the namer does not follow such names without `externalNames: true`";
            for _ in 0..2 {
                scene.services.send_replace(with_pods());
                scene.becomes("203.0.113.9:80").await;
                scene.services.send_replace(external("a"));
                scene.becomes(if is_followed { "203.0.113.1:80" } else { failed }).await;
            }
            if is_followed {
                scene.services.send_replace(external("b"));
                scene.becomes("failed: looking up b.: no answer").await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_dns_says_of_them_is_followed() {
    let dns = Scripted::default();
    let mut scene = Scene::new(&dns, Source::Pods, "/default/80/web", true);
    scene.services.send_replace(external("a"));
    scene.becomes("neg").await;
    dns.host("a.", Ok(&["203.0.113.1", "127.0.0.1"]));
    scene.becomes("203.0.113.1:80").await;
    dns.host("a.", Err("no answer"));
    scene.becomes("203.0.113.1:80 stale").await;
    dns.host("a.", Ok(&["127.0.0.1", "169.254.169.254"]));
    scene.becomes("203.0.113.1:80 stale").await;
}

#[tokio::test(start_paused = true)]
async fn where_they_may_not_lead() {
    let dns = Scripted::default();
    dns.host("a.", Ok(&["127.0.0.1", "169.254.169.254"]));
    for name in ["a", "localhost", "127.1", "169.254.169.254", "0.0.0.0", "0"] {
        let mut scene = Scene::new(&dns, Source::Pods, "/default/80/web", true);
        scene.services.send_replace(external(name));
        scene
            .becomes(&format!(
                "failed: the service default/web is an ExternalName, `{name}`: \
                 it leads to this machine or to a link-local address, where no external name may lead"
            ))
            .await;
    }
    let mut scene = Scene::new(&dns, Source::Pods, "/default/80/web", true);
    scene.services.send_replace(external("a b"));
    scene.becomes("failed: the service default/web is an ExternalName, `a b`: it is not a host name").await;
    for address in ["::1", "::", "fe80::1", "::ffff:127.0.0.1", "::ffff:169.254.1.1", "127.255.0.1"] {
        assert!(is_forbidden(address.parse().unwrap()), "{address}");
    }
    assert!(is_forbidden(CREDENTIALS));
    for address in ["203.0.113.1", "2001:db8::1", "8.8.8.8"] {
        assert!(!is_forbidden(address.parse().unwrap()), "{address}");
    }
}
