//! `signpost sandbox` with a file, and `signpost delegate --sandbox`.

use crate::support::{Service, TestApp, Wire, one_router, run, soon};
use serde_json::Value;
use std::fs;
use tempfile::TempDir;

/// A folder with a file of sandboxes, which may not be there.
struct Scene {
    folder: TempDir,
}

impl Scene {
    fn new() -> Self {
        Self { folder: TempDir::new().expect("there is room") }
    }

    fn file(&self) -> String {
        self.folder.path().join("s.yaml").display().to_string()
    }

    fn text(&self) -> String {
        fs::read_to_string(self.file()).expect("it is there")
    }

    /// Runs a subcommand with the file.
    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        self.run_with(arguments, "")
    }

    fn run_with(&self, arguments: &[&str], input: &str) -> (i32, String, String) {
        let file = self.file();
        let (first, rest) = arguments.split_first().expect("a subcommand");
        let (code, stdout, stderr) = run(&[&["sandbox", first, "--file", &file], rest].concat(), input);
        let place = self.folder.path().display().to_string();
        (code, stdout.replace(&place, ""), stderr.replace(&place, ""))
    }

    fn create(&self, arguments: &[&str]) -> String {
        let (code, stdout, stderr) = self.run(&[&["create"], arguments].concat());
        assert_eq!((code, stderr.as_str()), (0, ""), "{arguments:?}: {stdout}");
        stdout
    }
}

const ENTRY: &str = "/host/world => /srv/world-anna";

#[test]
fn creating_is_idempotent_and_says_what_changes() {
    let scene = Scene::new();
    let base = ["--name", "anna", "--entry", ENTRY, "--owner", "anna"];
    let first = scene.create(&base);
    assert!(first.starts_with("anna: created, ends at "), "{first}");
    let text = scene.text();
    assert!(
        text.starts_with(
            "- name: anna\n  dtab: |\n    /host/world => /srv/world-anna;\n  owner: anna\n  ttl: 24h\n"
        ),
        "{text}"
    );
    let again = scene.create(&base);
    assert_eq!(again, first.replace("created", "unchanged"));
    assert_eq!(scene.text(), text);

    // Comments stay.
    fs::write(scene.file(), format!("# ours\n{text}# the end\n")).expect("there is room");
    let more = [&base[..], &["--label", "branch=feature-1", "--value", "queue=a=b", "--ttl", "2h"]].concat();
    let changed = scene.create(&more);
    assert!(changed.starts_with("anna: updated (labels, ttl, values), ends at "), "{changed}");
    scene.create(&["--name", "ben", "--key", "b", "--dtab", "/a => /b; /c => /d"]);
    let text = scene.text();
    assert!(text.starts_with("# ours\n- name: anna\n") && text.ends_with("# the end\n"), "{text}");
    let (code, json, _) = scene.run(&["list", "--json"]);
    let items: Value = serde_json::from_str(&json).expect("it is JSON");
    assert_eq!(
        (code, items[0]["values"]["queue"].as_str(), items[0]["state"].as_str()),
        (0, Some("a=b"), Some("Ready"))
    );
    assert_eq!((items[1]["name"].as_str(), items[1]["key"].as_str()), (Some("ben"), Some("b")));
    let (code, table, _) = scene.run(&["list"]);
    let lines: Vec<Vec<_>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!((code, &lines[0][..]), (0, &["NAME", "KEY", "OWNER", "STATE", "ENDS", "CONTENTS"][..]));
    assert_eq!(
        (lines[1][..4].to_vec(), lines[2][..2].to_vec()),
        (vec!["anna", "anna", "anna", "Ready"], vec!["ben", "b"])
    );
    assert_eq!(&lines[2][5..], ["2", "entries"]);
}

