use super::*;
use crate::interpret::{
    AnswerState, Answers, Endpoint, Explore, Leaf, MAX_LOOKUPS, StepKind, Target, delegate,
};
use crate::name::{Dtab, NameTree, Path};
use serde_json::Value;
use tokio::sync::watch;

/// Namers: `/#/fs/<name>` has a number of endpoints, given by the name, on ports from 8081; `/$/status/204`; the rest
/// is named for what it answers.
struct Fake;

impl Answers for Fake {
    fn answer(&mut self, path: &Path) -> AnswerState {
        let elems: Vec<_> = path.elems().map(String::from_utf8_lossy).collect();
        let elems: Vec<&str> = elems.iter().map(|elem| &**elem).collect();
        let leaf = |used: usize, target| {
            let bound = Bound { id: path.take(used), residual: path.skip(used), target };
            NameTree::Leaf(Leaf::Bound(bound))
        };
        AnswerState::Ready(match elems.as_slice() {
            ["#", "fs", count, ..] => leaf(3, endpoints(count.parse().unwrap_or(1))),
            ["$", "status", ..] => leaf(3, Target::Status(204)),
            ["$", "to", ..] => NameTree::Leaf(Leaf::Path(path.skip(2))),
            ["$", "either"] => NameTree::Alt(vec![
                NameTree::Leaf(Leaf::Path(Path::from_elems(["b"]))),
                NameTree::Leaf(Leaf::Path(Path::from_elems(["$", "nil"]))),
            ]),
            ["$", "fail", ..] => NameTree::Fail,
            ["$", "nil", ..] => NameTree::Empty,
            ["$", "pending", ..] => return AnswerState::Pending,
            ["$", "failed", ..] => return AnswerState::Failed("it is\x1b[2J down".into()),
            _ => NameTree::Neg,
        })
    }
}

fn endpoints(count: u16) -> Target {
    let endpoint = |n| Endpoint::at(([127, 0, 0, 1], 8081 + n).into());
    let mut set: Vec<_> = (0..count).map(endpoint).collect();
    if let Some(second) = set.get_mut(1) {
        second.weight = 0.5;
        second.node = Some("n1".into());
        second.zone = Some("z1".into());
    }
    Target::Endpoints(watch::channel(EndpointSet::new(set)).1)
}

fn explain(dtab: &str, path: &str) -> Delegation {
    let dtab: Dtab = dtab.parse().expect("a dtab");
    delegate(&dtab, &path.parse().expect("a path"), &mut Fake, Explore::All)
}

fn drawn(dtab: &str, path: &str, colours: Colours) -> String {
    let mut out = String::new();
    draw(&explain(dtab, path), colours, &mut out).expect("a string takes it");
    out
}

#[test]
fn a_chain_is_drawn_hop_by_hop() {
    let dtab = "/srv => /#/fs; /svc => /host; /host => /srv; /host/world => /srv/2";
    assert_eq!(
        drawn(dtab, "/svc/world/x", Colours::Without),
        "\
/svc/world/x
└── /host/world/x  [2: /svc => /host]  first of:
    ├── /srv/2/x  [4: /host/world => /srv/2]
    │   └── /#/fs/2/x  [1: /srv => /#/fs]  bound to /#/fs/2, rest /x: 127.0.0.1:8081, 127.0.0.1:8082
    └╌╌ /srv/world/x  [3: /host => /srv]
        └╌╌ /#/fs/world/x  [1: /srv => /#/fs]  bound to /#/fs/world, rest /x: 127.0.0.1:8081
outcome: /#/fs/2/x
"
    );
}

