use super::*;
use crate::interpret::{AnswerState, AnswerWriter, Leaf, Namer};
use crate::name::NameTree;
use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::Poll;

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
    let clone = answer.clone();
    drop(answer);
    let writer = fake.writer(0);
    tokio::time::sleep(IDLE * 3).await;
    assert!(!writer.is_closed(), "it is still in use");
    drop(clone);
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

/// Waits until the registry has done all that it was told before.
async fn settled(fake: &Arc<Fake>, handle: &NamerHandle) {
    for _ in 0..4 {
        yield_now().await;
    }
    drop(fake.ask(handle, path("used")).await);
}

/// Asks for a name, with an answer that leads somewhere or nowhere, and lets go of it.
async fn ask_and_drop(fake: &Arc<Fake>, handle: &NamerHandle, name: &str, is_negative: bool) {
    let answer = fake.ask(handle, path(name)).await.unwrap();
    if is_negative {
        fake.writer(fake.asked() - 1).publish(AnswerState::Ready(NameTree::Neg));
    }
    drop(answer);
    settled(fake, handle).await;
}

#[tokio::test(start_paused = true)]
async fn the_bytes_of_idle_answers_are_bounded() {
    // A long name takes as much as several short ones.
    let long = |n: usize| format!("{n}-{}", "x".repeat(3_000));
    let short = |n: usize| n.to_string();
    for (most, is_negative) in [(MAX_IDLE_NEGATIVE_BYTES, true), (MAX_IDLE_BYTES, false)] {
        for (name, bytes) in [(&long as &dyn Fn(usize) -> String, 10_000..10_100), (&short, 1_000..1_100)] {
            let (fake, handle, _task) = start();
            let _used = fake.ask(&handle, path("used")).await.unwrap();
            ask_and_drop(&fake, &handle, "other", !is_negative).await;
            let count = most / bytes.start + 10;
            for n in 0..count {
                ask_and_drop(&fake, &handle, &name(n), is_negative).await;
                if n == most / bytes.end / 2 {
                    // The first is used again.
                    ask_and_drop(&fake, &handle, &name(0), false).await;
                    assert_eq!(fake.asked(), n + 3);
                }
            }
            assert!(
                (0..3).all(|n| !fake.writer(n).is_closed()),
                "those in use, of the other kind, and used last"
            );
            let open = (3..count + 2).filter(|n| !fake.writer(*n).is_closed()).count();
            assert!((most / bytes.end - 1..=most / bytes.start).contains(&open), "{open} of {most} bytes");
            assert!((count + 2 - open..count + 2).all(|n| !fake.writer(n).is_closed()), "the last ones");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn answers_in_use_are_never_refused() {
    const MANY: usize = 10_000;
    let (fake, handle, _task) = start();
    let mut answers = Vec::new();
    for n in 0..MANY {
        answers.push(fake.ask(&handle, path(&n.to_string())).await.unwrap());
    }
    assert!(answers.iter_mut().all(|answer| answer.look().state == AnswerState::Pending));
    assert_eq!(fake.asked(), MANY);
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

#[tokio::test(start_paused = true)]
async fn a_sweep_gives_way_to_requests_and_to_other_tasks() {
    const IDLE_ANSWERS: usize = 3_500;
    let (fake, handle, _task) = start();
    let questions =
        (0..IDLE_ANSWERS).map(|n| Question { number: 0, namer: fake.clone(), rest: path(&n.to_string()) });
    drop(handle.ask(questions).await);
    // By then the registry has taken all of them back.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let writers: Vec<_> = (0..IDLE_ANSWERS).map(|n| fake.writer(n)).collect();
    let open = || writers.iter().filter(|writer| !writer.is_closed()).count();
    assert_eq!(open(), IDLE_ANSWERS);
    let (requests, answered) = (Arc::clone(&fake), Arc::new(Mutex::new(0)));
    let counted = Arc::clone(&answered);
    let asking = tokio::spawn(async move {
        loop {
            requests.ask(&handle, path("used")).await.unwrap();
            *counted.lock().unwrap() += 1;
        }
    });
    let watching = tokio::spawn(async move {
        let open = || writers.iter().filter(|writer| !writer.is_closed()).count();
        let mut left = vec![open()];
        while *left.last().unwrap() > 0 {
            // It is at once the last of those that are ready.
            let mut is_polled = false;
            poll_fn(|context| {
                context.waker().wake_by_ref();
                if std::mem::replace(&mut is_polled, true) { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
            left.push(open());
        }
        left
    });
    tokio::time::advance(IDLE + IDLE / 4).await;
    let left = watching.await.unwrap();
    asking.abort();
    let most = left.windows(2).map(|pair| pair[0] - pair[1]).max();
    assert!(most <= Some(SWEPT_AT_ONCE), "{most:?} at once");
    let answered = *answered.lock().unwrap();
    assert!(answered >= 10, "{answered} requests were answered meanwhile");
}
