//! The namers: implementations of [`Namer`] for Kubernetes, files, DNS, rewriting and addresses, and the utility namers
//! of Linkerd 1.

mod address;
mod dns;
mod fs;
mod hosts;
mod kubernetes;
mod pattern;
mod publisher;
mod rewrite;
mod srv;
mod system;
mod transform;
mod utility;

#[cfg(test)]
mod tests;

pub use self::fs::{BadLine, FileState, FsNamer};
pub use self::kubernetes::{EndpointSource, EndpointsApi, Kubernetes};
pub use self::pattern::{Captures, PathMatcher, PatternError, Template};
pub use self::transform::{DaemonSet, NodeDoubt, TransformerConfig};

use self::address::is_host_name;
use self::dns::{Dns, DnsServer, EXPECTED_SERVER};
use self::kubernetes::{Clusters, KubernetesNamer};
use self::rewrite::RewriteNamer;
use self::srv::SrvNamer;
use self::system::SystemNamer;
use self::transform::{OwnPod, RunningTransformer};
use crate::interpret::{Namer, Namers};
use crate::kubernetes::ApiClients;
use crate::name::Path;
use crate::telemetry::Registry;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;

/// One entry of `namers:`, as configured.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Config {
    /// The prefix under which it answers, without the leading `/#`; its kind unless the configuration says otherwise.
    pub prefix: Path,
    /// The kind of namer, with its keys.
    #[serde(flatten)]
    pub kind: Kind,
    /// The transformers that its bound names go through, in this order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub transformers: Vec<TransformerConfig>,
}

/// The kinds of namers, each with its own keys.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[serde(tag = "kind")]
pub enum Kind {
    /// `io.l5d.fs`: names are files.
    #[serde(rename = "io.l5d.fs")]
    Fs(Fs),
    /// `io.l5d.dnssrv`: names are services in DNS.
    #[serde(rename = "io.l5d.dnssrv")]
    DnsSrv(DnsSrv),
    /// `io.l5d.rewrite`: names stand for other names.
    #[serde(rename = "io.l5d.rewrite")]
    Rewrite(Rewrite),
    /// `io.l5d.k8s`, `io.l5d.k8s.ns`, `io.l5d.k8s.external`: names are services in Kubernetes.
    #[serde(untagged)]
    Kubernetes(Kubernetes),
}

impl Kind {
    /// Returns the name of the kind, as it is written in the configuration.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Kubernetes(kubernetes) => kubernetes.kind(),
            Self::Fs(_) => "io.l5d.fs",
            Self::DnsSrv(_) => "io.l5d.dnssrv",
            Self::Rewrite(_) => "io.l5d.rewrite",
        }
    }
}

/// The keys of `io.l5d.fs`.
#[derive(Clone, Debug, PartialEq, serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Fs {
    /// The directory whose files are the names; it may be created later.
    pub root_dir: PathBuf,
}

/// The keys of `io.l5d.dnssrv`.
#[derive(Clone, Debug, PartialEq, serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct DnsSrv {
    /// How long records and addresses are kept at least, in seconds, whatever their time to live: from 1; 5 by default.
    #[serde(default = "DnsSrv::default_refresh")]
    pub refresh_interval_seconds: u32,
    /// The DNS servers to ask, each an address or a host name, with or without a port; by default those of the system.
    #[serde(default)]
    pub dns_hosts: Vec<String>,
    /// The domain that is added to names of services, unless they end with a dot; none by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
}

impl DnsSrv {
    /// Returns the default of `refreshIntervalSeconds`.
    const fn default_refresh() -> u32 {
        5
    }

    /// Returns the position of the first of `dnsHosts` that is not a server, and a text that tells what is expected
    /// there.
    pub fn wrong_dns_host(&self) -> Option<(usize, &'static str)> {
        let wrong = self.dns_hosts.iter().position(|host| host.parse::<DnsServer>().is_err());
        wrong.map(|at| (at, EXPECTED_SERVER))
    }

    /// Returns a text that tells what is expected of `domain`, if it is something else.
    pub fn wrong_domain(&self) -> Option<&'static str> {
        let wrong = self.domain.as_ref().is_some_and(|domain| !is_host_name(domain));
        wrong.then_some("a domain such as example.org")
    }
}

