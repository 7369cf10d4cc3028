//! The commands that make keys and sign tokens, as a shell sees them.

use crate::support::{TestApp, one_router, run};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

#[test]
fn keys_writes_a_private_file_once_and_prints_what_is_public() {
    let folder = tempfile::tempdir().expect("there is room");
    let path = |name: &str| folder.path().join(name).display().to_string();
    for (name, more, printed) in [
        ("a", &[][..], "-----BEGIN PUBLIC KEY-----\n"),
        ("b", &["--algorithm", "es256"], "-----BEGIN PUBLIC KEY-----\n"),
        ("c", &["--jwks"], "\"crv\": \"Ed25519\""),
        ("d", &["--algorithm", "es256", "--jwks"], "\"crv\": \"P-256\""),
        ("e", &["--algorithm", "hs256"], ""),
    ] {
        let file = path(name);
        let arguments = [&["keys", "--private", &file], more].concat();
        let (code, stdout, stderr) = run(&arguments, "");
        assert_eq!((code, stdout.is_empty()), (0, printed.is_empty()), "{stderr}");
        assert!(
            stdout.contains(printed) && !stdout.contains("PRIVATE") && !stdout.contains("\"d\""),
            "{stdout}"
        );
        assert_eq!(fs::metadata(&file).expect("it is there").permissions().mode() & 0o777, 0o600);
        let private = fs::read_to_string(&file).expect("it is text");
        assert!(private.contains("PRIVATE KEY") || private.contains("\"oct\""), "{name}");
        let secret = private.lines().find(|line| line.len() > 40).expect("it has a key");
        assert!(!stdout.contains(secret) && !stderr.contains(secret));
        let (code, stdout, stderr) = run(&arguments, "");
        assert!(code == 1 && stdout.is_empty() && stderr.contains("never overwritten"), "{stderr}");
        assert_eq!(fs::read_to_string(&file).expect("it is text"), private);
        let (code, token, _) = run(&["sign", "--key", &file, "--audience", "a", "--dtab", "/a => /b"], "");
        assert_eq!((code, token.trim_end().split('.').count()), (0, 3), "{token}");
    }
    let (code, _, stderr) = run(&["keys"], "");
    assert!(code == 2 && stderr.contains("--private"), "{stderr}");
    let (code, _, stderr) = run(&["keys", "--private", &path("no/such/folder")], "");
    assert!(code == 1 && stderr.contains("cannot be written"), "{stderr}");
}

#[test]
fn sign_shows_mistakes_before_it_signs() {
    let folder = tempfile::tempdir().expect("there is room");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (key, public) = (path("team.key"), path("team.pem"));
    let (_, pem, _) = run(&["keys", "--private", &key], "");
    fs::write(&public, pem).expect("there is room");
    fs::write(path("text"), "hello").expect("there is room");
    let sign =
        |key: &str, more: &[&str]| run(&[&["sign", "--audience", "a", "--key", key], more].concat(), "");
    let long = format!("/a => /{}", "b".repeat(8000));
    for (key, more, code, told) in [
        (key.as_str(), &["--dtab", "/a = /b"][..], 1, "^"),
        (&key, &["--sandbox", "PR"], 1, "--sandbox: `PR` is not a tenant key"),
        (&key, &["--sandbox", "pr", "--not-before", "2h"], 1, "expire before it becomes valid"),
        (&key, &["--dtab", &long], 1, "and routers read 8192"),
        (&key, &["--sandbox", "pr", "--expires-in", "soon"], 2, "a time such as 90s"),
        (&key, &[], 2, "--dtab"),
        (&public, &["--sandbox", "pr"], 1, "a private key is expected"),
        (&path("text"), &["--sandbox", "pr"], 1, "a private key is expected"),
        (&path("nothing"), &["--sandbox", "pr"], 1, "cannot be read"),
    ] {
        let (found, stdout, stderr) = sign(key, more);
        assert_eq!((found, stdout.as_str()), (code, ""), "{more:?}: {stderr}");
        assert!(stderr.contains(told), "{told}: {stderr}");
    }
    let others = |mode| {
        fs::set_permissions(&key, fs::Permissions::from_mode(mode)).expect("it is ours");
        let (code, _, stderr) = sign(&key, &["--sandbox", "pr"]);
        assert!(code == 0 && stderr.contains("the jti is "), "{stderr}");
        stderr.contains("others may read this private key")
    };
    assert!(others(0o644) && others(0o640) && !others(0o600));
}

/// From the commands to the service, without anything between them but files.
#[tokio::test(flavor = "local")]
async fn a_token_of_the_command_line_is_accepted() {
    let folder = tempfile::tempdir().expect("there is room");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (key, public) = (path("team.key"), path("team.pem"));
    let (_, pem, _) = run(&["keys", "--private", &key], "");
    fs::write(&public, pem).expect("there is room");
    let config = one_router(
        "/svc/* => /$/io.buoyant.http.status/204",
        &format!(", trust: {{signed: {{keys: ['{public}'], audience: [edge]}}}}"),
    );
    let app = TestApp::start_here(&config).await;
    let mut client = app.client().await;
    for (more, status) in [
        (&[][..], 205),
        (&["--not-before", "30m"], 403),
        (&["--expires-in", "2d"], 403),
        (&["--audience", "b"], 205),
    ] {
        let dtab = "/svc/world => /$/io.buoyant.http.status/205";
        let (_, token, _) =
            run(&[&["sign", "--key", &key, "--audience", "edge", "--dtab", dtab], more].concat(), "");
        let field = format!("l5d-dtab-token: {}\r\n", token.trim_end());
        client.get("world", &field).await.assert_status(status);
    }
    app.stop().await;
}

#[test]
fn a_wrong_key_file_fails_check_and_start() {
    let folder = tempfile::tempdir().expect("there is room");
    let key = folder.path().join("team.key").display().to_string();
    run(&["keys", "--private", &key], "");
    let secret =
        fs::read_to_string(&key).expect("it is text").lines().nth(1).expect("it has a key").to_owned();
    for (file, told) in [(key.as_str(), "this is a private key"), ("/nowhere", "cannot be read")] {
        let config = one_router("/a => /b", &format!(", trust: {{signed: {{keys: ['{file}']}}}}"));
        for command in ["check", "run"] {
            let (code, stdout, stderr) = run(&[command, "-"], &config);
            assert!(code == 1 && stderr.contains(&format!("{file}: {told}")), "{command}: {stderr}");
            assert!(!stdout.contains(&secret) && !stderr.contains(&secret));
        }
    }
}