#[test]
fn what_is_wrong_is_refused_and_changes_nothing() {
    let scene = Scene::new();
    scene.create(&["--name", "a", "--entry", ENTRY]);
    let text = scene.text();
    for (arguments, expected, code) in [
        (
            &["--name", "A", "--entry", ENTRY][..],
            "--name: `A` has other characters than lower-case letters",
            1,
        ),
        (&["--name", "b", "--key", "x y", "--entry", ENTRY], "--key: `x y` has other characters", 1),
        (&["--name", "b", "--entry", "/a = /b"], "--entry: expected '=>'", 1),
        (&["--name", "b", "--dtab", "/a"], "--dtab: expected", 1),
        (&["--name", "b", "--entry", ENTRY, "--ttl", "soon"], "--ttl: `soon` is no lifetime", 1),
        (
            &["--name", "b", "--entry", ENTRY, "--ttl", "8d"],
            "b is not accepted: it would live for 192h, and 168h is the most",
            1,
        ),
        (&["--name", "b", "--key", "a", "--entry", ENTRY], "the key a belongs to a: choose another `key`", 1),
        (&["--name", "b"], "--dtab", 2),
        (&["--entry", ENTRY], "--name", 2),
        (&["--name", "b", "--entry", ENTRY, "--label", "x"], "expected NAME=VALUE", 2),
        (&["--from", "-", "--name", "b"], "cannot be used with", 2),
    ] {
        let (found, _, stderr) = scene.run(&[&["create"], arguments].concat());
        assert!(found == code && stderr.contains(expected), "{arguments:?}: {found} {stderr}");
    }
    let (code, _, stderr) = scene.run_with(&["create", "--from", "-"], "- {name: b, dtab: '/a ='}\n");
    assert!(code == 1 && stderr.starts_with("<stdin>:1:23: [0].dtab: not a dtab"), "{stderr}");
    assert_eq!(scene.text(), text);
    fs::write(scene.file(), "[{name: a, dtab: ''}, # why\n]\n").expect("there is room");
    let (code, _, stderr) = scene.run(&["delete", "a"]);
    assert_eq!((code, stderr.as_str()), (0, ""), "a list in brackets is written anew");
    fs::write(scene.file(), "- {name: a, dtab: '/a ='}\n").expect("there is room");
    let (code, _, stderr) = scene.run(&["create", "--name", "b", "--entry", ENTRY]);
    assert!(code == 1 && stderr.starts_with("/s.yaml:1:23: [0].dtab: not a dtab"), "{stderr}");
}

#[test]
fn exit_codes_tell_whether_a_sandbox_is_there_and_ready() {
    let scene = Scene::new();
    let (code, _, stderr) = scene.run(&["get", "a"]);
    assert_eq!((code, stderr.as_str()), (3, "signpost: /s.yaml: there is no sandbox a\n"));
    let (code, _, stderr) = scene.run(&["wait", "a", "--timeout", "0"]);
    assert_eq!((code, stderr.as_str()), (3, "signpost: after 0 s: /s.yaml: there is no sandbox a\n"));
    let items = "- {name: old, dtab: '', expiresAt: '2020-01-31T09:00:00Z'}\n- {name: a, dtab: ''}\n- {name: g, any: [a]}\n";
    let (code, stdout, stderr) = scene.run_with(&["create", "--from", "-"], items);
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert!(
        stdout.starts_with("old: created, ends at 2020-01-31T09:00:00Z\na: created, ends at "),
        "{stdout}"
    );
    assert!(stdout.ends_with("\ng: created\n"), "{stdout}");
    assert_eq!(scene.run(&["wait", "a"]), (0, "a is ready\n".to_owned(), String::new()));
    assert_eq!(scene.run(&["wait", "g"]).0, 0);
    let (code, _, stderr) = scene.run(&["wait", "old", "--timeout", "0"]);
    assert_eq!((code, stderr.as_str()), (3, "signpost: after 0 s: old is not ready: it has ended\n"));
    assert_eq!(scene.run(&["delete", "a"]), (0, "a: deleted\n".to_owned(), String::new()));
    assert_eq!(scene.run(&["delete", "a"]).0, 3);
    let there_is_none = (0, "a: there is none\n".to_owned(), String::new());
    assert_eq!(scene.run(&["delete", "a", "--ignore-not-found"]), there_is_none);
    let (code, stdout, _) = scene.run(&["get", "g", "--json"]);
    assert!(code == 0 && stdout.contains("\"any\""), "{stdout}");
}