/// The keys of `io.l5d.rewrite`.
#[derive(Clone, Debug, PartialEq, serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Rewrite {
    /// The pattern that a path must begin with: see [`PathMatcher`].
    pub pattern: String,
    /// The name that takes its place: see [`Template`].
    pub name: String,
}

/// A reason why namers cannot be made of their configuration.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A namer, or one of its transformers, cannot be made.
    #[error("namer /#{prefix}: {cause}")]
    Namer {
        /// Its position in the configuration, from 0.
        at: usize,
        /// Its prefix, without the leading `/#`.
        prefix: Path,
        /// The mistake.
        cause: Cause,
    },
    /// A transformer of an interpreter cannot be made.
    #[error("interpreter: {0}")]
    Interpreter(Cause),
}

/// A mistake in the configuration of a namer.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// `rootDir` is empty, or relative while there is no working directory.
    #[error("rootDir: {0}")]
    RootDir(std::io::Error),
    /// One of `dnsHosts` is not a DNS server.
    #[error("dnsHosts: expected {EXPECTED_SERVER}, found `{0}`")]
    DnsHost(String),
    /// `domain` is not a domain.
    #[error("domain: expected {0}")]
    Domain(&'static str),
    /// `kubeconfig`, `context` or `host` does not lead to an API server.
    #[error(transparent)]
    Kubernetes(crate::kubernetes::Error),
    /// `envVar` names a variable that holds no namespace.
    #[error(
        "envVar: the variable `{0}` of the environment holds no namespace: the pod's manifest should set it from `metadata.namespace`"
    )]
    EnvVar(String),
    /// `envVar` of `io.l5d.k8s.localnode` names a variable that holds no node.
    #[error(
        "io.l5d.k8s.localnode: the variable `{0}` of the environment holds no node: the pod's manifest should set it from `spec.nodeName`, or `POD_IP` from `status.podIP`"
    )]
    NodeName(String),
    /// `pattern` is not a pattern.
    #[error("pattern: {0}")]
    Pattern(PatternError),
    /// `name` is not a template for the pattern.
    #[error("name: {0}")]
    Name(PatternError),
    /// The `path` of a transformer of this kind cannot be bound by the system namers.
    #[error("{0}: path: {1}")]
    Path(&'static str, String),
}

impl Cause {
    /// Returns whether something is missing that only the pod has in which the process will run: a variable of the
    /// environment, or a kubeconfig.
    pub fn is_of_pod(&self) -> bool {
        match self {
            Self::EnvVar(_) | Self::NodeName(_) => true,
            Self::Kubernetes(error) => error.is_missing_kubeconfig(),
            _ => false,
        }
    }
}

/// Returns why names that begin with a path under `/$` probably lead nowhere, in words, if that can be told: its namer is
/// unknown, its port is missing or none, its status is none.
pub fn system_doubt(path: &Path) -> Option<String> {
    system::doubt(&path.drop_prefix(&Path::from_elems(["$"]))?)
}

/// The namers of a configuration as they run.
#[derive(Clone)]
pub struct NamerSet {
    /// The namers, each with the configuration that it was made of.
    entries: Vec<(Config, Arc<dyn Namer>)>,
    system: Arc<dyn Namer>,
    namers: Namers,
    interpreters: Vec<Interpreter>,
    dns: Dns,
    clusters: Clusters,
    own_pod: Arc<OwnPod>,
    control: Handle,
}

/// The namers as an interpreter with transformers asks them.
#[derive(Clone)]
struct Interpreter {
    configs: Vec<TransformerConfig>,
    transformers: Vec<RunningTransformer>,
    /// Each namer, with the namer that stands for it behind the transformers.
    behind: Vec<(Arc<dyn Namer>, Arc<dyn Namer>)>,
    namers: Namers,
}

