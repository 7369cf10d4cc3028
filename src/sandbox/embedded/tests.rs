use super::*;
use crate::source::node::Document;

/// Reads a list of items.
fn read(text: &str) -> ReadItems {
    read_under(text, &SandboxRules::default())
}

fn read_under(text: &str, rules: &SandboxRules) -> ReadItems {
    let document = Document::read_list("f", text).unwrap_or_else(|error| panic!("{text}: {error}"));
    let mut read = ReadItems::default();
    read.read(&document.root(), rules);
    read
}

#[test]
fn items_are_read_with_their_places() {
    let found = read(
        "
- name: v2
  key: world-v2
  dtab: |
    # Ours.
    /svc/world => /srv/v2;
  labels: {branch: feature-v2}
  owner: anna
  ttl: 7d
  createdAt: 2026-01-31T09:00:00Z
  values: {queue: v2, shards: 2}
- {name: v3, dtab: '', expiresAt: '2026-01-31T10:00:00+01:00'}
- {name: both, all: [v2, v3]}
- {name: some, key: any-of-them, any: [v2]}
- name: branch
  label: {key: branch, value: feature-*}
",
    );
    assert_eq!(found.errors, []);
    let places: Vec<_> = found.items.iter().map(|(_, place)| (place.line, place.column)).collect();
    assert_eq!(places, [(2, 3), (12, 3), (13, 3), (14, 3), (15, 3)]);
    let shown = |at: usize| serde_json::to_value(&found.items[at].0).unwrap();
    assert_eq!(
        shown(0),
        serde_json::json!({
            "name": "v2", "key": "world-v2", "dtab": "# Ours.\n/svc/world => /srv/v2;\n",
            "labels": {"branch": "feature-v2"}, "owner": "anna", "ttl": "7d", "createdAt": "2026-01-31T09:00:00Z",
            "values": {"queue": "v2", "shards": "2"},
        })
    );
    assert_eq!(shown(1), serde_json::json!({"name": "v3", "dtab": "", "expiresAt": "2026-01-31T09:00:00Z"}));
    assert_eq!(shown(2), serde_json::json!({"name": "both", "all": ["v2", "v3"]}));
    assert_eq!(shown(3), serde_json::json!({"name": "some", "key": "any-of-them", "any": ["v2"]}));
    let label = serde_json::json!({"key": "branch", "value": "feature-*"});
    assert_eq!(shown(4), serde_json::json!({"name": "branch", "label": label}));
    let keys: Vec<_> = found.items.iter().map(|(item, _)| item.key()).collect();
    assert_eq!(keys, ["world-v2", "v3", "both", "any-of-them", "branch"]);
}

