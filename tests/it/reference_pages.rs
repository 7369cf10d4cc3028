//! The pages of the book's reference that the binary knows best, compared with what it says of itself.

use crate::support::tls::{Authority, TlsFiles};
use crate::support::{ApiServer, Names, Service, TestApp, Wire, ingress, run, tls_secret, until};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

const HEAD: &str = "# Metrics

<!-- Written by `UPDATE_REFERENCE=1 cargo test --test it reference_pages`: do not edit it. -->

The metrics of a router that uses everything, by the names that they have at `/admin/metrics/prometheus`. A histogram has `_bucket`, `_sum` and
`_count` behind its name. A metric is there once the part of the router that it is about is in use.

| metric | type | labels | meaning |
|---|---|---|---|
";

/// What a scrape says of the metrics of one name.
#[derive(Default)]
struct ScrapedFamily {
    kind: String,
    meaning: String,
    labels: BTreeSet<String>,
}

/// Reads OpenMetrics text.
fn families(text: &str) -> BTreeMap<String, ScrapedFamily> {
    let mut families: BTreeMap<String, ScrapedFamily> = BTreeMap::new();
    for line in text.lines() {
        if let Some((name, meaning)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            families.entry(name.to_owned()).or_default().meaning = meaning.trim_end_matches('.').to_owned();
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            families.entry(name.to_owned()).or_default().kind = kind.to_owned();
        } else if let Some((name, labels)) = line.split_once('{') {
            let family = families.iter_mut().rfind(|(family, _)| {
                let end = name.strip_prefix(family.as_str());
                end.is_some_and(|end| ["", "_total", "_bucket", "_sum", "_count"].contains(&end))
            });
            let (_, family) = family.unwrap_or_else(|| panic!("{line} belongs to no family"));
            let names = labels.split("=\"").filter_map(|part| part.rsplit([',', '"', '{']).next());
            let is_name = |name: &&str| {
                !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
            };
            family.labels.extend(names.filter(is_name).filter(|name| *name != "le").map(str::to_owned));
        }
    }
    families
}

/// Returns the page about these metrics.
fn page(families: &BTreeMap<String, ScrapedFamily>) -> String {
    let mut page = HEAD.to_owned();
    for (name, family) in families {
        let end = if family.kind == "counter" { "_total" } else { "" };
        let labels: Vec<_> = family.labels.iter().map(|label| format!("`{label}`")).collect();
        let meaning = family.meaning.replace('|', "\\|");
        _ = writeln!(page, "| `{name}{end}` | {} | {} | {meaning} |", family.kind, labels.join(", "));
    }
    page
}

/// Returns the metrics of a router of each protocol with TLS, tokens, logs, sandboxes, Kubernetes and snapshots, once it has
/// carried requests.
async fn scrape() -> String {
    let (names, files, api) = (Names::new(), TlsFiles::new(), ApiServer::start().await);
    let authority = Authority::new("authority");
    files.write("ca.pem", authority.pem());
    let edge = authority.issue(&["edge.test"]);
    files.write_pair("edge", &edge);
    api.put(tls_secret("default", "edge", &edge.cert, &edge.key));
    api.put(ingress("default", "edge", &serde_json::json!({ "tls": [{ "secretName": "edge" }] })));
    let (code, public, stderr) = run(&["keys", "--private", &files.text("team.key")], "");
    assert_eq!(code, 0, "{stderr}");
    files.write("team.pem", &public);
    files.write("dtab", "/host => /srv ;");
    let service = Service::saying("hello").await;
    names.write("web", &[service.address()]);
    let (log, keys, api) = (files.text("access.log"), files.keys("edge"), api.keys());
    let snapshot = files.text("snapshot");
    let yaml = format!(
        "admin: {{port: 0}}
sandboxes: {{namespaces: [team], {api}, snapshot: '{snapshot}', items: [{{name: a, dtab: /svc/other => /svc/web}}]}}
namers:
- {{kind: io.l5d.fs, rootDir: '{}'}}
- {{kind: io.l5d.k8s, {api}, snapshot: '{snapshot}'}}
routers:
- protocol: http
  dtab: /svc => /#/io.l5d.fs ; /svc/pods => /#/io.l5d.k8s/default/http/web
  interpreter: {{kind: io.l5d.fs, dtabFile: '{}'}}
  httpAccessLog: '{log}'
  servers:
  - {{port: 0}}
  - {{port: 0, tls: {{{keys}}}, trust: {{signed: {{keys: ['{}']}}}}}}
  service: {{mirror: {{name: /svc/web}}}}
- protocol: h2
  servers: [{{port: 0}}]
- protocol: http
  label: ingress
  identifier: {{kind: io.l5d.ingress, {api}}}
  servers: [{{port: 0, tls: {{ingress: true}}}}]
",
        names.path(),
        files.text("dtab"),
        files.text("team.pem"),
    );
    let app = TestApp::start(&yaml).await;
    let mut client = app.client().await;
    assert_eq!(client.get("web", "").await.text(), "hello");
    assert_eq!(client.get("web", "baggage: sd-routing-key=a\r\n").await.text(), "hello");
    client.get("pods", "").await;
    until("requests are counted", async || app.total("requests", &[]) == 3).await;
    let mut admin = Wire::connect(app.running().admin()).await;
    let request = "GET /admin/metrics/prometheus HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let text = admin.ask(request).await.text().to_owned();
    app.stop().await;
    text
}

#[tokio::test(flavor = "local")]
async fn the_page_of_metrics_is_up_to_date() {
    let families = families(&scrape().await);
    assert!(families.len() > 50, "only {:?}", families.keys());
    for (name, family) in &families {
        assert!(!family.kind.is_empty() && !family.meaning.is_empty(), "{name} has no meaning");
    }
    let new = page(&families);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference/metrics.md");
    if env::var_os("UPDATE_REFERENCE").is_some() {
        fs::write(&path, &new).expect("the page is written");
    }
    let old = fs::read_to_string(&path).unwrap_or_default();
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
    let differ: Vec<_> = lines(&old).symmetric_difference(&lines(&new)).cloned().collect();
    assert!(
        old == new,
        "docs/reference/metrics.md is behind; write it with: UPDATE_REFERENCE=1 cargo test --test it reference_pages\n{differ:#?}"
    );
}

/// `signpost schema` prints what editors and readers take.
#[test]
fn the_command_prints_both_forms() {
    let (code, stdout, stderr) = run(&["schema"], "");
    assert_eq!((code, stderr.as_str()), (0, ""));
    let schema: serde_json::Value = serde_json::from_str(&stdout).expect("it is JSON");
    assert_eq!(schema["$defs"]["http-server"]["properties"]["port"]["maximum"], 65_535);
    let (code, stdout, _) = run(&["schema", "--markdown"], "");
    let page = include_str!("../../docs/reference/keys.md");
    assert!(code == 0 && stdout == page, "docs/reference/keys.md is behind");
}
