use super::{AT_ONCE, Host, Hosts, REFRESH, Wanted, is_unknown};
use crate::interpret::{Answer, Bound, Leaf, State, Target};
use crate::name::{NameTree, Path};
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep, timeout};

const UNKNOWN: &str = "failed to lookup address information: Name or service not known";
const AWAY: &str = "failed to lookup address information: Temporary failure in name resolution";

/// A resolver that gives these answers in turn, the last one for ever, and counts the questions.
fn scripted(answers: &[Result<&[&str], &'static str>]) -> (Hosts, Arc<AtomicUsize>) {
    let answers: VecDeque<Result<Vec<SocketAddr>, &'static str>> = answers
        .iter()
        .map(|answer| answer.map(|addresses| addresses.iter().map(|a| a.parse().unwrap()).collect()))
        .collect();
    let answers = Arc::new(Mutex::new(answers));
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let ask = move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        let mut answers = answers.lock().unwrap();
        let answer = if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() };
        async move { answer.unwrap().map_err(io::Error::other) }
    };
    (Hosts::with(&Handle::current(), ask), asked)
}

fn lookup(hosts: &Hosts, residual: &str, once: bool) -> Answer {
    let wanted =
        Wanted { id: Path::from_elems(["$", "inet", "web", "80"]), residual: residual.parse().unwrap() };
    hosts.lookup(Host { name: "web".into(), port: 80, once }, wanted)
}

fn bound(answer: &mut Answer) -> Option<Bound> {
    match answer.look().state {
        State::Ready(NameTree::Leaf(Leaf::Bound(bound))) => Some(bound),
        _ => None,
    }
}

fn addresses(bound: &Bound) -> Vec<String> {
    let Target::Endpoints(endpoints) = &bound.target else { panic!("no endpoints") };
    endpoints.borrow().iter().map(|endpoint| endpoint.address.to_string()).collect()
}

#[tokio::test(start_paused = true)]
async fn asks_again_while_held() {
    let (hosts, _) = scripted(&[
        Ok(&["10.0.0.2:80", "10.0.0.1:80", "10.0.0.2:80"]),
        Ok(&["10.0.0.1:80", "10.0.0.2:80"]),
        Ok(&["10.0.0.3:80"]),
        Err(AWAY),
        Ok(&["10.0.0.4:80"]),
        Err(UNKNOWN),
        Ok(&["10.0.0.5:80"]),
    ]);
    let start = Instant::now();
    let mut answer = lookup(&hosts, "/a", false);
    assert!(matches!(answer.look().state, State::Pending));
    answer.changed().await;
    let first = bound(&mut answer).unwrap();
    assert_eq!((first.id.to_string(), first.residual.to_string()), ("/$/inet/web/80".into(), "/a".into()));
    assert_eq!(addresses(&first), ["10.0.0.1:80", "10.0.0.2:80"], "in order, each once");

    let Target::Endpoints(mut endpoints) = first.target.clone() else { panic!("no endpoints") };
    endpoints.changed().await.unwrap();
    assert_eq!(start.elapsed(), 2 * REFRESH, "the same set in another order is no change");
    assert_eq!(addresses(&first), ["10.0.0.3:80"]);
    assert!(!answer.has_changed(), "the tree stays while the addresses change");

    answer.changed().await;
    assert!(answer.look().stale_since.is_some(), "the resolver is away");
    assert_eq!(addresses(&bound(&mut answer).unwrap()), ["10.0.0.3:80"], "the last good addresses");
    answer.changed().await;
    assert!(answer.look().stale_since.is_none());
    assert_eq!(addresses(&bound(&mut answer).unwrap()), ["10.0.0.4:80"]);

    answer.changed().await;
    assert!(matches!(answer.look().state, State::Ready(NameTree::Neg)), "there is no such host any more");
    assert!(addresses(&first).is_empty());
    answer.changed().await;
    assert_eq!(addresses(&bound(&mut answer).unwrap()), ["10.0.0.5:80"]);
    assert_eq!(addresses(&first), ["10.0.0.5:80"], "the same endpoints came back");
}

