use super::*;
use crate::interpret::{AnswerWriter, Bound, Leaf, Namer, NamerRegistry, Namers, Target, delegate};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A namer under `/#/<name>` whose answers a test writes.
#[derive(Default)]
struct Fake {
    writers: Mutex<HashMap<String, Arc<AnswerWriter>>>,
}

impl Namer for Fake {
    fn lookup(&self, path: &Path) -> Answer {
        let (writer, answer) = Answer::pending();
        self.writers.lock().unwrap().insert(path.to_string(), Arc::new(writer));
        answer
    }
}

impl Fake {
    fn writer(&self, path: &str) -> Option<Arc<AnswerWriter>> {
        self.writers.lock().unwrap().get(path).cloned()
    }
}

/// A namer that answers at once, with the path as it is.
struct Echo;

impl Namer for Echo {
    fn lookup(&self, path: &Path) -> Answer {
        Answer::fixed(self.immediate(path).unwrap_or(AnswerState::Pending))
    }

    fn immediate(&self, path: &Path) -> Option<AnswerState> {
        let tree = if path.is_empty() { NameTree::Neg } else { NameTree::Leaf(Leaf::Path(path.clone())) };
        Some(AnswerState::Ready(tree))
    }
}

fn path(text: &str) -> Path {
    text.parse().expect("a path")
}

fn ready(id: &str) -> AnswerState {
    let bound = Bound { id: path(id), residual: Path::empty(), target: Target::Status(200) };
    AnswerState::Ready(NameTree::Leaf(Leaf::Bound(bound)))
}

fn print(delegation: &Delegation) -> String {
    match &delegation.outcome {
        DelegationOutcome::Bound(tree) => format!("{:#}", tree.map(&mut |bound: &Bound| bound.id.clone())),
        other => format!("{other:?}"),
    }
}

/// `/$` echoes; `/#` and, asked before it, `/#/a` are the test's.
fn start() -> (Arc<Fake>, Arc<Fake>, AnswerTable) {
    let (all, a) = (Arc::new(Fake::default()), Arc::new(Fake::default()));
    let namers =
        Namers::new(vec![(path("/$"), Arc::new(Echo)), (path("/#"), all.clone()), (path("/#/a"), a.clone())]);
    let (registry, handle) = NamerRegistry::new(Duration::from_secs(600));
    tokio::spawn(registry.run());
    (all, a, AnswerTable::new(handle, namers))
}

/// Returns the missing questions: numbers of namers, and paths after their prefixes.
fn missing(answers: &AnswerTable) -> Vec<(usize, Path)> {
    answers.missing().into_iter().map(|question| (question.number, question.rest)).collect()
}

fn evaluate(answers: &mut AnswerTable, dtab: &str, from: &str) -> Delegation {
    answers.begin();
    delegate(&dtab.parse().expect("a dtab"), &path(from), answers, Explore::Deciding)
}

#[tokio::test(start_paused = true)]
async fn what_is_missing_is_wanted_once_and_filled() {
    let (all, _, mut answers) = start();
    let delegation = evaluate(&mut answers, "/x => /#/b & /#/b & /#/c", "/x");
    assert_eq!(delegation.outcome, DelegationOutcome::Pending);
    assert_eq!(missing(&answers), [(1, path("/b")), (1, path("/c"))]);
    assert!(answers.take_used_answers().is_empty());
    answers.ask_missing().await;
    assert_eq!(answers.len(), 2);

    let delegation = evaluate(&mut answers, "/x => /#/b & /#/b & /#/c", "/x");
    assert_eq!(delegation.outcome, DelegationOutcome::Pending);
    assert!(answers.missing().is_empty());
    let looked = answers.take_used_answers();
    assert_eq!(looked.len(), 2, "each once");
    assert!(looked.iter().all(|answer| !answer.has_changed()));

    all.writer("/c").unwrap().publish(ready("/c1"));
    let changed: Vec<_> = looked.iter().map(Answer::has_changed).collect();
    assert_eq!(changed, [false, true]);
    assert_eq!(print(&evaluate(&mut answers, "/x => /#/b & /#/b & /#/c", "/x")), "/c1");
    assert!(
        answers.take_used_answers().iter().all(|answer| !answer.has_changed()),
        "seen by this evaluation"
    );
    assert!(looked[1].has_changed(), "and not by the one before");
}

