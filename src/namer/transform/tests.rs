use super::TransformerConfig;
use super::addresses::{merged, on_hosts, on_nodes, on_port, retained};
use crate::interpret::{
    AnswerTable, Bound, DelegationOutcome, Endpoint, EndpointSet, Explore, Hint, NamerRegistry, Target,
    settle,
};
use crate::kubernetes::ApiClients;
use crate::name::{Dtab, NameTree, Path};
use crate::namer::{Cause, Config, Error, Fs, Kind, build};
use crate::telemetry::Registry;
use std::fs;
use std::time::Duration;
use tempfile::TempDir;
use tokio::runtime::Handle;

fn endpoint(address: &str) -> Endpoint {
    Endpoint::at(address.parse().unwrap())
}

fn endpoints(addresses: &[&str]) -> Vec<Endpoint> {
    addresses.iter().map(|address| endpoint(address)).collect()
}

/// The addresses with their weights.
fn shown(endpoints: &[Endpoint]) -> Vec<String> {
    endpoints.iter().map(|endpoint| format!("{} * {}", endpoint.address, endpoint.weight)).collect()
}

#[test]
fn sets_are_changed() {
    let all = endpoints(&["10.0.0.1:80", "10.0.0.1:81", "10.0.0.2:80", "[::1]:80"]);
    assert_eq!(shown(&on_port(&all, 9)), ["10.0.0.1:9 * 2", "10.0.0.2:9 * 1", "[::1]:9 * 1"]);
    let hosts = endpoints(&["[::ffff:10.0.0.2]:1", "[::1]:1"]);
    assert_eq!(shown(&on_hosts(&all, &hosts)), ["10.0.0.2:80 * 1", "[::1]:80 * 1"]);
    assert!(on_hosts(&all, &[]).is_empty());
    assert_eq!(retained(&all, |one| one.address.port() == 81), endpoints(&["10.0.0.1:81"]));
}

#[test]
fn what_was_known_of_another_port_does_not_count() {
    let spoken = Endpoint { hint: Some(Hint::H2c), node: Some("a".into()), ..endpoint("10.0.0.1:80") };
    let there = on_port(&[spoken], 9);
    assert_eq!((there[0].hint, there[0].node.as_deref()), (None, Some("a")));
}

#[test]
fn an_address_that_several_have_is_about_to_end_when_all_are() {
    let ending = Endpoint { terminating: true, ..endpoint("10.0.0.1:80") };
    for both in [[ending.clone(), endpoint("10.0.0.1:80")], [endpoint("10.0.0.1:80"), ending.clone()]] {
        let one = merged(both.into_iter());
        assert_eq!(shown(&one), ["10.0.0.1:80 * 1"], "and has no share of those that are");
        assert!(!one[0].terminating);
    }
    let one = merged([ending.clone(), ending].into_iter());
    assert!(one[0].terminating && one[0].weight == 2.0);
}

#[test]
fn gateways_are_those_of_the_same_nodes() {
    let on = |address: &str, node: &str| Endpoint {
        node: (!node.is_empty()).then(|| node.into()),
        ..endpoint(address)
    };
    let pods =
        [on("10.0.0.1:80", "a"), on("10.0.0.2:80", "a"), on("10.0.1.1:80", "b"), on("10.0.2.1:80", "")];
    let gateways = [
        on("10.1.0.1:4141", "a"),
        on("10.1.1.1:4141", "b"),
        on("10.1.1.2:4141", "b"),
        on("10.1.2.1:4141", "c"),
    ];
    let shared = on_nodes(&pods, &gateways);
    assert_eq!(shown(&shared), ["10.1.0.1:4141 * 2", "10.1.1.1:4141 * 0.5", "10.1.1.2:4141 * 0.5"]);
    assert!(on_nodes(&pods[3..], &gateways).is_empty());
    assert!(on_nodes(&pods, &[on("10.1.0.1:4141", "")]).is_empty());
}

#[test]
fn what_is_about_to_end_counts_when_its_node_has_nothing_else() {
    let on = |address: &str, node: &str, terminating| Endpoint {
        node: Some(node.into()),
        terminating,
        ..endpoint(address)
    };
    let gateways =
        [on("10.1.0.1:4141", "a", false), on("10.1.0.2:4141", "a", true), on("10.1.1.1:4141", "b", true)];
    let pods = [on("10.0.0.1:80", "a", false), on("10.0.1.1:80", "b", false)];
    assert_eq!(shown(&on_nodes(&pods, &gateways)), ["10.1.0.1:4141 * 1", "10.1.1.1:4141 * 1"]);
    let ending = on("10.0.1.1:80", "b", true);
    assert_eq!(shown(&on_nodes(&[pods[0].clone(), ending.clone()], &gateways)), ["10.1.0.1:4141 * 1"]);
    assert_eq!(shown(&on_nodes(&[ending], &gateways)), ["10.1.1.1:4141 * 1"]);
}