/// The request that `url` and `curl` print selects the sandbox, which `create` has put into the file of a running app.
#[tokio::test(flavor = "local")]
async fn a_running_router_follows_the_command() {
    let scene = Scene::new();
    let [base, anna] = [Service::saying("base").await, Service::saying("anna").await];
    fs::write(scene.file(), "[]\n").expect("there is room");
    let dtab = format!("/svc => /host; /host/world => {}", base.path());
    let config = format!(
        "sandboxes: {{keys: [tenant], queryParameter: s, file: {}}}\n{}",
        scene.file(),
        one_router(&dtab, "")
    );
    let app = TestApp::start_here(&config).await;
    let mut client = app.client().await;
    let created = scene.create(&["--name", "anna", "--entry", &format!("/host/world => {}", anna.path())]);
    assert!(created.contains("created"), "{created}");
    soon(async || client.get("world", "baggage: tenant=anna\r\n").await.text() == "anna").await;
    let file = scene.folder.path().join("linkerd.yaml");
    fs::write(&file, &config).expect("there is room");
    let config = file.display().to_string();
    let (code, curl, _) = run(&["sandbox", "curl", "--config", &config, "--host", "world", "anna"], "");
    assert_eq!(
        (code, curl.as_str()),
        (0, "curl --header 'baggage: tenant=anna' --header 'Host: world' http://localhost:4140/\n")
    );
    let (code, url, _) = run(&["sandbox", "url", "--config", &config, "anna", "http://world/a?b"], "");
    assert_eq!((code, url.as_str()), (0, "http://world/a?b&s=anna\n"));
    let request = "GET /a?b&s=anna HTTP/1.1\r\nHost: world\r\n\r\n".to_owned();
    assert_eq!(client.ask(request).await.text(), "anna");

    let (code, drawn, stderr) = run(&["delegate", &config, "/svc/world", "--sandbox", "anna"], "");
    assert_eq!((code, stderr.as_str()), (0, ""));
    let expected = format!("  [3, sandbox anna: /host/world => {}]", anna.path());
    assert!(drawn.contains(&expected), "{drawn}");
    let (code, json, _) = run(&["delegate", &config, "/svc/world", "--sandbox", "anna", "--json"], "");
    assert!(code == 0 && json.contains("\"origin\": \"sandbox anna\""), "{json}");
    let (code, _, stderr) = run(&["delegate", &config, "/svc/world", "--sandbox", "ben"], "");
    let expected = "signpost: no sandbox has the key ben, or it has ended (there are anna)\n";
    assert_eq!((code, stderr.as_str()), (1, expected));

    assert_eq!(scene.run(&["delete", "anna"]).0, 0);
    soon(async || client.get("world", "baggage: tenant=anna\r\n").await.text() == "base").await;
    app.stop().await;
}

/// A stranger, such as a webhook's sender, may use the URL with a token, at its path alone.
#[tokio::test(flavor = "local")]
async fn an_url_with_a_token_is_for_strangers() {
    let scene = Scene::new();
    let [base, hook] = [Service::saying("base").await, Service::saying("hook").await];
    let [key, public] =
        ["team.key", "team.pem"].map(|name| scene.folder.path().join(name).display().to_string());
    let (code, pem, stderr) = run(&["keys", "--private", &key], "");
    assert_eq!(code, 0, "{stderr}");
    fs::write(&public, pem).expect("there is room");
    let router = one_router(
        &format!("/svc => /host; /host/world => {}", base.path()),
        &format!(", trust: {{signed: {{keys: ['{public}'], audience: [edge]}}}}"),
    );
    let item = format!("{{name: pr-17, dtab: '/host/world => {}'}}", hook.path());
    let config = format!("sandboxes: {{queryParameter: s, items: [{item}]}}\n{router}");
    let app = TestApp::start_here(&config).await;
    let mut client = app.client().await;
    let url = |more: &[&str]| {
        let (code, stdout, stderr) = run(
            &[&["sandbox", "url", "--parameter", "s", "pr-17", "http://world/hooks/paid"], more].concat(),
            "",
        );
        assert_eq!(code, 0, "{stderr}");
        stdout.trim_end().strip_prefix("http://world/hooks/paid?").expect("the query follows").to_owned()
    };
    let ask = async |client: &mut Wire, path: &str, query: &str| {
        let request = format!("GET {path}?{query} HTTP/1.1\r\nHost: world\r\n\r\n");
        client.ask(request).await.text().to_owned()
    };
    let token = url(&["--key-file", &key, "--audience", "edge"]);
    assert_eq!(ask(&mut client, "/hooks/paid", &token).await, "hook");
    assert_eq!(ask(&mut client, "/hooks/paid/late", &token).await, "hook");
    assert_ne!(ask(&mut client, "/hooks", &token).await, "hook");
    assert_eq!(ask(&mut client, "/hooks/paid", &url(&[])).await, "base", "a key is a stranger's");
    app.stop().await;
}
