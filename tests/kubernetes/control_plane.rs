//! The processes of the control plane.

use super::container::Host;
use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long a part may take to start on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(90);

/// The administrator's token, and the router's.
pub(crate) const ADMIN: &str = "admin-token";
pub(crate) const ROUTER: &str = "router-token";

/// The running control plane; its end is theirs.
#[derive(Debug)]
pub(crate) struct ControlPlane {
    binary: PathBuf,
    folder: PathBuf,
    etcd_port: u16,
    api_port: u16,
    etcd: Process,
    api_server: Process,
    controllers: Option<Process>,
}

/// A process that is killed when it is dropped.
#[derive(Debug)]
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // An error says that it has ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
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
        fs::write(folder.join("sa.key"), key.stdout).expect("there is room for files");
        let tokens = format!("{ADMIN},admin,admin,system:masters\n{ROUTER},router,router\n");
        fs::write(folder.join("tokens.csv"), tokens).expect("there is room for files");
        let (etcd_port, api_port) = (free_port(), free_port());
        let etcd = etcd(binary, &folder, etcd_port);
        let api_server = api_server(binary, &folder, etcd_port, api_port);
        let kubeconfig = folder.join("admin.kubeconfig");
        fs::write(&kubeconfig, kubeconfig_of(&folder, api_port, ADMIN)).expect("there is room for files");
        fs::write(folder.join("router.kubeconfig"), kubeconfig_of(&folder, api_port, ROUTER))
            .expect("there is room for files");
        let binary = binary.to_owned();
        let mut plane = Self { binary, folder, etcd_port, api_port, etcd, api_server, controllers: None };
        plane.ready().await;
        // They would give up without an API server.
        plane.controllers = Some(controllers(&plane.binary, &plane.folder));
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
        &self.binary
    }

    /// What pods know of it, and where their files are.
    pub(crate) fn host(&self) -> Host {
        Host {
            folder: self.folder.join("pods"),
            api_server: (Ipv4Addr::LOCALHOST, self.api_port).into(),
            authority: authority(&self.folder),
        }
    }

    /// Kills the API server, as if its machine had lost power.
    pub(crate) fn kill_api_server(&mut self) {
        self.api_server.0.kill().expect("it runs");
        self.api_server.0.wait().expect("it was running");
    }

    /// Starts the API server again over the same store, and waits until it is ready.
    pub(crate) async fn revive_api_server(&mut self) {
        self.api_server = api_server(&self.binary, &self.folder, self.etcd_port, self.api_port);
        self.ready().await;
    }

    /// Waits until the API server says that it is ready.
    async fn ready(&mut self) {
        let began = Instant::now();
        loop {
            let ended =
                [&mut self.etcd, &mut self.api_server].map(|part| part.0.try_wait().expect("it is a child"));
            assert!(
                ended.iter().all(Option::is_none),
                "a part ended: see the logs in {}",
                self.folder.display()
            );
            if self.is_ready().await {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "not ready: see the logs in {}", self.folder.display());
            sleep(Duration::from_millis(50)).await;
        }
    }

    async fn is_ready(&self) -> bool {
        // The certificate is made at the first start.
        if !authority(&self.folder).exists() {
            return false;
        }
        let client = self.client("admin").await;
        let request = http::Request::get("/readyz").body(Vec::new()).expect("a request");
        client.request_text(request).await.is_ok()
    }

    /// A client of the API server.
    pub(crate) async fn client(&self, user: &str) -> kube::Client {
        let kubeconfig = kube::config::Kubeconfig::read_from(self.kubeconfig(user)).expect("we wrote it");
        let options = kube::config::KubeConfigOptions::default();
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await.expect("we wrote it");
        kube::Client::try_from(config).expect("it is complete")
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    listener.local_addr().expect("it is bound").port()
}

/// The certificate of the API server, which vouches for itself.
fn authority(folder: &Path) -> PathBuf {
    folder.join("apiserver/apiserver.crt")
}

fn kubeconfig_of(folder: &Path, port: u16, token: &str) -> String {
    let ca = authority(folder);
    format!(
        "apiVersion: v1\nkind: Config\nclusters: [{{name: c, cluster: {{server: 'https://127.0.0.1:{port}', certificate-authority: '{}'}}}}]\n\
         users: [{{name: u, user: {{token: {token}}}}}]\ncontexts: [{{name: x, context: {{cluster: c, user: u}}}}]\ncurrent-context: x\n",
        ca.display()
    )
}

fn etcd(binary: &Path, folder: &Path, port: u16) -> Process {
    let url = format!("http://127.0.0.1:{port}");
    start(
        binary,
        folder,
        "etcd",
        &[
            format!("--data-dir={}", folder.join("etcd").display()),
            format!("--listen-client-urls={url}"),
            format!("--advertise-client-urls={url}"),
            "--listen-peer-urls=http://127.0.0.1:0".into(),
            "--unsafe-no-fsync".into(),
        ],
    )
}

fn api_server(binary: &Path, folder: &Path, etcd_port: u16, port: u16) -> Process {
    let file = |name: &str| folder.join(name).display().to_string();
    start(
        binary,
        folder,
        "kube-apiserver",
        &[
            format!("--etcd-servers=http://127.0.0.1:{etcd_port}"),
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
        ],
    )
}

fn controllers(binary: &Path, folder: &Path) -> Process {
    let kubeconfig = folder.join("admin.kubeconfig").display().to_string();
    start(binary, folder, "kube-controller-manager", &[
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

fn start(binary: &Path, folder: &Path, part: &str, arguments: &[String]) -> Process {
    let log = File::options().create(true).append(true).open(folder.join(format!("{part}.log")));
    let log = log.expect("there is room for files");
    let errors = log.try_clone().expect("files are left");
    let mut command = Command::new(binary);
    command.arg(part).args(arguments).stdin(Stdio::null()).stdout(log).stderr(errors);
    Process(command.spawn().expect("the control plane can be run"))
}
