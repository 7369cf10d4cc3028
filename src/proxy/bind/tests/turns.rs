//! Turns at evaluations, and the shares of callers.

use super::*;
use crate::proxy::limits::{PeerCounts, PeerRequests};
use std::cell::Cell;
use tokio::task::{JoinSet, yield_now};

/// The requests of the addresses that end with these numbers.
fn peers<const N: usize>(ends: [u8; N]) -> [Rc<PeerRequests>; N] {
    let counts = PeerCounts::default();
    ends.map(|end| PeerRequests::of([10, 0, 0, end].into(), &counts))
}

/// Asks for `/svc/n{n}`, whose namer does not answer; returns how that ends.
async fn fails(scene: Rc<Scene>, n: usize, peer: Rc<PeerRequests>, is_trusted: bool) -> Error {
    let mut name = PathBuf::default();
    name.extend(&format!("/svc/n{n}").parse().unwrap());
    let caller = NameCaller::new(&peer, is_trusted);
    scene.bindings.bind_for(&name, &Rc::default(), caller).await.unwrap_err()
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn strangers_wait_for_a_thousand_names_at_most() {
    let scene = Rc::new(scene());
    replace_namer(&scene, Silent::default());
    let [peer] = peers([1]);
    let bind = |n, is_trusted| fails(Rc::clone(&scene), n, Rc::clone(&peer), is_trusted);
    let mut waiting = JoinSet::new();
    (0..1000).for_each(|n| drop(waiting.spawn_local(bind(n, false))));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let began = Instant::now();
    assert!(matches!(bind(1000, false).await, Error::PendingNames { limit: 1000 }));
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert!(matches!(bind(1001, true).await, Error::BindingTimeout { .. }), "a trusted caller waits");
    let ended = waiting.join_all().await;
    assert!(ended.iter().all(|error| matches!(error, Error::BindingTimeout { .. })));
    assert!(matches!(bind(1000, false).await, Error::BindingTimeout { .. }), "there is room again");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn one_address_does_not_take_all_names_that_strangers_wait_for() {
    let scene = Rc::new(scene());
    replace_namer(&scene, Silent::default());
    let [many, few] = peers([1, 2]);
    let _under_way: Vec<_> = (0..1000).map(|_| many.begin()).collect();
    let _one = few.begin();
    let mut waiting = JoinSet::new();
    for n in 0..1000 {
        waiting.spawn_local(fails(Rc::clone(&scene), n, Rc::clone(&many), false));
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut refused = 0;
    while let Some(Ok(error)) = waiting.try_join_next() {
        assert!(matches!(error, Error::PendingNames { .. }), "{error}");
        refused += 1;
    }
    assert_eq!(refused, 124, "a thousand requests have 125 free places or more beside them");
    let began = Instant::now();
    let waited = fails(Rc::clone(&scene), 1000, few, false).await;
    assert!(matches!(waited, Error::BindingTimeout { .. }), "{waited}");
    assert_eq!(began.elapsed(), Duration::from_secs(5));
}

/// A scene with a name whose answer is there, and a task beside it that counts its turns while it is kept.
async fn scene_with_others() -> (Rc<Scene>, Rc<Cell<usize>>, JoinSet<()>) {
    let mut scene = scene();
    // Every turn is a long one.
    scene.bindings.turns = EvaluationTurns::with_slice(Duration::ZERO);
    let scene = Rc::new(scene);
    scene.bind("/svc/a", "").await;
    let turns = Rc::new(Cell::new(0));
    let other = Rc::clone(&turns);
    let mut others = JoinSet::new();
    others.spawn_local(async move {
        loop {
            other.set(other.get() + 1);
            yield_now().await;
        }
    });
    (scene, turns, others)
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn others_have_a_turn_after_an_evaluation() {
    let (scene, turns, _others) = scene_with_others().await;
    for n in 0..10 {
        let before = turns.get();
        // The answers are there.
        scene.bind("/svc/a", &format!("/x{n} => /y")).await;
        assert!(turns.get() > before);
        let before = turns.get();
        scene.bind("/svc/a", &format!("/x{n} => /y")).await;
        assert_eq!(turns.get(), before, "a hit needs none");
    }
}

/// The work of a request in its turn.
#[derive(Clone, Copy, Debug)]
enum Work {
    Parse,
    ParseWrongText,
    Evaluate,
    ParseAndEvaluate,
}

impl Work {
    async fn run(self, scene: Rc<Scene>, n: usize, peer: Rc<PeerRequests>) {
        let caller = NameCaller::new(&peer, true);
        let (none, limits) = (scene.bindings.no_sandboxes(), OverrideLimits::default());
        match self {
            Self::Parse | Self::ParseWrongText => {
                let text = format!("/x{n} => {}", if matches!(self, Self::Parse) { "/y" } else { "y" });
                let dtab = scene.bindings.request_dtab_in_turn(&none, text.as_bytes(), &limits, caller).await;
                assert_eq!(dtab.is_ok(), matches!(self, Self::Parse));
            }
            Self::ParseAndEvaluate => {
                let mut name = PathBuf::default();
                name.extend(&"/svc/a".parse().unwrap());
                let text = format!("/x{n} => /y");
                let added = (&none, text.as_bytes(), &limits);
                let (dtab, binding) = scene.bindings.bind_request(&name, added, caller).await.unwrap();
                assert!(!dtab.dtab().is_empty() && binding.is_routable());
            }
            Self::Evaluate => {
                let mut name = PathBuf::default();
                name.extend(&"/svc/a".parse().unwrap());
                let dtab = scene.bindings.overrides(format!("/x{n} => /y").as_bytes(), &limits).unwrap();
                assert!(scene.bindings.bind_for(&name, &dtab, caller).await.unwrap().is_routable());
            }
        }
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn requests_that_come_together_have_their_turns_one_by_one_and_each_address_its_own() {
    for work in [Work::Parse, Work::ParseWrongText, Work::Evaluate, Work::ParseAndEvaluate] {
        let (scene, turns, _others) = scene_with_others().await;
        let [many, few] = peers([1, 2]);
        let ended = Rc::new(RefCell::new(Vec::new()));
        let mut requests = JoinSet::new();
        // Streams of two connections: all are ready at once.
        for n in 0..20 {
            let peer = if n < 18 { &many } else { &few };
            let (turns, ended, is_of_many) = (Rc::clone(&turns), Rc::clone(&ended), n < 18);
            let run = work.run(Rc::clone(&scene), n, Rc::clone(peer));
            requests.spawn_local(async move {
                run.await;
                ended.borrow_mut().push((is_of_many, turns.get()));
            });
        }
        requests.join_all().await;
        let ended = ended.take();
        assert!(ended.is_sorted_by(|(_, one), (_, next)| one < next), "{work:?}: {ended:?}");
        let last_of_few = ended.iter().rposition(|(is_of_many, _)| !is_of_many).unwrap();
        assert!(last_of_few < 5, "{work:?}: {ended:?}");
    }
}