#[test]
fn every_error_has_its_place_and_says_what_to_do() {
    for (text, expected) in [
        ("- a", "f:1:3: [0]: expected a mapping"),
        ("- {dtab: ''}", "f:1:3: [0]: the key `name` is missing"),
        ("- {name: A, dtab: ''}", "f:1:10: [0].name: expected lower-case letters, digits, `-` and `.`, 63"),
        ("- {name: a, key: a+b, dtab: ''}", "f:1:18: [0].key: expected lower-case letters"),
        (
            "- {name: a}",
            "f:1:3: [0]: the key `dtab` is missing: write the entries of the sandbox, or, for a group",
        ),
        ("- {name: a, dtab: '', owners: b}", "[0].owners: unknown key: did you mean `owner`?"),
        ("- {name: a, any: [b], owner: b}", "[0].owner: unknown key"),
        ("- name: a\n  dtab: |\n    /a => /b;\n    /c = /d", "f:4:8: [0].dtab: not a dtab: expected '=>'"),
        ("- {name: a, dtab: '/a'}", "f:1:22: [0].dtab: not a dtab: "),
        (
            "- {name: a, dtab: '', ttl: 1h}",
            "f:1:28: [0].ttl: `ttl` counts from `createdAt`, which is missing: write it (`createdAt: 2026",
        ),
        ("- {name: a, dtab: '', ttl: 1h}", "`signpost sandbox create --file` write both"),
        (
            "- {name: a, dtab: '', ttl: soon, createdAt: '2026-01-31T09:00:00Z'}",
            "f:1:28: [0].ttl: `soon` is no lifetime: write one such as `90m`, `24h` or `7d`",
        ),
        (
            "- {name: a, dtab: '', ttl: 8d, createdAt: '2026-01-31T09:00:00Z'}",
            "f:1:28: [0].ttl: it would live for 192h, and 168h is the most (`sandboxes.maxTtl`)",
        ),
        (
            "- {name: a, dtab: '', expiresAt: '2026-02-28T09:00:00Z', createdAt: '2026-01-31T09:00:00Z'}",
            "[0].expiresAt: it would live for 672h",
        ),
        (
            "- {name: a, dtab: '', ttl: 1h, expiresAt: '2026-01-31T09:00:00Z'}",
            "f:1:28: [0].ttl: `expiresAt` says the end already: write one of the two",
        ),
        ("- {name: a, dtab: '', expiresAt: tomorrow}", "expected a time such as 2026-01-31T09:00:00Z"),
        ("- {name: a, dtab: '', labels: [b]}", "[0].labels: expected a mapping"),
        ("- {name: a, dtab: '', values: {b: []}}", "[0].values.b: expected a text, found a list"),
        ("- {name: a, any: [b], all: [c]}", "f:1:3: [0]: `all` and `any` both choose the members"),
        ("- {name: a, any: []}", "f:1:18: [0].any: this list is empty"),
        ("- {name: a, any: b}", "[0].any: expected a list"),
        ("- {name: a, all: [b, C]}", "f:1:22: [0].all[1]: expected the name of a sandbox"),
        ("- {name: a, label: {key: b}}", "[0].label: the key `value` is missing: write `label: {key: branch"),
        ("- {name: a, label: {key: b, value: c, d: e}}", "[0].label.d: unknown key"),
        (
            "- {name: a, dtab: ''}\n- {name: a, key: b, dtab: ''}",
            "f:2:10: [1].name: the name `a` is taken at f:1:10: give this one another",
        ),
        (
            "- {name: a, dtab: ''}\n- {name: b, key: a, any: [a]}",
            "f:2:18: [1].key: the key `a` is taken at f:1:10: give this one another `key`",
        ),
        (
            "- {name: a, key: b, dtab: ''}\n- {name: b, dtab: ''}",
            "f:2:10: [1].name: the key `b` is taken at f:1:18",
        ),
    ] {
        let found = read(text);
        let errors: Vec<_> = found.errors.iter().map(ToString::to_string).collect();
        assert!(errors.iter().any(|error| error.contains(expected)), "{text}: {errors:?}");
        assert!(found.errors.iter().all(|error| error.line > 0 && !error.excerpt.is_empty()), "{text}");
    }
}

#[test]
fn entries_that_the_configuration_does_not_allow_are_errors() {
    let rules =
        SandboxRules::new(Some(vec!["/svc".parse().unwrap()]), None, crate::sandbox::MAX_TTL, Vec::new());
    let found = read_under("- name: a\n  dtab: |\n    /svc/a => /b;\n    /host => /c\n", &rules);
    let expected = "f:4:5: [0].dtab: the entry /host=>/c is not allowed: sandboxes may have entries at or below /svc \
                    (`sandboxes.overrides.prefixes`)";
    assert!(
        found.errors.len() == 1 && found.errors[0].to_string().starts_with(expected),
        "{:?}",
        found.errors
    );
}

#[test]
fn the_number_of_items_and_of_errors_is_bounded() {
    let many =
        |count: usize| (0..count).map(|at| format!("- {{name: s{at}, dtab: ''}}\n")).collect::<String>();
    assert_eq!(read(&many(MAX_ITEMS)).items.len(), MAX_ITEMS);
    let found = read(&many(MAX_ITEMS + 1));
    assert_eq!((found.items.len(), found.errors.len()), (0, 1));
    assert!(found.errors[0].message.contains("there are 10001 sandboxes: 10000 are the most"));
    assert!(read(&"- {}\n".repeat(5000)).errors.len() < 2 * MANY + 2);
}

#[test]
fn a_comment_that_takes_in_the_entries_below_it_is_told() {
    let found = read("- name: a\n  dtab: >\n    # all of it\n    /a => /b\n");
    let [(place, key, message)] = &found.warnings[..] else { panic!("{:?}", found.warnings) };
    assert_eq!((place.line, place.column, key.as_str()), (3, 5, "[0].dtab"));
    assert!(message.contains("this comment ends the dtab"));
}

#[test]
fn a_group_of_too_many_sandboxes_is_an_error() {
    let names = vec!["b"; 65].join(", ");
    let errors: Vec<_> =
        read(&format!("- {{name: a, any: [{names}]}}")).errors.iter().map(ToString::to_string).collect();
    assert!(
        errors.len() == 1 && errors[0].contains("[0].any: it has 65 sandboxes, and 64 are the most"),
        "{errors:?}"
    );
}
