//! The configuration of an API server: its address, the credentials, and the folder for snapshots.

use super::snapshot;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use serde::ser::{Serialize, SerializeMap, Serializer};
use std::io;
use std::path::PathBuf;

/// The address of `kubectl proxy`, which Linkerd 1 used by default: localhost, port 8001.
const PROXY: (&str, u16) = ("localhost", 8001);

/// The address and credentials of an API server, and the folder for its last good answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Config {
    /// The address of the server, and the credentials.
    pub access: Access,
    /// `snapshot`: the folder that holds the last good answers for a start without the API server; none unless given.
    pub snapshot: Option<PathBuf>,
}

/// The address of an API server, and the credentials to use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Access {
    /// In a pod: the API server of its cluster, with its service account. Elsewhere: the user's kubeconfig
    /// (`$KUBECONFIG`, `~/.kube/config`). Without a kubeconfig: `localhost:8001`, as Linkerd 1. The default.
    #[default]
    Found,
    /// Plain HTTP, without credentials, as through `kubectl proxy`.
    Plain {
        /// A host name or an address.
        host: String,
        /// Its port.
        port: u16,
    },
    /// The server and the credentials of a kubeconfig.
    Kubeconfig {
        /// The file; the user's when it is not given.
        file: Option<PathBuf>,
        /// The context in it; its current one when it is not given.
        context: Option<String>,
    },
}

/// The reason why the API server cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kubeconfig cannot be read or is incomplete.
    #[error("kubeconfig: {0}")]
    Kubeconfig(#[from] KubeconfigError),
    /// The pod's service account is missing.
    #[error("service account: {0}")]
    ServiceAccount(#[from] kube::config::InClusterError),
    /// The host is neither a name nor an address.
    #[error("`{0}` is not a host")]
    Host(String),
    /// The connection cannot be set up: certificates or credentials are wrong.
    #[error("credentials: {0}")]
    Credentials(#[from] kube::Error),
    /// Making the client did not finish.
    #[error("making the client: {0}")]
    Unmade(tokio::task::JoinError),
    /// The folder for snapshots is no folder, cannot be made, or may not be written to.
    #[error(
        "snapshot: {} cannot be used: {source}. Name a folder that this process may make or write to", folder.display()
    )]
    Snapshot {
        /// The folder, as configured.
        folder: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The kubeconfig wants a proxy.
    #[error("kubeconfig: `proxy-url` is not supported: name the API server itself")]
    Proxy,
}

impl Error {
    /// Returns whether a kubeconfig is not there, which another machine may have.
    pub fn is_missing_kubeconfig(&self) -> bool {
        matches!(self, Self::Kubeconfig(KubeconfigError::FindPath | KubeconfigError::ReadConfig(..)))
    }
}

impl Serialize for Config {
    /// Writes the configuration keys: none of them for [`Access::Found`].
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut keys = serializer.serialize_map(None)?;
        self.serialize_keys(&mut keys)?;
        keys.end()
    }
}

impl Serialize for Access {
    /// Writes the configuration keys.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut keys = serializer.serialize_map(None)?;
        self.serialize_keys(&mut keys, "host", "port")?;
        keys.end()
    }
}

impl From<Access> for Config {
    /// Makes a configuration without snapshots.
    fn from(access: Access) -> Self {
        Self { access, snapshot: None }
    }
}

impl Config {
    /// Adds the configuration keys that have these values to `keys`.
    ///
    /// # Errors
    ///
    /// The serializer failed.
    pub fn serialize_keys<S: SerializeMap>(&self, keys: &mut S) -> Result<(), S::Error> {
        self.serialize_keys_as(keys, "host", "port")
    }

    /// Does the same as [`Config::serialize_keys`], with other names for the keys `host` and `port`.
    ///
    /// # Errors
    ///
    /// The serializer failed.
    pub fn serialize_keys_as<S: SerializeMap>(
        &self,
        keys: &mut S,
        host: &'static str,
        port: &'static str,
    ) -> Result<(), S::Error> {
        self.access.serialize_keys(keys, host, port)?;
        self.snapshot.iter().try_for_each(|folder| keys.serialize_entry("snapshot", folder))
    }

    /// Checks the configuration without a request to the server. Reads files, and changes nothing.
    ///
    /// # Errors
    ///
    /// A kubeconfig that was named cannot be read or does not have the context, the host is not one, or the folder
    /// for snapshots cannot be written to.
    pub fn check(&self) -> Result<(), Error> {
        self.access.check()?;
        self.snapshot.iter().try_for_each(|folder| {
            let failed = |source| Error::Snapshot { folder: folder.clone(), source };
            snapshot::check(folder).map_err(failed)
        })
    }
}

impl Access {
    /// Returns plain HTTP access to `host` and `port`, with Linkerd's defaults for absent values.
    pub fn plain(host: Option<String>, port: Option<u16>) -> Self {
        Self::Plain { host: host.unwrap_or_else(|| PROXY.0.to_owned()), port: port.unwrap_or(PROXY.1) }
    }

    fn serialize_keys<S: SerializeMap>(
        &self,
        keys: &mut S,
        host_key: &'static str,
        port_key: &'static str,
    ) -> Result<(), S::Error> {
        match self {
            Self::Found => Ok(()),
            Self::Plain { host, port } => {
                keys.serialize_entry(host_key, host)?;
                keys.serialize_entry(port_key, port)
            }
            Self::Kubeconfig { file, context } => {
                file.iter().try_for_each(|file| keys.serialize_entry("kubeconfig", file))?;
                context.iter().try_for_each(|context| keys.serialize_entry("context", context))
            }
        }
    }