#[test]
fn every_kind_of_step_is_drawn() {
    let dtab =
        "/a => 0.3 * /#/fs/0 & /#/fs/10 & ! & ~ & $ & (/x | /$/fail) & /$/nil & /$/to/b & /$/status/204
        & /$/pending & /$/failed; /b => ~";
    assert_eq!(
        drawn(dtab, "/a", Colours::Without),
        "\
/a  shared by:
├── 0.3 (6.98 %) * /#/fs/0  [E]  bound to /#/fs/0: no endpoints
├── 1 (23.26 %) * /#/fs/10  [E]  bound to /#/fs/10: 127.0.0.1:8081, 127.0.0.1:8082, 127.0.0.1:8083, 127.0.0.1:8084, \
127.0.0.1:8085, 127.0.0.1:8086, 127.0.0.1:8087, 127.0.0.1:8088, 2 more
├── 1 (0 %) * !  [E]  fails on purpose
├── 1 (0 %) * ~  [E]  no such name
├── 1 (23.26 %) * $  [E]  no members
├── 1 (0 %) * /a  [E]  first of:
│   ├── /x  [E]  no such name
│   └── /$/fail  [E]  fails on purpose
├── 1 (23.26 %) * /$/nil  [E]  no members
├── 1 (0 %) * /$/to/b  [E]
│   └── /b
│       └── ~  [2: /b => ~]  no such name
├── 1 (23.26 %) * /$/status/204  [E]  bound to /$/status/204: an empty answer with status 204
├── 1 (0 %) * /$/pending  [E]  pending: a namer has not answered
└── 1 (0 %) * /$/failed  [E]  failed: it is\u{fffd}[2J down
outcome: 0.3*/#/fs/0 & /#/fs/10 & $ & $ & /$/status/204
"
        .replace("[E]", "[1: /a => 0.3*/#/fs/0 & /#/fs/10 & ! & ~ & $ & (/x | /$/fail) & /$/nil...]")
    );
}

#[test]
fn outcomes_without_a_name_say_so() {
    let table = [
        ("", "/a", "/a  no such name\noutcome: ~ (no such name)\n"),
        ("/a => !", "/a", "/a\n└── !  [1: /a => !]  fails on purpose\noutcome: ! (fails on purpose)\n"),
        ("", "/$/nil", "/$/nil  no members\noutcome: $ (no members)\n"),
        (
            "",
            "/$/pending",
            "/$/pending  pending: a namer has not answered\noutcome: pending: a namer has not answered\n",
        ),
        (
            "",
            "/$/failed",
            "/$/failed  failed: it is\u{fffd}[2J down\noutcome: failed: it is\u{fffd}[2J down\n",
        ),
    ];
    for (dtab, path, expected) in table {
        assert_eq!(drawn(dtab, path, Colours::Without), expected);
    }
}

#[test]
fn a_bound_is_drawn() {
    let text = drawn("/a => /b | /a; /b => /$/nil", "/a", Colours::Without);
    assert!(
        text.contains("  again, and so on: Max recursion level: 100 reached in Namer lookup\n"),
        "{text}"
    );
    assert!(text.lines().count() < 40, "a loop can be read: {text}");
    let many = vec!["/c"; MAX_LOOKUPS].join(" & ");
    let text = drawn(&format!("/a => /$/nil | /b; /b => {many}"), "/a", Colours::Without);
    assert!(text.contains("]  not explored: too much is not taken\n"), "{text}");
    assert!(text.ends_with("outcome: $ (no members)\n"));
}

#[test]
fn colours_are_asked_for() {
    assert_eq!(
        drawn("/a => /#/fs/0 | /b", "/a", Colours::Ansi),
        "\
/a  first of:
├── /#/fs/0  [1: /a => /#/fs/0 | /b]  \x1b[32mbound to /#/fs/0: no endpoints\x1b[0m
└╌╌ \x1b[2m/b  [1: /a => /#/fs/0 | /b]\x1b[0m  \x1b[2mno such name\x1b[0m
outcome: \x1b[32m/#/fs/0\x1b[0m
"
    );
}

fn as_json(dtab: &str, path: &str) -> String {
    serde_json::to_string(&json(&explain(dtab, path))).expect("a string takes it")
}

#[test]
fn json_has_linkerds_shape() {
    assert_eq!(
        as_json("/a => /b; /b => ~; /b => /#/fs/2", "/a/x"),
        concat!(
            r#"{"type":"delegate","path":"/a/x","taken":true,"delegate":"#,
            r#"{"type":"alt","path":"/b/x","dentry":{"prefix":"/a","dst":"/b"},"taken":true,"alt":["#,
            r##"{"type":"leaf","path":"/#/fs/2/x","dentry":{"prefix":"/b","dst":"/#/fs/2"},"taken":true,"##,
            r#""bound":{"addr":{"type":"bound","addrs":[{"ip":"127.0.0.1","port":8081,"meta":{}},"#,
            r#"{"ip":"127.0.0.1","port":8082,"meta":{"endpoint_addr_weight":0.5,"nodeName":"n1","zone":"z1"}}],"#,
            r##""meta":{}},"id":"/#/fs/2","path":"/x"}},"##,
            r#"{"type":"neg","path":"~","dentry":{"prefix":"/b","dst":"~"},"taken":false}]}}"#,
        )
    );
}

#[test]
fn a_path_of_a_namer_takes_the_place_of_its_node_in_json() {
    let dentry = r#""dentry":{"prefix":"/a","dst":"/$/to/$/to/b"},"taken":true"#;
    assert_eq!(
        as_json("/a => /$/to/$/to/b; /b => $", "/a"),
        [
            r#"{"type":"delegate","path":"/a","taken":true,"delegate":"#,
            &format!(r#"{{"type":"delegate","path":"/b",{dentry},"delegate":"#),
            r#"{"type":"empty","path":"/b","dentry":{"prefix":"/b","dst":"$"},"taken":true}}}"#,
        ]
        .concat()
    );
    assert_eq!(as_json("", "/$/to/$/nil"), r#"{"type":"empty","path":"/$/nil","taken":true}"#);
}

#[test]
fn nodes_in_the_tree_of_a_namer_have_the_entry_that_led_there_in_json() {
    let value: Value = serde_json::from_str(&as_json("/a => /$/either", "/a")).unwrap();
    let node = &value["delegate"];
    assert_eq!((&node["type"], &node["path"]), (&"alt".into(), &"/$/either".into()), "{node}");
    let dentry = serde_json::json!({"prefix": "/a", "dst": "/$/either"});
    for node in [node, &node["alt"][0], &node["alt"][1]] {
        assert_eq!(node["dentry"], dentry, "{node}");
    }
    let types: Vec<_> = (0..2).map(|at| node["alt"][at]["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["neg", "empty"]);
    assert_eq!(node["alt"][0]["path"], "/b");
}

#[test]
fn every_kind_of_step_is_json() {
    let table = [
        ("", "/a", r#"{"type":"neg","path":"/a","taken":true}"#),
        ("", "/$/fail/x", r#"{"type":"fail","path":"/$/fail/x","taken":true}"#),
        ("", "/$/nil", r#"{"type":"empty","path":"/$/nil","taken":true}"#),
        ("", "/$/pending", r#"{"type":"pending","path":"/$/pending","taken":true}"#),
        (
            "",
            "/$/failed",
            r#"{"type":"exception","path":"/$/failed","taken":true,"message":"it is\u001b[2J down"}"#,
        ),
        (
            "/a => !",
            "/a/x",
            concat!(
                r#"{"type":"delegate","path":"/a/x","taken":true,"delegate":"#,
                r#"{"type":"fail","path":"!","dentry":{"prefix":"/a","dst":"!"},"taken":true}}"#,
            ),
        ),
        (
            "/a => 0.5 * $ & /$/status/204",
            "/a",
            concat!(
                r#"{"type":"union","path":"/a","taken":true,"union":["#,
                r#"{"weight":0.5,"percent":33.33,"tree":{"type":"empty","path":"/a","#,
                r#""dentry":{"prefix":"/a","dst":"0.5*$ & /$/status/204"},"taken":true}},"#,
                r#"{"weight":1.0,"percent":66.67,"tree":{"type":"leaf","path":"/$/status/204","#,
                r#""dentry":{"prefix":"/a","dst":"0.5*$ & /$/status/204"},"taken":true,"#,
                r#""bound":{"addr":{"type":"bound","addrs":[],"meta":{"status":204}},"#,
                r#""id":"/$/status/204","path":"/"}}}]}"#,
            ),
        ),
    ];
    for (dtab, path, expected) in table {
        assert_eq!(as_json(dtab, path), expected);
    }
}

#[test]
fn alternates_of_alternates_are_spliced() {
    let value: Value = serde_json::from_str(&as_json("/a => /x; /a => /y | (/$/nil | /z)", "/a")).unwrap();
    let arms = value["alt"].as_array().unwrap().iter();
    let arms: Vec<_> =
        arms.map(|arm| (arm["path"].as_str().unwrap(), arm["taken"].as_bool().unwrap())).collect();
    assert_eq!(arms, [("/y", true), ("/$/nil", true), ("/z", false), ("/x", false)]);
}

#[test]
fn what_is_not_explored_is_json() {
    let mut delegation = explain("", "/a");
    delegation.step.kind = StepKind::Unexplored;
    let text = serde_json::to_string(&json(&delegation)).expect("a string takes it");
    assert_eq!(text, r#"{"type":"unexplored","path":"/a","taken":true}"#);
}

/// The JSON of a delegation of at most so many bytes.
fn limited(delegation: &Delegation, limit: usize) -> String {
    String::from_utf8(json(delegation).with_outcome(delegation).to_bytes(limit).unwrap()).unwrap()
}

#[test]
fn with_a_limit_an_entry_is_said_once_and_then_named_by_its_position() {
    let delegation = explain("/a => /b ; /b => /#/fs/1 & /#/fs/2 ; /c => /a | /b", "/c");
    let tree: Value = serde_json::from_str(&limited(&delegation, 1 << 20)).unwrap();
    let branches = |at: &str| tree.pointer(at).unwrap().as_array().unwrap().clone();
    let said = |node: &Value| (node["dentry"].is_object(), node["entry"].as_u64());
    let first = branches("/alt/0/delegate/union");
    assert_eq!(said(&first[0]["tree"]), (true, Some(1)));
    assert_eq!(said(&first[1]["tree"]), (false, Some(1)), "{tree:#}");
    for branch in branches("/alt/1/union") {
        assert_eq!(said(&branch["tree"]), (false, Some(1)), "{tree:#}");
    }
    let full = serde_json::to_value(json(&delegation)).unwrap();
    assert_eq!(full.to_string().matches("\"dentry\"").count(), 7, "without a limit all stay: {full:#}");
    assert_eq!(limited(&delegation, 1 << 20), limited(&delegation, 1 << 20), "each text says all of them");
}

#[test]
fn what_is_beyond_the_limit_is_left_out_and_said_to_be() {
    let branches = |count: usize, path: &str| vec![path; count].join(" & ");
    for (dtab, path) in [
        // Many addresses, many branches, long paths, a long entry that leads to itself.
        (format!("/a => {}", branches(1000, "/#/fs/5000")), "/a".to_owned()),
        (format!("/a => {}", branches(15_000, "/#/fs/0")), "/a".to_owned()),
        (format!("/a => {}", branches(100, &format!("/$/nil/{}", "x".repeat(2000)))), "/a".to_owned()),
        (format!("/a => {}", branches(100_000, "/a")), "/a".to_owned()),
        (format!("/a => /#/fs/1/{}", "\\x00".repeat(50_000)), format!("/a/{}", "\\x00".repeat(50_000))),
    ] {
        let delegation = explain(&dtab, &path);
        let text = limited(&delegation, 100_000);
        let beside_the_tree = 2 * (LONGEST_DRAWN + path.len());
        assert!(text.len() <= 100_000 + beside_the_tree, "{} bytes of {} entries", text.len(), dtab.len());
        assert!(text.contains("\"type\":\"cut\"") || text.contains("\"left\":"), "{}", &text[..1000]);
    }
    let few = explain(&format!("/a => {}", branches(1000, "/#/fs/3")), "/a");
    let tree: Value = serde_json::from_str(&limited(&few, 20_000)).unwrap();
    let shown = tree["union"].as_array().unwrap();
    let (last, before) = shown.split_last().unwrap();
    assert!(before.iter().all(|branch| branch["tree"]["type"] == "leaf"));
    assert_eq!(last["tree"]["type"], "cut");
    assert_eq!(last["tree"]["left"].as_u64().unwrap() as usize + shown.len(), 1000, "{last}");
    assert_eq!(last["tree"]["path"], "/#/fs/3");
    assert_eq!(last["weight"], 1.0);
}

/// The bytes of an outcome and an entry that may come beside the tree.
const LONGEST_DRAWN: usize = 64 << 10;
