//! `signpost sandbox`: makes, shows and removes sandboxes, and prints the request that selects one.

mod cluster;
mod create;
mod file;
mod request;
mod stored;
mod yaml;

use self::cluster::ClusterStore;
use self::file::ItemFile;
use self::stored::{ItemState, StoredItem, table};
use super::Exit;
use super::run::{fail, refuse, run_control};
use crate::config::{self, SandboxesConfig};
use crate::sandbox::SandboxRules;
use clap::{Args, Subcommand};
use jiff::Timestamp;
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How often `wait` looks again.
const POLL: Duration = Duration::from_millis(250);

/// The command line of `signpost sandbox`.
#[derive(Debug, Args)]
#[command(
    arg_required_else_help = true,
    after_help = "Examples:
  signpost sandbox create --file sandboxes.yaml --name anna-world --entry '/host/world => /srv/world-anna'
  signpost sandbox create --namespace shop --name pr-17 --entry '/host/world => /#/io.l5d.k8s/shop/http/world-pr-17'
  signpost sandbox wait --namespace shop pr-17 --timeout 120
  signpost sandbox curl --host world pr-17 http://localhost:4140/
  signpost sandbox delete --namespace shop pr-17 --ignore-not-found

With --file, sandboxes are items of a file that the router reads; otherwise objects of Kubernetes, through the kubeconfig.

Exit codes:
  0  done
  1  failed: something that was written is wrong, or a file or the API server cannot be read or written
  2  the command line cannot be read
  3  no such sandbox, or it was not ready in time"
)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: SandboxCommand,
}

#[derive(Debug, Subcommand)]
enum SandboxCommand {
    /// Make a sandbox, or change the one with this name; the same again changes nothing
    Create(create::Arguments),
    /// Show all sandboxes and groups
    List(ListArguments),
    /// Show one sandbox or group
    Get(GetArguments),
    /// Wait until a sandbox is ready, and say the reason when it is not
    Wait(WaitArguments),
    /// Remove a sandbox or a group
    Delete(DeleteArguments),
    /// Print an URL that selects a sandbox by the query parameter
    Url(request::UrlArguments),
    /// Print a curl command that selects a sandbox
    Curl(request::CurlArguments),
}

/// The store of sandboxes: a file, or a namespace of Kubernetes.
#[derive(Debug, Args)]
struct StoreArguments {
    /// The file that `sandboxes.file` of the router names, which `create` makes; without it, sandboxes are objects of Kubernetes
    #[arg(long, value_name = "FILE", conflicts_with_all = ["kubeconfig", "context", "namespace"])]
    file: Option<PathBuf>,
    /// With --file: the configuration of the router, for its limits on sandboxes (`sandboxes.maxTtl`, `sandboxes.overrides`)
    #[arg(long, value_name = "FILE", requires = "file")]
    config: Option<PathBuf>,
    /// The kubeconfig; that of `kubectl` unless given
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The context in the kubeconfig; its current one unless given
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// The namespace; that of the context unless given
    #[arg(short, long, value_name = "NAME")]
    namespace: Option<String>,
}

/// An open store.
enum Store {
    File(ItemFile),
    Cluster(ClusterStore),
}

#[derive(Debug, Args)]
struct ListArguments {
    #[command(flatten)]
    store: StoreArguments,
    /// Print a JSON list
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct GetArguments {
    /// The name of the sandbox or group
    name: String,
    #[command(flatten)]
    store: StoreArguments,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "A sandbox of a file is ready when the file has no error and the sandbox has not ended."
)]
struct WaitArguments {
    /// The name of the sandbox or group
    name: String,
    #[command(flatten)]
    store: StoreArguments,
    /// How many seconds to wait
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    timeout: u64,
}

#[derive(Debug, Args)]
struct DeleteArguments {
    /// The name of the sandbox or group
    name: String,
    #[command(flatten)]
    store: StoreArguments,
    /// Succeed also when there is no such sandbox
    #[arg(long)]
    ignore_not_found: bool,
}

/// The reason why a subcommand does not do what it was asked to.
enum CommandError {
    /// Something is wrong: exit code 1.
    Wrong(String),
    /// There is no such sandbox, or it is not ready: exit code 3.
    NotReady(String),
}

impl From<String> for CommandError {
    fn from(text: String) -> Self {
        Self::Wrong(text)
    }
}

/// Runs the subcommand.
pub(super) fn run(arguments: &Arguments) -> Exit {
    run_control(async {
        finish(match &arguments.command {
            SandboxCommand::Create(arguments) => create::run(arguments).await,
            SandboxCommand::List(arguments) => list(arguments).await,
            SandboxCommand::Get(arguments) => get(arguments).await,
            SandboxCommand::Wait(arguments) => wait(arguments).await,
            SandboxCommand::Delete(arguments) => delete(arguments).await,
            SandboxCommand::Url(arguments) => request::url(arguments),
            SandboxCommand::Curl(arguments) => request::curl(arguments),
        })
    })
}

