mod sandboxes;
mod turns;

use super::*;
use crate::context::{OverrideLimits, OverrideRules};
use crate::interpret::{
    Answer, AnswerState, AnswerWriter, Endpoint, EndpointSet, Leaf, Namer, NamerRegistry, Namers,
};
use crate::message::HeadLimits;
use crate::proxy::upstream::ClientSettings;
use crate::proxy::wire::WireProtocol;
use std::sync::Mutex;
use tokio::sync::watch;

/// A namer that answers every name with an endpoint, or with a failure below `/failed`. It keeps the writers of its
/// answers.
#[derive(Default)]
struct Everything(Mutex<Vec<(Path, AnswerWriter)>>);

pub(super) fn endpoint(path: &Path) -> AnswerState {
    let (_, endpoints) = watch::channel(EndpointSet::new(vec![Endpoint::at(([127, 0, 0, 1], 1).into())]));
    let id = Path::from_elems(["#", "all"]).concat(path);
    AnswerState::Ready(NameTree::Leaf(Leaf::Bound(Bound {
        id,
        residual: Path::empty(),
        target: Target::Endpoints(endpoints),
    })))
}

impl Namer for Everything {
    fn lookup(&self, path: &Path) -> Answer {
        let (writer, answer) = Answer::pending();
        let failed = path.first() == Some(b"failed");
        writer.publish(if failed { AnswerState::Failed("it is down".into()) } else { endpoint(path) });
        self.0.lock().unwrap().push((path.clone(), writer));
        answer
    }
}

struct Scene {
    bindings: Bindings,
    namer: Arc<Everything>,
    naming: watch::Sender<Naming>,
}

pub(super) fn settings(timeout: Duration, cache: CacheConfig) -> BindingSettings {
    let heads = HeadLimits { line: 1000, fields_bytes: 1000, fields: 10 };
    BindingSettings {
        cache,
        ..BindingSettings::new(timeout, ClientSettings::new(WireProtocol::Http1, heads))
    }
}

/// Makes bindings that cache ten of each kind for a minute, over a namer that answers every name.
fn scene() -> Scene {
    let namer = Arc::new(Everything::default());
    let namers = Namers::new(vec![(Path::from_elems(["#", "all"]), namer.clone() as Arc<dyn Namer>)]);
    let (namer_registry, namer_handle) = NamerRegistry::new(Duration::from_secs(1));
    tokio::spawn(namer_registry.run());
    let ten = NonZeroUsize::new(10).unwrap();
    let cache =
        CacheConfig { names: ten, clients: ten, idle: Duration::from_secs(60), ..CacheConfig::default() };
    let dtab = "/svc => /#/all; /svc/gone => /none | ~".parse().unwrap();
    let (naming_sender, naming) = watch::channel(Naming { dtab, namers });
    let bindings = Bindings::new(naming, &settings(Duration::from_secs(5), cache), namer_handle);
    Scene { bindings, namer, naming: naming_sender }
}

impl Scene {
    async fn bind(&self, name: &str, overrides: &str) -> Rc<Binding> {
        self.bind_under(&OverrideLimits::default(), name, overrides).await
    }

    /// Binds a name under an override of the caller, or of the source whose end byte the override has.
    async fn bind_under(&self, limits: &OverrideLimits, name: &str, overrides: &str) -> Rc<Binding> {
        let mut path = PathBuf::default();
        path.extend(&name.parse().unwrap());
        let overrides = self.bindings.overrides(overrides.as_bytes(), limits).unwrap();
        self.bindings.bind(&path, &overrides).await.unwrap()
    }

    /// Returns how many overrides, names and clients are cached.
    fn sizes(&self) -> [usize; 3] {
        let state = self.bindings.state.borrow();
        [state.dtabs.len(), state.names.len(), state.clients.len()]
    }
}

