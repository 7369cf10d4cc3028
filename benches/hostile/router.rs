//! The router: the real binary, on a core of its own.

use super::process::Error;
use super::started::Started;
use std::cell::RefCell;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// Where the endpoints and the API server are.
#[derive(Clone, Copy)]
pub(crate) struct Upstreams {
    pub(crate) old: SocketAddr,
    pub(crate) new: SocketAddr,
    pub(crate) silent: SocketAddr,
    pub(crate) api: SocketAddr,
}

/// A router with one worker. Names are files, of which one takes all names below `/any`, services of Kubernetes below
/// `/pods`, and ports of this machine below `/inet`.
pub(crate) struct Router {
    process: Started,
    names: TempDir,
    /// The listener that trusts no caller.
    pub(crate) listener: SocketAddr,
    /// The listener that trusts every caller.
    pub(crate) trusting: SocketAddr,
    pub(crate) admin: SocketAddr,
}

impl Router {
    /// Starts a router on a core, if there is one to choose.
    pub(crate) fn start(upstreams: Upstreams, core: Option<&str>) -> Result<Self, Error> {
        let names = tempfile::tempdir()?;
        let folder = names.path().join("names");
        fs::create_dir(&folder)?;
        for name in ["world", "default", "moved"] {
            write_name(&folder, name, upstreams.old)?;
        }
        write_name(&folder, "silent", upstreams.silent)?;
        let file = names.path().join("hostile.yaml");
        fs::write(&file, config(&folder, upstreams.api))?;
        let binary = env!("CARGO_BIN_EXE_signpost");
        let mut command = match core {
            Some(core) => {
                let mut command = Command::new("taskset");
                command.args(["-c", core, binary]);
                command
            }
            None => Command::new(binary),
        };
        command.arg("run").arg(file).env("SIGNPOST_LOG", "info").stderr(Stdio::piped());
        let listeners = RefCell::new(Vec::new());
        // Its listeners are named before its admin server.
        let serves = |line: &str| {
            if line.contains(" serving ") {
                let address = line.rsplit('=').next().and_then(|at| at.trim().parse::<SocketAddr>().ok());
                listeners.borrow_mut().extend(address);
            }
            line.contains(" admin address=")
        };
        let process = Started::start(command, |process| process.stderr.take(), serves)?;
        let admin = process.address;
        let [listener, trusting] = listeners.into_inner()[..] else {
            return Err("a listener is missing".into());
        };
        Ok(Self { process, names, listener, trusting, admin })
    }

    /// Moves the name `moved` to another endpoint.
    pub(crate) fn move_name(&self, to: SocketAddr) -> Result<(), Error> {
        write_name(&self.names.path().join("names"), "moved", to)
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }
}

/// Writes the file of a name, whole or not at all.
fn write_name(folder: &Path, name: &str, address: SocketAddr) -> Result<(), Error> {
    let unfinished = folder.with_file_name(name);
    fs::write(&unfinished, format!("{} {}\n", address.ip(), address.port()))?;
    Ok(fs::rename(unfinished, folder.join(name))?)
}

fn config(names: &Path, api: SocketAddr) -> String {
    format!(
        "
admin: {{ port: 0 }}
workers: 1
namers:
- kind: io.l5d.fs
  rootDir: {}
- kind: io.l5d.k8s
  host: {}
  port: {}
routers:
- protocol: h2
  dtab: |
    /files => /#/io.l5d.fs;
    /any => /#/io.l5d.fs/default;
    /svc => /files;
    /svc/pods => /#/io.l5d.k8s/default/http;
    /svc/inet => /$/inet/127.0.0.1;
    /svc/any => /any;
  identifier: {{ kind: io.l5d.path, segments: 2 }}
  servers:
  - {{ port: 0, ip: 0.0.0.0, trust: nobody }}
  - {{ port: 0, ip: 127.0.0.1, trust: everybody }}
",
        names.display(),
        api.ip(),
        api.port(),
    )
}
