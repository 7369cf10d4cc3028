//! `signpost check`: what it finds, and in which form.

use crate::support::{Names, run, signpost};
use signpost::config;
use std::fs;

#[test]
fn check_says_what_a_file_means() {
    let (code, stdout, stderr) = run(&["check", "examples/staging.yaml"], "");
    assert_eq!((code, stderr.as_str()), (0, ""));
    for part in [
        "router ingress, 127.0.0.1:4140: trusts everybody",
        "Every program of this machine decides where its requests go, but a page in a browser only at a host that is known.",
        "router ingress, 127.0.0.1:4141: trusts nobody: `trust: nobody` is set. Overrides of its callers are removed",
        "To follow overrides, write `trust: {from: [10.244.0.0/16]}` with the addresses of your callers",
        "router outgoing, 127.0.0.1:4142: trusts everybody",
    ] {
        assert!(stdout.contains(part), "{part}: {stdout}");
    }
}

#[test]
fn what_is_wrong_with_a_file_has_a_place() {
    let wrong = "routers:\n- protocol: http\n  dtab: /svc = /host\n  servers: [{port: 0, prot: 1}]\n";
    for command in ["check", "run"] {
        let (code, _, stderr) = run(&[command, "-"], wrong);
        assert_eq!(code, 1, "{stderr}");
        assert!(stderr.contains("<stdin>:3:"), "{stderr}");
        assert!(stderr.contains("routers[0].dtab"), "{stderr}");
        assert!(stderr.contains("<stdin>:4:") && stderr.contains("prot"), "{stderr}");
    }
    let (code, _, stderr) = run(&["check", "no/such/file.yaml"], "");
    assert!(code == 1 && stderr.contains("no/such/file.yaml") && stderr.contains("no such file"), "{stderr}");
}

#[test]
fn a_folder_for_snapshots_is_checked_and_not_made() {
    let folder = tempfile::tempdir().expect("there is room");
    let known = folder.path().join("a/known");
    let files =
        ["interpreter: {kind: io.l5d.k8s.dtab, name: a", "identifier: {kind: io.l5d.ingress"].map(|key| {
            let router = "routers:\n- protocol: http\n  servers: [{port: 0}]\n";
            format!("{router}  {key}, snapshot: '{}'}}\n", known.display())
        });
    for text in &files {
        let (code, stdout, stderr) = run(&["check", "-"], text);
        assert_eq!(code, 0, "{stdout}{stderr}");
        assert!(!folder.path().join("a").exists(), "nothing is made");
    }
    fs::write(folder.path().join("a"), "").expect("there is room");
    for text in &files {
        let (code, _, stderr) = run(&["check", "-"], text);
        let expected = format!("snapshot: {} cannot be used: ", known.display());
        assert!(code == 1 && stderr.contains(&expected) && stderr.contains("Name a folder"), "{stderr}");
    }
}

/// Runs a command with these variables of the environment, and none else that tells the node.
fn run_with(arguments: &[&str], variables: &[(&str, &str)]) -> (i32, String, String) {
    let mut command = signpost(arguments);
    for unset in ["NODE_NAME", "POD_IP", "POD_NAMESPACE", "KUBECONFIG"] {
        command.env_remove(unset);
    }
    let output = command.envs(variables.iter().copied()).output().expect("the binary is there");
    let text = |bytes| String::from_utf8(bytes).expect("it writes text");
    (output.status.code().expect("it ends by itself"), text(output.stdout), text(output.stderr))
}

#[test]
fn the_environment_says_which_node_this_is() {
    let file = "examples/linkerd1/k8s-servicemesh.yaml";
    let (code, stdout, stderr) = run_with(&["check", "--strict", file], &[]);
    assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
    let expected = "routers[1].interpreter: io.l5d.k8s.localnode: the variable `NODE_NAME` of the environment holds no node";
    let note = format!("{file}:32:5: note: {expected}");
    assert!(stdout.contains(&note), "{stdout}");
    let (code, _, stderr) = run_with(&["run", file], &[]);
    assert!(code == 1 && stderr.contains(expected), "{stderr}");
    let (code, stdout, _) = run_with(&["check", "--strict", file], &[("NODE_NAME", "node-1")]);
    assert!(code == 0 && !stdout.contains("localnode"), "{stdout}");
    // What the API server will tell is not for `check` to say.
    for (pod, counts) in
        [("10.244.1.7", "endpoints of 10.244.1.0/24 count"), ("fd00::7", "no endpoint counts")]
    {
        let (code, stdout, stderr) = run_with(&["check", "--strict", file], &[("POD_IP", pod)]);
        assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
        let note = format!(
            "{file}:32:5: note: routers[1].interpreter: io.l5d.k8s.localnode: `NODE_NAME` is not there"
        );
        assert!(stdout.contains(&note) && stdout.contains(counts), "{stdout}");
    }

    // No namer has an API server to ask.
    let names = Names::new();
    let file = &*format!("{}/config.yaml", names.path());
    let transformers = "interpreter: {transformers: [{kind: io.l5d.k8s.localnode}]}";
    let yaml = format!("routers:\n- protocol: http\n  {transformers}\n  servers: [{{port: 0}}]\n");
    fs::write(file, yaml).expect("the folder is there");
    let variables = [("POD_IP", "10.244.1.7")];
    let (code, stdout, _) = run_with(&["check", file], &variables);
    let counts = "endpoints of 10.244.1.0/24 count as those of this node, by `POD_IP`";
    assert!(code == 0 && stdout.contains(counts), "{stdout}");
    let (code, _, stderr) = run_with(&["check", "--strict", file], &variables);
    assert!(code == 1 && stderr.contains("10.244.1.0/24"), "{stderr}");
    let (code, _, stderr) = run_with(&["run", file], &[("POD_IP", "fd00::7")]);
    assert!(code == 1 && stderr.contains("holds no node"), "{stderr}");
}

