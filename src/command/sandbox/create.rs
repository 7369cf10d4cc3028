//! `signpost sandbox create`: makes sandboxes, or changes those of the same name.

use super::file::{Change, ItemFile};
use super::stored::{ItemState, StoredItem};
use super::{CommandError, Store, StoreArguments};
use crate::context::is_sandbox_key;
use crate::name::{Dentry, Dtab};
use crate::sandbox::{
    DEFAULT_TTL, Item, SandboxId, SandboxRules, SandboxSpec, Written, parse_ttl, read_items, read_items_text,
};
use crate::source::node;
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// The command line of `signpost sandbox create`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  signpost sandbox create --file sandboxes.yaml --name anna-world --entry '/host/world => /srv/world-anna' --ttl 8h
  signpost sandbox create --file sandboxes.yaml --name anna --dtab '/host/world => /srv/w; /host/users => /srv/u'
  signpost sandbox create --namespace shop --from sandbox.yaml

The file of --from has sandboxes and groups as `sandboxes.items` of the configuration has them. One without an end gets 24 h,
from now on; the same again leaves the end as it is, but for a sandbox that has ended, which is made anew.")]
pub(super) struct Arguments {
    #[command(flatten)]
    store: StoreArguments,
    /// A file with sandboxes and groups, or - for standard input, in place of the options below
    #[arg(short = 'f', long, value_name = "FILE", conflicts_with_all = ["name", "key", "dtab", "entry", "owner", "ttl", "label", "value"])]
    from: Option<PathBuf>,
    /// The name: lower-case letters, digits, `-` and `.`
    #[arg(long, required_unless_present = "from")]
    name: Option<String>,
    /// The key by which requests select it; its name unless given
    #[arg(long)]
    key: Option<String>,
    /// Its entries
    #[arg(long, required_unless_present_any = ["from", "entry"])]
    dtab: Option<String>,
    /// One entry, such as `/host/world => /srv/world-anna`; may be given several times, the last one wins
    #[arg(long, value_name = "DENTRY", conflicts_with = "dtab")]
    entry: Vec<String>,
    /// The person or pipeline that answers for it; the user that runs this unless given
    #[arg(long)]
    owner: Option<String>,
    /// How long it lives, such as 90m, 24h or 7d; 24h unless given
    #[arg(long)]
    ttl: Option<String>,
    /// A label, by which groups choose it
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_pair)]
    label: Vec<(String, String)>,
    /// A value for the services and consumers of the sandbox
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_pair)]
    value: Vec<(String, String)>,
}

fn parse_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}

/// Makes the sandboxes.
pub(super) async fn run(arguments: &Arguments) -> Result<(), CommandError> {
    let store = arguments.store.open().await?;
    let wanted = match &arguments.from {
        Some(from) => read_from(from)?,
        None => vec![arguments.item()?],
    };
    for item in wanted {
        let told = match &store {
            Store::File(file) => put(file, item)?,
            Store::Cluster(cluster) => cluster.put(&item).await?,
        };
        println!("{told}");
    }
    Ok(())
}

/// Reads the items of a file, or of standard input.
fn read_from(from: &Path) -> Result<Vec<Item>, CommandError> {
    // The store judges them, under the limits of the configuration.
    let rules = SandboxRules::default();
    let read = if from.as_os_str() == "-" {
        let text = node::read_text("<stdin>", io::stdin().lock()).map_err(|error| error.to_string())?;
        read_items_text("<stdin>", &text, &[], &rules)
    } else {
        read_items(from, &[], &rules)
    };
    let read = read.map_err(|errors| errors.to_string())?;
    Ok(read.items.into_iter().map(|(item, _)| item).collect())
}

impl Arguments {
    /// Returns the sandbox of the options.
    fn item(&self) -> Result<Item, CommandError> {
        let name = self.name.as_deref().unwrap_or_default();
        for (option, text) in [("--name", Some(name)), ("--key", self.key.as_deref())] {
            if let Some(text) = text.filter(|text| !is_sandbox_key(text)) {
                return Err(CommandError::Wrong(format!(
                    "{option}: `{text}` has other characters than lower-case letters, digits, `-` and `.`, more than 63, or \
                     no letter or digit at an end"
                )));
            }
        }
        if let Some(ttl) = &self.ttl {
            parse_ttl(ttl).map_err(|error| format!("--ttl: {error}"))?;
        }
        let spec = SandboxSpec {
            key: self.key.clone(),
            dtab: self.entries()?,
            owner: self.owner.clone().or_else(user),
            ttl: self.ttl.clone(),
            expires_at: None,
            values: self.value.iter().cloned().collect(),
        };
        let id = SandboxId { namespace: None, name: name.into() };
        let labels: BTreeMap<_, _> = self.label.iter().cloned().collect();
        Ok(Item::Sandbox(Written { id, labels, created: None, expires: None, spec }))
    }

