//! Finds the commit that the program is built of, for `signpost --version`.

use std::path::Path;
use std::process::Command;

/// Sets `SIGNPOST_COMMIT` for the crate: the variable of that name where the sources are built without their history, or
/// else the commit of the working tree. A debug build does not ask, so that a commit does not compile it anew.
fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=SIGNPOST_COMMIT");
    let given = std::env::var("SIGNPOST_COMMIT").ok().filter(|commit| !commit.is_empty());
    let is_debug = std::env::var("PROFILE").is_ok_and(|profile| profile == "debug");
    let found =
        || if is_debug { "debug build".to_owned() } else { commit().unwrap_or("unknown commit".to_owned()) };
    println!("cargo:rustc-env=SIGNPOST_COMMIT={}", given.unwrap_or_else(found));
}

/// Returns the commit of the working tree that the sources are, with a note when they were changed since.
fn commit() -> Option<String> {
    // Sources in a package may lie inside the working tree of another project.
    if !Path::new(".git").exists() {
        return None;
    }
    // It grows with every commit and every checkout.
    println!("cargo:rerun-if-changed={}", git(&["rev-parse", "--git-path", "logs/HEAD"])?);
    let is_changed =
        git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|list| !list.is_empty());
    Some(format!(
        "commit {}{}",
        git(&["rev-parse", "--short=12", "HEAD"])?,
        if is_changed { ", changed" } else { "" }
    ))
}

/// Returns what git prints.
fn git(arguments: &[&str]) -> Option<String> {
    let output =
        Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}
