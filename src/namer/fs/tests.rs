use super::scan::MAX_FILE;
use super::{BadLine, FsNamer};
use crate::interpret::{Answer, AnswerState, EndpointSet, Leaf, Namer, Target};
use crate::name::{NameTree, Path};
use crate::namer::dns::tests::Scripted;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

/// A time in which every change happens; a change that takes longer never happens.
const NEVER: Duration = Duration::from_secs(20);

/// A namer of a folder that is gone after the test.
struct Folder {
    dir: TempDir,
    namer: FsNamer,
    dns: Scripted,
}

impl Folder {
    fn new() -> Self {
        Self::below("")
    }

    /// With a root directory within the folder, which need not exist.
    fn below(root: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let prefix = Path::from_elems(["#", "io.l5d.fs"]);
        let dns = Scripted::default();
        let namer = FsNamer::new(prefix, dir.path().join(root), dns.dns(), &Handle::current());
        Self { dir, namer, dns }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        fs::write(self.at(path), text).unwrap();
    }

    /// Replaces a file as careful writers do.
    fn replace(&self, path: &str, text: &str) {
        self.write(".new", text);
        fs::rename(self.at(".new"), self.at(path)).unwrap();
    }

    fn ask(&self, path: &str) -> Asked {
        Asked(self.namer.lookup(&path.parse().unwrap()))
    }
}

/// An answer that is being watched.
struct Asked(Answer);

impl Asked {
    /// The answer as text: `pending`, `neg`, `failed`, or `ID RESIDUAL ADDRESSES`, with `stale` behind it.
    fn show(&mut self) -> String {
        let current = self.0.look();
        let shown = match &current.state {
            AnswerState::Pending => "pending".into(),
            AnswerState::Failed(_) => "failed".into(),
            AnswerState::Ready(NameTree::Neg) => "neg".into(),
            AnswerState::Ready(NameTree::Leaf(Leaf::Bound(bound))) => {
                let Target::Endpoints(endpoints) = &bound.target else { panic!("not endpoints") };
                format!("{} {} {}", bound.id, bound.residual, show(&endpoints.borrow()))
            }
            other => panic!("{other:?}"),
        };
        if current.stale_since.is_some() { shown + " stale" } else { shown }
    }

    /// Waits until the answer is this, by changes of the tree or of the addresses.
    async fn becomes(&mut self, expected: &str) {
        let waited = timeout(NEVER, async {
            while self.show() != expected {
                match self.endpoints() {
                    Some(mut endpoints) if !is_at_end(&endpoints.borrow(), expected) => tokio::select! {
                        () = self.0.changed() => {}
                        changed = wait(&mut endpoints, expected) => changed,
                    },
                    Some(_) | None => self.0.changed().await,
                }
            }
        });
        assert!(waited.await.is_ok(), "expected {expected}, it is {}", self.show());
    }

    fn endpoints(&mut self) -> Option<watch::Receiver<EndpointSet>> {
        match self.0.look().state {
            AnswerState::Ready(NameTree::Leaf(Leaf::Bound(bound))) => match bound.target {
                Target::Endpoints(endpoints) => Some(endpoints),
                Target::Status(_) => None,
            },
            _ => None,
        }
    }
}

/// Waits until the addresses are those at the end of a text.
async fn wait(endpoints: &mut watch::Receiver<EndpointSet>, expected: &str) {
    if endpoints.wait_for(|endpoints| is_at_end(endpoints, expected)).await.is_err() {
        std::future::pending::<()>().await;
    }
}

fn is_at_end(endpoints: &EndpointSet, expected: &str) -> bool {
    expected.trim_end_matches(" stale").ends_with(&format!(" {}", show(endpoints)))
}

fn show(endpoints: &EndpointSet) -> String {
    let one = |endpoint: &crate::interpret::Endpoint| match endpoint.weight {
        1.0 => endpoint.address.to_string(),
        weight => format!("{}*{weight}", endpoint.address),
    };
    endpoints.iter().map(one).collect::<Vec<_>>().join(",")
}

