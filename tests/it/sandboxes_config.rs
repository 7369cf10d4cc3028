//! Sandboxes in the configuration, and in the file beside it: which request they serve at the start, while the file
//! changes, while it is wrong, and after a reload.

use crate::support::{ApiServer, Service, TestApp, Wire, one_router, run, sandbox, service, slice, soon};
use std::fs;
use std::path::PathBuf;
use tempfile::TempDir;

/// The baseline and the version of two pull requests.
struct Scene {
    base: Service,
    v2: Service,
    v3: Service,
    folder: TempDir,
}

impl Scene {
    async fn new() -> Self {
        let folder = TempDir::new().expect("there is room");
        let [base, v2, v3] = ["base", "v2", "v3"].map(Service::saying);
        Self { base: base.await, v2: v2.await, v3: v3.await, folder }
    }

    /// The configuration, with these lines below `sandboxes:`.
    fn config(&self, sandboxes: &str) -> String {
        let router = one_router(&format!("/svc => /host; /host/world => {}", self.base.path()), "");
        if sandboxes.is_empty() { router } else { format!("sandboxes:\n{sandboxes}{router}") }
    }

    fn item(name: &str, service: &Service) -> String {
        format!("- {{name: {name}, dtab: '/host/world => {}'}}\n", service.path())
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("sandboxes.yaml")
    }

    /// Writes the file by renaming, as editors and mounted ConfigMaps do.
    fn write(&self, text: &str) {
        let new = self.folder.path().join("new");
        fs::write(&new, text).expect("there is room");
        fs::rename(new, self.file()).expect("there is room");
    }

    fn config_with_file(&self) -> String {
        self.config(&format!("  file: {}\n", self.file().display()))
    }
}

/// Asks for `world` with this key, and returns the answer's text.
async fn ask(client: &mut Wire, key: &str) -> String {
    let fields = if key.is_empty() { String::new() } else { format!("baggage: sd-routing-key={key}\r\n") };
    client.get("world", &fields).await.text().to_owned()
}

async fn until_answered(client: &mut Wire, key: &str, text: &str) {
    soon(async || ask(client, key).await == text).await;
}

