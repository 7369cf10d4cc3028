//! The processes of the control plane.

use super::cluster::until;
use super::container::Host;
use super::etcd;
use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Api;
use kube::api::{WatchEvent, WatchParams};
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// How long all parts may take to start on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(90);

/// How long the end of a part that was just started is waited with, before it is started again.
const PAUSE: Duration = Duration::from_secs(1);

/// How much of a part's log is shown when it fails, in lines.
const SHOWN: usize = 15;

/// The addresses of etcd and the API server: no other process is in this network, and its systems choose higher ports by
/// chance.
pub(crate) const ETCD: &str = "http://127.0.0.1:2379";
const API_PORT: u16 = 6443;
const FORGETFUL_PORT: u16 = 6444;

/// The administrator's token, the router's, and that of the controller of sandboxes.
pub(crate) const ADMIN: &str = "admin-token";
pub(crate) const ROUTER: &str = "router-token";
pub(crate) const CONTROLLER: &str = "controller-token";

/// The running control plane; its end is theirs.
#[derive(Debug)]
pub(crate) struct ControlPlane {
    folder: PathBuf,
    etcd: Part,
    api_server: Part,
    /// Another one over the same store, which has no memory of its own: what etcd has forgotten is forgotten.
    forgetful: Part,
    controllers: Part,
}

/// A process of the control plane, which is killed when it is dropped.
#[derive(Debug)]
struct Part {
    name: &'static str,
    command: Command,
    log: PathBuf,
    running: Option<Child>,
}

impl Drop for Part {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Part {
    fn new(binary: &Path, folder: &Path, name: &'static str, arguments: &[String]) -> Self {
        let log = folder.join(format!("{name}.log"));
        let output = File::options().create(true).append(true).open(&log).expect("there is room for files");
        let errors = output.try_clone().expect("files are left");
        let mut command = Command::new(binary);
        command.arg(name).args(arguments).stdin(Stdio::null()).stdout(output).stderr(errors);
        Self { name, command, log, running: None }
    }

    fn start(&mut self) {
        self.running = Some(self.command.spawn().expect("the control plane can be run"));
    }

    /// Kills it, as if its machine had lost power; nothing happens when it does not run.
    fn kill(&mut self) {
        if let Some(mut child) = self.running.take() {
            // An error says that it has ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts it again if it has ended by itself, as a kubelet would: the API server gives up when etcd, or the machine,
    /// takes too long. Returns whether it was running.
    fn keep_up(&mut self) -> bool {
        let ended = self.running.as_mut().and_then(|child| child.try_wait().expect("it is a child"));
        if let Some(status) = ended {
            println!("{} ended ({status}) and is started again; it said:\n{}", self.name, self.last_lines());
            self.start();
        }
        ended.is_none()
    }

    /// Returns the end of its log.
    fn last_lines(&self) -> String {
        let log = fs::read(&self.log).expect("the log was made with it");
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(SHOWN)..].join("\n")
    }
}

impl ControlPlane {
    /// Starts etcd, the API server and the controllers with a new, empty store.
    pub(crate) async fn start(binary: &Path) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("kubernetes");
        if folder.exists() {
            fs::remove_dir_all(&folder).expect("what an earlier run left can be removed");
        }
        fs::create_dir_all(&folder).expect("there is room for files");
        let key = Command::new(binary).arg("key").output().expect("the control plane can be run");
        assert!(key.status.success(), "no key was made: {}", String::from_utf8_lossy(&key.stderr));
        fs::write(folder.join("sa.key"), key.stdout).expect("there is room for files");
        let tokens = format!(
            "{ADMIN},admin,admin,system:masters\n{ROUTER},router,router\n{CONTROLLER},controller,controller\n"
        );
        fs::write(folder.join("tokens.csv"), tokens).expect("there is room for files");
        for (user, token) in [("admin", ADMIN), ("router", ROUTER), ("controller", CONTROLLER)] {
            fs::write(folder.join(format!("{user}.kubeconfig")), kubeconfig_of(&folder, token))
                .expect("there is room for files");
        }
        let etcd = store(binary, &folder);
        let forgetful = api_server(binary, &folder, FORGETFUL_PORT, &["--watch-cache=false"]);
        let api_server = api_server(binary, &folder, API_PORT, &[]);
        let controllers = controllers(binary, &folder);
        let mut plane = Self { folder, etcd, api_server, forgetful, controllers };
        plane.etcd.start();
        plane.api_server.start();
        plane.ready().await;
        // They would give up without an API server.
        plane.controllers.start();
        plane
    }

