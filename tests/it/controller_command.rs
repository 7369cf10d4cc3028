//! `signpost controller`, as far as it goes without a cluster.

use crate::support::run;

/// Two routers, and these sandboxes.
fn config(sandboxes: &str) -> String {
    let router = |label: &str| format!("- {{protocol: http, label: {label}, servers: [{{port: 0}}]}}\n");
    format!("admin: {{port: 0}}\nsandboxes: {sandboxes}\nrouters:\n{}{}", router("a"), router("b"))
}

#[test]
fn a_controller_says_what_it_needs() {
    for (sandboxes, expected) in [
        ("{keys: [tenant]}", "name the namespaces of sandboxes in `sandboxes: {namespaces: [..]}`"),
        (
            "{namespaces: [team-a]}",
            "say in `sandboxes: {router: ..}` under which one a sandbox has to be ready (a, b)",
        ),
    ] {
        let (code, stdout, stderr) = run(&["controller", "-"], &config(sandboxes));
        assert_eq!((code, &*stdout), (1, ""), "{stderr}");
        assert!(stderr.contains(expected), "{stderr}");
    }
    let (code, _, stderr) = run(&["controller", "-", "--lease", "A"], "");
    assert_eq!(code, 2, "{stderr}");
}
