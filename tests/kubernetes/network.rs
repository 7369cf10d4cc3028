//! A network of the suite's own, in which pods and services have addresses that lead nowhere else: the API server
//! refuses endpoints on loopback.

use super::kubelet::NODE_ADDRESS;
use std::net::Ipv4Addr;
use std::process::{Command, ExitCode};

/// The address of a caller outside the cluster.
pub(crate) const STRANGER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 7);

/// Tells the process that it runs in there.
const INSIDE: &str = "SIGNPOST_INSIDE";

/// Whether this process is in a network of its own.
pub(crate) fn is_own() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Runs this program again, in a network of its own. It takes what it started with it when it ends, however it ends.
pub(crate) fn enter() -> ExitCode {
    let root: &[&str] = &["--net", "--pid", "--fork", "--kill-child"];
    let other_user: &[&str] = &["--user", "--map-root-user", "--net", "--pid", "--fork", "--kill-child"];
    let may = |flags: &[&str]| {
        Command::new("unshare").args(flags).arg("true").output().is_ok_and(|out| out.status.success())
    };
    let Some(flags) = [root, other_user].into_iter().find(|flags| may(flags)) else {
        eprintln!(
            "unshare --net fails: the suite needs root, or user namespaces (sysctl kernel.unprivileged_userns_clone=1)"
        );
        return ExitCode::FAILURE;
    };
    let itself = std::env::current_exe().expect("this program has a file");
    let mut command = Command::new("unshare");
    command.args(flags).arg(itself).args(std::env::args_os().skip(1)).env(INSIDE, "1");
    let status = command.status().expect("unshare was there just now");
    if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Gives this network its addresses: those of pods, 10.244.0.0/16, those of services, that of the node, and that of a caller
/// outside. A connection to the node without an address of its own comes from the pods' network, as through their bridge.
pub(crate) fn set_up() {
    for arguments in [
        "link set lo up",
        "addr add 10.244.0.1/16 dev lo",
        "addr add 10.96.0.1/16 dev lo",
        &format!("addr add {NODE_ADDRESS}/32 dev lo"),
        &format!("route replace local {NODE_ADDRESS} dev lo src 10.244.0.1 table local"),
        &format!("addr add {STRANGER}/32 dev lo"),
    ] {
        let done = Command::new("ip").args(arguments.split(' ')).status().expect("ip can be run");
        assert!(done.success(), "ip {arguments}");
    }
}