    /// Where its files are.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The kubeconfig of `admin` or `router`.
    pub(crate) fn kubeconfig(&self, user: &str) -> PathBuf {
        self.folder.join(format!("{user}.kubeconfig"))
    }

    /// The program with all its parts.
    pub(crate) fn binary(&self) -> &Path {
        Path::new(self.etcd.command.get_program())
    }

    /// What pods know of it, and where their files are.
    pub(crate) fn host(&self) -> Host {
        Host {
            folder: self.folder.join("pods"),
            api_server: (Ipv4Addr::LOCALHOST, API_PORT).into(),
            authority: authority(&self.folder),
        }
    }

    /// Kills the API server, as if its machine had lost power, and the controllers with it: alone they would wait for up
    /// to half a minute until they ask again.
    pub(crate) fn kill_api_server(&mut self) {
        self.controllers.kill();
        self.api_server.kill();
    }

    /// Starts the API server again over the same store, and waits until it is ready; the controllers follow.
    pub(crate) async fn revive_api_server(&mut self) {
        self.api_server.start();
        self.ready().await;
        self.controllers.start();
    }

    /// Kills etcd, as if its machine had lost power.
    pub(crate) fn kill_etcd(&mut self) {
        self.etcd.kill();
    }

    /// Starts etcd again over the same data, and waits until it answers.
    pub(crate) async fn revive_etcd(&mut self) {
        self.etcd.start();
        until("etcd answers", PATIENCE, etcd::answers).await;
    }

    /// Waits until the API server says that it is ready, and can say what etcd has.
    ///
    /// Its cache of a resource may be behind for half a minute more: after etcd was away, each cache lists again when its
    /// own backoff is over.
    pub(crate) async fn ready(&mut self) {
        self.says_ready().await;
        let client = self.client("admin").await;
        // Each resource has a cache of its own.
        until_listed::<EndpointSlice>(&client).await;
        until_listed::<Service>(&client).await;
        until_listed::<Pod>(&client).await;
    }

    async fn says_ready(&mut self) {
        let began = Instant::now();
        while !self.is_ready().await {
            let kept_up = [&mut self.etcd, &mut self.api_server].map(Part::keep_up);
            assert!(
                began.elapsed() < PATIENCE,
                "the API server is not ready after {} s; it said:\n{}\netcd said:\n{}",
                PATIENCE.as_secs(),
                self.api_server.last_lines(),
                self.etcd.last_lines()
            );
            sleep(if kept_up == [true; 2] { Duration::from_millis(50) } else { PAUSE }).await;
        }
    }

    /// Whether the API server says that it is ready, etcd and all.
    pub(crate) async fn is_ready(&self) -> bool {
        // The certificate is made at the first start, and its key written after it.
        self.folder.join("apiserver/apiserver.key").exists() && is_ready(self.config("admin").await).await
    }

    /// Starts the API server that has no memory of its own, beside the other one. Returns how a user asks it.
    pub(crate) async fn start_forgetful(&mut self, user: &str) -> kube::Config {
        self.forgetful.start();
        let mut config = self.config(user).await;
        config.cluster_url = format!("https://127.0.0.1:{FORGETFUL_PORT}").parse().expect("an address");
        until("it is ready", PATIENCE, async || {
            self.forgetful.keep_up();
            is_ready(config.clone()).await
        })
        .await;
        config
    }

    /// Ends it.
    pub(crate) fn kill_forgetful(&mut self) {
        self.forgetful.kill();
    }

    /// How a user asks the API server.
    pub(crate) async fn config(&self, user: &str) -> kube::Config {
        let kubeconfig = kube::config::Kubeconfig::read_from(self.kubeconfig(user)).expect("we wrote it");
        let options = kube::config::KubeConfigOptions::default();
        kube::Config::from_custom_kubeconfig(kubeconfig, &options).await.expect("we wrote it")
    }

