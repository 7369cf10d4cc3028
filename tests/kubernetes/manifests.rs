//! The manifests of `examples/kubernetes`, applied, tried and removed by the commands of their README as they stand there.
//!
//! kubectl is the real one. What has no kubelet and no network plugin behind it is done for it: `kubectl exec` runs its
//! command here, with the address and the environment of the pod, and port 80 of the node is that of the ingress router.

use super::cluster::Cluster;
use super::kubelet::NODE_ADDRESS;
use super::network::STRANGER;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tokio::task::spawn_blocking;

const README: &str = include_str!("../../examples/kubernetes/README.md");

/// Runs in the pod `curl` what was to be executed there.
const KUBECTL: &str = r#"#!/bin/sh
case " $* " in
*" exec curl -- "*)
  while [ "$1" != -- ]; do shift; done
  shift
  pod() { "$CONTROL_PLANE" kubectl --namespace hello get pod curl --output "jsonpath={.status.$1}"; }
  export SOURCE="$(pod podIP)" NODE_ADDRESS="$(pod hostIP)"
  exec "$@"
  ;;
*) exec "$CONTROL_PLANE" kubectl "$@" ;;
esac
"#;

/// Asks from `SOURCE`, and finds the host ports of the ingress router.
const CURL: &str = r#"#!/bin/sh
exec "$CURL" --silent --show-error --max-time 20 --write-out '\n' --interface "$SOURCE" \
  --connect-to "$NODE_ADDRESS:80:$NODE_ADDRESS:4141" --connect-to "www.hello.world:443:$NODE_ADDRESS:4143" "$@"
"#;

/// What the README promises.
pub(crate) async fn manifests(cluster: &Cluster) {
    let shell = Shell::new(cluster).await;
    let applied = shell.run(block("apply")).await;
    assert!(applied.contains("daemonset.apps/node-router created"), "{applied}");

    // What is misspelt anywhere would not be applied.
    let misspelt = "sed 's/nodeSelector/nodeSelektor/' examples/kubernetes/node-router/daemonset.yaml | kubectl apply --dry-run=server --filename - 2>&1 || true";
    let misspelt = shell.run(misspelt).await;
    assert!(misspelt.contains("unknown field \"spec.template.spec.nodeSelektor\""), "{misspelt}");

    let tried = shell.run(block("try")).await;
    let [outside, untrusted, pod] = &lines(&tried)[..] else { panic!("{tried}") };
    assert!(
        is_said_by("world", outside) && is_said_by("world", untrusted) && is_said_by("earth", pod),
        "{tried}"
    );

    // Past what pods may override: to whatever else the node reaches.
    let elsewhere = r#"kubectl --namespace hello exec curl -- sh -c \
        'curl -H "Host: hello" -H "l5d-dtab: /svc => /$/inet/127.0.0.1/4141" "http://$NODE_ADDRESS:4142"'"#;
    let refused = shell.run(elsewhere).await;
    assert!(refused.contains("overrides.destinations"), "{refused}");

    // Not from the pod network: the router of the node does not follow it either.
    let staged =
        r#"curl -H 'Host: hello' -H 'l5d-dtab: /host/world => /srv/world-v2' "http://$NODE_ADDRESS:4142""#;
    let from_outside = shell.run(staged).await;
    assert!(is_said_by("world", from_outside.trim_end()), "{from_outside}");

    let sandbox = shell.run(block("sandbox")).await;
    let answer = sandbox.lines().last().unwrap_or_default();
    assert!(
        sandbox.contains("sandbox.signpost.dev/pr-7 condition met") && is_said_by("earth", answer),
        "{sandbox}"
    );

    rights(&shell).await;
    tls(&shell).await;
    rollout(&shell).await;
    change(&shell).await;
    for router in ["ingress-router", "node-router"] {
        // The one place where they may write.
        let kept =
            format!("ls \"$HOME\"/../pods/{router}-*.writable/var/lib/signpost/services.hello.*.jsonl");
        shell.run(&format!("until {kept} 2>/dev/null; do sleep 0.2; done")).await;
        let said = cluster.kubelet.said(router);
        let refused = said.contains("403 Forbidden") || said.contains("grant the verb");
        assert!(said.contains("serving router") && !refused && !said.contains(" ERROR "), "{said}");
    }
    let removed = shell.run(block("remove")).await;
    assert!(removed.contains("\"node-router\" deleted"), "{removed}");
}

