//! The router, as its users run it.

use super::load::Client;
use rustix::process::{Pid, Signal, kill_process};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Where it listens; the network is the suite's own.
pub(crate) const ROUTER: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 4140);
const ADMIN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9990);

/// What serves when a service has no endpoint.
pub(crate) const REST: &str = "10.244.0.1:9000";

/// A running router; it is killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Router {
    child: Child,
    log: PathBuf,
    admin: SocketAddr,
}

impl Drop for Router {
    fn drop(&mut self) {
        // An error says that it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Router {
    /// Starts it.
    pub(crate) async fn start(folder: &Path, kubeconfig: &Path) -> Self {
        let yaml = by_path(ADMIN, ROUTER, &format!("kubeconfig: '{}'", kubeconfig.display()));
        Self::run(folder, "router", &yaml, ADMIN).await
    }

    /// Starts one with a configuration of its own, which says that its admin server is at `admin`.
    pub(crate) async fn run(folder: &Path, name: &str, yaml: &str, admin: SocketAddr) -> Self {
        Self::run_with(folder, name, yaml, admin, &[]).await
    }

    /// The same with these variables in its environment.
    pub(crate) async fn run_with(
        folder: &Path,
        name: &str,
        yaml: &str,
        admin: SocketAddr,
        environment: &[(&str, &str)],
    ) -> Self {
        Self::run_as(&["run"], (folder, name), yaml, admin, environment).await
    }

    /// Starts a subcommand of it that has an admin server; the file comes after these arguments.
    pub(crate) async fn run_as(
        arguments: &[&str],
        (folder, name): (&Path, &str),
        yaml: &str,
        admin: SocketAddr,
        environment: &[(&str, &str)],
    ) -> Self {
        let (file, log) = (folder.join(format!("{name}.yaml")), folder.join(format!("{name}.log")));
        std::fs::write(&file, yaml).expect("there is room for files");
        let output = std::fs::File::create(&log).expect("there is room for files");
        let mut command = Command::new(env!("CARGO_BIN_EXE_signpost"));
        command.args(arguments).arg(&file).stdin(Stdio::null()).stderr(output);
        command.envs(environment.iter().copied());
        let mut router = Self { child: command.spawn().expect("the router can be run"), log, admin };
        let began = Instant::now();
        while tokio::net::TcpStream::connect(admin).await.is_err()
            || router.ask("/admin/ready").await.0 != 200
        {
            let ended = router.child.try_wait().expect("it is a child");
            assert!(ended.is_none() && began.elapsed() < Duration::from_secs(30), "{}", router.said());
            sleep(Duration::from_millis(20)).await;
        }
        router
    }

    /// What it has logged.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// What it knows of names and watches.
    pub(crate) async fn state(&self) -> serde_json::Value {
        self.json("/namer_state/io.l5d.k8s.json").await
    }

    /// For how many seconds its answer for a name has been only the last good one; None when it is up to date.
    pub(crate) async fn stale_seconds(&self, name: &str) -> Option<f64> {
        let state = self.state().await;
        assert!(state["names"][name].is_object(), "{name} is not held: {state:#}");
        state["names"][name]["staleSeconds"].as_f64()
    }

    /// Whether every watch has told of changes for so many seconds since it listed.
    pub(crate) async fn watched_for(&self, seconds: f64) -> bool {
        let state = self.state().await;
        let watches = state["watches"].as_object().expect("a map");
        watches.values().all(|watch| {
            watch["state"] == "watching"
                && watch["listedSecondsAgo"].as_f64().is_some_and(|ago| ago > seconds)
        })
    }

    /// The sum of a counter or gauge over its series whose labels hold this text.
    pub(crate) async fn total(&self, metric: &str, label: &str) -> f64 {
        let text = self.ask("/admin/metrics/prometheus").await.1;
        let metric = format!("signpost_{metric}");
        let of_metric = text.lines().filter(|line| line.starts_with(&metric) && line.contains(label));
        of_metric.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// What its admin server says.
    pub(crate) async fn json(&self, path: &str) -> serde_json::Value {
        serde_json::from_str(&self.ask(path).await.1).expect("it is JSON")
    }

    async fn ask(&self, path: &str) -> (u16, String) {
        // Other hosts' names are refused.
        Client::connect(self.admin).await.get_of("localhost", path).await.expect("the admin server answers")
    }

    /// Stops it in order.
    pub(crate) async fn stop(mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("it is a child");
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("it is a child") {
                assert!(status.success(), "{status}: {}", self.said());
                return;
            }
            assert!(began.elapsed() < Duration::from_secs(30), "it does not end: {}", self.said());
            sleep(Duration::from_millis(20)).await;
        }
    }
}

/// The configuration of a router whose namer has these keys: `/namespace/port/service` of a request's path names a
/// service, and what has no endpoint is served by [`REST`].
pub(crate) fn by_path(admin: SocketAddr, listens: SocketAddr, keys: &str) -> String {
    format!(
        "{}namers: [{{kind: io.l5d.k8s, {keys}}}]\nrouters:\n- protocol: http\n  \
         identifier: {{kind: io.l5d.path, segments: 3}}\n  dtab: {}; /svc => /#/io.l5d.k8s | /rest\n  \
         servers: [{{port: {}}}]\n",
        admin_at(admin),
        rest(),
        listens.port(),
    )
}

/// The dentry of what serves when nothing else does.
pub(crate) fn rest() -> String {
    let (host, port) = REST.split_once(':').expect("an address");
    format!("/rest => /$/inet/{host}/{port}")
}

/// The line of a configuration with the address of the admin server. A router ends without an announcement.
pub(crate) fn admin_at(address: SocketAddr) -> String {
    format!("admin: {{port: {}, shutdownDelayMs: 0}}\n", address.port())
}
