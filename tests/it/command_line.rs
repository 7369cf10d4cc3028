//! The commands that print what the binary knows of itself: for shells, for `man`, for editors.

use crate::support::run;
use std::fs;
use std::process::Command;

#[test]
fn completions_are_scripts_of_their_shells() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (code, script, stderr) = run(&["completions", shell], "");
        assert_eq!((code, stderr.as_str()), (0, ""), "{shell}");
        for part in ["sandbox", "completions", "audience"] {
            assert!(script.contains(part), "{shell} does not complete {part}");
        }
    }
    let (code, _, stderr) = run(&["completions", "csh"], "");
    assert!(code == 2 && stderr.contains("bash"), "{stderr}");
}

/// The shell itself says what the script completes.
#[test]
fn bash_completes_commands_and_options() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("signpost");
    fs::write(&script, run(&["completions", "bash"], "").1).unwrap();
    let parsed = Command::new("bash").arg("-n").arg(&script).output().expect("bash is there");
    assert!(parsed.status.success() && parsed.stderr.is_empty(), "{parsed:?}");
    let complete = |words: &[&str]| {
        let line = format!(
            r#"source "$0"; COMP_WORDS=({}); COMP_CWORD={}; _signpost signpost "{}" "{}"; printf '%s\n' "${{COMPREPLY[@]}}""#,
            words.join(" "),
            words.len() - 1,
            words[words.len() - 1],
            words[words.len() - 2]
        );
        let output = Command::new("bash").args(["--norc", "-c", &line]).arg(&script).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(complete(&["signpost", "dele"]), ["delegate"]);
    assert_eq!(complete(&["signpost", "check", "--str"]), ["--strict"]);
    assert_eq!(complete(&["signpost", "sandbox", "cre"]), ["create"]);
}

#[test]
fn the_manual_names_every_command() {
    let (_, help, _) = run(&["--help"], "");
    let commands = help.split_once("Commands:\n").unwrap().1.split_once("\n\n").unwrap().0;
    let commands: Vec<_> = commands
        .lines()
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next().filter(|word| !word.is_empty()))
        .collect();
    assert!(commands.len() > 10 && commands.contains(&"controller"), "{commands:?}");
    let (code, page, stderr) = run(&["man"], "");
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert!(page.contains(".TH signpost 1") && page.contains("Exit codes:"), "{page}");
    for command in commands {
        assert!(page.contains(&format!("signpost\\-{command}(1)")), "{command}: {page}");
        let (code, page, _) = run(&["man", command], "");
        assert!(code == 0 && page.contains(&format!(".TH signpost-{command} 1")), "{command}: {page}");
    }
    let (code, page, _) = run(&["man", "sandbox", "create"], "");
    assert!(code == 0 && page.contains("\\-\\-entry"), "{page}");
    for (words, error) in [
        (&["man", "delegat"][..], "did you mean `delegate`?"),
        (&["man", "check", "now"], "`signpost-check` has no commands of its own"),
    ] {
        let (code, _, stderr) = run(words, "");
        assert!(code == 1 && stderr.contains(error), "{stderr}");
    }
}

#[test]
fn a_folder_gets_the_pages_of_all_commands() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    assert_eq!(run(&["man", "--folder", path], ""), (0, String::new(), String::new()));
    for page in ["signpost.1", "signpost-check.1", "signpost-sandbox-create.1"] {
        assert!(folder.path().join(page).is_file(), "{page}");
    }
    let (code, _, stderr) = run(&["man", "--folder", "/dev/null/no"], "");
    assert!(code == 1 && stderr.contains("/dev/null/no"), "{stderr}");
}