#[tokio::test(flavor = "local")]
async fn items_of_the_configuration_serve_from_the_start() {
    let scene = Scene::new().await;
    let items = [
        Scene::item("v2", &scene.v2),
        Scene::item("v3", &scene.v3),
        "- {name: both, all: [v3, v2]}\n".to_owned(),
    ]
    .concat();
    let app = TestApp::start_here(&scene.config(&items)).await;
    let mut client = app.client().await;
    for (key, expected) in [("", "base"), ("v2", "v2"), ("v3", "v3"), ("both", "v2"), ("other", "base")] {
        assert_eq!(ask(&mut client, key).await, expected, "{key}");
    }
    let known = (app.total("sandboxes", &[]), app.total("sandboxes_not_accepted", &[]));
    assert_eq!(known, (2, 0), "a group is none");
    let config = app.json("/config.json").await;
    assert_eq!(config["sandboxes"]["items"][2]["all"], serde_json::json!(["v3", "v2"]));
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn the_file_is_followed_and_a_bad_edit_changes_nothing() {
    let scene = Scene::new().await;
    scene.write(&Scene::item("v2", &scene.v2));
    let app = TestApp::start_here(&scene.config_with_file()).await;
    let mut client = app.client().await;
    assert_eq!(ask(&mut client, "v2").await, "v2");
    assert_eq!(ask(&mut client, "v3").await, "base");
    scene.write(&[Scene::item("v3", &scene.v3), Scene::item("v2", &scene.v2)].concat());
    until_answered(&mut client, "v3", "v3").await;
    assert_eq!(ask(&mut client, "v2").await, "v2");

    scene.write("- {name: v2, dtab: '/host/world ='}\n");
    soon(async || app.total("sandbox_files_rejected", &[]) == 1).await;
    assert_eq!((ask(&mut client, "v2").await, ask(&mut client, "v3").await), ("v2".into(), "v3".into()));
    // So does a file that is gone.
    fs::remove_file(scene.file()).expect("it is there");
    scene.write(&Scene::item("v2", &scene.v3));
    until_answered(&mut client, "v2", "v3").await;
    assert_eq!(app.total("sandbox_files_rejected", &[]), 0);
    assert_eq!(ask(&mut client, "v3").await, "base");
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_reload_takes_over_all_of_it_or_nothing() {
    let scene = Scene::new().await;
    scene.write(&Scene::item("v2", &scene.v2));
    let mut app = TestApp::start_here(&scene.config("")).await;
    let mut client = app.client().await;
    assert_eq!(ask(&mut client, "v2").await, "base");
    assert!(app.reload(&scene.config_with_file()).await.is_empty());
    until_answered(&mut client, "v2", "v2").await;
    assert_eq!(app.total("sandboxes", &[]), 1);

    let absent = scene.config("  file: no/such/file.yaml\n  items:\n  - {name: v2, dtab: ''}\n");
    let error = app.try_reload(&absent).await.expect_err("there is no such file");
    assert!(error.contains("no/such/file.yaml: there is no such file. Make the first sandbox"), "{error}");
    assert_eq!(ask(&mut client, "v2").await, "v2");
    let twice = scene.config(&format!(
        "  file: {}\n  items:\n  {}",
        scene.file().display(),
        Scene::item("v2", &scene.v3)
    ));
    let error = app.try_reload(&twice).await.expect_err("the name stands twice");
    assert!(
        error.contains("sandboxes.yaml:1:10: [0].name: the name `v2` is taken in the configuration"),
        "{error}"
    );
    assert_eq!(ask(&mut client, "v2").await, "v2");

    let refusing = format!("  unknownKey: refuse\n  items:\n  {}", Scene::item("v3", &scene.v3));
    assert!(app.reload(&scene.config(&refusing)).await.is_empty());
    until_answered(&mut client, "v3", "v3").await;
    client.get("world", "baggage: sd-routing-key=v2\r\n").await.assert_status(404);
    assert!(app.reload(&scene.config("")).await.is_empty());
    until_answered(&mut client, "v3", "base").await;
    soon(async || app.total("sandboxes", &[]) == 0).await;
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn objects_of_a_namespace_lead_to_its_own_endpoints_alone() {
    let scene = Scene::new().await;
    let api = ApiServer::start().await;
    for (namespace, serving) in [("dev", &scene.v2), ("prod", &scene.v3)] {
        api.put(service(namespace, "world", &[("http", 80)]));
        api.put(slice(namespace, "world", "http", serving.address()));
    }
    let to = |namespace: &str| format!("/host/world => /#/io.l5d.k8s/{namespace}/http/world");
    api.put(sandbox("dev", "own", &to("dev")));
    api.put(sandbox("dev", "others", &to("prod")));
    api.put(sandbox("elsewhere", "unread", &to("dev")));
    let config = |more: &str| {
        let sandboxes = format!("  namespaces: [dev, later]\n  {}\n{more}", api.keys().replace(", ", "\n  "));
        format!("namers: [{{kind: io.l5d.k8s, {}}}]\n{}", api.keys(), scene.config(&sandboxes))
    };
    let mut app = TestApp::start_here(&config("")).await;
    let mut client = app.client().await;
    assert_eq!(ask(&mut client, "own").await, "v2");
    assert_eq!(ask(&mut client, "unread").await, "base");
    let stolen = client.get("world", "baggage: sd-routing-key=others\r\n").await;
    assert!(stolen.status() >= 400, "{}: {}", stolen.status(), stolen.text());
    assert_eq!(app.total("sandboxes", &[]), 2);
    api.put(sandbox("later", "new", &format!("/host/world => {}", scene.v3.path())));
    soon(async || app.total("sandboxes", &[]) == 3).await;

    // The limit is lifted, and the namespaces are judged anew.
    let all = "  overrides: {destinations: ['/#/**', '/$/**']}\n";
    assert!(app.reload(&config(all)).await.is_empty());
    until_answered(&mut client, "others", "v3").await;
    until_answered(&mut client, "new", "v3").await;
    api.delete("Sandbox", "dev", "own");
    until_answered(&mut client, "own", "base").await;
    app.stop().await;
}

#[test]
fn check_says_what_is_wrong_in_the_file_and_what_is_surprising() {
    let folder = TempDir::new().expect("there is room");
    let file = folder.path().join("s.yaml");
    let config = format!(
        "sandboxes: {{file: {}, items: [{{name: own, dtab: /a => /b}}]}}\nrouters:\n- {{protocol: http, servers: [{{port: 0}}]}}\n",
        file.display()
    );
    let check = |text: &str| {
        fs::write(&file, text).expect("there is room");
        let (code, stdout, stderr) = run(&["check", "--strict", "--json", "-"], &config);
        assert_eq!(stderr, "");
        let findings: serde_json::Value = serde_json::from_str(&stdout).expect("it is JSON");
        let about = |finding: &serde_json::Value| {
            let place = format!("{}:{}", finding["line"], finding["column"]);
            let texts =
                ["severity", "code", "key", "message"].map(|key| finding[key].as_str().unwrap().to_owned());
            (finding["file"] == file.display().to_string()).then(|| format!("{place} {}", texts.join(" ")))
        };
        (code, findings.as_array().expect("a list").iter().filter_map(about).collect::<Vec<_>>())
    };
    let (code, found) = check("- {name: a, dtab: '/a ='}\n- {name: own, dtab: ''}\n");
    assert_eq!((code, found.len()), (1, 2), "{found:?}");
    assert!(found[0].starts_with("1:23 error invalid-value [0].dtab not a dtab: expected '=>'"), "{found:?}");
    assert!(found[1].starts_with("2:10 error invalid-value [1].name the name `own` is taken"), "{found:?}");
    let (code, found) = check(
        "- {name: old, dtab: '', expiresAt: '2020-01-31T09:00:00Z'}\n- {name: a, dtab: /a => /c}\n\
         - {name: b, all: [own, a, old]}\n",
    );
    assert_eq!(code, 0, "{found:?}");
    let expected = [
        "1:3 note sandbox sandboxes `old` has ended at 2020-01-31T09:00:00Z: its key is unknown, and it can go",
        "3:3 note sandbox sandboxes `b` has members that are not there, or have ended: old",
        "3:3 note sandbox sandboxes `b` has sandboxes with different entries for the same names, of which the later one wins: /a own+a",
    ];
    assert_eq!(found, expected);
    let (code, found) = check("- name: a\n  dtab: >\n    # all\n    /a => /b\n");
    assert!(code == 1 && found[0].starts_with("3:5 error folded-comment [0].dtab this comment"), "{found:?}");
}