fn routed(binding: &Binding) -> Result<String, String> {
    binding.draw().map(|route| route.id().to_owned()).map_err(|error| error.to_string())
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_hit_is_the_same_binding_until_an_answer_changes() {
    let scene = scene();
    let first = scene.bind("/svc/a", "").await;
    assert_eq!(routed(&first).unwrap(), "/#/all/a");
    assert!(Rc::ptr_eq(&first, &scene.bind("/svc/a", "").await));
    let (_, writer) = scene.namer.0.lock().unwrap().pop().unwrap();
    writer.publish(AnswerState::Ready(NameTree::Neg));
    let second = scene.bind("/svc/a", "").await;
    assert!(!Rc::ptr_eq(&first, &second));
    assert!(routed(&second).unwrap_err().starts_with("Unable to route request!\n\nservice name: /svc/a\n"));
    writer.publish(endpoint(&Path::from_elems(["a"])));
    assert_eq!(routed(&*scene.bind("/svc/a", "").await).unwrap(), "/#/all/a");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_new_base_dtab_is_applied_and_clients_are_kept() {
    let scene = scene();
    let first = scene.bind("/svc/a", "").await;
    scene.naming.send_modify(|naming| naming.dtab = "/svc => /#/all/x; /other => /#/all".parse().unwrap());
    assert_eq!(routed(&*scene.bind("/svc/a", "").await).unwrap(), "/#/all/x/a");
    let again = scene.bind("/other/a", "").await;
    let client = |binding: &Binding| Rc::clone(binding.clients().next().unwrap());
    assert!(Rc::ptr_eq(&client(&first), &client(&again)));
}

/// Replaces the namer of the scene.
fn replace_namer(scene: &Scene, namer: impl Namer + 'static) {
    let prefix = Path::from_elems(["#", "all"]);
    scene.naming.send_modify(|naming| {
        naming.namers = naming.namers.replaced_by(vec![(prefix, Arc::new(namer) as Arc<dyn Namer>)]);
    });
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn new_namers_are_applied_and_clients_are_kept() {
    let scene = scene();
    let first = scene.bind("/svc/a", "").await;
    replace_namer(&scene, Everything::default());
    let second = scene.bind("/svc/a", "").await;
    assert!(!Rc::ptr_eq(&first, &second));
    let client = |binding: &Binding| Rc::clone(binding.clients().next().unwrap());
    assert!(Rc::ptr_eq(&client(&first), &client(&second)), "both are bound to the same id");
    drop((first, second));
    tokio::time::sleep(Duration::from_secs(10)).await;
    let (_, writer) = scene.namer.0.lock().unwrap().pop().unwrap();
    assert!(writer.is_closed(), "the namer that is gone need not watch any longer");
}

/// A namer that never answers.
#[derive(Default)]
struct Silent(Mutex<Vec<AnswerWriter>>);

impl Namer for Silent {
    fn lookup(&self, _: &Path) -> Answer {
        let (writer, answer) = Answer::pending();
        self.0.lock().unwrap().push(writer);
        answer
    }
}

/// Binds `/svc/a` over a namer that never answers, until a change after a second gives another one.
async fn bind_across_change(change: impl FnOnce(&Scene)) -> String {
    let scene = scene();
    replace_namer(&scene, Silent::default());
    let began = Instant::now();
    let changing = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        change(&scene);
    };
    let (binding, ()) = tokio::join!(scene.bind("/svc/a", ""), changing);
    assert_eq!(began.elapsed(), Duration::from_secs(1));
    routed(&binding).unwrap()
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_wait_for_a_namer_ends_when_the_namer_is_replaced() {
    let other_namer = |scene: &Scene| replace_namer(scene, Everything::default());
    assert_eq!(bind_across_change(other_namer).await, "/#/all/a");
    let other_dtab = |scene: &Scene| {
        scene.naming.send_modify(|naming| {
            let answers: Arc<dyn Namer> = scene.namer.clone();
            naming.namers = naming.namers.replaced_by(vec![(Path::from_elems(["#", "other"]), answers)]);
            naming.dtab = "/svc => /#/other/x".parse().unwrap();
        });
    };
    assert_eq!(bind_across_change(other_dtab).await, "/#/all/x/a", "the id is the namer's own");
}

/// A scene with a second namer, under `/#/slow`, that does not answer by itself.
fn scene_with_slow_namer() -> (Scene, Arc<Silent>) {
    let (scene, slow) = (scene(), Arc::new(Silent::default()));
    scene.naming.send_modify(|naming| {
        let all: Arc<dyn Namer> = scene.namer.clone();
        let namers: [(_, Arc<dyn Namer>); 2] = [("all", all), ("slow", slow.clone())];
        let namers = namers.map(|(name, namer)| (Path::from_elems(["#", name]), namer));
        naming.namers = naming.namers.replaced_by(namers.to_vec());
    });
    (scene, slow)
}

/// Returns the ids of the clients to which a binding leads.
pub(super) fn client_ids(binding: &Binding) -> Vec<String> {
    binding.clients().map(|client| client.id().to_string()).collect()
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_name_waits_for_what_is_pending_unless_something_else_serves_it() {
    for (overrides, seconds, expected) in [
        ("/svc => /#/slow", 1, &["/#/all/slow"][..]),
        // Finagle would go on with what is there: `~`, `!`, a failure, or the fallback behind them.
        ("/svc => (~ & /#/slow) | /#/all/x", 1, &["/#/all/slow"]),
        ("/svc => ~ & /#/slow", 1, &["/#/all/slow"]),
        ("/svc => ! & /#/slow", 1, &["/#/all/slow"]),
        ("/svc => /#/all/failed & /#/slow", 1, &["/#/all/slow"]),
        ("/svc => 0 * $ & 1 * /#/slow", 1, &["/#/all/slow"]),
        ("/svc => 0 * /#/all/x & 1 * /#/slow", 1, &["/#/all/x", "/#/all/slow"]),
        ("/svc => ((~ & /#/slow) | /#/all/x) & /#/all/y", 1, &["/#/all/slow", "/#/all/y/a"]),
        // One branch has endpoints.
        ("/svc => 1 * /#/all/x & 9 * /#/slow", 0, &["/#/all/x/a"]),
        ("/svc => /#/all/x | /#/slow", 0, &["/#/all/x/a"]),
    ] {
        let (scene, slow) = scene_with_slow_namer();
        let began = Instant::now();
        let answering = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let writers = slow.0.lock().unwrap();
            writers.iter().for_each(|writer| writer.publish(endpoint(&Path::from_elems(["slow"]))));
        };
        let binding = async { (scene.bind("/svc/a", overrides).await, began.elapsed()) };
        let ((binding, elapsed), ()) = tokio::join!(binding, answering);
        assert_eq!(elapsed.as_secs(), seconds, "{overrides}");
        let ids = client_ids(&binding);
        assert!(
            ids.iter().zip(expected).all(|(id, expected)| id.starts_with(expected)),
            "{overrides}: {ids:?}"
        );
        assert_eq!(ids.len(), expected.len(), "{overrides}: {ids:?}");
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_name_falls_back_once_it_is_known_to_lead_nowhere() {
    let (scene, slow) = scene_with_slow_namer();
    let began = Instant::now();
    let answering = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        slow.0.lock().unwrap()[0].publish(AnswerState::Ready(NameTree::Neg));
        tokio::time::sleep(Duration::from_secs(1)).await;
        slow.0.lock().unwrap()[1].publish(AnswerState::Ready(NameTree::Neg));
    };
    let binding = scene.bind("/svc/a", "/svc => /#/slow/x | /#/slow/y | /#/all/z");
    let (binding, ()) = tokio::join!(binding, answering);
    assert_eq!(client_ids(&binding), ["/#/all/z/a"]);
    assert_eq!(began.elapsed().as_secs(), 2);
    assert_eq!(slow.0.lock().unwrap().len(), 2, "each is asked once");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_name_that_is_still_pending_does_not_fall_back_at_the_time_limit() {
    let (scene, _slow) = scene_with_slow_namer();
    let overrides = scene.bindings.overrides(b"/svc => (~ & /#/slow) | /#/all/x", &OverrideLimits::default());
    let mut name = PathBuf::default();
    name.extend(&"/svc/a".parse().unwrap());
    let began = Instant::now();
    let late = scene.bindings.bind(&name, &overrides.unwrap()).await.unwrap_err();
    assert!(matches!(late, Error::BindingTimeout { .. }), "{late}");
    assert_eq!(began.elapsed(), Duration::from_secs(5));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn new_settings_reach_existing_clients() {
    let scene = scene();
    let binding = scene.bind("/svc/a", "").await;
    let client = Rc::clone(binding.clients().next().unwrap());
    assert_eq!(client.settings().protocol, WireProtocol::Http1);
    let mut other = settings(Duration::from_secs(5), CacheConfig::default());
    let heads = client.settings().heads;
    other.traffic =
        Arc::new(ClientSettings { max_attempts: 7, ..ClientSettings::new(WireProtocol::Http2, heads) });
    scene.bindings.configure(&other);
    assert_eq!((client.settings().protocol, client.settings().max_attempts), (WireProtocol::Http2, 7));
    let again = scene.bind("/svc/a", "").await;
    assert!(Rc::ptr_eq(again.clients().next().unwrap(), &client), "it keeps its connections");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn new_bounds_apply_at_once() {
    let scene = scene();
    for n in 0..10 {
        scene.bind(&format!("/svc/n{n}"), &format!("/x{n} => /y")).await;
    }
    assert_eq!(scene.sizes(), [10, 10, 10]);
    let [three, two] = [3, 2].map(|n| NonZeroUsize::new(n).unwrap());
    let cache =
        CacheConfig { names: three, clients: two, idle: Duration::from_secs(1), ..CacheConfig::default() };
    scene.bindings.configure(&settings(Duration::from_secs(2), cache));
    assert_eq!(scene.sizes(), [3, 2, 2], "a name goes with its client");
    tokio::time::advance(Duration::from_secs(2)).await;
    scene.bindings.sweep().await;
    assert_eq!(scene.sizes(), [0, 0, 0], "what is idle is dropped sooner");
    replace_namer(&scene, Silent::default());
    let began = Instant::now();
    let mut name = PathBuf::default();
    name.extend(&"/svc/a".parse().unwrap());
    let late = scene.bindings.bind(&name, &Rc::default()).await.unwrap_err();
    assert!(matches!(late, Error::BindingTimeout { .. }), "{late}");
    assert_eq!(began.elapsed(), Duration::from_secs(2));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn names_under_different_overrides_are_kept_apart_and_share_clients() {
    let scene = scene();
    let plain = scene.bind("/svc/a", "").await;
    let steered = scene.bind("/svc/a", "/svc/a => /svc/b").await;
    assert_eq!((routed(&plain).unwrap(), routed(&steered).unwrap()), ("/#/all/a".into(), "/#/all/b".into()));
    // Another spelling of the same override is the same binding.
    assert!(Rc::ptr_eq(&steered, &scene.bind("/svc/a", "/svc/a=>/svc/b;").await));
    let direct = scene.bind("/svc/b", "").await;
    let client = |binding: &Binding| Rc::clone(binding.clients().next().unwrap());
    assert!(Rc::ptr_eq(&client(&steered), &client(&direct)), "one client for one bound id");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn everything_is_bounded() {
    let scene = scene();
    for n in 0..100 {
        scene.bind(&format!("/svc/n{n}"), &format!("/x{n} => /y")).await;
    }
    assert_eq!(scene.sizes(), [10, 10, 10]);
    assert_eq!(
        routed(&*scene.bind("/svc/n0", "").await).unwrap(),
        "/#/all/n0",
        "a dropped name is bound again"
    );
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn names_that_lead_nowhere_take_no_room_from_others() {
    let scene = scene();
    let used = scene.bind("/svc/used", "").await;
    for n in 0..100 {
        assert!(!scene.bind(&format!("/none/n{n}"), "").await.is_routable());
    }
    assert_eq!(scene.sizes()[1], 10);
    assert!(Rc::ptr_eq(&used, &scene.bind("/svc/used", "").await));
    // Of those, too, the one used least recently goes first.
    let last = scene.bind("/none/n99", "").await;
    for n in 0..8 {
        scene.bind(&format!("/none/m{n}"), "").await;
    }
    assert!(Rc::ptr_eq(&last, &scene.bind("/none/n99", "").await));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_client_in_use_is_not_replaced() {
    let scene = scene();
    let client = |binding: &Binding| Rc::clone(binding.clients().next().unwrap());
    let used = client(&*scene.bind("/svc/used", "").await);
    for n in 0..100 {
        scene.bind(&format!("/svc/n{n}"), "").await;
        // Its binding is a hit each time, which does nothing for the client.
        assert!(Rc::ptr_eq(&used, &client(&*scene.bind("/svc/used", "").await)));
        // It is under other overrides, with a binding of its own.
        let other = scene.bind("/svc/used", &format!("/x{} => /y", n % 2)).await;
        assert!(Rc::ptr_eq(&used, &client(&other)), "{n}");
        assert!(scene.sizes()[2] <= 10);
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn answers_go_with_their_bindings() {
    let scene = scene();
    for n in 0..100 {
        scene.bind(&format!("/svc/n{n}"), "").await;
    }
    scene.bindings.sweep().await;
    assert_eq!(scene.bindings.state.borrow().answers.len(), 10);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn bytes_are_bounded_whatever_the_number() {
    let scene = scene();
    let thousand = NonZeroUsize::new(1000).unwrap();
    let cache =
        CacheConfig { names: thousand, clients: thousand, bytes: 1 << 18, idle: Duration::from_secs(60) };
    scene.bindings.configure(&settings(Duration::from_secs(5), cache));
    let long = "x".repeat(400);
    let mut most = 0;
    for n in 0..300 {
        scene.bind("/svc/a", &format!("/svc => /#/all/n{n} & /#/all/m{n}; /{long} => /y")).await;
        let bytes = scene.bindings.state.borrow().bytes();
        assert!(bytes <= 1 << 18, "{bytes}");
        most = most.max(bytes);
    }
    assert!(most > 1 << 17 && scene.sizes()[1] > 5, "the bound is used: {most}");
    let last = scene.bind("/svc/a", &format!("/svc => /#/all/n299 & /#/all/m299; /{long} => /y")).await;
    assert_eq!(client_ids(&last), ["/#/all/n299/a", "/#/all/m299/a"]);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn the_clients_of_dropped_bindings_are_few() {
    let scene = scene();
    let one = NonZeroUsize::new(1).unwrap();
    let cache = CacheConfig { names: one, ..CacheConfig::default() };
    scene.bindings.configure(&settings(Duration::from_secs(5), cache));
    let leaves = ["/#/all/a", "/#/all/b"].join(" & ");
    let mut most = 0;
    for n in 0..1_500 {
        scene.bind(&format!("/svc/n{n}"), &format!("/svc => {leaves}; /x{n} => /y")).await;
        most = most.max(scene.bindings.state.borrow().clients.released_count());
    }
    assert!((900..=1_002).contains(&most), "{most}");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn overrides_that_add_too_many_lookups_are_refused() {
    let scene = scene();
    let union = |count| format!("/svc => {}", vec!["/#/all/x"; count].join(" & "));
    assert!(scene.bind("/svc/a", &union(300)).await.is_routable());
    let refused = scene.bind("/svc/a", &union(302)).await;
    assert!(matches!(refused.draw(), Err(Error::OverrideLookups(_))), "{refused:?}");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn unused_names_are_dropped() {
    let scene = scene();
    scene.bind("/svc/a", "/x => /y").await;
    scene.bind("/svc/b", "").await;
    tokio::time::advance(Duration::from_secs(40)).await;
    scene.bindings.sweep().await;
    assert_eq!(scene.sizes(), [1, 2, 2]);
    scene.bind("/svc/b", "").await;
    tokio::time::advance(Duration::from_secs(40)).await;
    scene.bindings.sweep().await;
    assert_eq!(scene.sizes(), [0, 1, 1], "/svc/b was in use");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_failure_is_not_cached_for_long() {
    let scene = scene();
    let failed = scene.bind("/svc/failed", "").await;
    assert_eq!(
        routed(&failed).unwrap_err(),
        "it is down\n\nservice name: /svc/failed\nended at:\n  /#/all/failed (/svc => /#/all): failed: it is down"
    );
    assert!(
        Rc::ptr_eq(&failed, &scene.bind("/svc/failed", "").await),
        "many requests do not evaluate it many times"
    );
    tokio::time::advance(Duration::from_secs(5)).await;
    scene.bindings.sweep().await;
    assert!(!Rc::ptr_eq(&failed, &scene.bind("/svc/failed", "").await));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn an_override_that_leads_nowhere_is_named() {
    let scene = scene();
    let table = [
        ("/svc/a => /none", Some("/svc/a=>/none")),
        ("/svc/a => /none | /svc/b", None),
        ("/svc/a => /none | !", None),
        ("/svc/b => /none", None),
        ("/svc/a => /0.5", Some("/svc/a=>/0.5")),
    ];
    for (overrides, unbound) in table {
        assert_eq!(scene.bind("/svc/a", overrides).await.unbound.as_deref(), unbound, "{overrides}");
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn an_error_says_at_which_steps_the_name_ended() {
    let scene = scene();
    for (name, overrides, expected) in [
        ("/svc/gone", "/svc => ~", "\n  /none (/svc/gone => /none | ~): no such name\n  ~ (/svc/gone"),
        ("/svc/a", "/svc => /x; /x => !", "\n  ! (/x => !): fails on purpose\nbase"),
        ("/svc/a", "/svc => $", "\n  $ (/svc => $): no members\nbase"),
        ("/nowhere", "", "\nended at:\n  /nowhere: no such name\nbase"),
    ] {
        scene.naming.send_modify(|naming| naming.dtab = "/svc/gone => /none | ~".parse().unwrap());
        let text = routed(&*scene.bind(name, overrides).await).unwrap_err();
        assert!(text.contains(expected), "{name} under {overrides}: {text}");
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_long_dtab_is_shown_in_part() {
    let scene = scene();
    let overrides = vec!["/x => /y"; 60].join(";");
    let text = routed(&*scene.bind("/svc/gone", &overrides).await);
    assert_eq!(text.unwrap(), "/#/all/gone", "the entry before it answers");
    let text = routed(&*scene.bind("/other", &overrides).await).unwrap_err();
    assert!(text.ends_with("  /x => /y\n  ... and 10 more"), "{text}");
}

/// Limits that allow overrides to lead to some of the namer's names only.
fn to_allowed() -> OverrideLimits {
    let destinations = Some(vec!["/#/all/allowed/**".parse().unwrap()]);
    OverrideLimits::new(OverrideRules { destinations, ..OverrideRules::default() })
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn an_override_that_leads_to_another_destination_is_refused_as_a_whole() {
    let (scene, limits) = (scene(), to_allowed());
    let other =
        "it leads to /#/all/other/a, and this listener allows overrides to lead to /#/all/allowed/** only";
    for (overrides, expected) in [
        ("", Ok("/#/all/a")),
        ("/svc => /#/all/allowed", Ok("/#/all/allowed/a")),
        ("/svc => /#/all/other", Err(other)),
        ("/svc => /x; /x => /#/all/other", Err(other)),
        ("/svc => /#/all/allowed & /#/all/other", Err(other)),
        ("/svc => 0 * /#/all/other & 1 * /#/all/allowed", Err(other)),
        // An alternate counts when it is taken.
        ("/svc => /#/all/allowed | /#/all/other", Ok("/#/all/allowed/a")),
        ("/svc => /#/none | /#/all/other", Err(other)),
        // What leads nowhere leads on to the base, which may go anywhere.
        ("/svc => /#/none", Ok("/#/all/a")),
        ("/svc => !", Err("Unable to route request!")),
        // Entries of the configuration are not limited.
        ("/svc => /#/all/other\x02", Ok("/#/all/other/a")),
        ("/svc => /#/all/other\x01", Err(other)),
        ("/svc => /#/all/other\x03", Err(other)),
        ("/svc => /#/all/other\x04", Err(other)),
    ] {
        let bound = routed(&*scene.bind_under(&limits, "/svc/a", overrides).await);
        match (&bound, expected) {
            (Ok(id), Ok(expected)) => assert_eq!(id, expected, "{overrides}"),
            (Err(text), Err(expected)) => assert!(text.contains(expected), "{overrides}: {text}"),
            _ => panic!("{overrides}: {bound:?}"),
        }
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn an_alternate_is_refused_once_it_is_taken() {
    let (scene, limits) = (scene(), to_allowed());
    let overrides = "/svc => /#/all/allowed | /#/all/other";
    assert!(scene.bind_under(&limits, "/svc/a", overrides).await.draw().is_ok());
    let (_, writer) = scene.namer.0.lock().unwrap().pop().unwrap();
    writer.publish(AnswerState::Ready(NameTree::Neg));
    let refused = scene.bind_under(&limits, "/svc/a", overrides).await;
    assert!(matches!(refused.draw(), Err(Error::OverrideRefused(_))));
    writer.publish(endpoint(&Path::from_elems(["allowed", "a"])));
    assert!(scene.bind_under(&limits, "/svc/a", overrides).await.draw().is_ok());
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn decisions_under_other_limits_are_not_used() {
    let overrides = "/svc => /#/all/other; /x => /y";
    let mut path = PathBuf::default();
    path.extend(&"/svc/a".parse().unwrap());
    let few = OverrideLimits::new(OverrideRules { max_entries: 1, ..OverrideRules::default() });
    let prefixes = Some(vec!["/svc".parse().unwrap()]);
    let prefixed = OverrideLimits::new(OverrideRules { prefixes, ..OverrideRules::default() });
    let unlimited = OverrideLimits::default();
    // The same bytes in either order.
    for order in [[&unlimited, &to_allowed()], [&to_allowed(), &unlimited]] {
        let scene = scene();
        for limits in order.into_iter().cycle().take(4) {
            let bound = scene.bind_under(limits, "/svc/a", overrides).await;
            assert_eq!(bound.draw().is_ok(), limits == &unlimited);
        }
    }
    for limits in [&few, &prefixed] {
        for order in [[&unlimited, limits], [limits, &unlimited]] {
            let scene = scene();
            for limits in order.into_iter().cycle().take(4) {
                let read = scene.bindings.overrides(overrides.as_bytes(), limits);
                assert_eq!(read.is_ok(), limits == &unlimited);
            }
        }
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn routes_have_the_limits_of_the_override_that_leads_there() {
    let scene = scene();
    let limits = OverrideLimits::default();
    for (overrides, limited) in [
        ("", false),
        ("/svc => /#/all/x", true),
        ("/svc => /#/all/x\x02", false),
        ("/svc => /#/none", false),
        // The same leaf by the base, and by the override.
        ("/svc => /#/all", true),
    ] {
        let binding = scene.bind_under(&limits, "/svc/a", overrides).await;
        assert_eq!(binding.draw().unwrap().limits.is_some(), limited, "{overrides}");
    }
}
