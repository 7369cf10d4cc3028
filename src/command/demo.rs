//! `signpost demo`: runs the staging example, and prints curl commands to try.

mod services;

use self::services::{DemoService, RouterAddress};
use super::Exit;
use super::run::{Signals, StopMode, fail, log_addresses, run_control, shut_down, stop_without_worker};
use crate::app::{self, App, RunningApp, Threads};
use crate::config::Config;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::{fs, io};
use tempfile::TempDir;

/// The configuration of the demo is an example of its own.
const EXAMPLE: &str = include_str!("../../examples/staging.yaml");

/// The command line of `signpost demo`.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:
  signpost demo
  signpost demo --ingress-port 8140 --public-port 8141 --node-port 8142 --admin-port 8990
  signpost demo hello --listen 0.0.0.0:8080 --router 10.0.0.7:4142
  signpost demo world --listen 0.0.0.0:8080 --says earth

A port of 0 lets the system choose one."
)]
pub(super) struct Arguments {
    #[command(subcommand)]
    service: Option<SingleService>,
    /// The port of the ingress router whose callers' overrides are followed
    #[arg(long, value_name = "PORT", default_value_t = 4140)]
    ingress_port: u16,
    /// The port of the ingress router whose callers' overrides are dropped
    #[arg(long, value_name = "PORT", default_value_t = 4141)]
    public_port: u16,
    /// The port of the per-node router, between services
    #[arg(long, value_name = "PORT", default_value_t = 4142)]
    node_port: u16,
    /// The port of the admin server
    #[arg(long, value_name = "PORT", default_value_t = 9990)]
    admin_port: u16,
}

/// One of the services alone, for a cluster.
#[derive(Debug, clap::Subcommand)]
enum SingleService {
    /// Run the service `hello` alone, which calls `world` through a router
    Hello {
        /// The address on which it listens
        #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:8080")]
        listen: SocketAddr,
        /// The router through which it calls `world`
        #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:4142")]
        router: String,
    },
    /// Run the service `world` alone
    World {
        /// The address on which it listens
        #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:8080")]
        listen: SocketAddr,
        /// The name that it answers with
        #[arg(long, value_name = "TEXT", default_value = "world")]
        says: String,
    },
}

impl SingleService {
    async fn start(&self) -> io::Result<DemoService> {
        match self {
            Self::Hello { listen, router } => {
                DemoService::hello(*listen, RouterAddress::new(router.clone().into())).await
            }
            Self::World { listen, says } => DemoService::world(*listen, says).await,
        }
    }
}

/// The demo while it runs.
struct Demo {
    running: RunningApp,
    _services: [DemoService; 3],
    _names: TempDir,
}

/// A failed start of the demo.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("the demo's services or its folder of names cannot be made: {0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Start(#[from] app::Error),
    #[error("{0}\nOther ports are chosen with --ingress-port, --public-port, --node-port and --admin-port.")]
    PortTaken(app::Error),
    #[error("the demo's configuration is wrong: {0}")]
    Config(String),
}

/// Runs the demo until it is told to stop.
pub(super) fn run(arguments: &Arguments) -> Exit {
    run_control(async {
        let mut signals = match Signals::new() {
            Ok(signals) => signals,
            Err(error) => return fail(&error),
        };
        if let Some(service) = &arguments.service {
            return match service.start().await {
                Ok(service) => {
                    println!("listening on {}", service.address);
                    signals.stop().await;
                    Exit::Done
                }
                Err(error) => {
                    fail(&format!("the service cannot listen: {error}. Choose another place with --listen"))
                }
            };
        }
        match Demo::start(arguments).await {
            Ok(demo) => {
                println!("{}", demo.story());
                log_addresses(&demo.running);
                let (asked, worker_ended) = (demo.running.stop_asked(), demo.running.worker_ended());
                tokio::select! {
                    _ = signals.stop() => {}
                    () = asked => {}
                    () = worker_ended => return stop_without_worker(demo.running, signals).await,
                }
                // Only the person at the terminal sends requests to the demo.
                shut_down(demo.running, StopMode::Now, signals).await
            }
            Err(error) => fail(&error),
        }
    })
}