    /// Returns the text of the entries.
    fn entries(&self) -> Result<String, CommandError> {
        if let Some(dtab) = &self.dtab {
            return match dtab.parse::<Dtab>() {
                Ok(_) => Ok(dtab.clone()),
                Err(error) => Err(CommandError::Wrong(format!("--dtab: {error}"))),
            };
        }
        let mut text = String::new();
        for entry in &self.entry {
            let entry = entry.trim().trim_end_matches(';').trim_end();
            let read: Result<Dentry, _> = entry.parse();
            read.map_err(|error| format!("--entry: {error}"))?;
            text.push_str(entry);
            text.push_str(";\n");
        }
        Ok(text)
    }
}

/// Returns the user that runs this, as the environment says.
fn user() -> Option<String> {
    let variables = ["SIGNPOST_OWNER", "GITHUB_ACTOR", "GITLAB_USER_LOGIN", "USER", "LOGNAME"];
    variables.into_iter().filter_map(|name| std::env::var(name).ok()).find(|owner| !owner.trim().is_empty())
}

/// Puts an item into the store; returns the line that says what has changed.
fn put(file: &ItemFile, item: Item) -> Result<String, CommandError> {
    let now = Timestamp::now();
    let name = item.name().to_owned();
    let done = file.change(|items| {
        let before = items.iter().find(|stored| stored.item.name() == name);
        let wanted = with_end(item, before, now);
        if let ItemState::Refused(reason) = file.state(&wanted, now) {
            return Err(format!("{name} is not accepted: {reason}"));
        }
        if let Some(holder) =
            items.iter().find(|stored| stored.item.name() != name && stored.item.key() == wanted.key())
        {
            return Err(format!(
                "the key {} belongs to {}: choose another `key`",
                wanted.key(),
                holder.item.name()
            ));
        }
        let end = file.end(&wanted).map_or_else(String::new, |end| format!(", ends at {end}"));
        Ok(match before {
            None => (Some(Change::Put(Box::new(wanted))), format!("{name}: created{end}")),
            Some(before) if before.item == wanted => (None, format!("{name}: unchanged{end}")),
            Some(before) => {
                let changes = changed_keys(&before.item, &wanted).join(", ");
                (Some(Change::Put(Box::new(wanted))), format!("{name}: updated ({changes}){end}"))
            }
        })
    });
    Ok(done?)
}

/// Gives a sandbox its end: that of the one before it, if that has not ended and they say the same about it.
fn with_end(item: Item, before: Option<&StoredItem>, now: Timestamp) -> Item {
    let Item::Sandbox(mut written) = item else { return item };
    if written.spec.ttl.is_none() && written.spec.expires_at.is_none() {
        let ttl = SignedDuration::try_from(DEFAULT_TTL).unwrap_or(SignedDuration::MAX);
        written.spec.ttl = Some(format!("{ttl:#}"));
    }
    if written.spec.ttl.is_some() && written.created.is_none() {
        let known =
            before.filter(|before| before.state != ItemState::Ended).and_then(|before| match &before.item {
                Item::Sandbox(before) => before.created,
                Item::Group(_) => None,
            });
        let seconds = Timestamp::from_second(now.as_second()).unwrap_or(now);
        written.created = Some(known.unwrap_or(seconds));
    }
    Item::Sandbox(written)
}

/// Returns the keys in which two values differ.
pub(super) fn changed_keys<S: serde::Serialize>(before: &S, after: &S) -> Vec<String> {
    let keys = |value| match serde_json::to_value(value) {
        Ok(serde_json::Value::Object(keys)) => keys,
        _ => serde_json::Map::new(),
    };
    let (before, after) = (keys(before), keys(after));
    let changed = before.keys().filter(|key| before.get(*key) != after.get(*key));
    let new = after.keys().filter(|key| !before.contains_key(*key));
    let mut changed: Vec<_> = changed.chain(new).cloned().collect();
    changed.sort_unstable();
    changed
}
