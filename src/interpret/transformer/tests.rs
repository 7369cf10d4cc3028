use super::{TransformedNamer, Transformer};
use crate::interpret::{
    Answer, AnswerState, AnswerTable, AnswerWriter, Bound, DelegationOutcome, EndpointSet, Explore, Leaf,
    Namer, NamerRegistry, Namers, Target, settle,
};
use crate::name::{Dtab, NameTree, Path, Weighted};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::timeout;

fn path(text: &str) -> Path {
    text.parse().expect("a path")
}

fn bound(id: &str) -> Bound {
    let target = Target::Endpoints(watch::channel(EndpointSet::default()).1);
    Bound { id: path(id), residual: path("/rest"), target }
}

fn leaf(id: &str) -> NameTree<Leaf> {
    NameTree::Leaf(Leaf::Bound(bound(id)))
}

/// A namer with one answer, which a test writes, and a transformer whose answers it writes as well.
struct Stage {
    source: AnswerWriter,
    answer: Answer,
    transformed: Arc<Table>,
}

#[derive(Default)]
struct Table {
    prefix: Option<Path>,
    asked: Mutex<Vec<(String, AnswerWriter)>>,
}

struct Source(Answer);

impl Namer for Source {
    fn lookup(&self, _: &Path) -> Answer {
        self.0.clone()
    }

    fn immediate(&self, path: &Path) -> Option<AnswerState> {
        match path.len() {
            0 => Some(AnswerState::Ready(NameTree::Neg)),
            1 => Some(AnswerState::Ready(leaf("/here"))),
            _ => None,
        }
    }
}

impl Transformer for Table {
    fn prefix(&self) -> &Path {
        self.prefix.as_ref().expect("it has one")
    }

    fn transform(&self, bound: &Bound) -> Answer {
        let (writer, answer) = Answer::pending();
        self.asked.lock().unwrap().push((bound.id.to_string(), writer));
        answer
    }
}

impl Stage {
    fn start() -> Self {
        let transformed = Arc::new(Table { prefix: Some(path("/%/t")), asked: Mutex::default() });
        let (source, answer) = Answer::pending();
        let namer = TransformedNamer::new(
            Arc::new(Source(answer)),
            Arc::clone(&transformed) as Arc<dyn Transformer>,
            &Handle::current(),
        );
        let answer = namer.lookup(&path("/a/b"));
        Self { source, answer, transformed }
    }

    /// Publishes the answer of the transformer for the name that was asked for at that position.
    fn say(&self, at: usize, state: AnswerState) {
        self.transformed.asked.lock().unwrap()[at].1.publish(state);
    }

    fn asked(&self) -> Vec<String> {
        self.transformed.asked.lock().unwrap().iter().map(|(id, _)| id.clone()).collect()
    }

    /// Waits for a change, and returns the new state.
    async fn next(&mut self) -> String {
        timeout(Duration::from_secs(1), self.answer.changed()).await.expect("a change");
        let current = self.answer.look();
        let stale = if current.stale_since.is_some() { " stale" } else { "" };
        match current.state {
            AnswerState::Ready(tree) => {
                let names = tree.map(&mut |leaf: &Leaf| match leaf {
                    Leaf::Bound(bound) => bound.id.concat(&bound.residual),
                    Leaf::Path(path) => path.clone(),
                });
                format!("{names:#}{stale}")
            }
            other => format!("{other:?}{stale}"),
        }
    }

    async fn nothing(&mut self) {
        let wait = timeout(Duration::from_secs(1), self.answer.changed()).await;
        assert!(wait.is_err(), "{:?}", self.answer.look().state);
    }
}

