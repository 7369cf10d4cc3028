//! The router under test: names are files, three rewrites lead to them.

use super::child::{Error, commands, on_one_thread};
use signpost::app::{App, Threads};
use std::net::SocketAddr;
use std::{fs, path::Path};

/// Serves with one worker, the router of HTTP/1 and that of HTTP/2 each on a port of its own, and prints where.
pub(crate) fn run(upstreams: [&str; 3]) -> Result<(), Error> {
    let _commands = commands();
    let names = tempfile::tempdir()?;
    let config = config(names.path(), upstreams)?;
    let config = signpost::config::read("loopback", &config).map_err(|errors| errors.to_string())?;
    on_one_thread(async {
        let running = App::start(config, Threads::Workers(1)).await?;
        for listener in running.listeners() {
            println!("{}", listener.address);
        }
        std::future::pending().await
    })
}

/// The configuration, over files of names that are written into a folder: where the upstream's stable version is over
/// HTTP/1, its staged one, and the stable one over HTTP/2.
pub(crate) fn config(names: &Path, [stable, staged, http2]: [&str; 3]) -> Result<String, Error> {
    for (name, address) in [("world-v1", stable), ("world-v2", staged), ("world-h2", http2)] {
        let address: SocketAddr = address.parse()?;
        fs::write(names.join(name), format!("{} {}\n", address.ip(), address.port()))?;
    }
    Ok(format!(
        "
admin: {{ port: 0 }}
namers:
- kind: io.l5d.fs
  rootDir: {}
routers:
- protocol: http
  dtab: /srv => /#/io.l5d.fs; /host => /srv; /host/world => /srv/world-v1; /svc => /host
  servers:
  - port: 0
    ip: 127.0.0.1
- protocol: h2
  dtab: /srv => /#/io.l5d.fs; /host => /srv; /host/world => /srv/world-h2; /svc => /host
  servers:
  - port: 0
    ip: 127.0.0.1
",
        names.display()
    ))
}
