//! The router: names are files, of which one takes all names below `/any`, and services of Kubernetes below `/pods`.

use super::child::{Error, commands, on_one_thread};
use signpost::app::{App, Threads};
use std::fs;
use std::net::SocketAddr;

/// Serves with one worker, and prints where: a listener that trusts nobody, one that trusts everybody here, and the admin
/// server. `world` is the customer's service.
pub(crate) fn run(endpoint: &str, api: &str) -> Result<(), Error> {
    let _commands = commands();
    let names = tempfile::tempdir()?;
    let [address, api]: [SocketAddr; 2] = [endpoint.parse()?, api.parse()?];
    for name in ["world", "default"] {
        fs::write(names.path().join(name), format!("{} {}\n", address.ip(), address.port()))?;
    }
    let config = format!(
        "
admin: {{ port: 0 }}
namers:
- kind: io.l5d.fs
  rootDir: {}
- kind: io.l5d.k8s
  host: {}
  port: {}
routers:
- protocol: http
  dtab: |
    /files => /#/io.l5d.fs;
    /any => /#/io.l5d.fs/default;
    /svc => /files;
    /svc/pods => /#/io.l5d.k8s/default/http;
    /svc/any => /any;
  identifier: {{ kind: io.l5d.path, segments: 2 }}
  servers:
  - port: 0
    ip: 127.0.0.1
    trust: nobody
  - port: 0
    ip: 127.0.0.1
",
        names.path().display(),
        api.ip(),
        api.port(),
    );
    let config = signpost::config::read("hostile", &config).map_err(|errors| errors.to_string())?;
    on_one_thread(async {
        let running = App::start(config, Threads::Workers(1)).await?;
        for listener in running.listeners() {
            println!("{}", listener.address);
        }
        println!("{}", running.admin());
        std::future::pending().await
    })
}
