use super::*;
use crate::kubernetes::{ApiClients, Config};

fn election(identity: &str) -> Election {
    let config = LeaseConfig { namespace: None, name: "lease".into(), identity: identity.into() };
    Election::new(ApiClients::default().get(&Config::default()), config, watch::Sender::new(None))
}

/// The lease that a process writes, as the server gives it back in a version.
fn written(decided: Move, version: &str) -> Lease {
    let Move::Write(mut lease) = decided else { panic!("{decided:?}") };
    lease.metadata.resource_version = Some(version.into());
    *lease
}

fn holder(lease: &Lease) -> Option<&str> {
    lease.spec.as_ref()?.holder_identity.as_deref()
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_taken_when_its_holder_is_silent() {
    let (mut one, mut other) = (election("one"), election("other"));
    let begin = Instant::now();
    let first = written(one.decide(None, begin), "1");
    assert_eq!(holder(&first), Some("one"));
    assert_eq!(first.spec.as_ref().unwrap().lease_transitions, Some(1));

    let left = Move::Leave("one".to_owned());
    let at = |seconds| begin + Duration::from_secs(seconds);
    assert_eq!(other.decide(Some(first.clone()), at(0)), left, "it is seen for the first time");
    assert_eq!(other.decide(Some(first.clone()), at(14)), left);
    let renewed = written(one.decide(Some(first), at(14)), "2");
    assert_eq!(renewed.spec.as_ref().unwrap().lease_transitions, Some(1));
    assert_eq!(other.decide(Some(renewed.clone()), at(16)), left, "it was renewed");
    assert_eq!(other.decide(Some(renewed.clone()), at(30)), left);

    let taken = written(other.decide(Some(renewed), at(31)), "3");
    assert_eq!(holder(&taken), Some("other"));
    assert_eq!(taken.spec.as_ref().unwrap().lease_transitions, Some(2));
    assert_eq!(one.decide(Some(taken), at(32)), Move::Leave("other".to_owned()), "the old one sees it");
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_was_given_back_is_free() {
    let mut free = written(election("one").decide(None, Instant::now()), "1");
    free.spec.as_mut().unwrap().holder_identity = None;
    assert_eq!(holder(&written(election("other").decide(Some(free), Instant::now()), "2")), Some("other"));
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_cannot_renew_leads_no_more() {
    let mut election = election("one");
    let began = Instant::now();
    election.leading.send_replace(Some(began + LEAD));
    let mut leading = election.leading.subscribe();
    let waiting = async {
        loop {
            election.fail("no answer");
            election.sleep_until_next(Instant::now()).await;
        }
    };
    tokio::select! {
        () = waiting => {}
        _ = leading.wait_for(Option::is_none) => {}
    }
    assert_eq!(began.elapsed(), LEAD);
    assert!(LEAD + ATTEMPT <= LEASE, "a write that is under way has ended before another process leads");
}
