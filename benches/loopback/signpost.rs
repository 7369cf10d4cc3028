//! The router under test, with one worker: names are files, two rewrites lead to them.

use super::child::{Error, commands, on_one_thread};
use signpost::app::{App, Threads};
use std::net::SocketAddr;
use std::{fs, path::Path};

/// Serves on a port of its own, and prints where.
pub(crate) fn run(stable: &str, staged: &str) -> Result<(), Error> {
    let _commands = commands();
    let names = tempfile::tempdir()?;
    write_name(names.path(), "world-v1", stable)?;
    write_name(names.path(), "world-v2", staged)?;
    let config = format!(
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
",
        names.path().display()
    );
    let config = signpost::config::read("loopback", &config).map_err(|errors| errors.to_string())?;
    on_one_thread(async {
        let running = App::start(config, Threads::Workers(1)).await?;
        println!("{}", running.listeners().first().ok_or("there is no listener")?.address);
        std::future::pending().await
    })
}

/// Writes the file by which a service is found.
fn write_name(names: &Path, name: &str, address: &str) -> Result<(), Error> {
    let address: SocketAddr = address.parse()?;
    fs::write(names.join(name), format!("{} {}\n", address.ip(), address.port()))?;
    Ok(())
}
