//! `signpost controller`: looks after the sandboxes of a cluster, until a signal stops it.

use super::Exit;
use super::run::{Signals, fail, refuse, run_control};
use crate::app::Controller;
use crate::config;
use crate::controller::LeaseConfig;
use crate::files::Watch;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use tokio::runtime::Handle;

/// The command line of `signpost controller`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  signpost controller linkerd.yaml
  signpost controller linkerd.yaml --lease signpost/sandboxes

The file is that of the routers: `sandboxes` says in which namespaces, under which limits and under which router. Several may
run: one of them leads, the others wait. It is started anew when the file changes. Its admin server is at
`admin`, as that of a router.")]
pub(super) struct Arguments {
    /// The configuration file of the routers
    file: String,
    /// The Lease that says which controller leads; without a namespace, in that of the pod or of the kubeconfig
    #[arg(long, value_name = "[NAMESPACE/]NAME", default_value = "signpost-controller", value_parser = lease)]
    lease: (Option<String>, String),
    /// The address of the admin server, in place of that of the file
    #[arg(long, value_name = "ADDRESS:PORT")]
    admin: Option<SocketAddr>,
}

/// Parses the name of a lease.
fn lease(text: &str) -> Result<(Option<String>, String), &'static str> {
    let (namespace, name) = match text.split_once('/') {
        Some((namespace, name)) => (Some(namespace), name),
        None => (None, text),
    };
    let is_name = |text: &str| {
        let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
        !text.is_empty() && text.len() <= 253 && text.bytes().all(is_inner)
    };
    (is_name(name) && namespace.is_none_or(is_name))
        .then(|| (namespace.map(str::to_owned), name.to_owned()))
        .ok_or("a name of lower-case letters, digits, `-` and `.` is expected, such as signpost/signpost-controller")
}

/// Runs the controller until it is told to stop.
pub(super) fn run(arguments: &Arguments) -> Exit {
    run_control(async {
        match Signals::new() {
            Ok(signals) => control(arguments, signals).await,
            Err(error) => fail(&error),
        }
    })
}

/// Runs a controller of the file as it is, again after each change, until a signal comes.
async fn control(arguments: &Arguments, mut signals: Signals) -> Exit {
    let file = PathBuf::from(&arguments.file);
    let mut watch = Watch::new(&Handle::current());
    if arguments.file != "-" {
        watch.watch_paths([file.clone()]).await;
    }
    let mut config = match config::load(&file) {
        Ok(config) => config,
        Err(errors) => return refuse(&errors),
    };
    let identity = identity();
    loop {
        let (namespace, name) = arguments.lease.clone();
        let lease = LeaseConfig { namespace, name, identity: identity.clone() };
        if let Some(admin) = arguments.admin {
            (config.admin.ip, config.admin.port) = (admin.ip(), admin.port());
        }
        let controller = match Controller::build(config, lease).await {
            Ok(controller) => controller,
            Err(error) => return fail(&error),
        };
        tracing::info!(address = %controller.admin(), identity, "controller: admin");
        let mut next = None;
        let stop = async {
            tokio::select! {
                _ = signals.stop() => {}
                changed = changed_config(&file, &mut watch) => next = Some(changed),
            }
        };
        controller.run(stop).await;
        match next {
            Some(changed) => {
                tracing::info!("the configuration has changed: the controller starts anew");
                config = changed;
            }
            None => {
                tracing::info!("stopped");
                return Exit::Done;
            }
        }
    }
}

/// Waits until the file holds another configuration that is right.
async fn changed_config(file: &Path, watch: &mut Watch) -> config::Config {
    loop {
        watch.changed().await;
        let path = file.to_owned();
        match tokio::task::spawn_blocking(move || config::load(&path)).await {
            Ok(Ok(config)) => return config,
            Ok(Err(errors)) => tracing::warn!("the last good configuration stays in use: {errors}"),
            Err(error) => {
                tracing::error!(%error, "reading the configuration ended: this is a bug in the controller");
            }
        }
    }
}

/// Returns a name that no other process has: that of the pod or machine, if it is known, and a number.
fn identity() -> String {
    let host = std::env::var("HOSTNAME").unwrap_or_else(|_| "controller".to_owned());
    format!("{host}_{:016x}", fastrand::u64(..))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_has_a_name_and_perhaps_a_namespace() {
        let read = |text: &str| lease(text).map(|(namespace, name)| (namespace.unwrap_or_default(), name));
        assert_eq!(read("a"), Ok((String::new(), "a".to_owned())));
        assert_eq!(read("team/a-1"), Ok(("team".to_owned(), "a-1".to_owned())));
        for wrong in ["", "/a", "a/", "a/b/c", "A", "a b"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
