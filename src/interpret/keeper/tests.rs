use super::*;
use crate::interpret::{Leaf, Namer, Writer};
use crate::name::NameTree;
use std::sync::{Arc, Mutex};

const IDLE: Duration = Duration::from_secs(600);

/// A namer whose answers a test changes; it remembers what it was asked.
#[derive(Default)]
struct Fake {
    writers: Mutex<Vec<(Path, Arc<Writer>)>>,
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

    fn writer(&self, at: usize) -> Arc<Writer> {
        self.writers.lock().unwrap()[at].1.clone()
    }
}

fn path(elem: &str) -> Path {
    Path::from_elems([elem])
}

impl Fake {
    /// Asks for what this says of a path.
    async fn ask(self: &Arc<Self>, asker: &Asker, rest: Path) -> Option<Answer> {
        asker.ask(Question { number: 0, namer: self.clone(), rest }).await
    }
}

fn start() -> (Arc<Fake>, Asker, tokio::task::JoinHandle<()>) {
    let (keeper, asker) = Keeper::new(IDLE);
    (Arc::default(), asker, tokio::spawn(keeper.run()))
}

#[tokio::test(start_paused = true)]
async fn callers_are_joined_to_one_watch() {
    let (fake, asker, _task) = start();
    let mut one = fake.ask(&asker, path("web")).await.unwrap();
    let mut two = fake.ask(&asker.clone(), path("web")).await.unwrap();
    let other = fake.ask(&asker, path("api")).await.unwrap();
    assert_eq!(fake.asked(), 2);
    fake.writer(0).publish(State::Ready(NameTree::Leaf(Leaf::Path(path("x")))));
    tokio::join!(one.changed(), two.changed());
    assert_eq!(one.look().state, two.look().state);
    assert!(!other.has_changed());
}

#[tokio::test(start_paused = true)]
async fn namers_are_told_apart_by_their_numbers() {
    let (fake, asker, _task) = start();
    let (mut held, other) = (Vec::new(), Arc::new(Fake::default()));
    for (number, namer) in [(0, &fake), (1, &other), (0, &fake)] {
        let question = Question { number, namer: namer.clone(), rest: path("web") };
        held.push(asker.ask(question).await.unwrap());
    }
    assert_eq!((fake.asked(), other.asked()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn an_answer_nobody_holds_is_dropped_after_the_idle_time() {
    let (fake, asker, _task) = start();
    let answer = fake.ask(&asker, path("web")).await.unwrap();
    let held = answer.counted();
    drop(answer);
    let writer = fake.writer(0);
    tokio::time::sleep(IDLE * 3).await;
    assert!(!writer.is_closed(), "somebody holds it");
    drop(held);
    tokio::time::sleep(IDLE - Duration::from_secs(1)).await;
    assert!(!writer.is_closed(), "not yet");
    tokio::time::timeout(Duration::from_secs(2) + IDLE / 4, writer.closed()).await.expect("dropped");
    fake.ask(&asker, path("web")).await.unwrap();
    assert_eq!(fake.asked(), 2, "asked afresh");
}

#[tokio::test(start_paused = true)]
async fn an_answer_asked_for_again_is_kept() {
    let (fake, asker, _task) = start();
    for _ in 0..10 {
        drop(fake.ask(&asker, path("web")).await.unwrap());
        tokio::time::sleep(IDLE / 2).await;
    }
    assert_eq!(fake.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_number_of_answers_is_bounded() {
    let (fake, asker, _task) = start();
    let mut held = Vec::new();
    for n in 0..MAX_KEPT {
        held.push(fake.ask(&asker, path(&n.to_string())).await.unwrap());
    }
    let mut refused = fake.ask(&asker, path("more")).await.unwrap();
    assert_eq!(refused.look().state, State::Failed("too many names are watched".into()));
    assert_eq!(fake.asked(), MAX_KEPT);
    assert!(fake.ask(&asker, path("7")).await.is_some(), "what is kept is still given");
    assert_eq!(fake.asked(), MAX_KEPT);

    // The one that has been idle longest goes first.
    drop(held.remove(5));
    tokio::time::sleep(IDLE / 2).await;
    drop(held.remove(3));
    let mut admitted = fake.ask(&asker, path("more")).await.unwrap();
    assert_eq!(admitted.look().state, State::Pending);
    assert!(fake.writer(5).is_closed());
    assert!(!fake.writer(3).is_closed());
    let _another = fake.ask(&asker, path("another")).await.unwrap();
    assert!(fake.writer(3).is_closed());
    assert!(!fake.writer(4).is_closed());
    assert!(!fake.writer(MAX_KEPT).is_closed());
}

#[tokio::test]
async fn an_asker_works_from_any_thread() {
    let (fake, asker, _task) = start();
    let there = Arc::clone(&fake);
    let elsewhere = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(there.ask(&asker, path("web")))
    });
    let answer = tokio::task::spawn_blocking(|| elsewhere.join().unwrap()).await.unwrap();
    assert!(answer.is_some());
    assert_eq!(fake.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_keeper_ends_with_its_askers_and_leaves_what_is_held() {
    let (fake, asker, task) = start();
    let mut held = fake.ask(&asker, path("held")).await.unwrap();
    drop(fake.ask(&asker, path("dropped")).await);
    drop(asker);
    task.await.unwrap();
    assert!(fake.writer(1).is_closed());
    fake.writer(0).publish(State::Ready(NameTree::Empty));
    assert_eq!(held.look().state, State::Ready(NameTree::Empty));
}

#[tokio::test(start_paused = true)]
async fn without_a_keeper_nothing_is_answered() {
    let (keeper, asker) = Keeper::new(IDLE);
    drop(keeper);
    let fake = Arc::new(Fake::default());
    assert!(fake.ask(&asker, path("web")).await.is_none());
}
