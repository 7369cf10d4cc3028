//! `signpost delegate`: draws where a name leads under a router's dtab, and why.

use super::Exit;
use super::run::{fail, refuse, run_control};
use crate::config::{self, Config, Router};
use crate::interpret::render::{Colours, draw, json};
use crate::interpret::{
    AnswerTable, Delegation, DelegationOutcome, Explore, NamerRegistry, delegate, settle,
};
use crate::kubernetes::ApiClients;
use crate::name::{Dtab, NameTree, Path};
use crate::namer;
use crate::store::{DtabStores, StoredDtab};
use crate::telemetry::Registry;
use std::io::IsTerminal as _;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::timeout;

/// The command line of `signpost delegate`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  signpost delegate linkerd.yaml /svc/world
  signpost delegate linkerd.yaml /svc/world -d '/host/world => /srv/world-v2'
  signpost delegate linkerd.yaml /http/1.1/GET/world --router outgoing --json

Branches that the decision depends on are drawn with solid lines; those that an earlier one made needless are marked.")]
pub(super) struct Arguments {
    /// The configuration file, or - for standard input
    file: String,
    /// The name to resolve, such as /svc/world
    path: String,
    /// Overrides, as the request's `l5d-dtab` header would hold them
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
        Err(errors) => return refuse(&errors),
    };
    let router = match choose_router(&config, arguments.router.as_deref()) {
        Ok(router) => router,
        Err(text) => return fail(&text),
    };
    let path: Path = match arguments.path.parse() {
        Ok(path) => path,
        Err(error) => return fail(&format_args!("the path: {error}")),
    };
    let dtab: Dtab = match arguments.dtab.parse() {
        Ok(dtab) => dtab,
        Err(error) => return fail(&format_args!("the dtab: {error}")),
    };
    run_control(async {
        let wait = Duration::from_secs(arguments.wait);
        let stored = match stored(router, wait).await {
            Ok(stored) => stored,
            Err(text) => return fail(&text),
        };
        let dtab = stored.concat(&router.dtab).concat(&dtab);
        match explain(&config, router, &dtab, &path, wait).await {
            Ok(delegation) => show(&delegation, arguments.json),
            Err(error) => fail(&error),
        }
    })
}

/// Returns the router of a label; without one, the only router there is.
fn choose_router<'a>(config: &'a Config, label: Option<&str>) -> Result<&'a Router, String> {
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

/// Returns the stored dtab of a router, once it is known.
async fn stored(router: &Router, wait: Duration) -> Result<Dtab, String> {
    let Some(config) = &router.interpreter.store else { return Ok(Dtab::empty()) };
    let stores = DtabStores::new(&ApiClients::default(), &Registry::default(), &Handle::current());
    let store = stores.open(config).await.map_err(|error| error.to_string())?;
    let mut stored = store.stored();
    let known = timeout(wait, stored.wait_for(|stored| *stored != StoredDtab::Pending)).await;
    match known.as_ref().map(|known| known.as_deref()) {
        Ok(Ok(StoredDtab::Dtab(dtab))) => Ok(dtab.clone()),
        Ok(Ok(StoredDtab::Failed(reason))) => Err(format!("the stored dtab: {reason}")),
        _ => Err(format!("the stored dtab ({config}) is not known after {} s", wait.as_secs())),
    }
}

/// Delegates as the router would, and explores the branches that the router would not.
async fn explain(
    config: &Config,
    router: &Router,
    dtab: &Dtab,
    path: &Path,
    wait: Duration,
) -> Result<Delegation, namer::Error> {
    let interpreters = [&*router.interpreter.transformers];
    let (clients, registry, control) = (ApiClients::default(), Registry::default(), Handle::current());
    let built = namer::build(&config.namers, interpreters, &clients, &registry, &control)?;
    let (namer_registry, namer_handle) = NamerRegistry::new(wait);
    tokio::spawn(namer_registry.run());
    let mut answers = AnswerTable::new(namer_handle, built.namers_behind(&router.interpreter.transformers));
    match timeout(wait, settle(dtab, path, Explore::All, &mut answers)).await {
        Ok(delegation) => Ok(delegation),
        Err(_) => Ok(delegate(dtab, path, &mut answers, Explore::All)),
    }
}

/// Prints a delegation, and returns whether it leads anywhere.
fn show(delegation: &Delegation, as_json: bool) -> Exit {
    if as_json {
        match serde_json::to_string_pretty(&json(delegation)) {
            Ok(text) => println!("{text}"),
            Err(error) => return fail(&error),
        }
    } else {
        let colours = if std::io::stdout().is_terminal() { Colours::Ansi } else { Colours::Without };
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = draw(delegation, colours, &mut text);
        print!("{text}");
    }
    match &delegation.outcome {
        DelegationOutcome::Bound(NameTree::Neg | NameTree::Fail | NameTree::Empty)
        | DelegationOutcome::Failed(_) => Exit::Nowhere,
        DelegationOutcome::Pending => Exit::Nowhere,
        DelegationOutcome::Bound(_) => Exit::Done,
    }
}