#[tokio::test]
async fn a_name_appears_changes_vanishes_and_comes_back() {
    let folder = Folder::new();
    let mut web = folder.ask("/web/a/b");
    web.becomes("neg").await;
    folder.write("web", "10.0.0.1 80\n");
    web.becomes("/#/io.l5d.fs/web /a/b 10.0.0.1:80").await;
    folder.write("web", "10.0.0.1 80\n10.0.0.2 80 * 0.5 # half\n");
    web.becomes("/#/io.l5d.fs/web /a/b 10.0.0.1:80,10.0.0.2:80*0.5").await;
    for n in 3..6 {
        folder.replace("web", &format!("10.0.0.{n} 80\n"));
        web.becomes(&format!("/#/io.l5d.fs/web /a/b 10.0.0.{n}:80")).await;
    }
    fs::remove_file(folder.at("web")).unwrap();
    web.becomes("neg").await;
    folder.write("web", "10.0.0.6 80\n");
    web.becomes("/#/io.l5d.fs/web /a/b 10.0.0.6:80").await;
}

#[tokio::test]
async fn addresses_change_without_the_tree() {
    let folder = Folder::new();
    folder.write("web", "10.0.0.1 80");
    let mut web = folder.ask("/web");
    web.becomes("/#/io.l5d.fs/web / 10.0.0.1:80").await;
    let mut endpoints = web.endpoints().unwrap();
    folder.replace("web", "10.0.0.2 80");
    timeout(NEVER, endpoints.changed()).await.unwrap().unwrap();
    assert_eq!(show(&endpoints.borrow_and_update()), "10.0.0.2:80");
    assert!(!web.0.has_changed(), "the tree is the same");
    fs::remove_file(folder.at("web")).unwrap();
    web.becomes("neg").await;
    assert_eq!(show(&endpoints.borrow()), "10.0.0.2:80", "requests on the way there still arrive");
    folder.write("web", "10.0.0.3 80");
    web.becomes("/#/io.l5d.fs/web / 10.0.0.3:80").await;
    assert_eq!(
        show(&endpoints.borrow_and_update()),
        "10.0.0.3:80",
        "the endpoints that were kept see them again"
    );
}