/// Makes the namers of a configuration, in its order, after the system namers at `/$`.
///
/// `control` runs their watches, which use `clients` and count in `registry`. `interpreters` holds the transformers of
/// each interpreter; an empty list is allowed.
///
/// # Errors
///
/// The error tells which namer or transformer cannot be made, and why.
pub fn build<'a>(
    configs: &[Config],
    interpreters: impl IntoIterator<Item = &'a [TransformerConfig]>,
    clients: &ApiClients,
    registry: &Registry,
    control: &Handle,
) -> Result<NamerSet, Error> {
    let dns = Dns::of_system(control);
    let system = Arc::new(SystemNamer::new(dns.clone(), control));
    let clusters = Clusters::new(clients, registry);
    let own_pod = Arc::new(OwnPod::new(clients, control));
    let (entries, namers, control) = (Vec::new(), Namers::default(), control.clone());
    let built =
        NamerSet { entries, system, namers, interpreters: Vec::new(), dns, clusters, own_pod, control };
    built.rebuild(configs, interpreters)
}

impl NamerSet {
    /// Returns the namers, the system namers first.
    pub const fn namers(&self) -> &Namers {
        &self.namers
    }

    /// Returns the namers as an interpreter with these transformers asks them. An interpreter that was not given to
    /// [`build`] or [`NamerSet::rebuild`] has no namers at all.
    pub fn namers_behind(&self, transformers: &[TransformerConfig]) -> Namers {
        if transformers.is_empty() {
            return self.namers.clone();
        }
        let known = self.interpreters.iter().find(|known| known.configs == transformers);
        known.map(|known| known.namers.clone()).unwrap_or_default()
    }

    /// Makes the namers of a configuration that replaces this one. Namers and transformers whose configuration is the
    /// same stay as they are, with their watches.
    ///
    /// # Errors
    ///
    /// The error tells which namer or transformer cannot be made, and why.
    pub fn rebuild<'a>(
        &self,
        configs: &[Config],
        interpreters: impl IntoIterator<Item = &'a [TransformerConfig]>,
    ) -> Result<Self, Error> {
        self.own_pod.set_servers(configs.iter().filter_map(Config::server));
        let mut before = self.entries.clone();
        let mut entries = Vec::new();
        for (at, config) in configs.iter().enumerate() {
            let namer = match before.iter().position(|(known, _)| known == config) {
                // Two equal entries stand for two namers.
                Some(known) => before.swap_remove(known).1,
                None => self.build_one(config).map_err(|cause| Error::Namer {
                    at,
                    prefix: config.prefix.clone(),
                    cause,
                })?,
            };
            entries.push((config.clone(), namer));
        }
        let system = [(Path::from_elems([b"$"]), Arc::clone(&self.system))];
        let configured = entries.iter().map(|(config, namer)| (config.full_prefix(), Arc::clone(namer)));
        let namers = self.namers.replaced_by(system.into_iter().chain(configured).collect());
        let mut built = Self { entries, namers, interpreters: Vec::new(), ..self.clone() };
        for configs in interpreters {
            let is_known = built.interpreters.iter().any(|known| known.configs == configs);
            if !configs.is_empty() && !is_known {
                let interpreter = self.interpreter(configs, &built.namers).map_err(Error::Interpreter)?;
                built.interpreters.push(interpreter);
            }
        }
        Ok(built)
    }

    /// Puts all namers behind the transformers of an interpreter.
    fn interpreter(&self, configs: &[TransformerConfig], namers: &Namers) -> Result<Interpreter, Cause> {
        let before = self.interpreters.iter().find(|known| known.configs == configs);
        let transformers = match before {
            Some(before) => before.transformers.clone(),
            None => self.transformers(configs)?,
        };
        let known = before.map_or(&[][..], |before| &before.behind);
        let behind = |namer: &Arc<dyn Namer>| {
            let same = known.iter().find(|(other, _)| Arc::ptr_eq(other, namer));
            let made = || self.behind(Arc::clone(namer), &transformers);
            (Arc::clone(namer), same.map_or_else(made, |(_, behind)| Arc::clone(behind)))
        };
        let behind: Vec<_> = namers.iter().map(|(_, namer)| behind(namer)).collect();
        let prefixes = namers.iter().map(|(prefix, _)| prefix.clone());
        let mut entries: Vec<_> = prefixes.zip(behind.iter().map(|(_, namer)| Arc::clone(namer))).collect();
        if transformers.iter().any(|transformer| matches!(transformer, RunningTransformer::Everything(_)))
            && let Some((_, namer)) = entries.first().cloned()
        {
            // It answers also for names that no namer knows. Asked last.
            entries.insert(0, (Path::empty(), namer));
        }
        let base = before.map_or(namers, |before| &before.namers);
        Ok(Interpreter { configs: configs.to_vec(), transformers, behind, namers: base.replaced_by(entries) })
    }

    /// Makes one namer, behind its own transformers.
    fn build_one(&self, config: &Config) -> Result<Arc<dyn Namer>, Cause> {
        let (prefix, Self { dns, control, .. }) = (config.full_prefix(), self);
        let transformers = self.transformers(&config.transformers)?;
        let namer: Arc<dyn Namer> = match &config.kind {
            Kind::Fs(Fs { root_dir }) => {
                let root = std::path::absolute(root_dir).map_err(Cause::RootDir)?;
                Arc::new(FsNamer::new(prefix, root, dns.clone(), control))
            }
            Kind::Kubernetes(kubernetes) => Arc::new(self.kubernetes(prefix, kubernetes)?),
            Kind::DnsSrv(srv) => Arc::new(build_srv(&prefix, srv, dns, control)?),
            Kind::Rewrite(Rewrite { pattern, name }) => {
                let matcher = pattern.parse().map_err(Cause::Pattern)?;
                let template = Template::compile(name, &matcher).map_err(Cause::Name)?;
                Arc::new(RewriteNamer::new(matcher, template))
            }
        };
        Ok(self.behind(namer, &transformers))
    }

    /// Makes a Kubernetes namer.
    fn kubernetes(&self, prefix: Path, config: &Kubernetes) -> Result<KubernetesNamer, Cause> {
        config.client.check().map_err(Cause::Kubernetes)?;
        let namespace = config.namespace().map_err(Cause::EnvVar)?;
        let cluster = self.clusters.of(config, &self.control);
        Ok(KubernetesNamer::new(config, prefix, namespace, cluster, self.dns.clone()))
    }
}