/// Each router may do what it does, and nothing else.
async fn rights(shell: &Shell) {
    const READ: &str = "[get list watch]";
    let names = [("endpointslices.discovery.k8s.io", "[]", READ), ("services", "[]", READ)];
    let ingresses = ("ingresses.networking.k8s.io", "[]", READ);
    let events = ("events", "[]", "[create]");
    let dtab = ("dtabs.signpost.dev", "[node-router]", READ);
    let sandboxes = [("sandboxgroups.signpost.dev", "[]", READ), ("sandboxes.signpost.dev", "[]", READ)];
    let status = ("dtabs.signpost.dev/status", "[node-router]", "[patch]");
    let controlled = [
        ("sandboxgroups.signpost.dev", "[]", READ),
        ("sandboxes.signpost.dev", "[]", "[delete get list watch]"),
        ("sandboxgroups.signpost.dev/status", "[]", "[patch]"),
        ("sandboxes.signpost.dev/status", "[]", "[patch]"),
        events,
    ];
    let lease = ("leases.coordination.k8s.io", "[signpost-controller]", "[get update]");
    let leases = ("leases.coordination.k8s.io", "[]", "[create]");
    for (router, namespace, expected) in [
        ("ingress-router", "hello", [&names[..], &[ingresses]].concat()),
        ("ingress-router", "signpost", [&names[..], &[ingresses]].concat()),
        ("node-router", "hello", [&names[..], &sandboxes].concat()),
        ("node-router", "signpost", vec![dtab, status, events]),
        ("node-router", "default", vec![]),
        ("controller", "hello", [&names[..], &controlled].concat()),
        ("controller", "signpost", vec![dtab, lease, leases]),
        ("controller", "default", vec![]),
    ] {
        let list = format!(
            "kubectl --token \"$(kubectl --namespace signpost create token {router})\" auth can-i --list --namespace {namespace}"
        );
        let table = shell.run(&list).await;
        // What every account may: ask what it may, and which APIs there are.
        let own = |line: &&str| !line.starts_with("selfsubject") && !line.starts_with(' ');
        let mut found: Vec<_> = table.lines().skip(1).filter(own).map(columns).collect();
        let mut expected: Vec<_> = expected
            .into_iter()
            .map(|(resource, names, verbs)| (resource, names, verbs.to_string()))
            .collect();
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected, "{router} in {namespace}: {table}");
    }
    let refused = "kubectl --token \"$(kubectl --namespace signpost create token node-router)\" get ingresses --all-namespaces 2>&1 || true";
    let refused = shell.run(refused).await;
    assert!(refused.contains("cannot list resource \"ingresses\""), "{refused}");
}

/// Resource, names and verbs of a line of `auth can-i --list`. The verbs are sorted: the API server joins the rules of
/// several roles in an order that differs from start to start.
fn columns(line: &str) -> (&str, &str, String) {
    let parts: Vec<_> = line.split("   ").map(str::trim).filter(|part| !part.is_empty()).collect();
    let [resource, _urls, names, verbs] = parts[..] else { panic!("{line}") };
    let mut verbs: Vec<_> = verbs.trim_matches(['[', ']']).split(' ').collect();
    verbs.sort_unstable();
    (resource, names, format!("[{}]", verbs.join(" ")))
}

/// With the overlay for TLS the ingress router serves the Secret of the Ingress, and may read no other.
async fn tls(shell: &Shell) {
    let secret = |name: &str| {
        format!("kubectl --namespace hello create secret generic {name} --from-literal=key=value >/dev/null")
    };
    shell.run(&secret("of-others")).await;
    let served = shell.run(block("tls")).await;
    let [.., secure, "https://www.hello.world/"] = &lines(&served)[..] else { panic!("{served}") };
    assert!(is_said_by("world", secure), "{served}");
    for (verb, secret, allowed) in [
        ("get", "secret/hello-tls", "yes"),
        ("watch", "secret/hello-tls", "yes"),
        ("get", "secret/of-others", "no"),
        ("list", "secrets", "no"),
        ("update", "secret/hello-tls", "no"),
        ("create", "events", "yes"),
        ("update", "ingress/hello", "no"),
    ] {
        let asked = format!(
            "kubectl --token \"$(kubectl --namespace signpost create token ingress-router)\" --namespace hello auth can-i {verb} {secret} 2>/dev/null || true"
        );
        assert_eq!(shell.run(&asked).await.trim_end(), allowed, "{verb} {secret}");
    }
    // Without the Secret its requests are served in clear, and the Ingress says why.
    let gone = "kubectl --namespace hello delete secret hello-tls of-others >/dev/null
                until kubectl --namespace hello get events | grep SecretMissing; do sleep 0.2; done
                until curl -H 'Host: www.hello.world' \"http://$NODE_ADDRESS\" | grep '^Hello'; do sleep 0.2; done";
    let gone = shell.run(gone).await;
    assert!(
        gone.contains("ingress/hello") && gone.contains("secret hello/hello-tls does not exist"),
        "{gone}"
    );
}