    /// Checks the address and the credentials without a request to the server. Reads files.
    ///
    /// # Errors
    ///
    /// A kubeconfig that was named cannot be read or does not have the context, or the host is not one.
    pub fn check(&self) -> Result<(), Error> {
        match self {
            Self::Found => Ok(()),
            Self::Plain { host, port } => url(host, *port).map(drop),
            Self::Kubeconfig { file, context } => {
                let kubeconfig = read_kubeconfig(file.as_ref())?;
                let wanted = context.as_ref().or(kubeconfig.current_context.as_ref());
                let wanted = wanted.ok_or(KubeconfigError::CurrentContextNotSet)?;
                let found = kubeconfig.contexts.iter().any(|context| context.name == *wanted);
                if found { Ok(()) } else { Err(KubeconfigError::LoadContext(wanted.clone()).into()) }
            }
        }
    }

    /// Builds the configuration of `kube`, with the credentials. May block.
    pub(super) async fn load(&self) -> Result<kube::Config, Error> {
        match self {
            Self::Found => infer_config().await,
            Self::Plain { host, port } => Ok(kube::Config::new(url(host, *port)?)),
            Self::Kubeconfig { file, context } => {
                config_from_kubeconfig(read_kubeconfig(file.as_ref())?, context.clone()).await
            }
        }
    }
}

async fn infer_config() -> Result<kube::Config, Error> {
    if std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() {
        return Ok(kube::Config::incluster()?);
    }
    match read_kubeconfig(None) {
        Ok(kubeconfig) => config_from_kubeconfig(kubeconfig, None).await,
        Err(Error::Kubeconfig(KubeconfigError::FindPath)) => Ok(kube::Config::new(url(PROXY.0, PROXY.1)?)),
        Err(Error::Kubeconfig(KubeconfigError::ReadConfig(error, _)))
            if error.kind() == io::ErrorKind::NotFound =>
        {
            Ok(kube::Config::new(url(PROXY.0, PROXY.1)?))
        }
        Err(error) => Err(error),
    }
}

fn read_kubeconfig(file: Option<&PathBuf>) -> Result<Kubeconfig, Error> {
    Ok(file.map_or_else(Kubeconfig::read, Kubeconfig::read_from)?)
}

async fn config_from_kubeconfig(
    kubeconfig: Kubeconfig,
    context: Option<String>,
) -> Result<kube::Config, Error> {
    let wanted = context.as_ref().or(kubeconfig.current_context.as_ref());
    let context_of = kubeconfig.contexts.iter().find(|named| Some(&named.name) == wanted);
    let cluster = context_of.and_then(|named| Some(&named.context.as_ref()?.cluster));
    let cluster = kubeconfig.clusters.iter().find(|named| Some(&named.name) == cluster);
    let proxy = cluster.and_then(|named| named.cluster.as_ref()?.proxy_url.as_ref());
    if proxy.is_some_and(|proxy| !proxy.is_empty()) {
        return Err(Error::Proxy);
    }
    let options = KubeConfigOptions { context, ..KubeConfigOptions::default() };
    Ok(kube::Config::from_custom_kubeconfig(kubeconfig, &options).await?)
}

fn url(host: &str, port: u16) -> Result<http::Uri, Error> {
    let host = match host.parse::<std::net::Ipv6Addr>() {
        Ok(ip) => format!("[{ip}]"),
        Err(_) => host.to_owned(),
    };
    format!("http://{host}:{port}/")
        .parse::<http::Uri>()
        .ok()
        .filter(|url| url.port_u16() == Some(port) && url.host() == Some(&host) && url.path() == "/")
        .filter(|_| !host.is_empty())
        .ok_or(Error::Host(host))
}

#[cfg(test)]
mod tests {
    use super::{Access, Error, url};

    #[test]
    fn plain_is_where_kubectl_proxy_listens() {
        let Access::Plain { host, port } = Access::plain(None, None) else { panic!("plain") };
        assert_eq!(url(&host, port).unwrap(), "http://localhost:8001/");
        assert_eq!(url("::1", 1).unwrap(), "http://[::1]:1/");
        assert_eq!(url("10.0.0.1", 65535).unwrap(), "http://10.0.0.1:65535/");
        for host in ["", "a b", "a/b", "u@h", "a?b", "http://a"] {
            assert!(matches!(url(host, 80), Err(Error::Host(_))), "{host:?}");
        }
    }

    #[test]
    fn a_kubeconfig_is_read_when_it_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config");
        let named = |context: Option<&str>| Access::Kubeconfig {
            file: Some(file.clone()),
            context: context.map(str::to_owned),
        };
        let error = named(None).check().unwrap_err().to_string();
        assert!(error.contains("failed to read kubeconfig"), "{error}");
        let text = "clusters: [{name: c, cluster: {server: 'https://10.0.0.1:6443'}}]\ncontexts: [{name: x, context: {cluster: c}}]\n";
        std::fs::write(&file, text).unwrap();
        assert!(named(Some("x")).check().is_ok());
        assert!(matches!(named(None).check(), Err(Error::Kubeconfig(_))), "there is no current context");
        let error = named(Some("y")).check().unwrap_err().to_string();
        assert!(error.contains("failed to load current context: y"), "{error}");
    }

    #[tokio::test]
    async fn a_proxy_is_refused() {
        let text = "clusters: [{name: c, cluster: {server: 'https://a', proxy-url: 'http://p'}}, {name: d, cluster: {server: 'https://d'}}]\ncontexts: [{name: x, context: {cluster: c}}, {name: y, context: {cluster: d}}]\ncurrent-context: x\n";
        let kubeconfig = kube::config::Kubeconfig::from_yaml(text).unwrap();
        assert!(matches!(super::config_from_kubeconfig(kubeconfig.clone(), None).await, Err(Error::Proxy)));
        assert!(super::config_from_kubeconfig(kubeconfig, Some("y".into())).await.is_ok());
    }
}