fn path(text: &str) -> Path {
    text.parse().unwrap()
}

/// Returns the bound name behind an interpreter's transformers, with its addresses; the namer has transformers of its
/// own.
async fn bound(name: &str, own: &[TransformerConfig], interpreter: &[TransformerConfig]) -> String {
    let names = TempDir::new().unwrap();
    fs::write(names.path().join("web"), "127.0.0.1 80\n127.0.0.1 81\n192.0.2.1 80\n").unwrap();
    fs::write(names.path().join("far"), "192.0.2.1 80\n").unwrap();
    let kind = Kind::Fs(Fs { root_dir: names.path().into() });
    let config = Config { prefix: path("/fs"), kind, transformers: own.to_vec() };
    let built =
        build(&[config], [interpreter], &ApiClients::default(), &Registry::default(), &Handle::current())
            .unwrap();
    let (registry, handle) = NamerRegistry::new(Duration::from_secs(1));
    let running = tokio::spawn(registry.run());
    let mut answers = AnswerTable::new(handle, built.namers_behind(interpreter));
    let dtab: Dtab =
        "/svc => /#/fs; /s => /$/io.buoyant.http.status/204; /b => /#/fs/far | /#/fs/web".parse().unwrap();
    let path = path(name);
    let settled = settle(&dtab, &path, Explore::Deciding, &mut answers);
    let delegation = tokio::time::timeout(Duration::from_secs(10), settled).await.unwrap();
    running.abort();
    let DelegationOutcome::Bound(tree) = delegation.outcome else { panic!("{:?}", delegation.outcome) };
    let show = |bound: &Bound| {
        let target = match &bound.target {
            Target::Status(status) => status.to_string(),
            Target::Endpoints(set) => {
                let set: EndpointSet = set.borrow().clone();
                let mut addresses: Vec<_> = set.iter().map(|one| one.address.to_string()).collect();
                addresses.sort();
                addresses.join(" ")
            }
        };
        format!("{} {} {target}", bound.id, bound.residual)
    };
    match &tree {
        NameTree::Leaf(bound) => show(bound),
        other => format!("{:#}", other.map(&mut |bound: &Bound| bound.id.clone())),
    }
}

#[tokio::test]
async fn names_behind_transformers() {
    use TransformerConfig::{Const, Localhost, Port, Replace, SpecificHost};
    let port = || Port { port: 4141 };
    let host = |host: &str| SpecificHost { host: host.into() };
    let replace = || Replace { path: path("/$/inet/127.1/9/left") };
    let fixed = || Const { path: path("/$/inet/127.1/9/left") };
    let cases: [(&str, &[TransformerConfig], &str); 22] = [
        ("/svc/web/a", &[], "/#/fs/web /a 127.0.0.1:80 127.0.0.1:81 192.0.2.1:80"),
        ("/svc/web/a", &[port()], "/%/io.l5d.port/4141/#/fs/web /a 127.0.0.1:4141 192.0.2.1:4141"),
        ("/svc/web", &[Localhost], "/%/io.l5d.localhost/#/fs/web / 127.0.0.1:80 127.0.0.1:81"),
        ("/svc/far", &[Localhost], "~"),
        ("/b", &[Localhost], "/%/io.l5d.localhost/#/fs/web / 127.0.0.1:80 127.0.0.1:81"),
        ("/svc/web", &[host("192.0.2.1")], "/%/io.l5d.specificHost/#/fs/web / 192.0.2.1:80"),
        ("/svc/web", &[host("localhost")], "/%/io.l5d.specificHost/#/fs/web / 127.0.0.1:80 127.0.0.1:81"),
        ("/svc/web", &[host("192.0.2.9")], "~"),
        (
            "/svc/web",
            &[port(), Localhost],
            "/%/io.l5d.localhost/%/io.l5d.port/4141/#/fs/web / 127.0.0.1:4141",
        ),
        (
            "/svc/web",
            &[Localhost, port()],
            "/%/io.l5d.port/4141/%/io.l5d.localhost/#/fs/web / 127.0.0.1:4141",
        ),
        ("/svc/none", &[port()], "~"),
        ("/svc/web/a", &[replace()], "/%/io.l5d.replace/$/inet/127.1/9 /left 127.0.0.1:9"),
        ("/svc/none", &[replace()], "~"),
        ("/svc/web/a", &[fixed()], "/%/io.l5d.const/$/inet/127.1/9 /left 127.0.0.1:9"),
        ("/svc/none", &[fixed()], "/%/io.l5d.const/$/inet/127.1/9 /left 127.0.0.1:9"),
        ("/nowhere", &[fixed()], "/%/io.l5d.const/$/inet/127.1/9 /left 127.0.0.1:9"),
        (
            "/svc/none",
            &[Localhost, fixed(), port()],
            "/%/io.l5d.port/4141/%/io.l5d.const/$/inet/127.1/9 /left 127.0.0.1:4141",
        ),
        ("/s/a", &[port()], "/%/io.l5d.port/4141/$/io.buoyant.http.status/204 /a 204"),
        ("/s", &[Localhost], "/%/io.l5d.localhost/$/io.buoyant.http.status/204 / 204"),
        ("/s", &[replace()], "/%/io.l5d.replace/$/inet/127.1/9 /left 127.0.0.1:9"),
        ("/$/inet/192.0.2.1/80", &[Localhost], "~"),
        ("/$/inet/localhost/80", &[Localhost], "/%/io.l5d.localhost/$/inet/localhost/80 / 127.0.0.1:80"),
    ];
    for (name, transformers, expected) in &cases {
        let said = bound(name, &[], transformers).await;
        let said = said.replace("127.0.0.1:80 [::1]:80", "127.0.0.1:80");
        assert_eq!(said, *expected, "{name} behind {transformers:?}");
        // Of a namer's own transformers the same holds, for its own names.
        let is_own = name.starts_with("/svc") || *name == "/b";
        if is_own {
            assert_eq!(bound(name, transformers, &[]).await, *expected, "{name} with {transformers:?}");
        }
    }
    let both = bound("/svc/web", &[Localhost], &[port()]).await;
    assert_eq!(both, "/%/io.l5d.port/4141/%/io.l5d.localhost/#/fs/web / 127.0.0.1:4141");
}

