//! Bindings under the entries of sandboxes.

use super::*;
use crate::sandbox::{SandboxTable, samples};
use jiff::Timestamp;

/// A scene with sandboxes, as one request after the other sees them.
struct SandboxScene {
    scene: Scene,
    table: watch::Sender<Arc<SandboxTable>>,
    sandboxes: Rc<WorkerSandboxes>,
}

impl SandboxScene {
    fn new() -> Self {
        let (table, live) = watch::channel(Arc::default());
        let sandboxes = Rc::new(WorkerSandboxes::new(live));
        let mut scene = scene();
        scene.bindings = scene.bindings.with_sandboxes(&sandboxes);
        Self { scene, table, sandboxes }
    }

    /// Publishes sandboxes of the embedded store.
    fn publish(&self, sandboxes: &[&Arc<crate::sandbox::Sandbox>]) {
        let store = samples::store(sandboxes.iter().copied(), []);
        self.table.send_replace(Arc::new(SandboxTable::new([&store], Timestamp::now())));
    }

    async fn bind(&self, name: &str, keys: &str, overrides: &str) -> Rc<Binding> {
        let mut path = PathBuf::default();
        path.extend(&name.parse().unwrap());
        let (overlay, limits) = (self.sandboxes.overlay(keys), OverrideLimits::default());
        let dtab = self.scene.bindings.request_dtab(&overlay, overrides.as_bytes(), &limits).unwrap();
        self.scene.bindings.bind(&path, &dtab).await.unwrap()
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn entries_of_sandboxes_come_after_the_base_and_before_overrides() {
    let scene = SandboxScene::new();
    let a = samples::sandbox(None, "a", 0, "/svc/x => /#/all/of-a; /mine => /#/all/mine");
    let b = samples::sandbox(None, "b", 0, "/svc/x => /#/all/of-b");
    scene.publish(&[&a, &b]);
    let to =
        async |keys: &str, overrides: &str| routed(&*scene.bind("/svc/x", keys, overrides).await).unwrap();
    assert_eq!(to("", "").await, "/#/all/x");
    assert_eq!(to("a", "").await, "/#/all/of-a");
    assert_eq!(to("a+b", "").await, "/#/all/of-b");
    assert_eq!(to("b+a", "").await, "/#/all/of-a");
    assert_eq!(to("unknown", "").await, "/#/all/x");
    assert_eq!(to("a", "/svc/x => /mine").await, "/#/all/mine");
    assert_eq!(to("b", "/svc/x => /#/all/own").await, "/#/all/own");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_change_drops_what_was_bound_under_that_sandbox_alone() {
    let scene = SandboxScene::new();
    let made = |name: &str, dtab: &str| samples::sandbox(None, name, 0, dtab);
    let (a, b) = (made("a", "/svc/x => /#/all/of-a"), made("b", "/svc/x => /#/all/of-b"));
    scene.publish(&[&a, &b]);
    let of_a = scene.bind("/svc/x", "a", "").await;
    let of_b = scene.bind("/svc/x", "b", "").await;
    let (both, plain) = (scene.bind("/svc/x", "a+b", "").await, scene.bind("/svc/x", "", "").await);
    assert_eq!(scene.scene.sizes()[..2], [3, 4]);
    scene.publish(&[&made("a", "/svc/x => /#/all/changed"), &b]);
    assert!(Rc::ptr_eq(&of_b, &scene.bind("/svc/x", "b", "").await));
    assert!(Rc::ptr_eq(&plain, &scene.bind("/svc/x", "", "").await));
    assert_eq!(scene.scene.sizes()[..2], [1, 2]);
    assert_eq!(routed(&*scene.bind("/svc/x", "a", "").await).unwrap(), "/#/all/changed");
    assert!(!Rc::ptr_eq(&of_a, &scene.bind("/svc/x", "a", "").await));
    assert!(!Rc::ptr_eq(&both, &scene.bind("/svc/x", "a+b", "").await));
    // One that is gone is dropped without requests.
    scene.publish(&[&b]);
    scene.scene.bindings.sweep().await;
    assert_eq!(scene.scene.sizes()[..2], [1, 2]);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn an_entry_that_leads_nowhere_says_which_sandbox_it_is_from() {
    let scene = SandboxScene::new();
    let a = samples::sandbox(None, "a", 0, "/svc/x => /none");
    let b = samples::sandbox(None, "b", 0, "/other => /none");
    scene.publish(&[&a, &b]);
    let bound = scene.bind("/svc/x", "b+a", "").await;
    assert_eq!(bound.fallback.as_deref(), Some("a /svc/x=>/none"));
    assert_eq!((routed(&bound).as_deref(), bound.unbound.as_deref()), (Ok("/#/all/x"), None));
    let bound = scene.bind("/svc/x", "b", "/svc/x => ~").await;
    assert_eq!((bound.fallback.as_deref(), bound.unbound.as_deref()), (None, Some("/svc/x=>~")));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_sandbox_leads_to_the_endpoints_of_its_namespace_alone() {
    let scene = SandboxScene::new();
    let roots = vec![crate::sandbox::NamespaceRoot { prefix: "/#/all".parse().unwrap(), namespace: None }];
    let rules = crate::sandbox::SandboxRules::new(None, None, crate::sandbox::MAX_TTL, roots);
    let sandbox = |name: &str, dtab: &str| samples::sandbox_under(&rules, Some("team"), name, dtab);
    let own = sandbox("own", "/svc/x => /#/all/team/x");
    let other = sandbox("other", "/svc/x => /#/all/payments/x");
    let through = sandbox("through", "/svc/x => /svc/payments");
    let falls_back = sandbox("back", "/svc/x => /none");
    scene.publish(&[&own, &other, &through, &falls_back]);
    let to = async |keys: &str| routed(&*scene.bind("/svc/x", keys, "").await);
    assert_eq!(to("own").await.as_deref(), Ok("/#/all/team/x"));
    let refused = to("other").await.unwrap_err();
    let expected = "The sandbox team/other is refused: it leads to /#/all/payments/x, and its entries may lead to \
                    /#/all/team/** only (`sandboxes.overrides.destinations`).";
    assert_eq!(refused, expected);
    assert!(to("through").await.unwrap_err().contains("it leads to /#/all/payments"));
    // What the sandbox does not lead to is not its matter.
    assert_eq!(to("back").await.as_deref(), Ok("/#/all/x"));
    assert_eq!(to("other+own").await.as_deref(), Ok("/#/all/team/x"));
}
