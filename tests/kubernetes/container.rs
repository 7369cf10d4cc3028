//! Containers of our image, run as their manifests say: the real binary, which sees a file system that holds little else
//! and cannot be written, as the user that is named and without capabilities; with its ConfigMaps, its service account's
//! token, its environment and its probes.
//!
//! All share the network of the suite: ports on all addresses are taken once, and host ports are what their containers
//! listen on.

use super::kubelet::NODE_ADDRESS;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{self as core, ConfigMap, EnvVar, Pod, Probe, ServiceAccount};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::PostParams;
use kube::{Api, ResourceExt as _};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

/// What the image is called, which is the binary under test and nothing else.
const IMAGE: &str = "signpost:";

/// Where a container finds its token.
const SERVICE_ACCOUNT: &str = "var/run/secrets/kubernetes.io/serviceaccount";

/// Where a container finds programs, unless its image says otherwise.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What of this machine a container sees besides: the binary under test is not static.
const SHARED: [&str; 3] = ["usr", "lib", "lib64"];

/// Enters a container's file system and becomes its user: what a container runtime does.
const ENTER: &str = r#"
root=$1 binary=$2 identity=$3 writable=$4; shift 4
mount --bind "$root" "$root"
for folder in $writable; do mount --bind "$root.writable/$folder" "$root/$folder"; done
for folder in usr lib lib64; do
  [ -L "$root/$folder" ] || [ ! -d "$root/$folder" ] || mount --bind "/$folder" "$root/$folder"
done
mount --bind "$binary" "$root/signpost"
mount -o remount,bind,ro "$root"
exec chroot "$root" setpriv $identity --no-new-privs --bounding-set=-all --inh-caps=-all -- "$@"
"#;

/// Where pods are run, and the API server that they know.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    /// The folder of their files.
    pub(crate) folder: PathBuf,
    /// The API server, as pods reach it.
    pub(crate) api_server: SocketAddr,
    /// The certificate authority that vouches for it.
    pub(crate) authority: PathBuf,
}

/// A running container; it is killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Container {
    child: Child,
    spec: core::Container,
    address: IpAddr,
    inside: Inside,
    grace: Duration,
    log: PathBuf,
}

/// The file system of a container's processes, and their user.
#[derive(Debug)]
struct Inside {
    /// The folder that is the root of their file system.
    root: PathBuf,
    environment: Vec<(String, String)>,
    /// Their user, as options of `setpriv`.
    identity: String,
    /// The folders in which they may write, with a space between them.
    writable: String,
}