#[tokio::test]
async fn namers_that_stay_keep_their_numbers_and_no_number_is_given_twice() {
    let fs = |root: &str| Config {
        prefix: path("/fs"),
        kind: Kind::Fs(Fs { root_dir: root.into() }),
        transformers: Vec::new(),
    };
    let (port, local) = ([TransformerConfig::Port { port: 1 }], [TransformerConfig::Localhost]);
    let numbers = |namers: &crate::interpret::Namers| {
        ["/$", "/#/fs"]
            .map(|prefix| namers.matching(&path(prefix)).next().map(|(number, ..)| number).unwrap())
    };
    let all = |built: &crate::namer::NamerSet| {
        [numbers(built.namers()), numbers(&built.namers_behind(&port)), numbers(&built.namers_behind(&local))]
    };
    let control = Handle::current();
    let built = build(
        &[fs("a")],
        [&port[..], &[], &local, &port],
        &ApiClients::default(),
        &Registry::default(),
        &control,
    )
    .unwrap();
    assert_eq!(all(&built), [[0, 1], [2, 3], [4, 5]]);
    let same = built.rebuild(&[fs("a")], [&local[..], &port]).unwrap();
    assert_eq!(all(&same), all(&built));
    let other = same.rebuild(&[fs("b")], [&local[..], &port]).unwrap();
    let [raw, with_port, with_local] = all(&other);
    assert_eq!([raw[0], with_port[0], with_local[0]], [0, 2, 4], "the system namers stay");
    let new = [raw[1], with_port[1], with_local[1]];
    assert!(new.iter().all(|number| *number > 5) && new[0] != new[1] && new[1] != new[2], "{new:?}");
    assert!(other.namers_behind(&[]).matching(&path("/$")).next().is_some());
}

#[tokio::test]
async fn wrong_transformers_are_reported() {
    for (wrong, expected) in [
        ("/#/fs/web", "interpreter: io.l5d.replace: path: expected a name that begins with `/$`"),
        ("/$", "interpreter: io.l5d.replace: path: expected a name"),
        ("/$/io.buoyant.hostportPfx/a/b:1", "interpreter: io.l5d.replace: path: expected a name"),
        ("/$/none/a", "interpreter: io.l5d.replace: path: Unknown namer: none"),
        ("/$/inet/127.1/0", "interpreter: io.l5d.replace: path: /$/inet/127.1/0: the port 0"),
    ] {
        let replace = [TransformerConfig::Replace { path: path(wrong) }];
        let Err(error) =
            build(&[], [&replace[..]], &ApiClients::default(), &Registry::default(), &Handle::current())
        else {
            panic!("{wrong} is taken")
        };
        assert!(matches!(&error, Error::Interpreter(Cause::Path(..))), "{error:?}");
        assert!(error.to_string().starts_with(expected), "{error}");
    }
    let local = Config {
        prefix: path("/fs"),
        kind: Kind::Fs(Fs { root_dir: "names".into() }),
        transformers: vec![TransformerConfig::LocalNode { env_var: "NO_NODE_IS_IN_HERE".into() }],
    };
    let Err(error) = build(&[local], [], &ApiClients::default(), &Registry::default(), &Handle::current())
    else {
        panic!("there is no such node")
    };
    let expected =
        "namer /#/fs: io.l5d.k8s.localnode: the variable `NO_NODE_IS_IN_HERE` of the environment holds";
    assert!(error.to_string().starts_with(expected), "{error}");
}
