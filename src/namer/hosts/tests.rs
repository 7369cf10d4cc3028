use super::{BoundName, Host, Hosts};
use crate::interpret::{Answer, AnswerState, EndpointSet, Leaf, Target};
use crate::name::{NameTree, Path};
use crate::namer::dns::tests::Scripted;
use crate::namer::tests;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

const DAY: Duration = Duration::from_secs(86_400);

fn lookup(dns: &Scripted, port: u16, once: bool) -> Answer {
    let id = Path::from_elems(["$", "inet", "web", &port.to_string()]);
    let name = BoundName { id, residual: "/a".parse().unwrap() };
    let hosts = Hosts::new(dns.dns(), &Handle::current());
    hosts.lookup(Host { name: "web".into(), port, once }, name)
}

fn endpoints(answer: &mut Answer) -> Option<watch::Receiver<EndpointSet>> {
    match answer.look().state {
        AnswerState::Ready(NameTree::Leaf(Leaf::Bound(bound))) => match bound.target {
            Target::Endpoints(endpoints) => Some(endpoints),
            Target::Status(_) => None,
        },
        _ => None,
    }
}

/// An answer as text: `pending`, `neg`, `failed: ...`, or `ADDRESSES ID RESIDUAL`, with `stale` where it is.
fn show(answer: &mut Answer) -> String {
    tests::show(answer, |bound, endpoints| {
        format!("{} {} {}", addresses(endpoints), bound.id, bound.residual)
    })
}

fn addresses(endpoints: &EndpointSet) -> String {
    endpoints.iter().map(|endpoint| endpoint.address.to_string()).collect::<Vec<_>>().join(",")
}

async fn next(answer: &mut Answer) -> String {
    timeout(DAY, answer.changed()).await.unwrap();
    show(answer)
}

#[tokio::test(start_paused = true)]
async fn an_answer_follows_its_host() {
    let dns = Scripted::default();
    dns.host("web", Err("away"));
    let mut answer = lookup(&dns, 80, false);
    assert_eq!(show(&mut answer), "pending");
    assert_eq!(next(&mut answer).await, "failed: looking up web: away");
    dns.host("web", Ok(&["10.0.0.2", "2001:db8::1", "10.0.0.1"]));
    assert_eq!(next(&mut answer).await, "10.0.0.1:80,10.0.0.2:80,[2001:db8::1]:80 /$/inet/web/80 /a");

    let mut kept = endpoints(&mut answer).unwrap();
    dns.host("web", Ok(&["10.0.0.3"]));
    timeout(DAY, kept.changed()).await.unwrap().unwrap();
    assert_eq!(addresses(&kept.borrow_and_update()), "10.0.0.3:80");
    assert!(!answer.has_changed(), "the tree stays while the addresses change");

    dns.host("web", Err("away"));
    assert_eq!(next(&mut answer).await, "10.0.0.3:80 /$/inet/web/80 /a stale");
    dns.host("web", Ok(&["10.0.0.3"]));
    assert_eq!(next(&mut answer).await, "10.0.0.3:80 /$/inet/web/80 /a");
    dns.host("web", Ok(&[]));
    assert_eq!(next(&mut answer).await, "neg");
    assert_eq!(addresses(&kept.borrow()), "10.0.0.3:80", "requests on the way there still arrive");
    dns.host("web", Err("away"));
    assert_eq!(next(&mut answer).await, "failed: looking up web: away", "Neg does not outlive its proof");
    dns.host("web", Ok(&["10.0.0.4"]));
    assert_eq!(next(&mut answer).await, "10.0.0.4:80 /$/inet/web/80 /a");
    assert_eq!(addresses(&kept.borrow()), "10.0.0.4:80", "the endpoints that were kept see them again");
}

#[tokio::test(start_paused = true)]
async fn a_fixed_name_keeps_its_first_addresses() {
    let dns = Scripted::default();
    let mut answer = lookup(&dns, 80, true);
    assert_eq!(next(&mut answer).await, "neg");
    dns.host("web", Ok(&["10.0.0.1"]));
    assert_eq!(next(&mut answer).await, "10.0.0.1:80 /$/inet/web/80 /a");
    dns.host("web", Ok(&["10.0.0.2"]));
    sleep(DAY).await;
    assert_eq!(show(&mut answer), "10.0.0.1:80 /$/inet/web/80 /a");
}

#[tokio::test(start_paused = true)]
async fn endpoints_stay_live_when_the_name_is_unused() {
    let dns = Scripted::default();
    dns.host("web", Ok(&["10.0.0.1"]));
    let mut answer = lookup(&dns, 81, false);
    assert_eq!(next(&mut answer).await, "10.0.0.1:81 /$/inet/web/81 /a");
    let mut kept = endpoints(&mut answer).unwrap();
    drop(answer);
    dns.host("web", Ok(&["10.0.0.2"]));
    timeout(DAY, kept.changed()).await.unwrap().unwrap();
    assert_eq!(addresses(&kept.borrow()), "10.0.0.2:81");
}

#[tokio::test(start_paused = true)]
async fn a_host_that_comes_into_being_is_noticed_sooner_while_requests_ask() {
    for is_asked_for in [true, false] {
        let dns = Scripted::default();
        let mut answer = lookup(&dns, 80, false);
        assert_eq!(next(&mut answer).await, "neg");
        // By then it has been asked for again, because this test has looked at the answer.
        sleep(Duration::from_secs(15)).await;
        dns.host("web", Ok(&["10.0.0.1"]));
        let (began, requests) = (Instant::now(), answer.clone());
        let asking = async {
            loop {
                sleep(Duration::from_secs(1)).await;
                if is_asked_for {
                    requests.has_changed();
                }
            }
        };
        tokio::select! {
            () = answer.changed() => {}
            never = asking => never,
        }
        assert_eq!(show(&mut answer), "10.0.0.1:80 /$/inet/web/80 /a");
        let seconds = began.elapsed().as_secs();
        assert!(if is_asked_for { seconds <= 11 } else { (20..=60).contains(&seconds) }, "{seconds}");
    }
}