/// All that only a pod has is named in one go, with its place.
#[test]
fn what_only_the_pod_knows_fails_the_start_and_no_check() {
    let names = Names::new();
    let file = format!("{}/config.yaml", names.path());
    let yaml = "\
namers:
- {kind: io.l5d.k8s.ns, kubeconfig: no/such/file}
routers:
- protocol: http
  identifier: {kind: io.l5d.ingress, kubeconfig: no/such/file}
  interpreter: {kind: io.l5d.k8s.dtab, name: a, kubeconfig: no/such/file}
  servers: [{port: 0}]
";
    fs::write(&file, yaml).expect("the folder is there");
    let (code, stdout, stderr) = run_with(&["check", "--strict", "--json", &file], &[]);
    assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
    let findings: serde_json::Value = serde_json::from_str(&stdout).expect("it is JSON");
    let findings = findings.as_array().expect("a list").iter();
    let missing: Vec<_> = findings.filter(|finding| finding["code"] == "pod-environment").collect();
    let places: Vec<_> =
        missing.iter().map(|found| (found["line"].clone(), found["column"].clone())).collect();
    assert_eq!(places, [(2, 3), (2, 3), (5, 15), (6, 16)].map(|(line, column)| (line.into(), column.into())));
    assert!(missing.iter().all(|found| found["severity"] == "note" && found["file"] == *file), "{stdout}");
    assert!(stdout.contains("POD_NAMESPACE") && stdout.contains("no/such/file"), "{stdout}");
    let (code, _, stderr) = run_with(&["run", &file], &[]);
    let named = stderr.lines().filter(|line| line.starts_with(&file)).count();
    assert_eq!((code, named), (1, 4), "{stderr}");
}

#[test]
fn check_can_be_strict_and_print_json() {
    let warned = "usage: {}\nrouters:\n- {protocol: http, dtab: /svc => /nowhere, servers: [{port: 0}]}\n";
    let (code, stdout, _) = run(&["check", "-"], warned);
    assert!(code == 0 && stdout.ends_with("<stdin>: good, with 2 warnings\n"), "{stdout}");
    assert!(stdout.contains("<stdin>:1:1: warning: usage: `usage` has no effect"), "{stdout}");
    assert!(
        stdout.contains(
            "<stdin>:3:54: note: routers[0].servers[0]: router http, 127.0.0.1:0: trusts everybody"
        ),
        "{stdout}"
    );
    let (code, stdout, stderr) = run(&["check", "--strict", "-"], warned);
    assert!(code == 1 && stdout.is_empty() && stderr.contains("<stdin>:3:26: routers[0].dtab: "), "{stderr}");
    let wrong =
        "routers:\n- {protocol: http, servers: [{prot: 0}], tracePropagator: {kind: io.l5d.default}}\n";
    for (file, strict, code, expected) in [
        (
            warned,
            &["check", "--json", "-"][..],
            0,
            vec![("trust", "note"), ("no-effect", "warning"), ("dead-entry", "warning")],
        ),
        (
            warned,
            &["check", "--strict", "--json", "-"],
            1,
            vec![("trust", "note"), ("no-effect", "error"), ("dead-entry", "error")],
        ),
        (wrong, &["check", "--json", "-"], 1, vec![("unknown-key", "error"), ("not-available", "error")]),
        ("a: [", &["check", "--json", "-"], 1, vec![("invalid-yaml", "error")]),
    ] {
        let (exit, stdout, stderr) = run(strict, file);
        assert_eq!((exit, stderr.as_str()), (code, ""), "{stdout}");
        let findings: Vec<serde_json::Map<String, serde_json::Value>> =
            serde_json::from_str(&stdout).expect("JSON");
        let found: Vec<_> = findings.iter().map(|one| (&one["code"], &one["severity"])).collect();
        assert_eq!(format!("{found:?}"), format!("{:?}", json_strings(&expected)), "{stdout}");
        let keys: Vec<_> = findings.iter().flat_map(|one| one.keys()).map(String::as_str).collect();
        assert!(keys.chunks(7).all(|keys| keys.len() == 7 && keys.contains(&"message")), "{keys:?}");
    }
}

/// The pairs as JSON has them.
fn json_strings(pairs: &[(&str, &str)]) -> Vec<(serde_json::Value, serde_json::Value)> {
    pairs.iter().map(|(a, b)| ((*a).into(), (*b).into())).collect()
}

