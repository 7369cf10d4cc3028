//! The router: names are files, and one of them takes all names that are no other file.

use super::child::{Error, commands, on_one_thread};
use signpost::app::{App, Threads};
use std::fs;
use std::net::SocketAddr;

/// Serves with one worker, and prints where: a listener that trusts nobody, one that trusts everybody here, and the admin
/// server. `world` is the customer's service.
pub(crate) fn run(endpoint: &str) -> Result<(), Error> {
    let _commands = commands();
    let names = tempfile::tempdir()?;
    let address: SocketAddr = endpoint.parse()?;
    for name in ["world", "default"] {
        fs::write(names.path().join(name), format!("{} {}\n", address.ip(), address.port()))?;
    }
    let config = format!(
        "
admin: {{ port: 0 }}
namers:
- kind: io.l5d.fs
  rootDir: {}
routers:
- protocol: http
  dtab: |
    /files => /#/io.l5d.fs;
    /any => /#/io.l5d.fs/default;
    /svc => /files;
    /svc/any => /any;
  identifier: {{ kind: io.l5d.path, segments: 2 }}
  servers:
  - port: 0
    ip: 127.0.0.1
    trust: nobody
  - port: 0
    ip: 127.0.0.1
",
        names.path().display()
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