#[tokio::test(start_paused = true)]
async fn namers_are_asked_in_order_until_one_knows() {
    let (all, a, mut answers) = start();
    evaluate(&mut answers, "", "/#/a/b");
    assert_eq!(missing(&answers), [(2, path("/b"))], "the others only when this one says no");
    answers.ask_missing().await;
    a.writer("/b").unwrap().publish(AnswerState::Ready(NameTree::Neg));
    evaluate(&mut answers, "", "/#/a/b");
    assert_eq!(missing(&answers), [(1, path("/a/b"))]);
    answers.ask_missing().await;
    all.writer("/a/b").unwrap().publish(ready("/found"));
    assert_eq!(print(&evaluate(&mut answers, "", "/#/a/b")), "/found");
    assert_eq!(answers.take_used_answers().len(), 2, "both decided it");
    assert_eq!(print(&evaluate(&mut answers, "/b => $", "/$/b")), "$", "no need to ask control");
    assert!(answers.missing().is_empty() && answers.take_used_answers().is_empty());
    assert_eq!(print(&evaluate(&mut answers, "", "/svc")), "~");
}

#[tokio::test(start_paused = true)]
async fn answers_of_namers_that_stay_are_kept() {
    let (all, a, mut answers) = start();
    evaluate(&mut answers, "/x => /#/b & /#/a/c", "/x");
    answers.ask_missing().await;
    all.writer("/b").unwrap().publish(ready("/b1"));
    a.writer("/c").unwrap().publish(ready("/c1"));
    assert_eq!(answers.len(), 2);
    let other = Arc::new(Fake::default());
    answers.replace_namers(
        &answers.namers.replaced_by(vec![(path("/#/a"), other.clone()), (path("/#"), all.clone())]),
    );
    assert_eq!(answers.len(), 1, "what the namer that is gone said is dropped");
    assert_eq!(print(&evaluate(&mut answers, "", "/#/b")), "/b1");
    evaluate(&mut answers, "/x => /#/a/c", "/x");
    answers.ask_missing().await;
    all.writer("/a/c").unwrap().publish(AnswerState::Ready(NameTree::Neg));
    evaluate(&mut answers, "/x => /#/a/c", "/x");
    answers.ask_missing().await;
    other.writer("/c").unwrap().publish(ready("/c2"));
    assert_eq!(
        print(&evaluate(&mut answers, "/x => /#/a/c", "/x")),
        "/c2",
        "the other one is asked, second now"
    );
}

#[tokio::test(start_paused = true)]
async fn pruning_drops_what_no_result_rests_on() {
    let (all, _, mut answers) = start();
    evaluate(&mut answers, "/x => /#/b & /#/c", "/x");
    answers.ask_missing().await;
    evaluate(&mut answers, "", "/#/b");
    let result = answers.take_used_answers();
    answers.prune();
    assert_eq!(answers.len(), 1);
    tokio::time::sleep(Duration::from_secs(1200)).await;
    assert!(all.writer("/c").unwrap().is_closed());
    assert!(!all.writer("/b").unwrap().is_closed());
    drop(result);
    answers.prune();
    assert!(answers.is_empty());
    tokio::time::sleep(Duration::from_secs(1200)).await;
    assert!(all.writer("/b").unwrap().is_closed());
}

/// Inserts an answer of the namer `/#` for the name `/#/<n>`, and evaluates that name.
fn insert(answers: &mut AnswerTable, namer: &Arc<Fake>, n: usize) -> Delegation {
    let rest = Path::from_elems([n.to_string()]);
    let (question, id) = (Question { number: 1, namer: namer.clone(), rest }, format!("/a{n}"));
    answers.insert(question, &Answer::fixed(ready(&id)));
    evaluate(answers, "", &format!("/#/{n}"))
}

#[tokio::test(start_paused = true)]
async fn a_full_table_has_room_again_when_results_are_dropped() {
    let (all, _, mut answers) = start();
    let mut results = Vec::new();
    for n in 0..MAX_TABLE_ANSWERS {
        assert!(answers.has_room(1));
        assert_eq!(print(&insert(&mut answers, &all, n)), format!("/a{n}"));
        results.push(answers.take_used_answers());
    }
    assert!(!answers.has_room(1));
    let full = insert(&mut answers, &all, MAX_TABLE_ANSWERS);
    assert!(matches!(full.outcome, DelegationOutcome::Failed(_)), "{full:?}");
    assert!(answers.missing().is_empty());
    answers.take_used_answers();
    assert_eq!(print(&evaluate(&mut answers, "", "/#/7")), "/a7", "what is in use stays");
    answers.take_used_answers();

    results.truncate(MAX_TABLE_ANSWERS - 3);
    assert!(answers.has_room(3) && !answers.has_room(4));
    assert_eq!(answers.len(), MAX_TABLE_ANSWERS - 3);
    let more = insert(&mut answers, &all, MAX_TABLE_ANSWERS);
    assert_eq!(print(&more), format!("/a{MAX_TABLE_ANSWERS}"));
    assert_eq!(print(&evaluate(&mut answers, "", "/#/7")), "/a7");
}