impl Config {
    /// Returns what the namer needs of the environment and that is not there; its transformers have checks of their own.
    /// Asks no server.
    pub fn missing(&self) -> Vec<Cause> {
        let Kind::Kubernetes(kubernetes) = &self.kind else { return Vec::new() };
        let client = kubernetes.client.check().err().map(Cause::Kubernetes);
        let namespace = kubernetes.namespace().err().map(Cause::EnvVar);
        client.into_iter().chain(namespace).collect()
    }

    /// Returns the beginning of its bound ids, if they belong to namespaces of Kubernetes, and the namespace of all of
    /// them; without one the next element is the namespace. None as well when the environment does not have it.
    pub fn namespaces(&self) -> Option<(Path, Option<Arc<str>>)> {
        let Kind::Kubernetes(kubernetes) = &self.kind else { return None };
        Some((self.full_prefix(), kubernetes.namespace().ok()?))
    }

    /// Returns the API server that it asks, if it asks one.
    pub const fn server(&self) -> Option<&crate::kubernetes::Config> {
        match &self.kind {
            Kind::Kubernetes(kubernetes) => Some(&kubernetes.client),
            _ => None,
        }
    }

    /// Returns the prefix with its leading `/#`.
    fn full_prefix(&self) -> Path {
        Path::from_elems([b"#"]).concat(&self.prefix)
    }
}

/// Makes a namer of DNS services.
fn build_srv(prefix: &Path, srv: &DnsSrv, dns: &Dns, control: &Handle) -> Result<SrvNamer, Cause> {
    let server = |host: &String| host.parse().map_err(|()| Cause::DnsHost(host.clone()));
    let servers = srv.dns_hosts.iter().map(server).collect::<Result<Vec<DnsServer>, Cause>>()?;
    if let Some(expected) = srv.wrong_domain() {
        return Err(Cause::Domain(expected));
    }
    let dns = if servers.is_empty() { dns.clone() } else { dns.with_servers(servers, control) };
    let min_pause = Duration::from_secs(srv.refresh_interval_seconds.max(1).into());
    Ok(SrvNamer::new(prefix.clone(), dns, srv.domain.clone(), min_pause, control))
}

impl fmt::Debug for NamerSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.entries.iter().map(|(config, _)| config)).finish()
    }
}
