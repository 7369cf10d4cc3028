//! `signpost sandbox` with a real API server: what it makes, changes, shows and removes there, and its exit codes.

use super::cluster::Cluster;
use super::sandboxes::define;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

const NAMESPACE: &str = "sandbox-command";
const OBJECTS: &str = "/apis/signpost.dev/v1alpha1/namespaces/sandbox-command";
const ENTRY: &str = "/host/world => /#/io.l5d.k8s/sandbox-command/http/web";

/// The command, as someone with all rights runs it.
struct Shell {
    kubeconfig: PathBuf,
}

impl Shell {
    /// Runs a subcommand in the namespace; returns its exit code, its output and its errors.
    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let (first, rest) = arguments.split_first().expect("a subcommand");
        let output = Command::new(env!("CARGO_BIN_EXE_signpost"))
            .args(["sandbox", first, "--namespace", NAMESPACE, "--kubeconfig"])
            .arg(&self.kubeconfig)
            .args(rest)
            // Connecting is told at the usual level.
            .env("SIGNPOST_LOG", "warn")
            .output()
            .expect("the binary is there");
        let text = |bytes| String::from_utf8(bytes).expect("it writes text");
        (output.status.code().expect("it ends by itself"), text(output.stdout), text(output.stderr))
    }

    fn done(&self, arguments: &[&str]) -> String {
        let (code, stdout, stderr) = self.run(arguments);
        assert_eq!((code, stderr.as_str()), (0, ""), "{arguments:?}: {stdout}");
        stdout
    }
}

pub(crate) async fn sandbox_command(cluster: &Cluster) {
    cluster.namespace(NAMESPACE).await;
    let kubeconfig = cluster.control_plane.lock().await.kubeconfig("admin");
    let shell = Shell { kubeconfig };
    define(cluster).await;
    let create = ["create", "--name", "pr-1", "--entry", ENTRY, "--owner", "anna", "--ttl", "2h"];
    assert_eq!(shell.done(&create), "sandbox-command/pr-1: created\n");
    assert_eq!(shell.done(&create), "sandbox-command/pr-1: unchanged\n");
    let more = [&create[..], &["--label", "branch=feature-1", "--value", "queue=pr-1"]].concat();
    assert_eq!(shell.done(&more), "sandbox-command/pr-1: updated (values, labels)\n");
    assert_eq!(shell.done(&more), "sandbox-command/pr-1: unchanged\n");
    let object = get(cluster, "sandboxes/pr-1").await;
    assert_eq!(object["spec"]["dtab"], format!("{ENTRY};\n"));
    assert_eq!(
        (&object["spec"]["owner"], &object["spec"]["ttl"], &object["spec"]["values"]["queue"]),
        (&json!("anna"), &json!("2h"), &json!("pr-1"))
    );
    assert_eq!(object["metadata"]["labels"], json!({ "branch": "feature-1" }));
    groups_and_lists(&shell, Path::new(&format!("{}/items.yaml", std::env::temp_dir().display())));
    refusals(&shell);
    readiness(cluster, &shell, &object).await;
    assert_eq!(shell.done(&["delete", "pr-1"]), "pr-1: deleted\n");
    let (code, _, stderr) = shell.run(&["delete", "pr-1"]);
    assert_eq!(
        (code, stderr.as_str()),
        (3, "signpost: namespace sandbox-command: there is no sandbox pr-1\n")
    );
    assert_eq!(shell.done(&["delete", "pr-1", "--ignore-not-found"]), "pr-1: there is none\n");
    assert_eq!(shell.done(&["delete", "both"]), "both: deleted\n");
}

/// A group from a file, and what is listed.
fn groups_and_lists(shell: &Shell, file: &Path) {
    std::fs::write(file, "- {name: both, all: [pr-1, pr-2]}\n").expect("there is room");
    let from = ["create", "--from", file.to_str().expect("it is text")];
    assert_eq!(shell.done(&from), "sandbox-command/both: created\n");
    assert_eq!(shell.done(&from), "sandbox-command/both: unchanged\n");
    std::fs::remove_file(file).expect("it is there");
    let listed: Value = serde_json::from_str(&shell.done(&["list", "--json"])).expect("it is JSON");
    let names: Vec<_> = listed.as_array().expect("a list").iter().map(|item| &item["name"]).collect();
    assert_eq!(names, ["pr-1", "both"]);
    assert_eq!(
        (&listed[0]["namespace"], &listed[0]["state"], &listed[0]["owner"]),
        (&json!(NAMESPACE), &json!("NotReady"), &json!("anna"))
    );
    assert!(listed[0]["expiresAt"].is_string(), "its creation and its lifetime say it: {listed}");
    let table = shell.done(&["get", "both"]);
    assert!(table.contains("sandbox-command/both") && table.contains("all of pr-1, pr-2"), "{table}");
}

/// What the API server refuses.
fn refusals(shell: &Shell) {
    let (code, _, stderr) = shell.run(&["create", "--name", "pr-3", "--entry", ENTRY, "--ttl", "1month"]);
    assert!(code == 1 && stderr.contains("--ttl"), "{stderr}");
    let (code, _, stderr) = shell.run(&["get", "pr-3"]);
    assert_eq!(
        (code, stderr.as_str()),
        (3, "signpost: namespace sandbox-command: there is no sandbox pr-3\n")
    );
}

/// Without a controller nothing is ready; its word counts when it is about the present generation.
async fn readiness(cluster: &Cluster, shell: &Shell, object: &Value) {
    let wait = ["wait", "pr-1", "--timeout", "1"];
    let (code, _, stderr) = shell.run(&wait);
    assert!(code == 3 && stderr.contains("`signpost controller` must run in the cluster"), "{stderr}");
    let generation = object["metadata"]["generation"].as_i64().expect("it has one");
    say(cluster, generation - 1, "True", "Bound").await;
    assert_eq!(shell.run(&wait).0, 3);
    say(cluster, generation, "False", "NoEndpoints").await;
    let (code, _, stderr) = shell.run(&wait);
    assert!(code == 3 && stderr.contains("pr-1 is not ready: NoEndpoints: a reason"), "{stderr}");
    say(cluster, generation, "True", "Bound").await;
    assert_eq!(shell.done(&wait), "pr-1 is ready\n");
}

/// Writes a status as the controller does.
async fn say(cluster: &Cluster, generation: i64, ready: &str, reason: &str) {
    let condition = |kind: &str, status: &str, reason: &str| {
        json!({ "type": kind, "status": status, "reason": reason, "message": "a reason", "observedGeneration": generation,
                "lastTransitionTime": "2026-01-31T09:00:00Z" })
    };
    let conditions = [condition("Accepted", "True", "Accepted"), condition("Ready", ready, reason)];
    let status =
        json!({ "status": { "observedGeneration": generation, "key": "pr-1", "conditions": conditions } });
    let request = http::Request::patch(format!("{OBJECTS}/sandboxes/pr-1/status"))
        .header("content-type", "application/merge-patch+json")
        .body(status.to_string().into_bytes())
        .expect("a request");
    cluster.client.request::<Value>(request).await.expect("it is written");
}

async fn get(cluster: &Cluster, target: &str) -> Value {
    let request = http::Request::get(format!("{OBJECTS}/{target}")).body(Vec::new()).expect("a request");
    cluster.client.request(request).await.expect("it is there")
}