#[tokio::test(start_paused = true)]
async fn an_answer_goes_with_the_last_result_that_rests_on_it() {
    let (all, _, mut answers) = start();
    evaluate(&mut answers, "", "/#/b");
    answers.ask_missing().await;
    evaluate(&mut answers, "", "/#/b");
    let first = answers.take_used_answers();
    evaluate(&mut answers, "", "/#/b");
    let second = answers.take_used_answers();
    drop(first);
    answers.prune();
    assert_eq!(answers.len(), 1);
    drop(second);
    answers.prune();
    assert!(answers.is_empty());
    tokio::time::sleep(Duration::from_secs(1200)).await;
    assert!(all.writer("/b").unwrap().is_closed(), "control is told, too");
}

#[tokio::test(start_paused = true)]
async fn settling_waits_for_what_decides() {
    let (all, _, mut answers) = start();
    let task = tokio::spawn(async move {
        let dtab = "/x => /#/b | /#/c".parse().expect("a dtab");
        print(&settle(&dtab, &path("/x"), Explore::Deciding, &mut answers).await)
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    all.writer("/b").unwrap().publish(AnswerState::Ready(NameTree::Neg));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!task.is_finished());
    all.writer("/c").unwrap().publish(ready("/c1"));
    assert_eq!(task.await.unwrap(), "/c1");
}

#[tokio::test(start_paused = true)]
async fn settling_all_waits_for_everything_shown() {
    let (all, _, mut answers) = start();
    let task = tokio::spawn(async move {
        let dtab = "/x => /#/b | /#/c".parse().expect("a dtab");
        settle(&dtab, &path("/x"), Explore::All, &mut answers).await
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    all.writer("/b").unwrap().publish(ready("/b1"));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!task.is_finished());
    all.writer("/c").unwrap().publish(ready("/c1"));
    let delegation = task.await.unwrap();
    assert_eq!(print(&delegation), "/b1");
    assert!(!delegation.step.is_pending());
}

#[tokio::test(start_paused = true)]
async fn settling_without_namers_fails_at_once() {
    let namers = Namers::new(vec![(path("/#"), Arc::new(Fake::default()))]);
    let (registry, handle) = NamerRegistry::new(Duration::from_secs(600));
    drop(registry);
    let mut answers = AnswerTable::new(handle, namers);
    let delegation = settle(&Dtab::empty(), &path("/#/b"), Explore::Deciding, &mut answers).await;
    assert!(matches!(delegation.outcome, DelegationOutcome::Failed(_)), "{delegation:?}");
}

#[tokio::test(start_paused = true)]
async fn any_of_several_answers_wakes() {
    let (one, first) = Answer::pending();
    let (_two, second) = Answer::pending();
    let mut answers = [second, first];
    let minute = Duration::from_secs(60);
    assert!(tokio::time::timeout(minute, any_changed(&mut answers)).await.is_err());
    one.publish(AnswerState::Ready(NameTree::Neg));
    tokio::time::timeout(minute, any_changed(&mut answers)).await.expect("one changed");
    assert!(tokio::time::timeout(minute, any_changed(&mut [])).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_request_that_waits_is_one_demand_however_often_an_answer_changes() {
    let (all, _, mut answers) = start();
    let dtab: Dtab = "/x => /#/b | /#/c".parse().unwrap();
    let (from, one_second) = (path("/x"), Duration::from_secs(1));
    evaluate(&mut answers, "/x => /#/b | /#/c", "/x");
    answers.ask_missing().await;
    let writer = all.writer("/b").unwrap();
    let demanded = async || tokio::time::timeout(one_second, writer.demanded()).await.is_ok();
    let first = answers.next_evaluation();
    let mut evaluate_since = |first| {
        answers.begin_since(first);
        delegate(&dtab, &from, &mut answers, Explore::Deciding);
    };
    evaluate_since(first);
    assert!(demanded().await);
    for state in [AnswerState::Failed("why".into()), AnswerState::Pending, AnswerState::Ready(NameTree::Neg)]
    {
        writer.publish(state);
        evaluate_since(first);
        assert!(!demanded().await, "it looks again because the answer has changed");
    }
    evaluate_since(first + 4);
    assert!(demanded().await, "another request");
}