    /// A client of the API server.
    pub(crate) async fn client(&self, user: &str) -> kube::Client {
        kube::Client::try_from(self.config(user).await).expect("it is complete")
    }
}

async fn is_ready(config: kube::Config) -> bool {
    let client = kube::Client::try_from(config).expect("it is complete");
    let request = http::Request::get("/readyz").body(Vec::new()).expect("a request");
    client.request_text(request).await.is_ok()
}

/// A resource of which a list is awaited.
trait Listed: kube::Resource<DynamicType = ()> + DeserializeOwned + Clone + Debug + Send + 'static {}

impl<K: kube::Resource<DynamicType = ()> + DeserializeOwned + Clone + Debug + Send + 'static> Listed for K {}

/// Waits until the API server streams a list of a resource to its end.
async fn until_listed<K: Listed>(client: &kube::Client) {
    let objects = Api::<K>::all(client.clone());
    let what = format!("the API server streams a list of {}", K::plural(&()));
    until(&what, PATIENCE, async || streams_a_list(&objects).await).await;
}

/// Whether a list is streamed to its end: its server then knows that its cache is as new as etcd.
async fn streams_a_list<K: Listed>(objects: &Api<K>) -> bool {
    let params = WatchParams { send_initial_events: true, ..WatchParams::default() }.timeout(2);
    let listing = async {
        let mut events = objects.watch(&params, "").await.ok()?.boxed();
        while let Some(Ok(event)) = events.next().await {
            if matches!(event, WatchEvent::Bookmark(_)) {
                return Some(());
            }
        }
        None
    };
    timeout(PAUSE, listing).await.ok().flatten().is_some()
}

/// The certificate of the API server, which vouches for itself.
fn authority(folder: &Path) -> PathBuf {
    folder.join("apiserver/apiserver.crt")
}

fn kubeconfig_of(folder: &Path, token: &str) -> String {
    let ca = authority(folder);
    format!(
        "apiVersion: v1\nkind: Config\nclusters: [{{name: c, cluster: {{server: 'https://127.0.0.1:{API_PORT}', certificate-authority: '{}'}}}}]\n\
         users: [{{name: u, user: {{token: {token}}}}}]\ncontexts: [{{name: x, context: {{cluster: c, user: u}}}}]\ncurrent-context: x\n",
        ca.display()
    )
}

fn store(binary: &Path, folder: &Path) -> Part {
    Part::new(
        binary,
        folder,
        "etcd",
        &[
            format!("--data-dir={}", folder.join("etcd").display()),
            format!("--listen-client-urls={ETCD}"),
            format!("--advertise-client-urls={ETCD}"),
            "--listen-peer-urls=http://127.0.0.1:0".into(),
            "--unsafe-no-fsync".into(),
        ],
    )
}

fn api_server(binary: &Path, folder: &Path, port: u16, more: &[&str]) -> Part {
    let file = |name: &str| folder.join(name).display().to_string();
    let mut arguments = vec![
        format!("--etcd-servers={ETCD}"),
        "--bind-address=127.0.0.1".into(),
        format!("--secure-port={port}"),
        format!("--cert-dir={}", file("apiserver")),
        format!("--token-auth-file={}", file("tokens.csv")),
        "--authorization-mode=RBAC".into(),
        format!("--service-account-key-file={}", file("sa.key")),
        format!("--service-account-signing-key-file={}", file("sa.key")),
        "--service-account-issuer=https://kubernetes.default.svc".into(),
        "--service-cluster-ip-range=10.96.0.0/16".into(),
        "--disable-admission-plugins=ServiceAccount".into(),
        "--endpoint-reconciler-type=none".into(),
        "--advertise-address=10.96.0.1".into(),
    ];
    arguments.extend(more.iter().map(|&argument| argument.into()));
    Part::new(binary, folder, "kube-apiserver", &arguments)
}

fn controllers(binary: &Path, folder: &Path) -> Part {
    let kubeconfig = folder.join("admin.kubeconfig").display().to_string();
    Part::new(binary, folder, "kube-controller-manager", &[
        format!("--kubeconfig={kubeconfig}"),
        format!("--authentication-kubeconfig={kubeconfig}"),
        format!("--authorization-kubeconfig={kubeconfig}"),
        "--leader-elect=false".into(),
        "--secure-port=0".into(),
        format!("--service-account-private-key-file={}", folder.join("sa.key").display()),
        format!("--cert-dir={}", folder.join("controllers").display()),
        "--controllers=deployment-controller,replicaset-controller,daemonset-controller,endpoints-controller,\
         endpointslice-controller,endpointslice-mirroring-controller,namespace-controller,garbage-collector-controller"
            .into(),
    ])
}
