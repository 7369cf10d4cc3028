//! The router in a real cluster: etcd, kube-apiserver and kube-controller-manager as they are released, in a network of
//! their own, with a kubelet of the test's own whose pods are sockets. The router is the real binary, with a token that
//! may do what the book says it needs, and nothing else.
//!
//! `tests/run` builds the control plane and says where it is. Without it there is nothing to run here, and this says so.
//! Scenarios run one after another; an argument chooses those whose name contains it.

mod cluster;
mod container;
mod control_plane;
mod etcd;
mod gate;
mod kubelet;
mod load;
mod manifests;
mod network;
mod pipeline;
mod router;
mod sandbox_command;
mod sandboxes;
mod scenarios;
mod stored;
mod way;

use self::cluster::Cluster;
use self::control_plane::ControlPlane;
use std::path::Path;
use std::process::ExitCode;
use tokio::runtime::{Builder, LocalOptions};
use tokio::time::Instant;

/// Where the control plane's binary is.
const CONTROL_PLANE: &str = "SIGNPOST_CONTROL_PLANE";

fn main() -> ExitCode {
    let Some(binary) = std::env::var_os(CONTROL_PLANE) else {
        println!(
            "\nleft to tests/run: this suite, which needs a control plane, and tests/page/run, which needs a browser\n"
        );
        return ExitCode::SUCCESS;
    };
    if !network::is_own() {
        return network::enter();
    }
    network::set_up();
    let wanted = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).unwrap_or_default();
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
    runtime.expect("a runtime can be made").block_on(run(Path::new(&binary), &wanted));
    ExitCode::SUCCESS
}

/// Runs the scenarios; the first that fails ends all, with what the parts of the cluster have logged.
async fn run(binary: &Path, wanted: &str) {
    let began = Instant::now();
    let control_plane = ControlPlane::start(binary).await;
    println!(
        "\nthe control plane is ready after {:.1} s; its logs are in {}",
        began.elapsed().as_secs_f64(),
        control_plane.folder().display()
    );
    let cluster = Cluster::new(control_plane).await;
    let mut count = 0;
    for (name, scenario) in scenarios::ALL.iter().filter(|(name, _)| name.contains(wanted)) {
        let began = Instant::now();
        print!("scenario {name} ... ");
        // What a failure says comes in a line of its own.
        std::io::Write::flush(&mut std::io::stdout()).expect("there is an output");
        scenario(&cluster).await;
        assert_eq!(cluster.kubelet.failures(), Vec::<String>::new());
        println!("ok ({:.1} s)", began.elapsed().as_secs_f64());
        count += 1;
    }
    assert!(count > 0, "no scenario is called {wanted}");
    cluster.stop().await;
    println!("\nscenarios: {count} passed\n");
}
