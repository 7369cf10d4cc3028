//! The pipeline of `examples/ci`, as it stands there, while the baseline is under load.

use super::cluster::Cluster;
use super::cluster::objects::{deployment, service};
use super::load::Load;
use super::manifests::Shell;
use super::way::Way;
use serde_json::{Value, json};
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;

/// Runs it in a namespace that a controller looks after, against a router whose baseline answers `rest`.
pub(crate) async fn pipeline(cluster: &Cluster, namespace: &str, router: SocketAddr) {
    let shell = Shell::new(cluster).await;
    let signpost = shell.folder.join("signpost");
    fs::write(&signpost, format!("#!/bin/sh\nexec '{}' \"$@\"\n", env!("CARGO_BIN_EXE_signpost")))
        .expect("there is room for files");
    fs::set_permissions(&signpost, fs::Permissions::from_mode(0o755)).expect("it is ours");
    let manifest = shell.folder.join("branch.json");
    fs::write(&manifest, branch().to_string()).expect("there is room for files");
    let run = |tests: &str| {
        let environment = format!(
            "NAMESPACE={namespace} SANDBOX=pr-17 MANIFEST={} DEPLOYMENT=branch \
             ENTRY='/svc/world => /#/io.l5d.k8s/{namespace}/http/branch'",
            manifest.display()
        );
        format!("{environment} examples/ci/pipeline sh -c '{tests}'")
    };
    let ask = format!(
        "\"$CURL\" --fail --silent --show-error --header \"Host: world\" --header \"baggage: $BAGGAGE\" http://{router}/"
    );

    let mut baseline = Load::start(&Way::of(router, "/").host("world"));
    let said = shell.run(&run(&ask)).await;
    assert!(said.lines().any(|line| line.contains("branch-")), "the branch answers: {said}");
    // Tests that fail are the pipeline's failure, and leave as little behind.
    let failed = shell.run(&format!("{} && exit 1 || echo \"exit code $?\"", run("exit 7"))).await;
    assert!(failed.contains("exit code 7"), "{failed}");
    let left = shell.run(&format!("kubectl --namespace {namespace} get sandbox/pr-17 2>&1 || true")).await;
    assert!(left.contains("NotFound"), "{left}");
    let left = shell.run(&format!("kubectl --namespace {namespace} get service/branch 2>&1 || true")).await;
    assert!(left.contains("NotFound"), "{left}");
    let answers = baseline.take();
    answers.assert_good();
    assert_eq!(answers.texts.keys().collect::<Vec<_>>(), ["rest"], "the baseline is untouched");
    baseline.stop().await.assert_good();
}

/// The manifest of the branch: a deployment and a service of its own.
fn branch() -> Value {
    let mut objects = [deployment("branch", 1, &json!({})), service("branch", "branch")];
    for (object, (version, kind)) in objects.iter_mut().zip([("apps/v1", "Deployment"), ("v1", "Service")]) {
        object["apiVersion"] = version.into();
        object["kind"] = kind.into();
    }
    json!({ "apiVersion": "v1", "kind": "List", "items": objects })
}
