use super::{Contents, RowPlace, Support, find_section, sections, walk, working_keys};
use crate::config::{self, Config, Errors};
use crate::{identify, namer};
use marked_yaml::spanned_serde::Error as Serde;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use std::collections::{BTreeSet, HashSet};

impl RowPlace {
    /// Returns whether the row stands in settings by prefix, which wait for a feature as a whole.
    fn waits(&self) -> bool {
        let by_prefix = |others: &Map<String, Value>| {
            others.get("kind") == Some(&json!("io.l5d.static")) && !others.contains_key("path")
        };
        self.levels.iter().any(|(others, ..)| by_prefix(others))
    }

    /// Returns the key path of the row.
    fn key(&self) -> String {
        self.path("[0]")
    }

    /// Returns a value that the row may have.
    fn usual(&self) -> Value {
        match self.row.contents {
            _ if self.is_kind => json!(self.row.name),
            Contents::Value => json!(1),
            Contents::One(_) | Contents::OneOrList(_) => json!({}),
            Contents::List(_) => json!([]),
            Contents::ValueOrOne(_) => json!("nobody"),
        }
    }

    fn read(&self, value: Value) -> Result<Config, Errors> {
        config::read("f", &self.file(Some(value)).to_string())
    }
}

#[test]
fn every_row_has_the_support_that_it_claims() {
    let cases = walk().places;
    assert!(cases.len() > 200, "only {} cases", cases.len());
    for case in &cases {
        let (key, name) = (case.key(), case.row.name);
        let read = case.read(case.usual());
        let at = |wanted: &str| match &read {
            Ok(_) => false,
            Err(errors) => errors.iter().any(|error| error.key == key && error.message.contains(wanted)),
        };
        assert!(!at("unknown key;") && !at("unknown kind;"), "{key}: {name} is unknown: {read:?}");
        match case.row.support {
            Support::Works | Support::Inside => {
                assert!(!at("not available") && !at("not supported"), "{key}: {name} should work: {read:?}");
            }
            Support::NoEffect(_) if case.waits() => {}
            Support::NoEffect(reason) => {
                let config = read.unwrap_or_else(|errors| panic!("{key}: {errors}"));
                let warned = config.warnings.iter().any(|w| w.key == key && w.message.contains(reason));
                assert!(warned, "{key}: {name} should warn: {:?}", config.warnings);
            }
            Support::Foreign(instead) => {
                assert!(
                    at("unknown key in a router") && at(instead),
                    "{key}: {name} should be unknown: {read:?}"
                );
            }
            Support::Refused(instead) => assert!(at(instead), "{key}: {name} should be refused: {read:?}"),
            Support::NotYet(feature) => {
                assert!(
                    at(&format!("`{name}` is not available yet (feature: {feature})")),
                    "{key}: {name} should wait: {read:?}"
                );
            }
        }
    }
}

/// The readers refuse a mapping of mappings under each key that works, so they read it. (`Reader` asserts that they read no
/// other.)
#[test]
fn every_key_that_works_is_read() {
    let mut count = 0;
    for case in walk().places {
        let works = case.row.support == Support::Works && case.row.contents == Contents::Value;
        if !works || case.is_kind || case.waits() {
            continue;
        }
        count += 1;
        let key = case.key();
        let Err(errors) = case.read(json!({ "a": { "mapping": 1 } })) else { panic!("{key} is not read") };
        let is_there =
            |at: &str| at.strip_prefix(&key).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        let refused = errors.iter().any(|error| is_there(&error.key) && error.message.contains("expected "));
        assert!(refused, "{key} is not read: {errors}");
    }
    assert!(count > 30, "only {count} keys work");
}

#[test]
fn every_section_is_reached_and_nothing_stands_twice() {
    let mut reached = walk().sections;
    let mut names = HashSet::new();
    for section in sections() {
        assert!(names.insert(section.name), "the section {} stands twice", section.name);
        let rows: HashSet<_> = section.keys.iter().map(|row| row.name).collect();
        assert_eq!(rows.len(), section.keys.len(), "a row of {} stands twice", section.name);
        let included: Vec<_> = section.includes.iter().filter_map(|name| find_section(name)).collect();
        assert_eq!(included.len(), section.includes.len(), "{} includes what is not there", section.name);
        reached.extend(section.includes.iter().map(|name| (*name).to_owned()));
    }
    let missed: Vec<_> = names.iter().filter(|name| !reached.contains(**name)).collect();
    assert!(missed.is_empty(), "nothing leads to {missed:?}");
}