#[test]
fn several_errors_have_one_form() {
    let wrong = "routers:\n- protocol: http\n  dtab: /svc = /host\n  servers: [{port: 0, prot: 1}]\n";
    for command in ["check", "run"] {
        let (_, _, stderr) = run(&[command, "-"], wrong);
        let placed = stderr.lines().filter(|line| line.starts_with("<stdin>:")).count();
        assert_eq!(placed, 2, "{stderr}");
    }
}
/// Mistakes in which the guess is worth more than the sentence.
#[test]
fn the_usual_mistakes_are_guessed() {
    let with = |dtab: &str| format!("routers:\n- protocol: http\n  servers: [{{port: 0}}]\n  dtab: {dtab}\n");
    let semicolon = "is a `;` missing at the end of the line before?";
    for (text, line, column, message) in [
        (with("|\n    /a => /b\n    /c => /d ;"), 6, 5, semicolon),
        (with("|\n    /a => /b # why\n\n    /c => /d ;"), 7, 5, semicolon),
        // Folded into one line.
        (with(">\n    /a => /b\n    /c => /d ;"), 6, 5, semicolon),
        (with("/a => /b\n    /c => /d ;"), 5, 5, semicolon),
        ("routers:\n- protocol: http\n  servers: [{port: 0}\n".to_owned(), 3, 12, "this `[` is not closed"),
        ("routers:\n- {protocol: http, servers: [{port: 0}]\n".to_owned(), 2, 3, "this `{` is not closed"),
        (
            "routers:\n- protocol: http\n  servers:\n  - port: ${PORT}\n".to_owned(),
            4,
            11,
            "variables such as `${PORT}`",
        ),
        (
            "routers:\n- protocol: http\n  servers:\n  - {port: ${PORT}}\n".to_owned(),
            4,
            13,
            "variables such as `${PORT}`",
        ),
        (with("/svc => /$/inet/${HOST}/80"), 4, 9, "variables such as `${PORT}`"),
    ] {
        let errors = config::read("f", &text).expect_err(&text);
        let found = errors
            .iter()
            .any(|error| (error.line, error.column) == (line, column) && error.message.contains(message));
        assert!(found, "{text}\n{errors}");
    }
    // The second entry is simply wrong.
    let errors = config::read("f", &with("|\n    /a => /b ;\n    /c = /d ;")).expect_err("wrong");
    assert!(!errors.to_string().contains(semicolon), "{errors}");
}

#[test]
fn a_comment_that_takes_in_the_lines_below_is_warned_of() {
    let warnings = |style: &str| {
        let dtab = "\n    /a => /b ; # why\n    /c => /d ;\n";
        let text = format!("routers:\n- protocol: http\n  servers: [{{port: 0}}]\n  dtab: {style}{dtab}");
        let config = config::read("f", &text).expect(&text);
        config
            .warnings
            .iter()
            .map(|warning| (warning.place.line, warning.place.column, warning.code))
            .collect::<Vec<_>>()
    };
    assert_eq!(warnings(">"), [(5, 16, "folded-comment")]);
    assert_eq!(warnings("|"), []);
}

/// Linkerd's own `http.yaml` does so, and every request would be a 400.
#[test]
fn an_identifier_that_reads_what_its_listener_removes_is_warned_of() {
    for (identifier, server, field) in [
        ("io.l5d.header", "ip: 0.0.0.0", Some("l5d-name")),
        ("io.l5d.header, header: L5D_Name", "trust: nobody", Some("L5D_Name")),
        ("io.l5d.header.token, header: dtab-local", "clearContext: true", Some("dtab-local")),
        ("io.l5d.header.path, header: uberctx-dtab", "trust: nobody", Some("uberctx-dtab")),
        ("io.l5d.header", "port: 4141", None),
        ("io.l5d.header", "ip: 0.0.0.0, trust: everybody", None),
        ("io.l5d.header", "ip: 0.0.0.0, trust: {from: [203.0.113.0/24]}", None),
        ("io.l5d.header, header: my-name", "ip: 0.0.0.0", None),
        ("io.l5d.header.token", "ip: 0.0.0.0", None),
    ] {
        let text = format!(
            "routers:\n- protocol: http\n  identifier: {{kind: {identifier}}}\n  servers: [{{{server}}}]\n"
        );
        let config = config::read("f", &text).expect(&text);
        let found: Vec<_> =
            config.warnings.iter().filter(|warning| warning.code == "removed-header").collect();
        match (field, &found[..]) {
            (None, []) => {}
            (Some(field), [warning]) => {
                assert_eq!(
                    (warning.place.line, warning.key.as_str()),
                    (3, "routers[0].identifier"),
                    "{text}"
                );
                for part in [
                    &format!("reads `{field}`"),
                    "trust: {from:",
                    "trust: everybody",
                    "or read another header",
                ] {
                    assert!(warning.message.contains(part), "{warning}");
                }
            }
            _ => panic!("{text}: {found:?}"),
        }
    }
}
