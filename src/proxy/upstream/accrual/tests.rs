use super::*;
use crate::proxy::upstream::backoff::BackoffSettings;
use tokio::time::advance;

const CONSECUTIVE: AccrualPolicy = AccrualPolicy::ConsecutiveFailures { failures: 5 };
const ALIVE: AccrualState = AccrualState::Alive { failures: 0 };

fn settings(policy: AccrualPolicy) -> AccrualSettings {
    let backoff = AccrualBackoff::Configured(BackoffSettings::Constant(Duration::from_secs(5)));
    AccrualSettings { policy, backoff, ..AccrualSettings::default() }
}

/// An endpoint with the settings by which it is judged.
struct Subject {
    accrual: EndpointAccrual,
    settings: AccrualSettings,
}

impl Subject {
    fn new(settings: AccrualSettings) -> Self {
        Self { accrual: EndpointAccrual::new(), settings }
    }

    fn end(&self, standing: Standing, verdict: Option<bool>) -> Option<AccrualChange> {
        let outcome = match verdict {
            Some(true) => Outcome::Answered(200),
            Some(false) => Outcome::Answered(500),
            None => Outcome::Abandoned,
        };
        self.accrual.report(AttemptReport { outcome, standing, is_success: None }, &self.settings)
    }

    fn succeed(&self) -> Option<AccrualChange> {
        self.end(Standing::Alive, Some(true))
    }

    fn fail(&self) -> Option<AccrualChange> {
        self.end(Standing::Alive, Some(false))
    }

    fn shut(&self) {
        assert!((0..5).filter_map(|_| self.fail()).count() == 1);
    }

    fn claim(&self) -> bool {
        self.accrual.claim_probe(Instant::now()) == ProbeClaim::Granted
    }
}

#[test]
fn states_are_words() {
    for state in [
        ALIVE,
        AccrualState::Alive { failures: u32::MAX },
        AccrualState::Shut { probes: u16::MAX, until: TIME },
        AccrualState::Shut { probes: 0, until: 0 },
        AccrualState::Probing { probes: 3, answered: 0 },
        AccrualState::Probing { probes: 1, answered: 7 },
    ] {
        assert_eq!(AccrualState::unpack(state.pack()), state);
    }
    assert_eq!(AccrualState::Shut { probes: 1, until: u64::MAX }.pack(), SHUT | 1 << TIME_BITS | TIME);
}

#[tokio::test(start_paused = true)]
async fn failures_in_a_row_shut_an_endpoint_and_a_probe_opens_it() {
    let endpoint = Subject::new(settings(CONSECUTIVE));
    (0..4).for_each(|_| assert_eq!(endpoint.fail(), None));
    endpoint.succeed();
    assert_eq!(endpoint.accrual.state(), ALIVE, "a success begins the row anew");
    (0..4).for_each(|_| assert_eq!(endpoint.fail(), None));
    assert_eq!(endpoint.end(Standing::Alive, None), None, "a caller that gives up counts for nothing");
    assert_eq!(endpoint.fail(), Some(AccrualChange::Removed(Duration::from_secs(5))));
    assert!(!endpoint.accrual.is_alive());
    // Attempts that began before say nothing any more.
    assert_eq!((endpoint.succeed(), endpoint.fail()), (None, None));
    advance(Duration::from_millis(4999)).await;
    assert!(!endpoint.claim());
    advance(Duration::from_millis(1)).await;
    assert!(endpoint.claim());
    assert!(!endpoint.claim(), "one probe at a time");
    assert_eq!((endpoint.succeed(), endpoint.fail()), (None, None));
    assert_eq!(
        endpoint.end(Standing::Probed, Some(false)),
        Some(AccrualChange::ProbeFailed(Duration::from_secs(5)))
    );
    assert!(!endpoint.claim());
    advance(Duration::from_secs(5)).await;
    assert!(endpoint.claim());
    assert_eq!(endpoint.end(Standing::Probed, None), None);
    assert!(endpoint.claim(), "a probe without a verdict gives its place to another");
    assert_eq!(endpoint.end(Standing::Probed, Some(true)), Some(AccrualChange::Revived));
    assert_eq!(endpoint.accrual.state(), ALIVE);
    (0..4).for_each(|_| assert_eq!(endpoint.fail(), None));
    assert!(endpoint.accrual.is_alive(), "the failures of before are forgotten");
}