#[test]
fn kinds_with_types_of_their_own_have_the_keys_of_the_table() {
    let cases = [
        ("identifier io.l5d.header.token", fields::<identify::HeaderToken>()),
        ("identifier io.l5d.header", fields::<identify::Header>()),
        ("identifier io.l5d.header.path", fields::<identify::HeaderPath>()),
        ("identifier io.l5d.path", fields::<identify::PathSegments>()),
        ("identifier io.l5d.methodAndHost", fields::<identify::MethodAndHost>()),
        ("identifier io.l5d.static", fields::<identify::StaticPath>()),
        ("namer io.l5d.dnssrv", fields::<namer::DnsSrv>()),
        ("namer io.l5d.fs", fields::<namer::Fs>()),
        ("namer io.l5d.rewrite", fields::<namer::Rewrite>()),
    ];
    for (section, fields) in cases {
        let works: BTreeSet<_> = working_keys(&[section]).into_iter().collect();
        assert_eq!(works, fields.iter().copied().collect(), "{section}");
    }
}

/// Returns the keys that a type takes.
fn fields<T: DeserializeOwned>() -> &'static [&'static str] {
    let node = marked_yaml::parse_yaml(0, "no such key: 1").expect("a mapping");
    match marked_yaml::from_node::<T>(&node).map_err(|error| error.into_inner()) {
        Err(Serde::UnknownFieldError(_, fields, _)) => fields,
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("takes any key"),
    }
}

/// A user learns in one go of all that is refused in a file.
#[test]
fn what_is_refused_inside_of_settings_by_prefix_is_named_too() {
    for protocol in ["http", "h2"] {
        let file = format!(
            "routers:\n- protocol: {protocol}\n  servers: [{{port: 0}}]\n  client:\n    kind: io.l5d.static\n    configs:\n    \
             - {{prefix: /a, requestAuthorizers: 1, no such: 1}}\n    - {{prefix: /b, requestAuthorizers: {{}}}}\n  \
             service: {{kind: io.l5d.static, configs: [{{prefix: /c, totalTimeoutMs: 5}}]}}\n"
        );
        let errors = config::read("f", &file).expect_err("it is refused");
        let found: Vec<_> = errors.iter().map(|error| (error.key.as_str(), error.code)).collect();
        let expected = [
            ("routers[0].client.configs[0].requestAuthorizers", "not-supported"),
            ("routers[0].client.configs[0].\"no such\"", "unknown-key"),
            ("routers[0].client.configs[1].requestAuthorizers", "not-supported"),
        ];
        assert_eq!(found, expected, "{errors}");
    }
}

/// The keys of settings stand in `configs`, if there are any; beside them nothing would read them.
#[test]
fn settings_of_a_protocol_beside_configs_are_unknown() {
    for (block, setting) in [("client", "maxFrameBytes: 20000"), ("service", "classificationTimeoutMs: 5")] {
        let file =
            |keys: &str| format!("routers: [{{protocol: h2, servers: [{{port: 0}}], {block}: {{{keys}}}}}]");
        config::read("f", &file(setting)).expect("it is a key of all");
        let entry = format!("kind: io.l5d.static, configs: [{{prefix: /a, {setting}}}]");
        config::read("f", &file(&entry)).expect("it is a key of an entry");
        let beside = format!("kind: io.l5d.static, configs: [], {setting}");
        let errors = config::read("f", &file(&beside)).expect_err("nothing reads it there");
        assert_eq!(errors.iter().map(|error| error.code).collect::<Vec<_>>(), ["unknown-key"], "{errors}");
    }
}

/// A key that does not work is reported once, whatever it contains.
#[test]
fn contents_of_a_key_that_does_not_work_are_not_checked() {
    let file = |lines: &str| format!("routers:\n- {{protocol: http, servers: [{{port: 0}}], {lines}}}\n");
    for (lines, key, message) in [
        ("tracePropagator: {no such key: 1}", "tracePropagator", "`tracePropagator` is not available yet"),
        ("interpreter: {kind: io.l5d.mesh, root: 1}", "interpreter.kind", "`io.l5d.mesh` is not supported"),
    ] {
        let errors = config::read("f", &file(lines)).expect_err(lines);
        let [error] = errors.iter().collect::<Vec<_>>()[..] else { panic!("{lines}: {errors}") };
        assert_eq!(error.key, format!("routers[0].{key}"), "{errors}");
        assert!(error.message.starts_with(message), "{errors}");
    }
    let usage = format!("usage: {{no such key: 1}}\n{}", file("label: a"));
    let warnings = config::read("f", &usage).expect("a warning").warnings;
    assert_eq!(warnings.iter().map(|warning| &*warning.key).collect::<Vec<_>>(), ["usage"]);
}