#[tokio::test(start_paused = true)]
async fn first_failures() {
    let (hosts, _) = scripted(&[Err(AWAY), Err(AWAY), Ok(&["10.0.0.1:80"])]);
    let mut answer = lookup(&hosts, "/", false);
    answer.changed().await;
    let State::Failed(reason) = answer.look().state else { panic!("not failed") };
    assert!(reason.contains("looking up web: ") && reason.contains("Temporary failure"), "{reason}");
    answer.changed().await;
    assert!(bound(&mut answer).is_some(), "the same failure again is no change");

    let (hosts, _) = scripted(&[Err(UNKNOWN)]);
    let mut answer = lookup(&hosts, "/", false);
    answer.changed().await;
    assert!(matches!(answer.look().state, State::Ready(NameTree::Neg)));

    let (hosts, _) = scripted(&[Ok(&[])]);
    let mut answer = lookup(&hosts, "/", false);
    answer.changed().await;
    assert!(matches!(answer.look().state, State::Ready(NameTree::Neg)), "a host without addresses");
}

#[tokio::test(start_paused = true)]
async fn a_fixed_name_is_asked_once() {
    let (hosts, asked) = scripted(&[Ok(&["10.0.0.1:80"]), Ok(&["10.0.0.2:80"])]);
    let mut answer = lookup(&hosts, "/", true);
    answer.changed().await;
    sleep(10 * REFRESH).await;
    assert_eq!(addresses(&bound(&mut answer).unwrap()), ["10.0.0.1:80"]);
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn names_of_one_host_share_its_questions_and_endpoints() {
    let (hosts, asked) = scripted(&[Ok(&["10.0.0.1:80"]), Ok(&["10.0.0.2:80"])]);
    let (mut one, mut two) = (lookup(&hosts, "/a", false), lookup(&hosts, "/b", false));
    one.changed().await;
    two.changed().await;
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    let kept = bound(&mut one).unwrap();
    assert_eq!(bound(&mut two).unwrap().residual.to_string(), "/b");
    drop((one, two));
    let Target::Endpoints(mut endpoints) = kept.target else { panic!("no endpoints") };
    endpoints.changed().await.unwrap();
    assert_eq!(endpoints.borrow()[0].address.to_string(), "10.0.0.2:80", "held endpoints stay live");
    drop(endpoints);
    sleep(2 * REFRESH).await;
    let before = asked.load(Ordering::Relaxed);
    sleep(10 * REFRESH).await;
    assert_eq!(asked.load(Ordering::Relaxed), before, "nobody holds anything: nothing is asked");
}

#[tokio::test(start_paused = true)]
async fn questions_at_one_time_are_bounded() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let ask = {
        let (now, most) = (Arc::clone(&now), Arc::clone(&most));
        move |_: Host| {
            let (now, most) = (Arc::clone(&now), Arc::clone(&most));
            async move {
                most.fetch_max(now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                sleep(Duration::from_millis(10)).await;
                now.fetch_sub(1, Ordering::Relaxed);
                Ok(vec!["10.0.0.1:80".parse().unwrap()])
            }
        }
    };
    let hosts = Hosts::with(&Handle::current(), ask);
    let wanted = || Wanted { id: Path::empty(), residual: Path::empty() };
    let answers: Vec<Answer> = (0..10 * AT_ONCE)
        .map(|n| hosts.lookup(Host { name: format!("h{n}").into(), port: 80, once: false }, wanted()))
        .collect();
    for mut answer in answers {
        if matches!(answer.look().state, State::Pending) {
            timeout(REFRESH, answer.changed()).await.unwrap();
        }
        assert!(bound(&mut answer).is_some());
    }
    assert_eq!(most.load(Ordering::Relaxed), AT_ONCE);
}

#[test]
fn only_a_clear_no_is_unknown() {
    for (text, expected) in [(UNKNOWN, true), (AWAY, false), ("Try again", false), ("", false)] {
        assert_eq!(is_unknown(&io::Error::other(text)), expected, "{text:?}");
    }
}
