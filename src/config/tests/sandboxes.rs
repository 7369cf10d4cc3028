use super::*;
use crate::sandbox::UnknownKey;

fn with(sandboxes: &str) -> String {
    format!("sandboxes: {sandboxes}\nnamers:\n- {{kind: io.l5d.k8s}}\n{}", router(""))
}

#[test]
fn a_list_is_short_for_items() {
    let list = config(&with("[{name: a, dtab: /a => /b}]"));
    let mapping = config(&with("{items: [{name: a, dtab: /a => /b}]}"));
    assert_eq!(list.sandboxes, mapping.sandboxes);
    assert_eq!(list.sandboxes.objects.items.len(), 1);
    let place = |column| Place { line: 1, column };
    assert_eq!((list.places.sandboxes.whole, &list.places.sandboxes.items), (place(12), &vec![place(13)]));
    assert_eq!(mapping.places.sandboxes.items, [place(21)]);
    assert_eq!(config(&router("")).sandboxes, SandboxesConfig::default());
}

#[test]
fn the_keys_of_sandboxes_are_read_and_checked() {
    let read_all = config(&with(
        "{router: http, overrides: {prefixes: [/svc], destinations: ['/#/a/**']}, maxTtl: 30d, unknownKey: refuse, file: s.yaml}",
    ));
    let objects = &read_all.sandboxes.objects;
    assert_eq!(objects.router.as_deref(), Some("http"));
    assert_eq!(objects.overrides.prefixes, Some(vec!["/svc".parse().unwrap()]));
    assert_eq!(objects.overrides.destinations, Some(vec!["/#/a/**".parse().unwrap()]));
    assert_eq!(objects.max_ttl, Duration::from_secs(30 * 24 * 60 * 60));
    assert_eq!((objects.unknown_key, objects.file.as_deref()), (UnknownKey::Refuse, Some("s.yaml".as_ref())));
    let [root] = &read_all.namespace_roots()[..] else { panic!("one namer is of Kubernetes") };
    assert_eq!((root.prefix.to_string(), &root.namespace), ("/#/io.l5d.k8s".to_owned(), &None));
    for (sandboxes, expected) in [
        (
            "nobody",
            "f.yaml:1:12: sandboxes: expected a mapping (`key: value`), or a list of sandboxes, found `nobody`",
        ),
        (
            "{router: other}",
            "f.yaml:1:21: sandboxes.router: expected the label of a router of this file (`http`)",
        ),
        (
            "{maxTtl: 30}",
            "f.yaml:1:21: sandboxes.maxTtl: expected a time in words, such as `90m`, `24h` or `7d`",
        ),
        ("{unknownKey: fail}", "expected `baseline` or `refuse`, found `fail`"),
        ("{overrides: {prefixes: [a]}}", "f.yaml:1:36: sandboxes.overrides.prefixes[0]: not a prefix"),
        ("{overrides: {prefix: [/a]}}", "did you mean `prefixes`?"),
        ("{file: ''}", "sandboxes.file: expected a text"),
        ("{items: {a: b}}", "f.yaml:1:20: sandboxes.items: expected a list"),
        ("[{name: a, dtab: '/a =>'}]", "f.yaml:1:35: sandboxes[0].dtab: not a dtab: "),
        (
            "{overrides: {prefixes: [/svc]}, items: [{name: a, dtab: /a => /b}]}",
            "sandboxes.items[0].dtab: the entry /a=>/b is not allowed: sandboxes may have entries at or below /svc",
        ),
        (
            "{maxTtl: 1h, items: [{name: a, dtab: '', ttl: 2h, createdAt: '2026-01-31T09:00:00Z'}]}",
            "sandboxes.items[0].ttl: it would live for 2h, and 1h is the most",
        ),
    ] {
        let errors = read("f.yaml", &with(sandboxes)).expect_err(sandboxes).to_string();
        assert!(errors.contains(expected), "{sandboxes}: {errors}");
    }
}