#[tokio::test(start_paused = true)]
async fn what_stands_in_the_place_of_a_name_is_live_and_has_the_prefix() {
    let mut stage = Stage::start();
    stage.source.publish(AnswerState::Ready(leaf("/a")));
    stage.nothing().await;
    assert_eq!(stage.asked(), ["/a"]);
    stage.say(0, AnswerState::Ready(leaf("/a")));
    assert_eq!(stage.next().await, "/%/t/a/rest");
    stage.say(0, AnswerState::Ready(NameTree::Neg));
    assert_eq!(stage.next().await, "~");
    stage.say(0, AnswerState::Ready(leaf("/other")));
    assert_eq!(stage.next().await, "/%/t/other/rest");
    stage.say(0, AnswerState::Failed("why".into()));
    assert_eq!(stage.next().await, r#"Failed("why")"#);
    assert_eq!(stage.asked().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_bound_passes() {
    let mut stage = Stage::start();
    for (state, said) in [
        (AnswerState::Ready(NameTree::Neg), "~"),
        (AnswerState::Ready(NameTree::Fail), "!"),
        (AnswerState::Ready(NameTree::Empty), "$"),
        (AnswerState::Ready(NameTree::Leaf(Leaf::Path(path("/svc/a")))), "/svc/a"),
        (AnswerState::Failed("why".into()), r#"Failed("why")"#),
    ] {
        stage.source.publish(state);
        assert_eq!(stage.next().await, said);
    }
    assert!(stage.asked().is_empty());
}

#[tokio::test(start_paused = true)]
async fn every_bound_name_of_a_tree_is_replaced_in_its_place() {
    let mut stage = Stage::start();
    let half = |tree| Weighted { weight: 0.5, tree };
    let alt = NameTree::Alt(vec![NameTree::Leaf(Leaf::Path(path("/p"))), leaf("/b")]);
    stage.source.publish(AnswerState::Ready(NameTree::Union(vec![half(leaf("/a")), half(alt)])));
    stage.nothing().await;
    stage.say(1, AnswerState::Ready(leaf("/b")));
    stage.nothing().await;
    stage.say(0, AnswerState::Ready(NameTree::Neg));
    assert_eq!(stage.next().await, "0.5*~ & 0.5*(/p | /%/t/b/rest)");
    assert_eq!(stage.asked(), ["/a", "/b"]);
}

#[tokio::test(start_paused = true)]
async fn other_endpoints_behind_the_same_name_are_taken_over() {
    let mut stage = Stage::start();
    let first = leaf("/a");
    stage.source.publish(AnswerState::Ready(first.clone()));
    stage.nothing().await;
    stage.say(0, AnswerState::Ready(leaf("/a")));
    assert_eq!(stage.next().await, "/%/t/a/rest");
    // The same is no news.
    stage.source.publish(AnswerState::Ready(first));
    stage.nothing().await;
    assert_eq!(stage.asked().len(), 1);
    stage.source.publish(AnswerState::Ready(leaf("/a")));
    assert_eq!(stage.next().await, "Pending");
    stage.say(1, AnswerState::Ready(leaf("/a")));
    assert_eq!(stage.next().await, "/%/t/a/rest");
}

#[tokio::test(start_paused = true)]
async fn a_stale_answer_is_marked_as_stale() {
    let mut stage = Stage::start();
    stage.source.publish(AnswerState::Ready(leaf("/a")));
    stage.nothing().await;
    stage.say(0, AnswerState::Ready(leaf("/a")));
    assert_eq!(stage.next().await, "/%/t/a/rest");
    stage.source.mark_stale();
    assert_eq!(stage.next().await, "/%/t/a/rest stale");
    stage.transformed.asked.lock().unwrap()[0].1.mark_stale();
    stage.nothing().await;
    stage.source.publish(AnswerState::Ready(NameTree::Neg));
    assert_eq!(stage.next().await, "~");
}

#[tokio::test(start_paused = true)]
async fn it_is_released_with_its_last_holder() {
    let Stage { source, mut answer, transformed } = Stage::start();
    source.publish(AnswerState::Ready(leaf("/a")));
    assert!(timeout(Duration::from_secs(1), answer.changed()).await.is_err());
    drop(answer);
    let writer = transformed.asked.lock().unwrap().remove(0).1;
    timeout(Duration::from_secs(1), writer.closed()).await.expect("it is let go of");
    timeout(Duration::from_secs(1), source.closed()).await.expect("and so is the source");
}

#[tokio::test(start_paused = true)]
async fn only_what_is_bound_takes_a_watch() {
    let transformer = Arc::new(Table { prefix: Some(path("/%/t")), asked: Mutex::default() });
    let source = Arc::new(Source(Answer::fixed(AnswerState::Pending)));
    let namer = TransformedNamer::new(source, transformer, &Handle::current());
    assert_eq!(namer.immediate(&path("/")), Some(AnswerState::Ready(NameTree::Neg)));
    assert_eq!(namer.immediate(&path("/a")), None);
    assert_eq!(namer.immediate(&path("/a/b")), None);
}

#[tokio::test(start_paused = true)]
async fn a_name_that_does_not_pass_falls_back() {
    let stage = Stage::start();
    stage.source.publish(AnswerState::Ready(leaf("/a")));
    let other = Arc::new(Source(Answer::fixed(AnswerState::Ready(leaf("/other")))));
    struct Watched(Answer);
    impl Namer for Watched {
        fn lookup(&self, _: &Path) -> Answer {
            self.0.clone()
        }
    }
    let namers = Namers::new(vec![
        (path("/other"), other as Arc<dyn Namer>),
        (path("/first"), Arc::new(Watched(stage.answer.clone()))),
    ]);
    let (registry, handle) = NamerRegistry::new(Duration::from_secs(60));
    tokio::spawn(registry.run());
    let mut answers = AnswerTable::new(handle, namers);
    let dtab: Dtab = "/svc => /first/x/y | /other/x/y".parse().unwrap();
    let name = path("/svc");
    for (state, expected) in [
        (AnswerState::Ready(NameTree::Neg), "/other/rest"),
        (AnswerState::Ready(leaf("/a")), "/%/t/a/rest"),
        (AnswerState::Ready(NameTree::Neg), "/other/rest"),
    ] {
        tokio::time::sleep(Duration::from_millis(1)).await;
        stage.say(0, state);
        tokio::time::sleep(Duration::from_millis(1)).await;
        let delegation = settle(&dtab, &name, Explore::Deciding, &mut answers).await;
        let DelegationOutcome::Bound(tree) = &delegation.outcome else { panic!("{delegation:?}") };
        let names = tree.map(&mut |bound: &Bound| bound.id.concat(&bound.residual));
        assert_eq!(format!("{names:#}"), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn requests_for_a_transformed_name_are_demand_for_the_name_behind_it() {
    let mut stage = Stage::start();
    let demanded =
        async |stage: &Stage| timeout(Duration::from_secs(2), stage.source.demanded()).await.is_ok();
    assert!(!demanded(&stage).await, "nobody has looked");
    stage.source.publish(AnswerState::Ready(NameTree::Neg));
    assert!(!demanded(&stage).await, "that it follows the name is no demand");
    stage.answer.look();
    assert!(demanded(&stage).await);
    assert!(!demanded(&stage).await, "nobody has looked since");
    stage.answer.has_changed();
    assert!(demanded(&stage).await);
}
