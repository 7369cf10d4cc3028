use super::{Cause, Config, DnsSrv, Error, Fs, Kind, Rewrite, build};
use crate::interpret::{Answer, AnswerState, Bound, EndpointSet, Leaf, Namer, Namers, Target};
use crate::kubernetes::ApiClients;
use crate::name::{NameTree, Path};
use crate::telemetry::Registry;
use std::sync::Arc;
use tokio::runtime::Handle;

/// An answer as text: `pending`, `neg`, `failed: ...`, or how a bound name with its endpoints is shown, with `stale`
/// where it is.
pub(super) fn show(answer: &mut Answer, bound_as: impl FnOnce(&Bound, &EndpointSet) -> String) -> String {
    let current = answer.look();
    let shown = match &current.state {
        AnswerState::Pending => "pending".into(),
        AnswerState::Ready(NameTree::Neg) => "neg".into(),
        AnswerState::Failed(reason) => format!("failed: {reason}"),
        AnswerState::Ready(NameTree::Leaf(Leaf::Bound(bound))) => {
            let Target::Endpoints(endpoints) = &bound.target else { panic!("no endpoints") };
            bound_as(bound, &endpoints.borrow())
        }
        other => panic!("{other:?}"),
    };
    if current.stale_since.is_some() { shown + " stale" } else { shown }
}

fn rewrite(prefix: &str, pattern: &str, name: &str) -> Config {
    let kind = Kind::Rewrite(Rewrite { pattern: pattern.into(), name: name.into() });
    Config { prefix: prefix.parse().unwrap(), kind, transformers: Vec::new() }
}

/// The path that the first namer asked gives at once.
fn first(namers: &Namers, path: &str) -> Option<String> {
    let path: Path = path.parse().unwrap();
    let (_, namer, rest): (usize, &Arc<dyn Namer>, Path) = namers.matching(&path).next()?;
    match namer.immediate(&rest)? {
        AnswerState::Ready(NameTree::Leaf(Leaf::Path(path))) => Some(path.to_string()),
        AnswerState::Ready(NameTree::Neg) => Some("neg".into()),
        other => Some(format!("{other:?}")),
    }
}

#[tokio::test]
async fn builds_each_under_its_prefix() {
    let configs = [
        rewrite("/rewrite", "/{a}/{b}", "/svc/{b}-{a}"),
        rewrite("/rewrite", "/later", "/x"),
        rewrite("/two/elements", "/*/v1", "/y"),
    ];
    let built =
        build(&configs, [], &ApiClients::default(), &Registry::default(), &Handle::current()).unwrap();
    let namers = built.namers();
    let cases = [
        ("/#/rewrite/later/rest/of/it", Some("/x/rest/of/it")),
        ("/#/rewrite/a/b", Some("neg")),
        ("/#/two/elements/a/v1/b", Some("/y/b")),
        ("/#/two/elements/a", Some("neg")),
        ("/#/two", None),
        ("/#/other", None),
        ("/$/io.buoyant.http.anyHost/h/x", Some("/x")),
        ("/svc/a", None),
    ];
    for (path, expected) in cases {
        assert_eq!(first(namers, path).as_deref(), expected, "{path}");
    }
    let path: Path = "/#/rewrite/a/b/c".parse().unwrap();
    let asked: Vec<usize> = namers.matching(&path).map(|(number, ..)| number).collect();
    assert_eq!(asked, [2, 1], "later ones first, after the system namers at 0");
    let (_, earlier, rest) = namers.matching(&path).nth(1).unwrap();
    let AnswerState::Ready(NameTree::Leaf(Leaf::Path(made))) = earlier.immediate(&rest).unwrap() else {
        panic!("no path")
    };
    assert_eq!(made.to_string(), "/svc/b-a/c");
    let looked_up = earlier.lookup(&rest).look().state;
    assert!(matches!(looked_up, AnswerState::Ready(NameTree::Leaf(Leaf::Path(path))) if path == made));
}

#[tokio::test]
async fn what_says_the_same_stays_and_the_rest_is_made_anew() {
    let numbers = |built: &super::NamerSet, path: &str| -> Vec<usize> {
        built.namers().matching(&path.parse().unwrap()).map(|(number, ..)| number).collect()
    };
    let (a, b, twice) = (rewrite("/a", "/x", "/y"), rewrite("/b", "/x", "/y"), rewrite("/t", "/x", "/y"));
    let built = build(
        &[a.clone(), b.clone(), twice.clone(), twice.clone()],
        [],
        &ApiClients::default(),
        &Registry::default(),
        &Handle::current(),
    )
    .unwrap();
    assert_eq!([numbers(&built, "/#/a"), numbers(&built, "/#/t")], [vec![1], vec![4, 3]]);
    let other = rewrite("/b", "/x", "/z");
    let again = built.rebuild(&[twice.clone(), other, a.clone(), twice.clone(), twice], []).unwrap();
    assert_eq!(numbers(&again, "/$"), [0], "the system namers stay");
    assert_eq!(numbers(&again, "/#/a"), [1], "it has moved, and is the same");
    assert_eq!(numbers(&again, "/#/t"), [6, 4, 3], "one more of the same is another one");
    assert_eq!(numbers(&again, "/#/b"), [5], "it says something else");
    assert_eq!(numbers(&again.rebuild(&[b], []).unwrap(), "/#/b"), [7], "what came back is new");
    assert!(again.rebuild(&[a, rewrite("/c", "/{", "/")], []).is_err());
}

/// A configuration, what is wrong with it, and how that is said.
type Wrong = (Config, fn(&Cause) -> bool, &'static str);

#[tokio::test]
async fn says_which_namer_is_wrong_and_why() {
    let fs = Kind::Fs(Fs { root_dir: "".into() });
    let srv = |host: &str, domain: Option<&str>| Config {
        prefix: "/srv".parse().unwrap(),
        kind: Kind::DnsSrv(DnsSrv {
            refresh_interval_seconds: 5,
            dns_hosts: vec![host.into()],
            domain: domain.map(str::to_owned),
        }),
        transformers: Vec::new(),
    };
    let cases: [Wrong; 5] = [
        (
            srv("a:b", None),
            |cause| matches!(cause, Cause::DnsHost(_)),
            "namer /#/srv: dnsHosts: expected an address or a host name of a DNS server",
        ),
        (
            srv("10.0.0.10", Some("a..b")),
            |cause| matches!(cause, Cause::Domain(_)),
            "namer /#/srv: domain: expected a domain such as example.org",
        ),
        (
            rewrite("/a", "/{x", "/{x}"),
            |cause| matches!(cause, Cause::Pattern(_)),
            "namer /#/a: pattern: `{x` has a brace that does not enclose a name",
        ),
        (
            rewrite("/b/c", "/{x}", "/{y}"),
            |cause| matches!(cause, Cause::Name(_)),
            "namer /#/b/c: name: `{y}` is not captured by the pattern",
        ),
        (
            Config { prefix: "/fs".parse().unwrap(), kind: fs, transformers: Vec::new() },
            |cause| matches!(cause, Cause::RootDir(_)),
            "namer /#/fs: rootDir: ",
        ),
    ];
    for (config, is_cause, text) in cases {
        let configs = [rewrite("/good", "/a", "/b"), config];
        let Err(error) =
            build(&configs, [], &ApiClients::default(), &Registry::default(), &Handle::current())
        else {
            panic!("{text}: no error")
        };
        let Error::Namer { at, cause, .. } = &error else { panic!("{error:?}") };
        assert!(*at == 1 && is_cause(cause), "{error:?}");
        assert!(error.to_string().starts_with(text), "{error}");
    }
}