#[tokio::test(start_paused = true)]
async fn a_probe_whose_response_goes_on_is_answered_after_a_second() {
    let endpoint = Subject::new(settings(CONSECUTIVE));
    endpoint.shut();
    advance(Duration::from_secs(5)).await;
    assert!(endpoint.claim());
    // It may wait for its response for as long as it takes.
    advance(Duration::from_secs(60)).await;
    assert!(!endpoint.claim());
    endpoint.accrual.note_probe_answer();
    advance(Duration::from_millis(999)).await;
    assert_eq!(endpoint.accrual.claim_probe(Instant::now()), ProbeClaim::Denied);
    advance(Duration::from_millis(1)).await;
    assert_eq!(endpoint.accrual.claim_probe(Instant::now()), ProbeClaim::Revived);
    assert_eq!(endpoint.accrual.state(), ALIVE);
    assert_eq!(endpoint.end(Standing::Probed, Some(false)), None, "one failure of an endpoint that is alive");
    assert_eq!(endpoint.accrual.state(), AccrualState::Alive { failures: 1 });
    // One that ends within the second is judged by its end.
    endpoint.succeed();
    endpoint.shut();
    advance(Duration::from_secs(5)).await;
    assert!(endpoint.claim());
    endpoint.accrual.note_probe_answer();
    assert!(matches!(endpoint.end(Standing::Probed, Some(false)), Some(AccrualChange::ProbeFailed(_))));
    advance(Duration::from_secs(4)).await;
    assert_eq!(endpoint.accrual.claim_probe(Instant::now()), ProbeClaim::Denied);
}

#[tokio::test(start_paused = true)]
async fn a_success_of_a_request_that_is_sent_to_a_shut_endpoint_opens_it() {
    let endpoint = Subject::new(settings(CONSECUTIVE));
    endpoint.shut();
    assert_eq!(endpoint.end(Standing::Shut, Some(false)), None, "it is no probe: it shuts for no longer");
    assert_eq!(endpoint.end(Standing::Shut, Some(true)), Some(AccrualChange::Revived));
    assert_eq!(endpoint.accrual.state(), ALIVE);
}

#[tokio::test(start_paused = true)]
async fn a_rate_of_success_shuts_an_endpoint_after_so_many_requests() {
    let endpoint = Subject::new(settings(AccrualPolicy::SuccessRate { success_rate: 0.8, requests: 20 }));
    for _ in 0..19 {
        assert_eq!(endpoint.fail(), None, "too few requests to tell");
    }
    assert!(matches!(endpoint.fail(), Some(AccrualChange::Removed(_))));
    advance(Duration::from_secs(5)).await;
    assert!(endpoint.claim());
    endpoint.end(Standing::Probed, Some(true));
    // One in ten fails: the rate stays near 0.9.
    for at in 0..1000 {
        let change = if at % 10 == 0 { endpoint.fail() } else { endpoint.succeed() };
        assert_eq!(change, None, "request {at}");
    }
    // Every other: it sinks to 0.5, by way of 0.8.
    let last =
        (0..100).position(|at| if at % 2 == 0 { endpoint.fail() } else { endpoint.succeed() }.is_some());
    assert!((4..20).contains(&last.expect("it is shut")), "{last:?}");
}

#[tokio::test(start_paused = true)]
async fn a_rate_of_success_that_stays_is_not_written_again() {
    let policy = AccrualPolicy::SuccessRate { success_rate: 0.5, requests: 3 };
    let endpoint = Subject::new(settings(policy));
    let mut unmoved = 0;
    // A failure is forgotten once the rate has come near enough to 1.
    for failure in 0..2 {
        for at in 0..40 {
            let (before, is_unmoved) =
                (endpoint.accrual.success_rate.word(), endpoint.accrual.is_unmoved_by_success(policy));
            endpoint.succeed();
            assert_eq!(endpoint.accrual.success_rate.word() == before, is_unmoved, "{failure}, {at}");
            unmoved += usize::from(is_unmoved);
        }
        endpoint.fail();
        assert!(!endpoint.accrual.is_unmoved_by_success(policy));
    }
    assert!((50..77).contains(&unmoved), "{unmoved} of 80");
}

#[test]
fn a_success_moves_no_endpoint_that_is_well_unless_a_rate_is_wanted() {
    let windowed = AccrualPolicy::SuccessRateWindowed { success_rate: 0.8, window: Duration::from_secs(9) };
    for (policy, is_unmoved) in [(CONSECUTIVE, true), (AccrualPolicy::None, true), (windowed, false)] {
        let endpoint = Subject::new(settings(policy));
        assert_eq!(endpoint.accrual.is_unmoved_by_success(policy), is_unmoved, "{policy:?}");
    }
    let endpoint = Subject::new(settings(CONSECUTIVE));
    endpoint.fail();
    assert!(!endpoint.accrual.is_unmoved_by_success(CONSECUTIVE), "it ends a row of failures");
}

#[tokio::test(start_paused = true)]
async fn a_rate_of_success_over_time_shuts_an_endpoint_after_so_much_of_it() {
    let window = Duration::from_secs(30);
    let endpoint = Subject::new(settings(AccrualPolicy::SuccessRateWindowed { success_rate: 0.8, window }));
    // An endpoint that nobody asked for long is known for no longer because of that.
    advance(Duration::from_secs(300)).await;
    for second in 0..30 {
        assert_eq!(endpoint.fail(), None, "second {second}");
        advance(Duration::from_secs(1)).await;
    }
    assert!(matches!(endpoint.fail(), Some(AccrualChange::Removed(_))));
    advance(Duration::from_secs(5)).await;
    assert!(endpoint.claim());
    endpoint.end(Standing::Probed, Some(true));
    for second in 0..300 {
        let change = if second % 10 == 0 { endpoint.fail() } else { endpoint.succeed() };
        assert_eq!(change, None, "second {second}");
        advance(Duration::from_secs(1)).await;
    }
    let mut seconds = 0;
    while endpoint.fail().is_none() {
        seconds += 1;
        advance(Duration::from_secs(1)).await;
    }
    assert!((1..10).contains(&seconds), "{seconds}");
}