fn finish(done: Result<(), CommandError>) -> Exit {
    match done {
        Ok(()) => Exit::Done,
        // Errors of a file have their place, and stand as they are.
        Err(CommandError::Wrong(text)) if text.contains('\n') => refuse(&text),
        Err(CommandError::Wrong(text)) => fail(&text),
        Err(CommandError::NotReady(text)) => {
            fail(&text);
            Exit::NotReady
        }
    }
}

impl StoreArguments {
    async fn open(&self) -> Result<Store, CommandError> {
        let Some(file) = &self.file else {
            let Self { kubeconfig, context, namespace, .. } = self;
            let cluster = ClusterStore::open(kubeconfig.clone(), context.clone(), namespace.clone()).await?;
            return Ok(Store::Cluster(cluster));
        };
        let rules = match &self.config {
            Some(file) => {
                let config = config::load(file).map_err(|errors| CommandError::Wrong(errors.to_string()))?;
                config.sandbox_rules()
            }
            None => SandboxRules::default(),
        };
        Ok(Store::File(ItemFile::new(file, rules)))
    }
}

impl Store {
    async fn items(&self) -> Result<Vec<StoredItem>, CommandError> {
        Ok(match self {
            Self::File(file) => file.items()?,
            Self::Cluster(cluster) => cluster.items().await?,
        })
    }

    /// Returns the item of this name.
    ///
    /// # Errors
    ///
    /// There is none, or the store cannot be read.
    async fn get(&self, name: &str) -> Result<StoredItem, CommandError> {
        let found = match self {
            Self::File(file) => file.items()?.into_iter().find(|stored| stored.item.name() == name),
            Self::Cluster(cluster) => cluster.find(name).await?.map(|object| object.stored(Timestamp::now())),
        };
        found.ok_or_else(|| self.missing(name))
    }

    /// Removes the item of this name; returns whether it was there.
    async fn delete(&self, name: &str) -> Result<bool, CommandError> {
        Ok(match self {
            Self::File(file) => file.delete(name)?,
            Self::Cluster(cluster) => cluster.delete(name).await?,
        })
    }

    /// Returns the error that there is no such item.
    fn missing(&self, name: &str) -> CommandError {
        let place = match self {
            Self::File(file) => file.place(),
            Self::Cluster(cluster) => cluster.place(),
        };
        CommandError::NotReady(format!("{place}: there is no sandbox {name}"))
    }
}

/// Reads `sandboxes` of a configuration; the defaults without one.
fn sandboxes_config(file: Option<&PathBuf>) -> Result<SandboxesConfig, CommandError> {
    let Some(file) = file else { return Ok(SandboxesConfig::default()) };
    let config = config::load(file).map_err(|errors| CommandError::Wrong(errors.to_string()))?;
    Ok(config.sandboxes)
}

async fn list(arguments: &ListArguments) -> Result<(), CommandError> {
    let items = arguments.store.open().await?.items().await?;
    if arguments.json {
        return print_json(&items);
    }
    show(&items);
    Ok(())
}

async fn get(arguments: &GetArguments) -> Result<(), CommandError> {
    let stored = arguments.store.open().await?.get(&arguments.name).await?;
    if arguments.json {
        return print_json(&stored);
    }
    show(&[stored]);
    Ok(())
}

/// Prints items as a table, and below it the reasons why some are of no use.
fn show(items: &[StoredItem]) {
    print!("{}", table(items));
    for stored in items.iter().filter(|stored| stored.state != ItemState::Ended) {
        if let Some(reason) = stored.state.reason() {
            println!("{}: {reason}", stored.item.name());
        }
    }
}

fn print_json<T: serde::Serialize>(value: &T) -> Result<(), CommandError> {
    let text = serde_json::to_string_pretty(value).map_err(|error| CommandError::Wrong(error.to_string()))?;
    println!("{text}");
    Ok(())
}

/// Waits until the item is ready.
async fn wait(arguments: &WaitArguments) -> Result<(), CommandError> {
    let name = &arguments.name;
    let store = arguments.store.open().await?;
    let end = Instant::now() + Duration::from_secs(arguments.timeout);
    loop {
        let reason = match store.get(name).await {
            Ok(stored) => match stored.state.reason() {
                None => {
                    println!("{name} is ready");
                    return Ok(());
                }
                Some(reason) => format!("{name} is not ready: {reason}"),
            },
            Err(CommandError::Wrong(text) | CommandError::NotReady(text)) => text,
        };
        if Instant::now() >= end {
            return Err(CommandError::NotReady(format!("after {} s: {reason}", arguments.timeout)));
        }
        sleep(POLL).await;
    }
}

async fn delete(arguments: &DeleteArguments) -> Result<(), CommandError> {
    let store = arguments.store.open().await?;
    let name = &arguments.name;
    match (store.delete(name).await?, arguments.ignore_not_found) {
        (true, _) => println!("{name}: deleted"),
        (false, true) => println!("{name}: there is none"),
        (false, false) => return Err(store.missing(name)),
    }
    Ok(())
}
