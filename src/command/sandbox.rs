//! `signpost sandbox`: makes, shows and removes sandboxes, and prints the request that selects one.

mod create;
mod file;
mod request;
mod stored;
mod yaml;

use self::file::{Change, ItemFile};
use self::stored::{ItemState, StoredItem, table};
use super::Exit;
use super::run::{fail, refuse, run_control};
use crate::config::{self, SandboxesConfig};
use crate::sandbox::SandboxRules;
use clap::{Args, Subcommand};
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How often `wait` looks again.
const POLL: Duration = Duration::from_millis(100);

/// The command line of `signpost sandbox`.
#[derive(Debug, Args)]
#[command(
    arg_required_else_help = true,
    after_help = "Examples:
  signpost sandbox create --file sandboxes.yaml --name anna-world --entry '/host/world => /srv/world-anna'
  signpost sandbox wait --file sandboxes.yaml anna-world
  signpost sandbox curl anna-world http://localhost:4140/ --host world
  signpost sandbox delete --file sandboxes.yaml anna-world

Exit codes:
  0  done
  1  failed: something that was written is wrong, or a file cannot be read or written
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

/// The store of sandboxes.
#[derive(Debug, Args)]
struct StoreArguments {
    /// The file that `sandboxes.file` of the router names; `create` makes it
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
    /// The configuration of the router, for its limits on sandboxes (`sandboxes.maxTtl`, `sandboxes.overrides`)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
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
enum Failure {
    /// Something is wrong: exit code 1.
    Wrong(String),
    /// There is no such sandbox, or it is not ready: exit code 3.
    NotReady(String),
}

impl From<String> for Failure {
    fn from(text: String) -> Self {
        Self::Wrong(text)
    }
}

/// Runs the subcommand.
pub(super) fn run(arguments: &Arguments) -> Exit {
    let done = match &arguments.command {
        SandboxCommand::Create(arguments) => create::run(arguments),
        SandboxCommand::List(arguments) => list(arguments),
        SandboxCommand::Get(arguments) => get(arguments),
        SandboxCommand::Wait(arguments) => return run_control(wait(arguments)),
        SandboxCommand::Delete(arguments) => delete(arguments),
        SandboxCommand::Url(arguments) => request::url(arguments),
        SandboxCommand::Curl(arguments) => request::curl(arguments),
    };
    finish(done)
}

fn finish(done: Result<(), Failure>) -> Exit {
    match done {
        Ok(()) => Exit::Done,
        // Errors of a file have their place, and stand as they are.
        Err(Failure::Wrong(text)) if text.contains('\n') => refuse(&text),
        Err(Failure::Wrong(text)) => fail(&text),
        Err(Failure::NotReady(text)) => {
            fail(&text);
            Exit::NotReady
        }
    }
}

impl StoreArguments {
    fn open(&self) -> Result<ItemFile, Failure> {
        let rules = match &self.config {
            Some(file) => {
                let config = config::load(file).map_err(|errors| Failure::Wrong(errors.to_string()))?;
                config.sandbox_rules()
            }
            None => SandboxRules::default(),
        };
        Ok(ItemFile::new(&self.file, rules))
    }

    fn find(&self, name: &str) -> Result<(ItemFile, Option<StoredItem>), Failure> {
        let file = self.open()?;
        let found = file.items()?.into_iter().find(|stored| stored.item.name() == name);
        Ok((file, found))
    }

    /// Returns the error that there is no such item.
    fn missing(&self, name: &str) -> Failure {
        Failure::NotReady(format!("{}: there is no sandbox {name}", self.file.display()))
    }
}

/// Reads `sandboxes` of a configuration; the defaults without one.
fn sandboxes_config(file: Option<&PathBuf>) -> Result<SandboxesConfig, Failure> {
    let Some(file) = file else { return Ok(SandboxesConfig::default()) };
    let config = config::load(file).map_err(|errors| Failure::Wrong(errors.to_string()))?;
    Ok(config.sandboxes)
}

fn list(arguments: &ListArguments) -> Result<(), Failure> {
    let file = arguments.store.open()?;
    let items = file.items()?;
    if arguments.json {
        return print_json(&items);
    }
    show(&file, items);
    Ok(())
}

fn get(arguments: &GetArguments) -> Result<(), Failure> {
    let (file, found) = arguments.store.find(&arguments.name)?;
    let stored = found.ok_or_else(|| arguments.store.missing(&arguments.name))?;
    if arguments.json {
        return print_json(&stored);
    }
    show(&file, vec![stored]);
    Ok(())
}

/// Prints items as a table, and below it the reasons why some are of no use.
fn show(file: &ItemFile, items: Vec<StoredItem>) {
    let items: Vec<_> = items
        .into_iter()
        .map(|stored| {
            let end = file.end(&stored.item);
            (stored, end)
        })
        .collect();
    print!("{}", table(&items));
    for (stored, _) in &items {
        if let ItemState::Refused(reason) = &stored.state {
            println!("{}: {reason}", stored.item.name());
        }
    }
}

fn print_json<T: serde::Serialize>(value: &T) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Failure::Wrong(error.to_string()))?;
    println!("{text}");
    Ok(())
}

/// Waits until the item is ready.
async fn wait(arguments: &WaitArguments) -> Exit {
    let end = Instant::now() + Duration::from_secs(arguments.timeout);
    loop {
        let reason = match arguments.store.find(&arguments.name) {
            Ok((_, Some(stored))) => match stored.state.reason() {
                None => {
                    println!("{} is ready", arguments.name);
                    return Exit::Done;
                }
                Some(reason) => format!("{} is not ready: {reason}", arguments.name),
            },
            Ok((_, None)) => {
                format!("{}: there is no sandbox {}", arguments.store.file.display(), arguments.name)
            }
            Err(Failure::Wrong(text) | Failure::NotReady(text)) => text,
        };
        if Instant::now() >= end {
            return finish(Err(Failure::NotReady(format!("after {} s: {reason}", arguments.timeout))));
        }
        sleep(POLL).await;
    }
}

fn delete(arguments: &DeleteArguments) -> Result<(), Failure> {
    let file = arguments.store.open()?;
    let name = &arguments.name;
    let was_there = file.change(|items| {
        let is_there = items.iter().any(|stored| stored.item.name() == name);
        Ok((is_there.then(|| Change::Remove(name.clone())), is_there))
    })?;
    match (was_there, arguments.ignore_not_found) {
        (true, _) => println!("{name}: deleted"),
        (false, true) => println!("{name}: there is none"),
        (false, false) => return Err(arguments.store.missing(name)),
    }
    Ok(())
}