impl Demo {
    async fn start(arguments: &Arguments) -> Result<Self, Error> {
        let node = RouterAddress::default();
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let services = [
            DemoService::hello(any, RouterAddress::clone(&node)).await?,
            DemoService::world(any, "world").await?,
            DemoService::world(any, "earth").await?,
        ];
        let names = TempDir::with_prefix("signpost-demo-")?;
        for (service, name) in services.iter().zip(["hello", "world-v1", "world-v2"]) {
            write_name(names.path(), name, service.address)?;
        }
        let config = config(arguments, names.path())?;
        let threads = Threads::configured(&config);
        let running = App::start(config, threads).await.map_err(port_taken)?;
        // The third listener of the example is the per-node router's.
        if let Some(listener) = running.listeners().get(2) {
            node.get_or_init(|| listener.address.to_string());
        }
        Ok(Self { running, _services: services, _names: names })
    }

    /// Returns the text that the demo prints: its parts, and the commands to try.
    fn story(&self) -> String {
        let port = |at: usize| self.running.listeners().get(at).map_or(0, |listener| listener.address.port());
        let (ingress, public, node) = (port(0), port(1), port(2));
        let admin = self.running.admin().port();
        let [hello, world_v1, world_v2] = &self._services;
        format!(
            "\
An ingress router (localhost:{ingress}), a per-node router (localhost:{node}), and three services:
hello ({}), which calls world through the per-node router; world-v1 ({}); world-v2 ({}).

Every request gets world-v1:
  curl -H 'Host: www.hello.world' localhost:{ingress}

One request asks for world-v2, two hops away:
  curl -H 'Host: www.hello.world' -H 'l5d-dtab: /host/world => /srv/world-v2;' localhost:{ingress}

So does one whose callers pass on baggage, as OpenTelemetry does, and nothing of this router's:
  curl -H 'Host: www.hello.world' -H 'baggage: dtab=%2Fhost%2Fworld%3D%3E%2Fsrv%2Fworld-v2' localhost:{ingress}

And one that has the key of a sandbox in its baggage (pr-7 is in the demo's configuration):
  curl -H 'Host: www.hello.world' -H 'baggage: sd-routing-key=pr-7' localhost:{ingress}

A typo is pointed at:
  curl -H 'Host: www.hello.world' -H 'l5d-dtab: /host/world = /srv/world-v2;' localhost:{ingress}

The same override from an untrusted caller is ignored (this listener has `trust: nobody`):
  curl -H 'Host: www.hello.world' -H 'l5d-dtab: /host/world => /srv/world-v2;' localhost:{public}

Writes go nowhere, or to a staging copy, while reads go on as before:
  curl -X POST -H 'Host: www.hello.world' -H 'l5d-dtab: /http/1.1/POST/world => /$/io.buoyant.http.status/204;' localhost:{ingress}
  curl -X POST -H 'Host: www.hello.world' -H 'l5d-dtab: /http/1.1/POST/world => /srv/world-v2;' localhost:{ingress}
  curl -H 'Host: www.hello.world' -H 'l5d-dtab: /http/1.1/POST/world => /srv/world-v2;' localhost:{ingress}

An entry that leads nowhere changes nothing, and the response says so (l5d-dtab-unbound; hello hands it back):
  curl -i -H 'Host: www.hello.world' -H 'l5d-dtab: /host/world => /srv/world-v3;' localhost:{ingress}

A page shows where a name leads, and which entry decides: http://localhost:{admin}/delegator

Names are files of one address a line in {}: edit one and try again.
Ctrl-C ends the demo.",
            hello.address,
            world_v1.address,
            world_v2.address,
            self._names.path().display(),
        )
    }
}

/// Writes the file that names the address of a service.
fn write_name(folder: &Path, name: &str, address: SocketAddr) -> io::Result<()> {
    fs::write(folder.join(name), format!("{} {}\n", address.ip(), address.port()))
}

/// Returns the example's configuration with these ports and this folder of names.
fn config(arguments: &Arguments, names: &Path) -> Result<Config, Error> {
    let mut config =
        crate::config::read("demo", &EXAMPLE.replace("examples/names", &names.display().to_string()))
            .map_err(|errors| Error::Config(errors.to_string()))?;
    let ports = [arguments.ingress_port, arguments.public_port, arguments.node_port];
    let servers = config.routers.iter_mut().flat_map(|router| &mut router.servers);
    for (server, port) in servers.zip(ports) {
        server.port = port;
    }
    config.admin.port = arguments.admin_port;
    Ok(config)
}

/// Adds the options for other ports to an error of a port that is in use.
fn port_taken(error: app::Error) -> Error {
    match &error {
        app::Error::Bind { source, .. } if source.kind() == io::ErrorKind::AddrInUse => {
            Error::PortTaken(error)
        }
        _ => Error::Start(error),
    }
}
