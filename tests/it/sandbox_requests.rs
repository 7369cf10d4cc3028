//! Requests that select sandboxes: from every source, over both protocols, and what their callers are told.

use crate::support::either::{Ask, Caller, Echo, Speaks, router};
use crate::support::{TestApp, speaking};
use Speaks::{Http1, Http2};

/// An app with a baseline and two branches, all of one protocol, and a caller of the same.
struct Scene {
    base: Echo,
    a: Echo,
    b: Echo,
    app: TestApp,
    caller: Caller,
}

impl Scene {
    /// Starts it with these keys of `sandboxes` beside its items, and of the server.
    async fn start(speaks: Speaks, sandboxes: &str, server: &str) -> Self {
        let (base, a, b) = (Echo::start(speaks).await, Echo::start(speaks).await, Echo::start(speaks).await);
        let items = format!(
            "  items:\n  - {{name: a, dtab: '/svc/web => {}'}}\n  - {{name: b, dtab: '/svc/web => {} | !'}}\n  \
             - {{name: gone, dtab: '/svc/web => /nowhere'}}\n  - {{name: both, all: [b, a]}}\n",
            a.path(),
            b.path()
        );
        let dtab = format!("/svc/web => {}", base.path());
        let yaml = format!("sandboxes:\n{sandboxes}{items}{}", speaking(router(speaks), &dtab, server));
        let app = TestApp::start(&yaml).await;
        let caller = Caller::connect(&app, speaks).await;
        Self { base, a, b, app, caller }
    }

