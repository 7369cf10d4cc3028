use super::{
    AskReason, BACK_OFF, DnsQuestion, DnsReply, DnsState, DnsTable, MAX_BACK_OFF, MAX_MISSING, MAX_PAUSE,
    MAX_UNASKED, MIN_PAUSE,
};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

const DAY: Duration = Duration::from_secs(86_400);

/// A table whose servers give these replies in turn, the last one for ever; and when they were asked.
fn scripted(replies: &[DnsReply<u8>]) -> (DnsTable<u8>, Arc<Mutex<Vec<Instant>>>) {
    let replies = Mutex::new(VecDeque::from(replies.to_vec()));
    let asked = Arc::new(Mutex::new(Vec::new()));
    let times = Arc::clone(&asked);
    let ask = move |_, _| -> super::DnsReplyFuture<u8> {
        times.lock().unwrap().push(Instant::now());
        let mut replies = replies.lock().unwrap();
        let reply = if replies.len() > 1 { replies.pop_front() } else { replies.front().cloned() };
        Box::pin(async move { reply.unwrap() })
    };
    (DnsTable::new(&Handle::current(), ask), asked)
}

fn records(records: &[u8], life: u64) -> DnsReply<u8> {
    DnsReply::Records(records.to_vec(), Duration::from_secs(life))
}

fn question(name: &str) -> DnsQuestion {
    DnsQuestion { name: name.into(), min_pause: MIN_PAUSE, once: false }
}