/// Every pod of every service is replaced, and no request fails.
async fn rollout(shell: &Shell) {
    let answers = shell
        .run(
            "kubectl --namespace hello rollout restart deployment >/dev/null
             for service in hello world-v1 world-v2; do
               kubectl --namespace hello rollout status \"deployment/$service\" >/dev/null
             done & while kill -0 $! 2>/dev/null; do
               curl -H 'Host: www.hello.world' \"http://$NODE_ADDRESS\"
             done
             wait $!",
        )
        .await;
    let answers = lines(&answers);
    assert!(answers.len() >= 20 && answers.iter().all(|line| is_said_by("world", line)), "{answers:#?}");
}

/// A change of the dtab is used, and one that is wrong is not.
async fn change(shell: &Shell) {
    shell.run(block("change")).await;
    shell.until(|line| is_said_by("earth", line)).await;
    let wrong = "sed 's|/srv/world-v1|= /nowhere|' examples/kubernetes/node-router/dtab.yaml | kubectl apply --filename -
                 kubectl --namespace signpost wait --for condition=Accepted=False dtab/node-router
                 until kubectl --namespace signpost get events | grep Rejected; do sleep 0.2; done";
    let wrong = shell.run(wrong).await;
    assert!(wrong.contains("dtab/node-router") && wrong.contains("line 7, column 16"), "{wrong}");
    shell.until(|line| is_said_by("earth", line)).await;
}

/// The commands that stand in the README behind a mark.
fn block(mark: &str) -> &'static str {
    let (_, marked) = README.split_once(&format!("<!-- {mark} -->\n```sh\n")).expect("the README has it");
    marked.split_once("```").expect("it ends").0
}

fn lines(output: &str) -> Vec<&str> {
    output.lines().collect()
}

/// Whether it is the greeting of `hello`, with what this `world` said.
fn is_said_by(world: &str, line: &str) -> bool {
    line.starts_with("Hello (10.244.")
        && line.contains(&format!(") {world} (10.244."))
        && line.ends_with(":8080)!!")
}

/// A shell at the desk of a user outside the cluster.
pub(crate) struct Shell {
    control_plane: PathBuf,
    /// The folder of its own commands.
    pub(crate) folder: PathBuf,
    kubeconfig: PathBuf,
    curl: String,
}

impl Shell {
    pub(crate) async fn new(cluster: &Cluster) -> Self {
        let control_plane = cluster.control_plane.lock().await;
        let folder = control_plane.folder().join("desk");
        fs::create_dir_all(&folder).expect("there is room for files");
        for (name, text) in [("kubectl", KUBECTL), ("curl", CURL)] {
            let file = folder.join(name);
            fs::write(&file, text).expect("there is room for files");
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("it is ours");
        }
        let curl =
            Command::new("sh").args(["-c", "command -v curl"]).output().expect("there is a shell").stdout;
        let curl = String::from_utf8(curl).expect("a path").trim_end().to_owned();
        assert!(!curl.is_empty(), "curl is missing: install it");
        let (binary, kubeconfig) = (control_plane.binary().to_owned(), control_plane.kubeconfig("admin"));
        Self { control_plane: binary, folder, kubeconfig, curl }
    }

    /// Runs a script that must succeed, without a warning; returns what it says.
    pub(crate) async fn run(&self, script: &str) -> String {
        let path = std::env::var("PATH").expect("there is a path");
        let mut command = Command::new("timeout");
        command.args(["300", "bash", "-euo", "pipefail", "-c", script]).stdin(Stdio::null());
        command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")));
        command.env("PATH", format!("{}:{path}", self.folder.display())).env("HOME", &self.folder);
        command.env("CONTROL_PLANE", &self.control_plane).env("KUBECONFIG", &self.kubeconfig);
        command.env("CURL", &self.curl).env("SOURCE", STRANGER.to_string());
        command.env("NODE_ADDRESS", NODE_ADDRESS.to_string());
        let output = spawn_blocking(move || command.output()).await.expect("nothing panics");
        let output = output.expect("bash can be run");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && !errors.contains("Warning"), "{script}\n{said}\n{errors}");
        said
    }

    /// Waits until it is so of the response that every request gets.
    async fn until(&self, is_so: impl Fn(&str) -> bool) {
        super::cluster::until("every request gets it", std::time::Duration::from_secs(20), async || {
            let line = self.run(r#"curl -H 'Host: www.hello.world' "http://$NODE_ADDRESS""#).await;
            is_so(line.trim_end())
        })
        .await;
    }
}
