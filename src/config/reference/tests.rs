use super::*;
use crate::config::json::tests::FULL;
use crate::config::read;
use boon::{Compiler, SchemaIndex, Schemas};
use serde_json::json;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// A JSON Schema that is compiled.
struct Validator(Schemas, SchemaIndex);

impl Validator {
    fn new() -> Self {
        const PLACE: &str = "http://localhost/signpost.schema.json";
        let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
        compiler.add_resource(PLACE, json_schema()).expect("it is a resource");
        let index = compiler.compile(PLACE, &mut schemas).unwrap_or_else(|error| panic!("{error:#}"));
        Self(schemas, index)
    }

    /// Returns the errors in a configuration, in words.
    fn errors(&self, file: &Value) -> String {
        self.0.validate(file, self.1).err().map(|error| error.to_string()).unwrap_or_default()
    }
}

/// Returns the paths of the files below a folder that end in `.yaml`.
fn yaml_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let below = folders.iter().flat_map(|folder| yaml_files(folder));
    below.chain(files.into_iter().filter(|file| file.extension().is_some_and(|end| end == "yaml"))).collect()
}

#[test]
fn every_row_that_works_has_a_meaning() {
    let reference = Reference::get();
    let keys = reference.mappings.iter().flat_map(|mapping| &mapping.keys);
    let rows = keys.chain(reference.kinds.iter().map(|(_, kind)| kind));
    let works = |row: &&KeyEntry| matches!(row.support, Support::Works | Support::Inside);
    let rows: BTreeSet<_> = rows.filter(works).map(|row| (row.owner, row.name)).collect();
    assert!(rows.len() > 200, "only {} rows", rows.len());
    let told: Vec<_> =
        meanings::meanings().flat_map(|(section, rows)| rows.iter().map(|row| (*section, row.0))).collect();
    let set: BTreeSet<_> = told.iter().copied().collect();
    assert_eq!(told.len(), set.len(), "a meaning stands twice");
    let missing: Vec<_> = rows.difference(&set).collect();
    let left_over: Vec<_> = set.difference(&rows).collect();
    assert!(missing.is_empty(), "without a meaning in src/config/reference/meanings: {missing:?}");
    assert!(left_over.is_empty(), "meanings of rows that are not there: {left_over:?}");
}

#[test]
fn meanings_are_sentences_without_a_full_stop() {
    for (section, rows) in meanings::meanings() {
        for (name, meaning) in *rows {
            let begins_well = meaning.starts_with(|c: char| c.is_uppercase() || "`-0123456789".contains(c));
            assert!(begins_well && !meaning.ends_with('.'), "{section} {name}: {meaning}");
        }
    }
}

/// A default that is stated is one that the reader takes, of a key whose default is not known otherwise.
#[test]
fn stated_defaults_are_values_of_their_keys() {
    let places = schema::walk().places;
    for (section, key, default) in meanings::stated_defaults() {
        let wanted = |place: &&RowPlace| owner(place) == *section && place.row.name == *key;
        let found: Vec<_> = places.iter().filter(wanted).collect();
        let read = found.iter().any(|place| {
            let value = serde_json::from_str(default).unwrap_or_else(|error| panic!("{key}: {error}"));
            assert_eq!(values::default(place), None, "{section} {key} need not be stated");
            let file = place.file(Some(value)).to_string();
            let path = place.path("[0]");
            read("f", &file)
                .err()
                .is_none_or(|errors| errors.iter().all(|error| !error.key.starts_with(&path)))
        });
        assert!(read, "{section} {key}: {default}");
    }
}

/// The defaults that are stated are those of the proxy.
#[test]
fn stated_defaults_are_those_of_the_proxy() {
    let heads = crate::message::HeadLimits { line: 1, fields_bytes: 1, fields: 1 };
    let client = crate::proxy::ClientSettings::new(crate::proxy::WireProtocol::Http1, heads);
    let service = crate::proxy::ServiceSettings::default();
    for (section, key, value) in [
        ("client io.l5d.global", "connectTimeoutMs", json!(client.connect_timeout.as_millis())),
        ("client io.l5d.global", "streamWaitMs", json!(client.stream_wait.as_millis())),
        ("client io.l5d.global", "trustRetryable", json!(client.trust_retryable)),
        ("client io.l5d.global", "forwardClientCert", json!(client.forwards_certificate)),
        ("client io.l5d.global", "egress", json!(client.egress.is_some())),
        ("host connection pool", "minSize", json!(client.min_idle_connections)),
        ("host connection pool", "maxSize", json!(client.max_http1_connections)),
        ("host connection pool", "idleTimeMs", json!(client.idle_timeout.as_millis())),
        ("client socket options", "noDelay", json!(client.no_delay)),
        ("client socket options", "keepAlive", json!(client.keep_alive)),
        ("client socket options", "writeTimeoutMs", json!(client.write_timeout.as_millis())),
        (
            "service io.l5d.global h2",
            "classificationTimeoutMs",
            json!(service.classification_timeout.as_millis()),
        ),
        ("retry buffer size", "requestBytes", json!(service.request_buffer)),
        ("retry buffer size", "responseBytes", json!(service.response_buffer)),
    ] {
        assert_eq!(
            meanings::stated_default(section, key),
            Some(value.to_string().as_str()),
            "{section} {key}"
        );
    }
}

