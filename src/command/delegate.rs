//! `signpost delegate`: draws where a name leads under a router's dtab, and why.

use super::Exit;
use super::run::{fail, refuse, run_control};
use crate::config::{self, Config, Router};
use crate::interpret::render::{Colours, draw_with_origins, json};
use crate::interpret::{
    AnswerTable, Delegation, DelegationOutcome, Explore, NameQuery, NamerRegistry, settle_query,
};
use crate::kubernetes::ApiClients;
use crate::name::{Dtab, NameTree, Path};
use crate::namer;
use crate::sandbox::{Overlay, SandboxTable, Sandboxes, TableEntry, Unknown};
use crate::store::{DtabStores, StoredDtab};
use crate::telemetry::Registry;
use jiff::Timestamp;
use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::timeout;

/// The command line of `signpost delegate`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  signpost delegate linkerd.yaml /svc/world
  signpost delegate linkerd.yaml /svc/world -d '/host/world => /srv/world-v2'
  signpost delegate linkerd.yaml /svc/world --sandbox anna-world
  signpost delegate linkerd.yaml /http/1.1/GET/world --router outgoing --json

Branches that the decision depends on are drawn with solid lines; those that an earlier one made needless are marked. An
entry of a sandbox has its name: [4, sandbox anna-world: /host/world => /srv/world-anna].")]
pub(super) struct Arguments {
    /// The configuration file, or - for standard input
    file: String,
    /// The name to resolve, such as /svc/world
    path: String,
    /// Overrides, as the request's `l5d-dtab` header would hold them
    #[arg(short, long, value_name = "DTAB", default_value = "")]
    dtab: String,
    /// The keys of sandboxes and groups of the configuration, as a request would carry them: a+b
    #[arg(short, long, value_name = "KEYS", default_value = "")]
    sandbox: String,
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
        let overlay = match overlay(&config, &arguments.sandbox, wait).await {
            Ok(overlay) => overlay,
            Err(text) => return fail(&text),
        };
        let base = stored.concat(&router.dtab);
        let origins = overlay.origins(base.len());
        let query = NameQuery {
            base: &base.concat(overlay.dtab()),
            overrides: &dtab,
            path: &path,
            max_added_lookups: router.max_override_lookups,
        };
        match explain(&config, router, &query, wait).await {
            Ok(delegation) => show(&delegation, &origins, arguments.json),
            Err(error) => fail(&error),
        }
    })
}

/// Returns the sandboxes that these keys select, once they are known.
async fn overlay(config: &Config, keys: &str, wait: Duration) -> Result<Overlay, String> {
    if keys.is_empty() {
        return Ok(Overlay::default());
    }
    let control = Handle::current();
    let none = Sandboxes::new(&ApiClients::default(), &Registry::default(), &control);
    let opened = none.reopen(&config.sandboxes.objects, config.namespace_roots()).await;
    let opened = opened.map_err(|error| error.to_string())?;
    let mut table = opened.table();
    // Without the list of some store, the keys that are known are as good.
    let _ = timeout(wait, table.wait_for(|table| table.unknown() != Some(&Unknown::Pending))).await;
    let table = Arc::clone(&table.borrow());
    let overlay = Overlay::new(&table, keys, Timestamp::now());
    if let Some(unknown) = overlay.unknown() {
        let reason = match overlay.unsettled() {
            None => known_keys(&table),
            Some(Unknown::Pending) => format!("not all are known after {} s", wait.as_secs()),
            Some(Unknown::Failed(reason)) => format!("not all are known: {reason}"),
        };
        return Err(format!("no sandbox has the key {unknown}, or it has ended ({reason})"));
    }
    if let Some(reason) = overlay.refused() {
        return Err(reason.to_owned());
    }
    if let Some(conflicts) = overlay.conflicts() {
        eprintln!(
            "signpost: the sandboxes have different entries for the same names, and the later one wins: {conflicts}"
        );
    }
    Ok(overlay)
}

/// Returns the keys of a table in words, for an error.
fn known_keys(table: &SandboxTable) -> String {
    const SHOWN: usize = 20;
    let mut keys: Vec<&str> = table.entries().map(TableEntry::key).collect();
    keys.sort_unstable();
    match (keys.len(), keys.get(..SHOWN)) {
        (0, _) => "the configuration has none".to_owned(),
        (count, Some(shown)) if count > SHOWN => {
            format!("there are {}, and {} more", shown.join(", "), count - SHOWN)
        }
        _ => format!("there are {}", keys.join(", ")),
    }
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
    query: &NameQuery<'_>,
    wait: Duration,
) -> Result<Delegation, namer::Error> {
    let interpreters = [&*router.interpreter.transformers];
    let (clients, registry, control) = (ApiClients::default(), Registry::default(), Handle::current());
    let built = namer::build(&config.namers, interpreters, &clients, &registry, &control)?;
    let (namer_registry, namer_handle) = NamerRegistry::new(wait);
    tokio::spawn(namer_registry.run());
    let mut answers = AnswerTable::new(namer_handle, built.namers_behind(&router.interpreter.transformers));
    match timeout(wait, settle_query(query, Explore::All, &mut answers)).await {
        Ok(delegation) => Ok(delegation),
        Err(_) => Ok(query.delegate(&mut answers, Explore::All)),
    }
}

/// Prints a delegation, and returns whether it leads anywhere.
fn show(delegation: &Delegation, origins: &[Option<String>], as_json: bool) -> Exit {
    if as_json {
        match serde_json::to_string_pretty(&json(delegation).with_origins(origins)) {
            Ok(text) => println!("{text}"),
            Err(error) => return fail(&error),
        }
    } else {
        let colours = if std::io::stdout().is_terminal() { Colours::Ansi } else { Colours::Without };
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = draw_with_origins(delegation, origins, colours, &mut text);
        print!("{text}");
    }
    match &delegation.outcome {
        DelegationOutcome::Bound(NameTree::Neg | NameTree::Fail | NameTree::Empty)
        | DelegationOutcome::Failed(_) => Exit::Nowhere,
        DelegationOutcome::Pending => Exit::Nowhere,
        DelegationOutcome::Bound(_) => Exit::Done,
    }
}