impl Drop for Container {
    fn drop(&mut self) {
        // An error says that it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether a pod's container is of our image.
pub(crate) fn is_ours(pod: &Pod) -> bool {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    containers.flat_map(|container| &container.image).any(|image| image.starts_with(IMAGE))
}

impl Container {
    /// Starts the only container of a pod. Fails when the API server does not have what it needs.
    pub(crate) async fn start(
        client: &kube::Client,
        host: &Host,
        pod: &Pod,
        address: IpAddr,
    ) -> kube::Result<Self> {
        let pod_spec = pod.spec.clone().expect("a pod has a specification");
        let [spec] = &pod_spec.containers[..] else { panic!("{}: one container", pod.name_any()) };
        let spec = &with_own_loopback(spec.clone(), address);
        let root = host.folder.join(pod.name_any());
        lay_out(&root);
        let namespace = pod.namespace().expect("pods have namespaces");
        let mut writable = String::new();
        for volume in pod_spec.volumes.iter().flatten() {
            let mounts = spec.volume_mounts.iter().flatten();
            let mount = mounts.into_iter().find(|mount| mount.name == volume.name).expect("it is mounted");
            let folder = mount.mount_path.trim_start_matches('/');
            fs::create_dir_all(root.join(folder)).expect("there is room for files");
            if let Some(map) = &volume.config_map {
                put_config_map(client, &namespace, &map.name, &root.join(folder)).await?;
            } else {
                assert!(volume.empty_dir.is_some(), "{}: this kubelet does not know it", volume.name);
                make_empty(&root, folder, &pod_spec);
                writable += &format!(" {folder}");
            }
        }
        if pod_spec.automount_service_account_token != Some(false) {
            let account =
                pod_spec.service_account_name.as_deref().expect("the pod names its service account");
            put_token(client, &namespace, account, host, &root).await?;
        }
        let mut environment = vec![
            ("PATH".to_owned(), PATH.to_owned()),
            ("KUBERNETES_SERVICE_HOST".to_owned(), host.api_server.ip().to_string()),
            ("KUBERNETES_SERVICE_PORT".to_owned(), host.api_server.port().to_string()),
        ];
        environment.extend(spec.env.iter().flatten().map(|variable| value_of(variable, pod, address)));
        let log = host.folder.join(format!("{}.log", pod.name_any()));
        let arguments: Vec<_> = spec.args.iter().flatten().map(|text| expand(text, &environment)).collect();
        assert!(spec.command.is_none(), "the image has an entry point");
        let inside = Inside { root, environment, identity: identity(&pod_spec, spec), writable };
        let mut command = inside.command("/signpost", &arguments);
        let output = File::create(&log).expect("there is room for files");
        let errors = output.try_clone().expect("files are left");
        let child =
            command.stdin(Stdio::null()).stdout(output).stderr(errors).spawn().expect("it can be run");
        let grace = pod_spec.termination_grace_period_seconds.expect("the API server has a default");
        let grace = Duration::from_secs(grace.unsigned_abs());
        Ok(Self { child, spec: spec.clone(), address, inside, grace, log })
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.spec.name
    }

    /// Whether it is ready and alive, as far as its probes say.
    pub(crate) async fn is_ready(&self) -> bool {
        self.probe(self.spec.readiness_probe.as_ref()).await
            && self.probe(self.spec.liveness_probe.as_ref()).await
    }

    /// How it has ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("it is a child")
    }

    /// Tells it to end, after its `preStop` hook, and waits until it has; says `unready` when it is not ready any more.
    /// Returns what is wrong with its end: it took longer than it was granted, or it failed.
    pub(crate) async fn stop(mut self, unready: impl AsyncFn()) -> Result<(), String> {
        let began = Instant::now();
        let hook = self.spec.lifecycle.as_ref().and_then(|lifecycle| lifecycle.pre_stop.as_ref());
        if let Some(pause) = hook.and_then(|hook| hook.sleep.as_ref()) {
            sleep(Duration::from_secs(pause.seconds.unsigned_abs())).await;
        }
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("it is a child");
        let mut ready = true;
        loop {
            if let Some(status) = self.ended() {
                return if status.success() { Ok(()) } else { Err(format!("{status}: {}", self.said())) };
            }
            if began.elapsed() > self.grace {
                return Err(format!("it has not ended after {:?}: {}", self.grace, self.said()));
            }
            if ready && !self.is_ready().await {
                ready = false;
                unready().await;
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// What it has logged.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    async fn probe(&self, probe: Option<&Probe>) -> bool {
        match probe {
            None => true,
            Some(Probe { exec: Some(exec), timeout_seconds, .. }) => {
                let command = exec.command.as_deref().unwrap_or_default();
                let (program, arguments) = command.split_first().expect("a command");
                let mut command = self.inside.command(program, arguments);
                let began = Instant::now();
                let status = spawn_blocking(move || command.output()).await.expect("nothing panics");
                let limit = timeout_seconds.unwrap_or(1).unsigned_abs();
                status.expect("it can be run").status.success()
                    && began.elapsed() < Duration::from_secs(limit.into())
            }
            Some(Probe { tcp_socket: Some(socket), .. }) => {
                let IntOrString::String(name) = &socket.port else { panic!("ports have names here") };
                let port = self.spec.ports.iter().flatten().find(|port| port.name.as_ref() == Some(name));
                let port = port.expect("a port of the container").container_port;
                let port = u16::try_from(port).expect("the API server knows ports");
                TcpStream::connect((self.address, port)).await.is_ok()
            }
            Some(other) => panic!("this kubelet does not know the probe {other:?}"),
        }
    }
}

/// Gives a container whose arguments name the loopback of its pod an address of that for itself: each pod has a loopback of
/// its own, and here all share one.
fn with_own_loopback(mut spec: core::Container, address: IpAddr) -> core::Container {
    const LOOPBACK: &str = "127.0.0.1:";
    let IpAddr::V4(address) = address else { return spec };
    let [.., high, low] = address.octets();
    let own = format!("127.1.{high}.{low}:");
    if spec.args.iter().flatten().any(|argument| argument.contains(LOOPBACK)) {
        let probes = [&mut spec.readiness_probe, &mut spec.liveness_probe].into_iter().flatten();
        let commands = probes.filter_map(|probe| probe.exec.as_mut()?.command.as_mut());
        for text in commands.chain(spec.args.as_mut()).flatten() {
            *text = text.replace(LOOPBACK, &own);
        }
    }
    spec
}

/// Makes the folders of a container's file system.
fn lay_out(root: &Path) {
    for folder in ["etc", "tmp", SERVICE_ACCOUNT] {
        fs::create_dir_all(root.join(folder)).expect("there is room for files");
    }
    File::create(root.join("signpost")).expect("there is room for files");
    for folder in SHARED {
        let (ours, own) = (Path::new("/").join(folder), root.join(folder));
        match fs::read_link(&ours) {
            Ok(target) => drop(std::os::unix::fs::symlink(target, own)),
            Err(_) if ours.is_dir() => fs::create_dir_all(own).expect("there is room for files"),
            Err(_) => {}
        }
    }
}

impl Inside {
    /// A command in the container.
    fn command(&self, program: &str, arguments: &[String]) -> Command {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--", "sh", "-euc", ENTER, "sh"]).arg(&self.root);
        command
            .args([env!("CARGO_BIN_EXE_signpost"), &self.identity, &self.writable, program])
            .args(arguments);
        command.env_clear().envs(self.environment.iter().cloned());
        command
    }
}

/// Returns the user of a container, as options of `setpriv`. It must be as restricted as it can be.
fn identity(pod: &core::PodSpec, container: &core::Container) -> String {
    let of_pod = pod.security_context.clone().unwrap_or_default();
    let own = container.security_context.clone().unwrap_or_default();
    let dropped = own.capabilities.and_then(|capabilities| capabilities.drop).unwrap_or_default();
    let restricted = own.read_only_root_filesystem == Some(true)
        && own.allow_privilege_escalation == Some(false)
        && dropped == ["ALL"]
        && of_pod.run_as_non_root == Some(true)
        && of_pod.seccomp_profile.is_some_and(|profile| profile.type_ == "RuntimeDefault");
    assert!(restricted, "{}: its security context", container.name);
    let user = of_pod.run_as_user.expect("it says as which user it runs");
    let group = of_pod.run_as_group.expect("it says as which group it runs");
    // Where the suite runs in a user namespace, the only user may be root, which has no rights outside.
    if exists(user) { format!("--reuid={user} --regid={group} --clear-groups") } else { String::new() }
}

/// Whether there is such a user here: `user_namespaces(7)`.
fn exists(user: i64) -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").expect("Linux has it");
    map.lines().any(|line| {
        let numbers: Vec<i64> = line.split_whitespace().flat_map(str::parse).collect();
        let [first, _, count] = numbers[..] else { panic!("{line}") };
        (first..first + count).contains(&user)
    })
}

/// Puts the texts of a ConfigMap in a folder.
async fn put_config_map(
    client: &kube::Client,
    namespace: &str,
    name: &str,
    folder: &Path,
) -> kube::Result<()> {
    let map = Api::<ConfigMap>::namespaced(client.clone(), namespace).get(name).await?;
    for (name, text) in map.data.unwrap_or_default() {
        fs::write(folder.join(name), text).expect("there is room for files");
    }
    Ok(())
}

/// Makes an empty folder for the pod's group.
fn make_empty(root: &Path, folder: &str, pod: &core::PodSpec) {
    let mut made = root.as_os_str().to_owned();
    made.push(".writable/");
    let made = PathBuf::from(made).join(folder);
    fs::create_dir_all(&made).expect("there is room for files");
    let group =
        pod.security_context.as_ref().and_then(|context| context.fs_group).expect("the pod names its group");
    if exists(group) {
        std::os::unix::fs::chown(&made, None, u32::try_from(group).ok()).expect("there is such a group");
    }
    fs::set_permissions(&made, fs::Permissions::from_mode(0o2775)).expect("it is ours");
}

/// Puts a token of a service account where a container finds it, as the admission controller and the kubelet would.
async fn put_token(
    client: &kube::Client,
    namespace: &str,
    account: &str,
    host: &Host,
    root: &Path,
) -> kube::Result<()> {
    let request = TokenRequest {
        spec: TokenRequestSpec { expiration_seconds: Some(3600), ..TokenRequestSpec::default() },
        ..TokenRequest::default()
    };
    let accounts = Api::<ServiceAccount>::namespaced(client.clone(), namespace);
    let made = accounts.create_token_request(account, &PostParams::default(), &request).await?;
    let token = made.status.expect("a token was made").token;
    let folder = root.join(SERVICE_ACCOUNT);
    fs::copy(&host.authority, folder.join("ca.crt")).expect("there is room for files");
    for (file, text) in [("token", &*token), ("namespace", namespace)] {
        fs::write(folder.join(file), text).expect("there is room for files");
    }
    Ok(())
}

/// A variable of a container's environment, by the downward API if need be.
fn value_of(variable: &EnvVar, pod: &Pod, address: IpAddr) -> (String, String) {
    let field = variable.value_from.as_ref().and_then(|source| source.field_ref.as_ref());
    let value = match field.map(|field| &*field.field_path) {
        None => variable.value.clone().unwrap_or_default(),
        Some("status.podIP") => address.to_string(),
        Some("status.hostIP") => NODE_ADDRESS.to_string(),
        Some(path) => panic!("{}: this kubelet does not know {path}", pod.name_any()),
    };
    (variable.name.clone(), value)
}

/// Replaces `$(NAME)` by its value.
fn expand(text: &str, environment: &[(String, String)]) -> String {
    environment.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("$({name})"), value))
}