#[tokio::test(start_paused = true)]
async fn a_refused_connection_shuts_an_endpoint_at_once_where_that_is_wanted() {
    let refused = AttemptReport { outcome: Outcome::Refused, ..AttemptReport::default() };
    for (fail_fast, policy) in [(false, CONSECUTIVE), (true, CONSECUTIVE), (true, AccrualPolicy::None)] {
        let endpoint = Subject::new(AccrualSettings { fail_fast, ..settings(policy) });
        assert_eq!(endpoint.fail(), None, "a status is no connection");
        let change = endpoint.accrual.report(refused, &endpoint.settings);
        assert_eq!(change, fail_fast.then_some(AccrualChange::Removed(Duration::from_secs(5))));
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_policy_nothing_shuts_an_endpoint() {
    let endpoint = Subject::new(settings(AccrualPolicy::None));
    (0..1000).for_each(|_| assert_eq!(endpoint.fail(), None));
    assert_eq!(endpoint.accrual.state(), AccrualState::Alive { failures: 1000 });
    endpoint.succeed();
    assert!(endpoint.accrual.is_well());
}

#[tokio::test(start_paused = true)]
async fn pauses_grow_by_their_backoff_and_begin_anew_with_a_success() {
    let (min, max) = (Duration::from_secs(5), Duration::from_secs(300));
    for backoff in [
        AccrualBackoff::EqualJittered { min, max },
        AccrualBackoff::Configured(BackoffSettings::Jittered { min, max }),
    ] {
        let endpoint =
            Subject::new(AccrualSettings { policy: CONSECUTIVE, backoff, ..AccrualSettings::default() });
        for _ in 0..20 {
            let mut changes: Vec<_> = (0..5).filter_map(|_| endpoint.fail()).collect();
            for _ in 0..20 {
                let (Some(AccrualChange::Removed(pause)) | Some(AccrualChange::ProbeFailed(pause))) =
                    changes.last()
                else {
                    panic!("{changes:?}");
                };
                advance(*pause).await;
                assert!(endpoint.claim(), "{backoff:?}: not due after {pause:?}");
                changes.extend(endpoint.end(Standing::Probed, Some(false)));
            }
            assert_eq!(changes[0], AccrualChange::Removed(min));
            let pauses: Vec<_> = changes[1..]
                .iter()
                .map(|change| {
                    if let AccrualChange::ProbeFailed(pause) = change { *pause } else { panic!("{change:?}") }
                })
                .collect();
            assert_eq!(pauses.len(), 20);
            assert!(pauses.iter().all(|pause| (min..=max).contains(pause)), "{backoff:?}: {pauses:?}");
            if let AccrualBackoff::EqualJittered { .. } = backoff {
                for (at, pause) in pauses.iter().enumerate() {
                    let half = min.saturating_mul(1 << at.min(10)).min(max);
                    assert!((half..=2 * half).contains(pause), "{at}: {pause:?}");
                }
            } else {
                let before = [min].into_iter().chain(pauses.iter().copied());
                for (before, pause) in before.zip(&pauses) {
                    assert!(*pause <= 3 * before + Duration::from_millis(3), "{before:?}, {pause:?}");
                }
            }
            endpoint.accrual.revive();
        }
    }
}

#[test]
fn extreme_backoffs_do_not_overflow() {
    let extremes = [
        Duration::ZERO,
        Duration::from_millis(1),
        Duration::from_secs(1),
        Duration::from_millis(i32::MAX as u64),
        Duration::MAX,
    ];
    for min in extremes {
        for max in extremes {
            for backoff in [
                AccrualBackoff::EqualJittered { min, max },
                AccrualBackoff::Configured(BackoffSettings::Jittered { min, max }),
            ] {
                for probes in [0, 1, 5, 40, u16::MAX] {
                    for last in extremes {
                        assert!(backoff.pause(probes, last) <= max, "{backoff:?} {probes} {last:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn workers_do_not_claim_one_probe_twice() {
    let endpoint = Subject::new(AccrualSettings {
        policy: CONSECUTIVE,
        backoff: AccrualBackoff::Configured(BackoffSettings::Constant(Duration::ZERO)),
        ..AccrualSettings::default()
    });
    for _ in 0..50 {
        endpoint.shut();
        let claims = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..4).map(|_| scope.spawn(|| usize::from(endpoint.claim()))).collect();
            workers.into_iter().map(|worker| worker.join().expect("it does not panic")).sum::<usize>()
        });
        assert_eq!(claims, 1);
        assert_eq!(endpoint.end(Standing::Probed, Some(true)), Some(AccrualChange::Revived));
    }
}