fn show(known: &mut watch::Receiver<DnsState<u8>>) -> String {
    match &*known.borrow_and_update() {
        DnsState::Pending => "pending".into(),
        DnsState::Found { records, stale: None } => format!("{records:?}"),
        DnsState::Found { records, stale: Some(reason) } => format!("{records:?} stale: {reason}"),
        DnsState::Missing => "missing".into(),
        DnsState::Failed(reason) => format!("failed: {reason}"),
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_known_changes_with_the_replies() {
    let failed = || DnsReply::Failed("away".into());
    let (table, asked) = scripted(&[
        failed(),
        failed(),
        records(&[2, 1, 2], 10),
        records(&[1, 2], 10),
        records(&[3], 10),
        failed(),
        failed(),
        records(&[3], 10),
        DnsReply::Missing(Duration::ZERO),
        failed(),
        records(&[], 10),
        records(&[4], 10),
    ]);
    let mut known = table.watch(question("web"));
    let expected = [
        "pending",
        "failed: looking up web: away",
        "[1, 2]",
        "[3]",
        "[3] stale: looking up web: away",
        "[3]",
        "missing",
        "failed: looking up web: away",
        "missing",
        "[4]",
    ];
    for expected in expected {
        assert_eq!(show(&mut known), expected, "an equal state wakes no receiver");
        timeout(DAY, known.changed()).await.ok();
    }
    assert!(asked.lock().unwrap().len() > 12);
}

#[tokio::test(start_paused = true)]
async fn a_question_is_urgent_until_there_are_records() {
    let replies =
        Mutex::new(VecDeque::from([DnsReply::Failed("away".into()), records(&[1], 5), records(&[1], 5)]));
    let (sender, mut urgencies) = tokio::sync::mpsc::unbounded_channel();
    let ask = move |_, is_urgent| -> super::DnsReplyFuture<u8> {
        sender.send(is_urgent).unwrap();
        let reply = replies.lock().unwrap().pop_front();
        Box::pin(async move { reply.unwrap_or(DnsReply::Missing(Duration::ZERO)) })
    };
    let table = DnsTable::new(&Handle::current(), ask);
    let _known = table.watch(question("web"));
    let mut asked = Vec::new();
    for _ in 0..5 {
        asked.push(urgencies.recv().await.unwrap());
    }
    use super::AskReason::{First, Refresh};
    assert_eq!(asked, [First, First, Refresh, Refresh, First], "failed, then known twice, then missing");
}

#[tokio::test(start_paused = true)]
async fn the_next_question_waits_for_the_time_to_live_within_bounds() {
    let least = Duration::from_secs(60);
    let failed = || DnsReply::Failed("away".into());
    let cases = [
        (records(&[1], 0), MIN_PAUSE, MIN_PAUSE),
        (records(&[1], 7), MIN_PAUSE, Duration::from_secs(7)),
        (records(&[1], 10_000), MIN_PAUSE, MAX_PAUSE),
        (records(&[1], 7), least, least),
        (records(&[1], 10_000), 2 * MAX_PAUSE, 2 * MAX_PAUSE),
        (DnsReply::Missing(Duration::ZERO), MIN_PAUSE, MIN_PAUSE),
        (DnsReply::Missing(Duration::MAX), MIN_PAUSE, MAX_MISSING),
        (DnsReply::Missing(Duration::MAX), least, least),
    ];
    for (reply, min_pause, expected) in cases {
        let (table, asked) = scripted(&[reply.clone(), failed()]);
        let _known = table.watch(DnsQuestion { min_pause, ..question("web") });
        sleep(expected + Duration::from_millis(1)).await;
        let asked = asked.lock().unwrap().clone();
        assert_eq!((asked.len(), asked[1] - asked[0]), (2, expected), "{reply:?}, {min_pause:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn failures_are_repeated_ever_more_slowly_until_one_succeeds() {
    let failed = || DnsReply::Failed("away".into());
    let mut script = vec![failed(); 8];
    script.extend([records(&[1], 5), failed()]);
    let (table, asked) = scripted(&script);
    let _known = table.watch(question("web"));
    sleep(DAY).await;
    let asked = asked.lock().unwrap().clone();
    let pauses: Vec<Duration> = asked.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let mut longest = BACK_OFF;
    for pause in &pauses[..8] {
        assert!((longest / 2..=longest).contains(pause), "{pauses:?}");
        longest = (2 * longest).min(MAX_BACK_OFF);
    }
    assert_eq!(pauses[8], Duration::from_secs(5));
    assert!(pauses[9] <= BACK_OFF, "the first failure again");
    assert!(pauses[20..].iter().all(|pause| (MAX_BACK_OFF / 2..=MAX_BACK_OFF).contains(pause)));
    assert!(pauses[20..30].iter().any(|pause| *pause != pauses[30]), "not all the same");
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_once_stays() {
    let (table, asked) = scripted(&[DnsReply::Missing(DAY), records(&[1], 5), records(&[2], 5)]);
    let mut known = table.watch(DnsQuestion { once: true, ..question("web") });
    sleep(DAY).await;
    assert_eq!((show(&mut known).as_str(), asked.lock().unwrap().len()), ("[1]", 2));
}

#[tokio::test(start_paused = true)]
async fn equal_questions_share_an_answer_for_as_long_as_anybody_holds_it() {
    let (table, asked) = scripted(&[records(&[1], 5), records(&[2], 5)]);
    let (mut one, two) = (table.watch(question("web")), table.watch(question("web")));
    let _other = table.watch(question("other"));
    one.changed().await.unwrap();
    drop(two);
    assert_eq!((show(&mut one).as_str(), asked.lock().unwrap().len()), ("[1]", 2));
    one.changed().await.unwrap();
    assert_eq!(show(&mut one), "[2]");
    drop(one);
    sleep(Duration::from_millis(1)).await;
    assert_eq!(table.0.entries.lock().unwrap().len(), 1, "an unused entry is forgotten");
    let mut again = table.watch(question("web"));
    assert_eq!(show(&mut again), "pending", "and asked anew");
    again.changed().await.unwrap();
    assert_eq!(show(&mut again), "[2]");
}

#[tokio::test(start_paused = true)]
async fn an_unused_question_is_dropped() {
    let ended = Arc::new(());
    let asking = Arc::clone(&ended);
    let table: DnsTable<u8> = DnsTable::new(&Handle::current(), move |_, _| {
        let asking = Arc::clone(&asking);
        Box::pin(async move {
            let _asking = asking;
            std::future::pending().await
        })
    });
    let known = table.watch(question("web"));
    sleep(DAY).await;
    assert_eq!(Arc::strong_count(&ended), 3);
    drop(known);
    sleep(Duration::from_millis(1)).await;
    assert_eq!(Arc::strong_count(&ended), 2);
    assert!(table.0.entries.lock().unwrap().is_empty());
}

/// The reasons for which a name was asked for, each with the time since the one before.
type Asked = Arc<Mutex<Vec<(AskReason, Duration)>>>;

/// A table whose servers give these replies in turn, the last one for ever, each after a time; and why they were asked.
fn reasoned(replies: &[DnsReply<u8>], takes: Duration) -> (DnsTable<u8>, Asked) {
    let replies = Mutex::new(VecDeque::from(replies.to_vec()));
    let (asked, last) = (Asked::default(), Mutex::new(Instant::now()));
    let reasons = Arc::clone(&asked);
    let ask = move |_, reason| -> super::DnsReplyFuture<u8> {
        let now = Instant::now();
        let since = now - std::mem::replace(&mut *last.lock().unwrap(), now);
        reasons.lock().unwrap().push((reason, since));
        let mut replies = replies.lock().unwrap();
        let reply = if replies.len() > 1 { replies.pop_front() } else { replies.front().cloned() };
        Box::pin(async move {
            sleep(takes).await;
            reply.unwrap()
        })
    };
    (DnsTable::new(&Handle::current(), ask), asked)
}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_name_without_records_is_asked_for_seldom_until_a_request_asks() {
    use AskReason::{First, Unasked};
    for reply in [DnsReply::Missing(Duration::ZERO), DnsReply::Failed("away".into())] {
        let (table, asked) = reasoned(&[reply], Duration::from_millis(10));
        let (_known, demand) = table.watch_wanted(question("bogus"));
        demand.pass_on();
        sleep(600 * SECOND).await;
        let unasked = std::mem::take(&mut *asked.lock().unwrap());
        assert_eq!(unasked[0].0, First);
        assert!((10..=20).contains(&unasked.len()), "{unasked:?}");
        for (reason, since) in &unasked[1..] {
            assert!(*reason == Unasked && *since >= MAX_UNASKED / 2, "{unasked:?}");
        }
        // A request brings it about as soon as the reply does not hold any more.
        sleep(31 * SECOND).await;
        while asked.lock().unwrap().is_empty() {
            sleep(SECOND).await;
        }
        sleep(29 * SECOND).await;
        asked.lock().unwrap().clear();
        demand.pass_on();
        sleep(Duration::from_millis(1)).await;
        assert_eq!(asked.lock().unwrap()[0].0, First);
        for _ in 0..300 {
            demand.pass_on();
            sleep(SECOND).await;
        }
        let wanted = std::mem::take(&mut *asked.lock().unwrap());
        assert!(
            wanted[1..].iter().all(|(reason, since)| *reason == First && *since <= MAX_BACK_OFF),
            "{wanted:?}"
        );
        assert!(wanted.len() >= 300 / 31, "{wanted:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_name_that_comes_into_being_is_noticed_while_requests_ask_for_it() {
    let missing = DnsReply::Missing(Duration::ZERO);
    let (table, _) = reasoned(&[missing.clone(), missing, records(&[1], 5)], Duration::ZERO);
    let (mut known, demand) = table.watch_wanted(question("web"));
    let began = Instant::now();
    let asking = async {
        loop {
            sleep(SECOND).await;
            demand.pass_on();
        }
    };
    tokio::select! {
        found = known.wait_for(|state| matches!(state, DnsState::Found { .. })) => { found.unwrap(); }
        never = asking => never,
    }
    assert!(began.elapsed() <= 2 * (MIN_PAUSE + SECOND), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_question_that_waits_for_its_turn_goes_first_once_a_request_asks() {
    use AskReason::{First, Unasked};
    let (table, asked) = reasoned(&[DnsReply::Missing(Duration::ZERO)], 1000 * SECOND);
    let (_known, demand) = table.watch_wanted(question("bogus"));
    sleep(1100 * SECOND).await;
    for _ in 0..100 {
        demand.pass_on();
        sleep(SECOND).await;
    }
    let asked: Vec<_> = asked.lock().unwrap().iter().map(|(reason, _)| *reason).collect();
    assert_eq!(asked, [First, Unasked, First], "asked anew once, however many requests come");
}

#[tokio::test(start_paused = true)]
async fn what_the_configuration_names_is_asked_for_as_if_requests_asked() {
    use AskReason::{First, Refresh};
    let (table, asked) =
        reasoned(&[records(&[1], 5), DnsReply::Missing(Duration::ZERO)], Duration::from_millis(10));
    let _known = table.watch_wanted(question("web"));
    let configured = table.watch(question("web"));
    sleep(600 * SECOND).await;
    let asked = asked.lock().unwrap().clone();
    assert_eq!((asked[0].0, asked[1].0), (First, Refresh));
    assert!(asked[2..].iter().all(|(reason, since)| *reason == First && *since < 6 * SECOND), "{asked:?}");
    assert!(asked.len() > 100);
    drop(configured);
}