#[tokio::test]
async fn endpoints_stay_live_when_the_name_is_unused() {
    let folder = Folder::new();
    folder.write("web", "10.0.0.1 80");
    let mut web = folder.ask("/web");
    web.becomes("/#/io.l5d.fs/web / 10.0.0.1:80").await;
    let mut endpoints = web.endpoints().unwrap();
    drop(web);
    folder.replace("web", "10.0.0.2 80");
    timeout(NEVER, endpoints.wait_for(|endpoints| show(endpoints) == "10.0.0.2:80")).await.unwrap().unwrap();
    folder.replace("web", "10.0.0.3 80");
    timeout(NEVER, endpoints.wait_for(|endpoints| show(endpoints) == "10.0.0.3:80")).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn unused_names_and_files_are_dropped() {
    let folder = Folder::new();
    folder.write("web", "10.0.0.1 80");
    let mut web = folder.ask("/web");
    web.becomes("/#/io.l5d.fs/web / 10.0.0.1:80").await;
    let endpoints = web.endpoints();
    drop(web);
    sleep(NEVER).await;
    assert_eq!(folder.namer.states().len(), 1, "the endpoints are still in use");
    drop(endpoints);
    let dropped = timeout(NEVER, async {
        while !folder.namer.states().is_empty() {
            sleep(Duration::from_secs(1)).await;
        }
    });
    assert!(dropped.await.is_ok());
    folder.ask("/web").becomes("/#/io.l5d.fs/web / 10.0.0.1:80").await;
}

#[tokio::test]
async fn two_names_of_one_file_share_its_endpoints() {
    let folder = Folder::new();
    folder.write("web", "10.0.0.1 80");
    let (mut one, mut two) = (folder.ask("/web/a"), folder.ask("/web/b"));
    one.becomes("/#/io.l5d.fs/web /a 10.0.0.1:80").await;
    two.becomes("/#/io.l5d.fs/web /b 10.0.0.1:80").await;
    assert!(one.endpoints().unwrap().same_channel(&two.endpoints().unwrap()));
}

#[tokio::test]
async fn a_configmap_mount_is_swapped() {
    let folder = Folder::new();
    for (version, address) in [("..1", "10.0.0.1"), ("..2", "10.0.0.2")] {
        fs::create_dir(folder.at(version)).unwrap();
        folder.write(&format!("{version}/web"), &format!("{address} 80"));
    }
    folder.write("..2/users", "10.0.0.3 80");
    symlink("..1", folder.at("..data")).unwrap();
    symlink("..data/web", folder.at("web")).unwrap();
    symlink("..data/users", folder.at("users")).unwrap();
    let (mut web, mut users) = (folder.ask("/web/rest"), folder.ask("/users"));
    web.becomes("/#/io.l5d.fs/web /rest 10.0.0.1:80").await;
    users.becomes("neg").await;
    symlink("..2", folder.at("..data_tmp")).unwrap();
    fs::rename(folder.at("..data_tmp"), folder.at("..data")).unwrap();
    fs::remove_dir_all(folder.at("..1")).unwrap();
    web.becomes("/#/io.l5d.fs/web /rest 10.0.0.2:80").await;
    users.becomes("/#/io.l5d.fs/users / 10.0.0.3:80").await;
}

#[tokio::test]
async fn directories_take_elements() {
    let folder = Folder::new();
    fs::create_dir_all(folder.at("prod/eu")).unwrap();
    folder.write("prod/eu/web", "10.0.0.1 80");
    let mut web = folder.ask("/prod/eu/web/a");
    web.becomes("/#/io.l5d.fs/prod/eu/web /a 10.0.0.1:80").await;
    for (path, expected) in [
        ("/prod", "neg"),
        ("/prod/eu", "neg"),
        ("/prod/us/web", "neg"),
        ("/prod/eu/web/..", "/#/io.l5d.fs/prod/eu/web /.. 10.0.0.1:80"),
    ] {
        folder.ask(path).becomes(expected).await;
    }
    // A directory becomes a file, and a directory again.
    fs::rename(folder.at("prod"), folder.at("old")).unwrap();
    web.becomes("neg").await;
    folder.write("prod", "10.0.0.2 80");
    web.becomes("/#/io.l5d.fs/prod /eu/web/a 10.0.0.2:80").await;
    fs::remove_file(folder.at("prod")).unwrap();
    fs::rename(folder.at("old"), folder.at("prod")).unwrap();
    web.becomes("/#/io.l5d.fs/prod/eu/web /a 10.0.0.1:80").await;
    folder.write("prod/eu/web", "10.0.0.3 80");
    web.becomes("/#/io.l5d.fs/prod/eu/web /a 10.0.0.3:80").await;
}

#[tokio::test]
async fn the_root_directory_may_come_later_and_go() {
    let folder = Folder::below("some/names");
    let mut web = folder.ask("/web");
    web.becomes("neg").await;
    fs::create_dir_all(folder.at("some/names")).unwrap();
    folder.write("some/names/web", "10.0.0.1 80");
    web.becomes("/#/io.l5d.fs/web / 10.0.0.1:80").await;
    fs::remove_dir_all(folder.at("some")).unwrap();
    web.becomes("neg").await;
    fs::create_dir_all(folder.at("some/names")).unwrap();
    folder.write("some/names/web", "10.0.0.2 80");
    web.becomes("/#/io.l5d.fs/web / 10.0.0.2:80").await;
}

#[tokio::test]
async fn a_bad_line_is_reported_and_the_good_ones_serve() {
    let folder = Folder::new();
    folder.write("web", "10.0.0.1 80\n10.0.0.256 80\n10.0.0.1 80 * 2\n");
    let mut web = folder.ask("/web");
    web.becomes("/#/io.l5d.fs/web / 10.0.0.1:80").await;
    let states = folder.namer.states();
    let state = &states[&"/web".parse::<Path>().unwrap()];
    let line = |line, text: &str, reason| BadLine { line, text: text.into(), reason };
    assert_eq!(
        state.bad_lines,
        [
            line(2, "10.0.0.256 80", "the host is neither an address nor a host name"),
            line(3, "10.0.0.1 80 * 2", "the address stands in a line above"),
        ]
    );
    assert_eq!((state.bad, state.endpoints, &state.unreadable), (2, 1, &None));
    for (text, expected) in [
        ("", "neg"),
        ("# nothing\n", "neg"),
        ("example.org 80\n", "neg"),
        // Without a good line it is no name file.
        ("10.0.0.256 80\n", "/#/io.l5d.fs/web / 10.0.0.2:80 stale"),
    ] {
        folder.replace("web", "10.0.0.2 80");
        web.becomes("/#/io.l5d.fs/web / 10.0.0.2:80").await;
        folder.replace("web", text);
        web.becomes(expected).await;
        folder.replace("web", "10.0.0.2 80");
        web.becomes("/#/io.l5d.fs/web / 10.0.0.2:80").await;
    }
}

#[tokio::test]
async fn a_file_of_garbage_says_so() {
    let folder = Folder::new();
    folder.write("web", "# Ours.\n<html>\n\x1b[2J\n");
    let mut web = folder.ask("/web");
    web.becomes("failed").await;
    let AnswerState::Failed(reason) = web.0.look().state else { panic!("it failed") };
    assert!(reason.starts_with("no line of its file is an endpoint; line 2, `<html>`: "), "{reason}");
    folder.replace("web", "10.0.0.1 80\n<html>\n");
    web.becomes("/#/io.l5d.fs/web / 10.0.0.1:80").await;
}

#[tokio::test]
async fn what_cannot_be_read_keeps_the_last_good_answer() {
    let folder = Folder::new();
    let large = "#".repeat(MAX_FILE as usize) + "\n10.0.0.9 80\n";
    folder.write("web", "10.0.0.1 80");
    folder.write("large", &large);
    let mut web = folder.ask("/web");
    web.becomes("/#/io.l5d.fs/web / 10.0.0.1:80").await;
    folder.replace("web", &large);
    web.becomes("/#/io.l5d.fs/web / 10.0.0.1:80 stale").await;
    folder.ask("/web/a").becomes("/#/io.l5d.fs/web /a 10.0.0.1:80 stale").await;
    let states = folder.namer.states();
    let reason = states[&"/web".parse::<Path>().unwrap()].unreadable.clone();
    assert!(reason.is_some_and(|reason| reason.contains("larger than 512000 bytes")));
    folder.replace("web", "10.0.0.1 80");
    web.becomes("/#/io.l5d.fs/web / 10.0.0.1:80").await;

    let mut large = folder.ask("/large");
    large.becomes("failed").await;
    folder.replace("large", "10.0.0.2 80");
    large.becomes("/#/io.l5d.fs/large / 10.0.0.2:80").await;

    // A loop of links is no file, and does not say that there is none.
    symlink("loop", folder.at("loop")).unwrap();
    folder.ask("/loop").becomes("failed").await;
}

#[tokio::test]
async fn nothing_leads_out_of_the_root() {
    let folder = Folder::below("names");
    fs::create_dir_all(folder.at("names/dir")).unwrap();
    folder.write("secret", "10.0.0.1 80");
    folder.write("names/dir/web", "10.0.0.2 80");
    let long = "/".to_owned() + &"a".repeat(300);
    let longer = "/dir".to_owned() + &"/a".repeat(5000);
    let elsewhere = folder.at("secret").display().to_string();
    let cases = [
        "/",
        "/../secret",
        "/dir/../../secret",
        "/dir/../dir/web",
        "/./dir/web",
        "/.",
        "/..",
        r"/..\x2fsecret",
        r"/dir\x2fweb",
        r"/dir\x00/web",
        r"/dir/web\x00",
        &long,
        &longer,
        &elsewhere,
    ];
    for path in cases {
        folder.ask(path).becomes("neg").await;
    }
    let absolute = Path::from_elems([folder.at("secret").as_os_str().as_encoded_bytes()]);
    Asked(folder.namer.lookup(&absolute)).becomes("neg").await;
    folder.ask("/dir/web").becomes("/#/io.l5d.fs/dir/web / 10.0.0.2:80").await;
}

#[tokio::test]
async fn names_are_bytes() {
    let folder = Folder::new();
    folder.write("caf\u{e9} 1", "10.0.0.1 80");
    let mut answer = folder.ask(r"/caf\xc3\xa9\x201");
    answer.becomes(r"/#/io.l5d.fs/\x63\x61\x66\xc3\xa9\x20\x31 / 10.0.0.1:80").await;
    folder.ask(r"/caf\xc3\xa9\x20\xff").becomes("neg").await;
}

#[tokio::test]
async fn names_and_states_can_be_listed() {
    let folder = Folder::new();
    fs::create_dir_all(folder.at("prod/eu")).unwrap();
    fs::create_dir(folder.at("..data")).unwrap();
    for file in ["web", "prod/eu/web", "..data/hidden"] {
        folder.write(file, "10.0.0.1 80\nnonsense\n");
    }
    symlink("..", folder.at("prod/ring")).unwrap();
    let shown = |limit| folder.namer.names(limit).iter().map(Path::to_string).collect::<Vec<_>>();
    let names = shown(1000);
    assert_eq!(names[0], "/#/io.l5d.fs/prod/eu/web");
    assert_eq!(names.last().unwrap(), "/#/io.l5d.fs/web");
    assert!(names.len() < 20 && names.iter().all(|name| !name.contains("hidden")), "{names:?}");
    assert_eq!(shown(1).len(), 1);

    let mut web = folder.ask("/web");
    web.becomes("/#/io.l5d.fs/web / 10.0.0.1:80").await;
    let state = folder.namer.state().unwrap();
    let reason = "not `host port` or `host port * weight`, with or without `h2c` or `http` behind it";
    assert_eq!(
        state["files"],
        serde_json::json!({ "/web": {
            "endpoints": 1, "bad": 1, "badLines": [{ "line": 2, "text": "nonsense", "reason": reason }],
        } })
    );
    folder.replace("web", &"#".repeat(MAX_FILE as usize + 1));
    web.becomes("/#/io.l5d.fs/web / 10.0.0.1:80 stale").await;
    let state = folder.namer.state().unwrap();
    assert!(state["files"]["/web"]["unreadable"].as_str().unwrap().contains("larger than"), "{state}");
}

#[tokio::test(start_paused = true)]
async fn host_names_are_followed() {
    let folder = Folder::new();
    folder.write("web", "10.0.0.1 80\nHost 80 * 0.5\n");
    folder.write("host", "host 81\nother 82\n");
    folder.dns.host("host", Ok(&["10.0.1.1", "2001:db8::1"]));
    let (mut web, mut host) = (folder.ask("/web"), folder.ask("/host"));
    web.becomes("/#/io.l5d.fs/web / 10.0.0.1:80,10.0.1.1:80*0.5,[2001:db8::1]:80*0.5").await;
    host.becomes("/#/io.l5d.fs/host / 10.0.1.1:81,[2001:db8::1]:81").await;
    let state = |name: &str| folder.namer.states()[&name.parse::<Path>().unwrap()].clone();
    assert_eq!((state("/host").endpoints, state("/host").without_address), (2, vec!["other".into()]));

    folder.dns.host("host", Ok(&["10.0.1.2"]));
    web.becomes("/#/io.l5d.fs/web / 10.0.0.1:80,10.0.1.2:80*0.5").await;
    folder.dns.host("host", Err("away"));
    host.becomes("/#/io.l5d.fs/host / 10.0.1.2:81 stale").await;
    web.becomes("/#/io.l5d.fs/web / 10.0.0.1:80,10.0.1.2:80*0.5 stale").await;
    folder.dns.host("host", Ok(&[]));
    host.becomes("neg").await;
    web.becomes("/#/io.l5d.fs/web / 10.0.0.1:80").await;
    folder.dns.host("other", Ok(&["10.0.1.3"]));
    host.becomes("/#/io.l5d.fs/host / 10.0.1.3:82").await;
}

#[tokio::test(start_paused = true)]
async fn a_file_of_unknown_hosts_is_not_neg() {
    let folder = Folder::new();
    folder.write("web", "host 80\nother 80\n");
    folder.dns.host("host", Err("away"));
    let mut web = folder.ask("/web");
    web.becomes("failed").await;
    folder.dns.host("host", Ok(&[]));
    web.becomes("neg").await;
    folder.dns.host("host", Ok(&["10.0.0.1"]));
    web.becomes("/#/io.l5d.fs/web / 10.0.0.1:80").await;
}

#[tokio::test]
async fn endpoints_stay_until_a_new_host_is_known() {
    let folder = Folder::new();
    folder.write("web", "10.0.0.1 80");
    folder.dns.host("away", Err("away"));
    folder.dns.host("host", Ok(&["10.0.0.2"]));
    let mut web = folder.ask("/web");
    web.becomes("/#/io.l5d.fs/web / 10.0.0.1:80").await;
    folder.replace("web", "away 80");
    web.becomes("/#/io.l5d.fs/web / 10.0.0.1:80 stale").await;
    folder.replace("web", "host 80");
    web.becomes("/#/io.l5d.fs/web / 10.0.0.2:80").await;
}

#[tokio::test]
async fn a_file_changes_comes_and_goes_beside_thousands_of_names_that_are_no_file() {
    let folder = Folder::new();
    folder.write("web", "10.0.0.1 80\n");
    let mut web = folder.ask("/web");
    web.becomes("/#/io.l5d.fs/web / 10.0.0.1:80").await;
    let mut missing: Vec<_> = (0..2_500).map(|n| folder.ask(&format!("/missing{n}"))).collect();
    missing[2_499].becomes("neg").await;
    folder.replace("web", "10.0.0.2 80\n");
    web.becomes("/#/io.l5d.fs/web / 10.0.0.2:80").await;
    fs::rename(folder.at("web"), folder.at("missing7")).unwrap();
    web.becomes("neg").await;
    missing[7].becomes("/#/io.l5d.fs/missing7 / 10.0.0.2:80").await;
    folder.write("web", "10.0.0.3 80\n");
    web.becomes("/#/io.l5d.fs/web / 10.0.0.3:80").await;
}

#[tokio::test]
async fn what_links_lead_to_is_followed_beside_thousands_of_names() {
    let folder = Folder::new();
    fs::create_dir(folder.at("real")).unwrap();
    folder.write("real/web", "10.0.0.1 80\n");
    symlink("real/web", folder.at("link")).unwrap();
    let mut link = folder.ask("/link/users");
    link.becomes("/#/io.l5d.fs/link /users 10.0.0.1:80").await;
    let mut missing: Vec<_> = (0..2_500).map(|n| folder.ask(&format!("/missing{n}"))).collect();
    missing[2_499].becomes("neg").await;
    folder.replace("real/web", "10.0.0.2 80\n");
    link.becomes("/#/io.l5d.fs/link /users 10.0.0.2:80").await;
    fs::remove_file(folder.at("real/web")).unwrap();
    link.becomes("neg").await;
    fs::create_dir(folder.at("real/web")).unwrap();
    folder.write("real/web/users", "10.0.0.3 80\n");
    link.becomes("/#/io.l5d.fs/link/users / 10.0.0.3:80").await;
    fs::remove_file(folder.at("link")).unwrap();
    folder.write("link", "10.0.0.4 80\n");
    link.becomes("/#/io.l5d.fs/link /users 10.0.0.4:80").await;
    let mut more: Vec<_> = (0..2_500).map(|n| folder.ask(&format!("/link/{n}"))).collect();
    more[2_499].becomes("/#/io.l5d.fs/link /2499 10.0.0.4:80").await;
}
