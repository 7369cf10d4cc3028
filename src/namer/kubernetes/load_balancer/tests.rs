use super::publish_load_balancer;
use crate::interpret::Answer;
use crate::kubernetes::{GroupState, GroupView, WatchedObject as _};
use crate::name::Path;
use crate::namer::dns::tests::Scripted;
use crate::namer::kubernetes::endpoints::NamePublisher;
use crate::namer::kubernetes::external_name::{ExternalName, WatchedService};
use crate::namer::kubernetes::name_table::NameTable;
use crate::namer::kubernetes::service::KubernetesService;
use crate::namer::kubernetes::service_name::ServiceName;
use crate::namer::publisher::AnswerPublisher;
use crate::namer::tests;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::sleep;

/// A list with one service, whose load balancer is at these places.
fn known(ingress: impl Into<Value>, stale: bool) -> GroupState<KubernetesService> {
    let service = json!({
        "metadata": { "labels": { "version": "v2" } },
        "spec": { "ports": [{ "name": "http", "port": 80 }] },
        "status": { "loadBalancer": { "ingress": ingress.into() } },
    });
    let service = KubernetesService::from_api(serde_json::from_value(service).unwrap());
    GroupState::Ready(GroupView { objects: Arc::new([Arc::new(service)]), stale, ..GroupView::default() })
}

/// Follows a name; what is known comes through the sender.
fn start(
    dns: &Scripted,
    path: &str,
    label: Option<&str>,
) -> (watch::Sender<GroupState<KubernetesService>>, Answer) {
    let path: Path = path.parse().unwrap();
    let name = ServiceName::of(&path, None, label.is_some()).unwrap();
    let (writer, answer) = Answer::pending();
    let publisher = AnswerPublisher::new(name.elems.clone(), Path::empty(), writer);
    let publisher = NamePublisher::new(publisher, NameTable::default().join(path));
    let (sender, services) = watch::channel(GroupState::Pending);
    let (label, external) = (label.map(Arc::from), ExternalName::new(false, dns.dns()));
    let service = WatchedService { name, label, known: services, external };
    tokio::spawn(publish_load_balancer(publisher, service, dns.dns()));
    (sender, answer)
}

/// An answer as text.
fn show(answer: &mut Answer) -> String {
    tests::show(answer, |_, endpoints| {
        let addresses: Vec<_> = endpoints.iter().map(|e| e.address.to_string()).collect();
        addresses.join(",")
    })
}

async fn becomes(answer: &mut Answer, expected: &str) {
    for _ in 0..1000 {
        if show(answer) == expected {
            return;
        }
        sleep(Duration::from_millis(100)).await;
    }
    panic!("expected {expected}, it is {}", show(answer));
}

#[tokio::test(start_paused = true)]
async fn all_places_of_a_load_balancer() {
    let dns = Scripted::default();
    dns.host("lb.example.org", Ok(&["10.0.0.1", "10.0.0.3"]));
    let (services, mut answer) = start(&dns, "/default/http/web", None);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(show(&mut answer), "pending");
    services.send_replace(known(json!([{ "hostname": "LB.example.org" }, { "ip": "10.0.0.2" }]), false));
    becomes(&mut answer, "10.0.0.1:80,10.0.0.2:80,10.0.0.3:80").await;
    dns.host("lb.example.org", Ok(&["10.0.0.9"]));
    becomes(&mut answer, "10.0.0.2:80,10.0.0.9:80").await;
    services.send_replace(known(json!([{ "hostname": "lb.example.org" }]), true));
    becomes(&mut answer, "10.0.0.9:80 stale").await;
    services.send_replace(known(json!([]), false));
    becomes(&mut answer, "neg").await;
}

#[tokio::test(start_paused = true)]
async fn a_host_that_cannot_be_looked_up_is_no_reason_to_fall_back() {
    let dns = Scripted::default();
    dns.host("lb", Err("no answer"));
    let (services, mut answer) = start(&dns, "/default/80/web", None);
    services.send_replace(known(json!([{ "hostname": "lb" }]), false));
    becomes(&mut answer, "failed: looking up lb: no answer").await;
    dns.host("lb", Ok(&[]));
    becomes(&mut answer, "neg").await;
}

#[tokio::test(start_paused = true)]
async fn what_is_neg() {
    let dns = Scripted::default();
    let there = json!([{ "ip": "10.0.0.2" }]);
    for (path, label, expected) in [
        ("/default/80/web", None, "10.0.0.2:80"),
        ("/default/81/web", None, "neg"),
        ("/default/https/web", None, "neg"),
        ("/default/http/web/v2", Some("version"), "10.0.0.2:80"),
        ("/default/http/web/v1", Some("version"), "neg"),
        ("/default/http/web/v2", Some("other"), "neg"),
    ] {
        let (services, mut answer) = start(&dns, path, label);
        services.send_replace(known(there.clone(), false));
        becomes(&mut answer, expected).await;
        services.send_replace(GroupState::Failed("why".into()));
        let after = if expected == "neg" { "failed: why".to_owned() } else { format!("{expected} stale") };
        becomes(&mut answer, &after).await;
    }
}