    /// Asks for a target; returns what came back of `l5d-sandbox*`, sorted.
    async fn ask(&mut self, target: &str, fields: &[(&'static str, &str)]) -> (u16, Vec<String>) {
        let seen = self.caller.ask(&Ask { method: "GET", target, fields, ..Ask::default() }).await;
        let told = seen.fields.iter().filter(|(name, _)| name.starts_with("l5d-sandbox"));
        let mut told: Vec<String> =
            told.map(|(name, value)| format!("{}: {value}", &name["l5d-sandbox".len()..])).collect();
        told.sort_unstable();
        (seen.status, told)
    }
}

const TRUSTING: &str = ", trust: everybody";
const SOURCES: &str = "  headers: [x-sandbox]\n  queryParameter: sandbox\n";

#[tokio::test(flavor = "local")]
async fn every_source_selects_a_sandbox_and_travels_as_it_came() {
    for speaks in [Http1, Http2] {
        let mut scene = Scene::start(speaks, SOURCES, TRUSTING).await;
        let requests: [(&str, (&'static str, &str)); 8] = [
            ("/", ("baggage", "x=1,sd-routing-key=a;p=1,y=2")),
            ("/", ("baggage", "okteto-divert=a")),
            ("/", ("tracestate", "x=1,sd-sandbox=a")),
            ("/", ("ot-baggage-sd-routing-key", "a")),
            ("/", ("uberctx-mirrord-session", "a")),
            ("/", ("x-sandbox", "a")),
            ("/?n=1&sandbox=a", ("x-other", "1")),
            ("/", ("baggage", "sd-routing-key=b%2Ba")),
        ];
        for (target, field) in requests {
            let (status, told) = scene.ask(target, &[field]).await;
            assert_eq!(
                (status, told.iter().any(|text| text.starts_with(": "))),
                (200, true),
                "{speaks:?} {target} {field:?}: {told:?}"
            );
            let request = scene.a.take_request();
            assert_eq!(
                (request.target.as_str(), request.field(field.0)),
                (target, Some(field.1)),
                "{speaks:?}"
            );
            assert_eq!(request.field("l5d-ctx-dtab"), None, "{speaks:?}");
        }
        let (status, told) = scene.ask("/", &[]).await;
        assert_eq!((status, told), (200, Vec::new()));
        scene.base.take_request();
        // An override of the caller's own comes after, and travels by itself.
        let entry = format!("/svc/web => {}", scene.b.path());
        scene.ask("/", &[("x-sandbox", "a"), ("l5d-dtab", &entry)]).await;
        let carried = scene.b.take_request();
        assert_eq!(carried.field("l5d-ctx-dtab"), Some(entry.replace(' ', "").as_str()), "{speaks:?}");
        scene.app.stop().await;
    }
}

#[tokio::test(flavor = "local")]
async fn a_trusted_caller_is_told_what_came_of_its_keys() {
    for speaks in [Http1, Http2] {
        let mut scene = Scene::start(speaks, SOURCES, TRUSTING).await;
        let table: [(&str, &[&str]); 6] = [
            ("a", &[": a"]),
            ("a+b", &["-conflict: /svc/web a+b", ": a+b"]),
            ("both+a", &["-conflict: /svc/web b+a", ": both+a"]),
            ("a+other", &["-unknown: other", ": a"]),
            ("other", &["-unknown: other"]),
            ("gone", &["-fallback: gone /svc/web=>/nowhere", ": gone"]),
        ];
        for (keys, expected) in table {
            let (status, told) = scene.ask("/", &[("x-sandbox", keys)]).await;
            assert_eq!(
                (status, told),
                (200, expected.iter().map(|&text| text.to_owned()).collect()),
                "{keys}"
            );
        }
        let keys: Vec<String> = (0..17).map(|n| format!("k{n}")).collect();
        assert_eq!(scene.ask("/", &[("x-sandbox", &keys.join("+"))]).await, (400, Vec::new()));
        let names = ["sandbox_requests", "sandbox_unknown_keys", "sandbox_conflicts", "sandbox_fallbacks"];
        let totals = names.map(|name| scene.app.total(name, &[]));
        assert_eq!(totals, [5, 2, 2, 1], "{speaks:?}");
        scene.app.stop().await;
    }
}

#[tokio::test(flavor = "local")]
async fn a_strangers_key_is_nothing() {
    for speaks in [Http1, Http2] {
        let mut scene = Scene::start(speaks, SOURCES, ", trust: nobody").await;
        let fields = [
            ("baggage", "x=1,sd-routing-key=a"),
            ("tracestate", "sd-sandbox=a"),
            ("x-sandbox", "a"),
            ("uberctx-sd-sandbox", "a"),
        ];
        assert_eq!(scene.ask("/?sandbox=a", &fields).await, (200, Vec::new()), "{speaks:?}");
        let request = scene.base.take_request();
        assert_eq!((request.target.as_str(), request.field("baggage")), ("/", Some("x=1")), "{speaks:?}");
        for (name, _) in &fields[1..] {
            assert_eq!(request.field(name), None, "{speaks:?} {name}");
        }
        assert_eq!(scene.app.total("sandbox_requests", &[]), 0);
        scene.app.stop().await;
    }
}

#[tokio::test(flavor = "local")]
async fn what_the_configuration_gives_selects_a_sandbox_for_strangers_too() {
    for speaks in [Http1, Http2] {
        let server = ", trust: nobody, inject: [{when: {header: {x-beta: '*'}}, sandbox: a}]";
        let mut scene = Scene::start(speaks, "", server).await;
        assert_eq!(scene.ask("/", &[("x-beta", "1"), ("baggage", "sd-sandbox=b")]).await, (200, Vec::new()));
        assert_eq!(scene.a.take_request().field("baggage"), Some("sd-routing-key=a"), "{speaks:?}");
        scene.app.stop().await;
    }
}

#[tokio::test(flavor = "local")]
async fn the_limits_of_the_listener_and_of_the_configuration_hold() {
    for speaks in [Http1, Http2] {
        let server = ", trust: everybody, overrides: {destinations: ['/#/**']}";
        let mut scene = Scene::start(speaks, SOURCES, server).await;
        assert_eq!(scene.ask("/", &[("x-sandbox", "a")]).await, (403, vec![": a".to_owned()]), "{speaks:?}");
        assert_eq!(
            scene.ask("/", &[("x-sandbox", "gone")]).await.0,
            200,
            "it leads nowhere, and so not there"
        );
        scene.app.stop().await;

        let own = "  overrides: {destinations: ['/#/**']}\n";
        let mut scene = Scene::start(speaks, &[SOURCES, own].concat(), TRUSTING).await;
        assert_eq!(scene.ask("/", &[("x-sandbox", "a")]).await.0, 403, "{speaks:?}");
        scene.app.stop().await;

        let refusing = [SOURCES, "  unknownKey: refuse\n"].concat();
        let mut scene = Scene::start(speaks, &refusing, TRUSTING).await;
        let refused = scene.ask("/", &[("x-sandbox", "a+other")]).await;
        assert_eq!(refused, (404, vec!["-unknown: other".to_owned(), ": a".to_owned()]), "{speaks:?}");
        assert_eq!(scene.ask("/", &[("x-sandbox", "a")]).await.0, 200, "{speaks:?}");
        scene.app.stop().await;
    }
}