#[test]
fn readers_say_what_each_key_takes() {
    let reference = Reference::get();
    let values = |section: &str, protocol: &str, key: &str| {
        let is_it = |mapping: &&Mapping| mapping.section.name == section && mapping.protocol == protocol;
        let keys = reference.mappings.iter().filter(is_it).flat_map(|mapping| &mapping.keys);
        keys.filter(|entry| entry.name == key).find_map(|entry| entry.values.clone())
    };
    let scalar = |words: &str| Some(ValueShape::Scalar(words.to_owned()));
    assert_eq!(values("server", "http", "port"), scalar("a number from 0 to 65535"));
    assert_eq!(values("server", "h2", "connect"), scalar("`true` or `false`"));
    assert_eq!(values("server", "http", "ip"), scalar("an IP address such as 127.0.0.1, 0.0.0.0 or ::1"));
    assert_eq!(values("router", "h2", "h2AccessLogFormat"), scalar("`linkerd` or `json`"));
    let ranges = "a range of addresses such as 10.244.0.0/16 or fd00::/8, or an address";
    assert_eq!(values("trust", "http", "from"), Some(ValueShape::List(ranges.to_owned())));
    assert!(matches!(values("inject condition", "http", "cookie"), Some(ValueShape::Mapping(_))));
    let keys = reference.mappings.iter().flat_map(|mapping| &mapping.keys);
    let unread = keys.filter(|entry| entry.values == scalar(""));
    assert_eq!(unread.map(|entry| (entry.owner, entry.name)).collect::<Vec<_>>(), [("", ""); 0]);
}

#[test]
fn right_files_satisfy_the_json_schema() {
    let validator = Validator::new();
    let full = read("f", FULL).expect("it is right").to_json();
    assert_eq!(validator.errors(&full), "");
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut count = 0;
    for file in yaml_files(&examples) {
        let text = fs::read_to_string(&file).expect("a text");
        // Others are manifests, or files of Linkerd 1 that do not run here.
        if let Ok(config) = read("f", &text) {
            count += 1;
            assert_eq!(validator.errors(&config.to_json()), "", "{}", file.display());
        }
    }
    assert!(count > 10, "only {count} examples");
}

/// Each wrong file is refused by the start as well.
#[test]
fn wrong_files_do_not_satisfy_the_json_schema() {
    let validator = Validator::new();
    let router = |keys: Value| {
        let mut router = json!({ "protocol": "http", "servers": [{ "port": 0 }] });
        let keys = keys.as_object().expect("keys").clone();
        router.as_object_mut().expect("a router").extend(keys);
        json!({ "routers": [router] })
    };
    assert_eq!(validator.errors(&router(json!({}))), "");
    for wrong in [
        json!({}),
        json!({ "routers": [{ "servers": [{}] }] }),
        router(json!({ "protocol": "thrift" })),
        router(json!({ "lable": "a" })),
        router(json!({ "servers": [{ "port": 65_536 }] })),
        router(json!({ "servers": [{ "connect": "perhaps" }] })),
        router(json!({ "servers": [{ "forwardedFrom": "10.0.0.0/8" }] })),
        router(json!({ "httpAccessLogFormat": "xml" })),
        router(json!({ "h2AccessLog": "a.log" })),
        router(json!({ "tracers": [] })),
        router(json!({ "identifier": { "kind": "io.l5d.path", "header": "a" } })),
        router(json!({ "identifier": [{ "kind": "io.l5d.static" }] })),
        router(json!({ "client": { "loadBalancer": { "kind": "p2c", "lowLoad": 1 } } })),
        router(json!({ "client": { "configs": [] } })),
        router(json!({ "client": { "kind": "io.l5d.static", "configs": [{ "failFast": true }] } })),
    ] {
        assert_ne!(validator.errors(&wrong), "", "{wrong}");
        read("f", &wrong.to_string()).expect_err("the start refuses it too");
    }
}

/// The page of the book is the one that this binary prints.
#[test]
fn the_page_of_keys_is_up_to_date() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference/keys.md");
    if env::var_os("UPDATE_REFERENCE").is_some() {
        fs::write(&page, markdown()).expect("the page is written");
    }
    let there = fs::read_to_string(&page).unwrap_or_default();
    assert!(
        there == markdown(),
        "docs/reference/keys.md is behind; write it with: cargo run -- schema --markdown > docs/reference/keys.md"
    );
}

/// Every link of the page leads to a heading of it.
#[test]
fn the_links_of_the_page_lead_somewhere() {
    let page = markdown();
    let headings: BTreeSet<_> = page
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .map(|heading| heading.replace(' ', "-"))
        .collect();
    let links: BTreeSet<_> = page
        .split("](#")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'))
        .map(|(link, _)| link.to_owned())
        .collect();
    assert!(links.len() > 20, "{links:?}");
    assert_eq!(links.difference(&headings).collect::<Vec<_>>(), [""; 0]);
}
