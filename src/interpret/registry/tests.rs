use super::*;
use crate::interpret::{AnswerWriter, Leaf, Namer};
use crate::name::NameTree;
use std::sync::{Arc, Mutex};

const IDLE: Duration = Duration::from_secs(600);

/// A namer whose answers a test changes; it remembers what it was asked.
#[derive(Default)]
struct Fake {
    writers: Mutex<Vec<(Path, Arc<AnswerWriter>)>>,
}

impl Namer for Fake {
    fn lookup(&self, path: &Path) -> Answer {
        let (writer, answer) = Answer::pending();
        self.writers.lock().unwrap().push((path.clone(), Arc::new(writer)));
        answer
    }
}

impl Fake {
    fn asked(&self) -> usize {
        self.writers.lock().unwrap().len()
    }

    fn writer(&self, at: usize) -> Arc<AnswerWriter> {
        self.writers.lock().unwrap()[at].1.clone()
    }
}

fn path(elem: &str) -> Path {
    Path::from_elems([elem])
}

impl Fake {
    /// Asks for the answer for a path.
    async fn ask(self: &Arc<Self>, handle: &NamerHandle, rest: Path) -> Option<Answer> {
        handle.ask([Question { number: 0, namer: self.clone(), rest }]).await?.pop()
    }
}

fn start() -> (Arc<Fake>, NamerHandle, tokio::task::JoinHandle<()>) {
    let (registry, handle) = NamerRegistry::new(IDLE);
    (Arc::default(), handle, tokio::spawn(registry.run()))
}

#[tokio::test(start_paused = true)]
async fn callers_are_joined_to_one_watch() {
    let (fake, handle, _task) = start();
    let mut one = fake.ask(&handle, path("web")).await.unwrap();
    let mut two = fake.ask(&handle.clone(), path("web")).await.unwrap();
    let other = fake.ask(&handle, path("api")).await.unwrap();
    assert_eq!(fake.asked(), 2);
    fake.writer(0).publish(AnswerState::Ready(NameTree::Leaf(Leaf::Path(path("x")))));
    tokio::join!(one.changed(), two.changed());
    assert_eq!(one.look().state, two.look().state);
    assert!(!other.has_changed());
}

#[tokio::test(start_paused = true)]
async fn namers_are_told_apart_by_their_numbers() {
    let (fake, handle, _task) = start();
    let (mut answers, other) = (Vec::new(), Arc::new(Fake::default()));
    for (number, namer) in [(0, &fake), (1, &other), (0, &fake)] {
        let question = Question { number, namer: namer.clone(), rest: path("web") };
        answers.extend(handle.ask([question]).await.unwrap());
    }
    assert_eq!((fake.asked(), other.asked()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn an_unused_answer_is_dropped_after_the_idle_time() {
    let (fake, handle, _task) = start();
    let answer = fake.ask(&handle, path("web")).await.unwrap();
    let counted = answer.with_own_count();
    drop(answer);
    let writer = fake.writer(0);
    tokio::time::sleep(IDLE * 3).await;
    assert!(!writer.is_closed(), "it is still in use");
    drop(counted);
    tokio::time::sleep(IDLE - Duration::from_secs(1)).await;
    assert!(!writer.is_closed(), "not yet");
    tokio::time::timeout(Duration::from_secs(2) + IDLE / 4, writer.closed()).await.expect("dropped");
    fake.ask(&handle, path("web")).await.unwrap();
    assert_eq!(fake.asked(), 2, "asked afresh");
}

#[tokio::test(start_paused = true)]
async fn an_answer_asked_for_again_is_kept() {
    let (fake, handle, _task) = start();
    for _ in 0..10 {
        drop(fake.ask(&handle, path("web")).await.unwrap());
        tokio::time::sleep(IDLE / 2).await;
    }
    assert_eq!(fake.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_number_of_answers_is_bounded() {
    let (fake, handle, _task) = start();
    let mut answers = Vec::new();
    for n in 0..MAX_REGISTRY_ANSWERS {
        answers.push(fake.ask(&handle, path(&n.to_string())).await.unwrap());
    }
    let mut refused = fake.ask(&handle, path("more")).await.unwrap();
    assert_eq!(refused.look().state, AnswerState::Refused("too many names are watched".into()));
    assert_eq!(fake.asked(), MAX_REGISTRY_ANSWERS);
    assert!(fake.ask(&handle, path("7")).await.is_some(), "what is kept is still given");
    assert_eq!(fake.asked(), MAX_REGISTRY_ANSWERS);

    // The one that has been idle longest goes first.
    drop(answers.remove(5));
    tokio::time::sleep(IDLE / 2).await;
    drop(answers.remove(3));
    let mut admitted = fake.ask(&handle, path("more")).await.unwrap();
    assert_eq!(admitted.look().state, AnswerState::Pending);
    assert!(fake.writer(5).is_closed());
    assert!(!fake.writer(3).is_closed());
    let _another = fake.ask(&handle, path("another")).await.unwrap();
    assert!(fake.writer(3).is_closed());
    assert!(!fake.writer(4).is_closed());
    assert!(!fake.writer(MAX_REGISTRY_ANSWERS).is_closed());
}

#[tokio::test]
async fn a_handle_works_from_any_thread() {
    let (fake, handle, _task) = start();
    let there = Arc::clone(&fake);
    let elsewhere = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(there.ask(&handle, path("web")))
    });
    let answer = tokio::task::spawn_blocking(|| elsewhere.join().unwrap()).await.unwrap();
    assert!(answer.is_some());
    assert_eq!(fake.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_registry_ends_with_its_handles_and_leaves_answers_in_use() {
    let (fake, handle, task) = start();
    let mut used = fake.ask(&handle, path("used")).await.unwrap();
    drop(fake.ask(&handle, path("dropped")).await);
    drop(handle);
    task.await.unwrap();
    assert!(fake.writer(1).is_closed());
    fake.writer(0).publish(AnswerState::Ready(NameTree::Empty));
    assert_eq!(used.look().state, AnswerState::Ready(NameTree::Empty));
}

#[tokio::test(start_paused = true)]
async fn without_a_registry_nothing_is_answered() {
    let (registry, handle) = NamerRegistry::new(IDLE);
    drop(registry);
    let fake = Arc::new(Fake::default());
    assert!(fake.ask(&handle, path("web")).await.is_none());
}
