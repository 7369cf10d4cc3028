//! `signpost delegate`: where a name leads under a router's dtab, and why.

use super::Exit;
use super::run::{control, failed};
use crate::config::{self, Config, Router};
use crate::interpret::show::{Colours, draw, json};
use crate::interpret::{Delegation, Explore, Held, Keeper, Outcome, delegate, settle};
use crate::kubernetes::Clients;
use crate::name::{Dtab, NameTree, Path};
use crate::namer;
use crate::store::{Stored, Stores};
use crate::telemetry::Registry;
use std::io::IsTerminal as _;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::timeout;

/// What `signpost delegate` is asked to do.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  signpost delegate linkerd.yaml /svc/world
  signpost delegate linkerd.yaml /svc/world -d '/host/world => /srv/world-v2'
  signpost delegate linkerd.yaml /http/1.1/GET/world --router outgoing --json

What was looked at to decide is drawn with solid lines; what was not, because something before it decided, is marked.")]
pub(super) struct Arguments {
    /// The configuration file, or - for standard input
    file: String,
    /// The name to resolve, such as /svc/world
    path: String,
    /// Entries of the request's own, as its `l5d-dtab` header would say
    #[arg(short, long, value_name = "DTAB", default_value = "")]
    dtab: String,
    /// The label of the router, where the file has several
    #[arg(short, long, value_name = "LABEL")]
    router: Option<String>,
    /// Print the tree as JSON, in the shape of Linkerd's delegator.json
    #[arg(long)]
    json: bool,
    /// How many seconds to wait for namers
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    wait: u64,
}

/// Draws the delegation of a name.
pub(super) fn run(arguments: &Arguments) -> Exit {
    let config = match config::load(std::path::Path::new(&arguments.file)) {
        Ok(config) => config,
        Err(errors) => return failed(&errors),
    };
    let router = match choose(&config, arguments.router.as_deref()) {
        Ok(router) => router,
        Err(text) => return failed(&text),
    };
    let path: Path = match arguments.path.parse() {
        Ok(path) => path,
        Err(error) => return failed(&format_args!("the path: {error}")),
    };
    let dtab: Dtab = match arguments.dtab.parse() {
        Ok(dtab) => dtab,
        Err(error) => return failed(&format_args!("the dtab: {error}")),
    };
    control(async {
        let wait = Duration::from_secs(arguments.wait);
        let stored = match stored(router, wait).await {
            Ok(stored) => stored,
            Err(text) => return failed(&text),
        };
        let dtab = stored.concat(&router.dtab).concat(&dtab);
        match explain(&config, router, &dtab, &path, wait).await {
            Ok(delegation) => show(&delegation, arguments.json),
            Err(error) => failed(&error),
        }
    })
}

fn choose<'a>(config: &'a Config, label: Option<&str>) -> Result<&'a Router, String> {
    let labels = || config.routers.iter().map(|router| router.label.as_str()).collect::<Vec<_>>().join(", ");
    match (label, config.routers.as_slice()) {
        (None, [only]) => Ok(only),
        (None, _) => Err(format!("the file has several routers: choose one with --router ({})", labels())),
        (Some(label), routers) => routers
            .iter()
            .find(|router| router.label == label)
            .ok_or_else(|| format!("there is no router {label}: the file has {}", labels())),
    }
}

/// Returns what is stored for a router.
async fn stored(router: &Router, wait: Duration) -> Result<Dtab, String> {
    let Some(config) = &router.interpreter.store else { return Ok(Dtab::empty()) };
    let stores = Stores::new(&Clients::default(), &Registry::default(), &Handle::current());
    let store = stores.open(config).await.map_err(|error| error.to_string())?;
    let mut stored = store.stored();
    let known = timeout(wait, stored.wait_for(|stored| *stored != Stored::Pending)).await;
    match known.as_ref().map(|known| known.as_deref()) {
        Ok(Ok(Stored::Dtab(dtab))) => Ok(dtab.clone()),
        Ok(Ok(Stored::Failed(reason))) => Err(format!("the stored dtab: {reason}")),
        _ => Err(format!("the stored dtab ({config}) is not known after {} s", wait.as_secs())),
    }
}

/// Delegates as the router would, and goes on where it would stop.
async fn explain(
    config: &Config,
    router: &Router,
    dtab: &Dtab,
    path: &Path,
    wait: Duration,
) -> Result<Delegation, namer::Error> {
    let interpreters = [&*router.interpreter.transformers];
    let (clients, registry, control) = (Clients::default(), Registry::default(), Handle::current());
    let built = namer::build(&config.namers, interpreters, &clients, &registry, &control)?;
    let (keeper, asker) = Keeper::new(wait);
    tokio::spawn(keeper.run());
    let mut held = Held::new(asker, built.namers_behind(&router.interpreter.transformers));
    match timeout(wait, settle(dtab, path, Explore::All, &mut held)).await {
        Ok(delegation) => Ok(delegation),
        Err(_) => Ok(delegate(dtab, path, &mut held, Explore::All)),
    }
}

fn show(delegation: &Delegation, as_json: bool) -> Exit {
    if as_json {
        match serde_json::to_string_pretty(&json(delegation)) {
            Ok(text) => println!("{text}"),
            Err(error) => return failed(&error),
        }
    } else {
        let colours = if std::io::stdout().is_terminal() { Colours::Ansi } else { Colours::Without };
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = draw(delegation, colours, &mut text);
        print!("{text}");
    }
    match &delegation.outcome {
        Outcome::Bound(NameTree::Neg | NameTree::Fail | NameTree::Empty) | Outcome::Failed(_) => {
            Exit::Nowhere
        }
        Outcome::Pending => Exit::Nowhere,
        Outcome::Bound(_) => Exit::Done,
    }
}
