use super::*;
use crate::interpret::{
    Answer, AnswerState, AnswerWriter, Endpoint, EndpointSet, Leaf, Namer, NamerRegistry, Namers,
};
use crate::name::Dtab;
use crate::sandbox::samples::sandbox;
use crate::telemetry::Registry;
use std::sync::Mutex as StdMutex;
use tokio::time::Instant;

/// A namer whose names have endpoints or not, as a test says.
#[derive(Default)]
struct Switches {
    /// The writers of the answers that were asked for.
    writers: StdMutex<Vec<(Path, AnswerWriter)>>,
    up: StdMutex<Vec<Path>>,
}

impl Switches {
    fn state(&self, path: &Path) -> AnswerState {
        if !self.up.lock().unwrap().contains(path) {
            return AnswerState::Ready(NameTree::Neg);
        }
        let endpoints = EndpointSet::new(vec![Endpoint::at("127.0.0.1:1".parse().unwrap())]);
        let (_, endpoints) = watch::channel(endpoints);
        let id = "/#/up".parse::<Path>().unwrap().concat(path);
        let target = Target::Endpoints(endpoints);
        let bound = Bound { id, residual: Path::empty(), target };
        AnswerState::Ready(NameTree::Leaf(Leaf::Bound(bound)))
    }

    fn switch_on(&self, path: &str) {
        self.up.lock().unwrap().push(path.parse().unwrap());
        for (path, writer) in self.writers.lock().unwrap().iter() {
            writer.publish(self.state(path));
        }
    }
}

impl Namer for Switches {
    fn lookup(&self, path: &Path) -> Answer {
        let (writer, answer) = Answer::pending();
        writer.publish(self.state(path));
        self.writers.lock().unwrap().push((path.clone(), writer));
        answer
    }
}

fn table(namer: &Arc<Switches>, dtab: &str) -> (ReadinessTable, Registry) {
    let namers = Namers::new(vec![("/#/up".parse().unwrap(), Arc::clone(namer) as Arc<dyn Namer>)]);
    let dtab: Dtab = dtab.parse().unwrap();
    let (sender, naming) = watch::channel(Naming { dtab, namers });
    // It does not change, and the watch goes on.
    std::mem::forget(sender);
    let (registry, handle) = NamerRegistry::new(Duration::from_secs(60));
    tokio::spawn(registry.run());
    let metrics = Registry::default();
    (ReadinessTable::new(naming, handle, Metrics::new(&metrics), Handle::current()), metrics)
}

#[tokio::test(start_paused = true)]
async fn a_destination_is_ready_when_it_has_endpoints() {
    let namer = Arc::<Switches>::default();
    let (mut table, _) = table(&namer, "/srv => /#/up");
    let one =
        sandbox(Some("ns"), "one", 10, "/svc/a => /srv/a ; /svc/b => /srv/b | /srv/c | ! ; /svc/d => /srv/a");
    let none = sandbox(Some("ns"), "none", 10, "");
    table.follow([&one, &none].into_iter());
    assert_eq!(table.get(&one), SandboxReadiness::Unknown);
    namer.switch_on("/a");
    namer.switch_on("/b");
    while table.get(&one) == SandboxReadiness::Unknown || table.get(&none) == SandboxReadiness::Unknown {
        table.changed().await;
    }
    let text = "/srv/c leads to no endpoint, in the entry /svc/b=>/srv/b | /srv/c | !";
    assert_eq!(table.get(&one), SandboxReadiness::NotReady("NoEndpoints", text.to_owned()));
    assert_eq!(table.get(&none), SandboxReadiness::Ready(0));

    namer.switch_on("/c");
    let began = Instant::now();
    table.changed().await;
    assert_eq!(table.get(&one), SandboxReadiness::Ready(3));
    assert!(began.elapsed() < Duration::from_secs(1), "it is told at once: {:?}", began.elapsed());

    table.follow([&none].into_iter());
    assert_eq!(table.get(&one), SandboxReadiness::Unknown, "it is not looked after any more");
}

#[tokio::test(start_paused = true)]
async fn questions_keep_the_pace() {
    let namer = Arc::<Switches>::default();
    let (mut table, registry) = table(&namer, "/srv => /#/up");
    let asked = || registry.total("controller_destinations_asked", &[]);
    let many: Vec<_> = (0..100)
        .map(|n| sandbox(Some("ns"), &format!("s{n}"), 10, &format!("/svc/a => /srv/a{n}")))
        .collect();
    let began = Instant::now();
    table.follow(many.iter());
    while many.iter().any(|sandbox| table.get(sandbox) == SandboxReadiness::Unknown) {
        table.changed().await;
    }
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(1_900) && took < Duration::from_millis(2_500), "{took:?}");
    assert_eq!(asked(), 100);
    // Nothing changes, and each is asked again after a minute.
    sleep(PERIOD + Duration::from_secs(5)).await;
    assert_eq!(asked(), 200);
    // One that is new is asked at once, though all others are due.
    sleep(PERIOD - Duration::from_secs(5)).await;
    let new = sandbox(Some("ns"), "new", 10, "/svc/a => /srv/new");
    let began = Instant::now();
    table.follow(many.iter().chain([&new]));
    while table.get(&new) == SandboxReadiness::Unknown {
        table.changed().await;
    }
    assert!(began.elapsed() < Duration::from_millis(200), "{:?}", began.elapsed());
}
