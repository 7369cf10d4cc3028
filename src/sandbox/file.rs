//! The embedded store: items of the configuration, and those of a file, which is followed.

use super::embedded::ReadItems;
use super::item::Item;
use super::object::{Group, Sandbox};
use super::rules::SandboxRules;
use super::spec::{GroupSpec, SandboxSpec, Written};
use super::table::{StoreObjects, StoreState};
use super::{Error, ItemErrors};
use crate::files::Watch;
use crate::source::node::{self, Document};
use crate::telemetry::Gauge;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::spawn_blocking;

/// Reads the items of a file: a list, or a mapping with the list under `items`. They must have other names and other
/// keys than `beside`, the items of the configuration.
///
/// # Errors
///
/// The file cannot be read, or something in it is wrong: all errors, each with its place.
pub fn read_items(file: &Path, beside: &[Item], rules: &SandboxRules) -> Result<ReadItems, ItemErrors> {
    let name = file.display().to_string();
    if matches!(file.try_exists(), Ok(false)) {
        let advice = format!(
            "there is no such file. Make the first sandbox with `signpost sandbox create --file {name}`, or write `[]` into it"
        );
        return Err(ItemErrors(vec![node::Error::of_file(&name, advice)]));
    }
    let text = node::read_file(file).map_err(|error| ItemErrors(vec![error]))?;
    read_items_text(&name, &text, beside, rules)
}

/// Reads the text of such a file, whose name is `name` in errors.
///
/// # Errors
///
/// Something in it is wrong: all errors, each with its place.
pub fn read_items_text(
    name: &str,
    text: &str,
    beside: &[Item],
    rules: &SandboxRules,
) -> Result<ReadItems, ItemErrors> {
    let document = Document::read_list(name, text).map_err(|error| ItemErrors(vec![error]))?;
    let root = document.root();
    let mut read = ReadItems::beside(beside);
    if root.is_list() {
        read.read(&root, rules);
    } else {
        let entries = root.mapping().unwrap_or_default();
        read.errors.extend(
            entries.iter().filter(|entry| entry.name != "items").map(|entry| entry.unknown(&["items"])),
        );
        if let Some(list) = root.get("items") {
            read.read(&list, rules);
        }
    }
    if read.errors.is_empty() { Ok(read) } else { Err(ItemErrors(read.errors)) }
}

/// The embedded store as it is configured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct EmbeddedConfig {
    /// The items of the configuration.
    pub(super) items: Vec<Item>,
    /// The file beside it.
    pub(super) file: Option<PathBuf>,
}

/// The items of the store, judged.
#[derive(Debug, Default)]
pub(super) struct ItemObjects {
    sandboxes: HashMap<Arc<str>, (Written<SandboxSpec>, Arc<Sandbox>)>,
    groups: HashMap<Arc<str>, (Written<GroupSpec>, Arc<Group>)>,
    objects: Arc<StoreObjects>,
}

impl ItemObjects {
    /// Judges items. Those that were judged before stay the same objects, so that bindings that use them stay too.
    fn new<'a>(items: impl Iterator<Item = &'a Item>, rules: &SandboxRules, before: &Self) -> Self {
        let mut judged = Self::default();
        let mut objects = StoreObjects::default();
        for item in items {
            match item {
                Item::Sandbox(written) => {
                    let known = before.sandboxes.get(&written.id.name).filter(|(known, _)| known == written);
                    let sandbox = known.map_or_else(
                        || Arc::new(Sandbox::new(written, rules)),
                        |(_, sandbox)| Arc::clone(sandbox),
                    );
                    objects.sandboxes.push(Arc::clone(&sandbox));
                    judged.sandboxes.insert(Arc::clone(&written.id.name), (written.clone(), sandbox));
                }
                Item::Group(written) => {
                    let known = before.groups.get(&written.id.name).filter(|(known, _)| known == written);
                    let group =
                        known.map_or_else(|| Arc::new(Group::new(written)), |(_, group)| Arc::clone(group));
                    objects.groups.push(Arc::clone(&group));
                    judged.groups.insert(Arc::clone(&written.id.name), (written.clone(), group));
                }
            }
        }
        judged.objects = Arc::new(objects);
        judged
    }

    /// Returns whether these are the same objects in the same order.
    fn is_same(&self, other: &Self) -> bool {
        let [one, other] = [&self.objects, &other.objects];
        let sandboxes =
            one.sandboxes.iter().zip(&other.sandboxes).all(|(one, other)| Arc::ptr_eq(one, other));
        let groups = one.groups.iter().zip(&other.groups).all(|(one, other)| Arc::ptr_eq(one, other));
        let counts = |objects: &StoreObjects| (objects.sandboxes.len(), objects.groups.len());
        counts(one) == counts(other) && sandboxes && groups
    }
}

/// The embedded store, open. It is followed for as long as there is a receiver of its state.
#[derive(Clone, Debug)]
pub(super) struct EmbeddedStore {
    config: Arc<EmbeddedConfig>,
    rules: Arc<SandboxRules>,
    judged: Arc<Mutex<Arc<ItemObjects>>>,
    pub(super) state: watch::Receiver<StoreState>,
}

impl EmbeddedStore {
    /// Opens the store. `before` is the store that it takes the place of, if its rules are the same. The task that follows
    /// the file runs on `control`.
    ///
    /// # Errors
    ///
    /// The file has no good content to begin with.
    pub(super) async fn open(
        config: EmbeddedConfig,
        rules: Arc<SandboxRules>,
        before: Option<&Self>,
        (rejected, control): (&Gauge, &Handle),
    ) -> Result<Self, Error> {
        let judged = before.map(Self::judged).unwrap_or_default();
        let (sender, state) = watch::channel(StoreState::Pending);
        let judged = Arc::new(Mutex::new(judged));
        let store = Self { config: Arc::new(config), rules, judged, state };
        let watch = Watch::of_single_files(control);
        // The watch begins before the file is read, so that no change falls between the two.
        watch.watch_paths(store.config.file.clone()).await;
        store.read().await.map_err(Error::File)?;
        sender.send_replace(store.ready());
        if store.config.file.is_some() {
            let follower = FileFollower {
                config: Arc::clone(&store.config),
                rules: Arc::clone(&store.rules),
                judged: Arc::clone(&store.judged),
                rejection: FileRejection { gauge: rejected.clone(), text: None },
            };
            control.spawn(follower.follow(watch, sender));
        }
        Ok(store)
    }

    /// Returns whether the store has this configuration.
    pub(super) fn is_of(&self, config: &EmbeddedConfig) -> bool {
        *self.config == *config
    }

    fn judged(&self) -> Arc<ItemObjects> {
        lock(&self.judged)
    }

    fn ready(&self) -> StoreState {
        StoreState::Ready(Arc::clone(&self.judged().objects))
    }

    async fn read(&self) -> Result<(), ItemErrors> {
        let (config, rules) = (Arc::clone(&self.config), Arc::clone(&self.rules));
        let judged = read_beside(config, rules, self.judged()).await?;
        *self.judged.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(judged);
        Ok(())
    }
}

fn lock(judged: &Mutex<Arc<ItemObjects>>) -> Arc<ItemObjects> {
    Arc::clone(&judged.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Reads the file and judges all items, on a thread for work that takes long.
async fn read_beside(
    config: Arc<EmbeddedConfig>,
    rules: Arc<SandboxRules>,
    before: Arc<ItemObjects>,
) -> Result<ItemObjects, ItemErrors> {
    let read = move || {
        let of_file = match &config.file {
            Some(file) => {
                let read = read_items(file, &config.items, &rules)?;
                for (place, key, warning) in read.warnings {
                    tracing::warn!("{}:{place}: {key}: {warning}", file.display());
                }
                read.items
            }
            None => Vec::new(),
        };
        let items = config.items.iter().chain(of_file.iter().map(|(item, _)| item));
        Ok(ItemObjects::new(items, &rules, &before))
    };
    let failed = |error: tokio::task::JoinError| {
        Err(ItemErrors(vec![node::Error::of_file("sandboxes", format!("reading ended: {error}"))]))
    };
    spawn_blocking(read).await.unwrap_or_else(failed)
}

/// The task that follows the file.
struct FileFollower {
    config: Arc<EmbeddedConfig>,
    rules: Arc<SandboxRules>,
    judged: Arc<Mutex<Arc<ItemObjects>>>,
    rejection: FileRejection,
}

impl FileFollower {
    /// Publishes each change of the file until the store has no reader any more.
    async fn follow(mut self, mut watch: Watch, sender: watch::Sender<StoreState>) {
        loop {
            tokio::select! {
                _ = watch.changed() => {}
                () = sender.closed() => return,
            }
            let before = lock(&self.judged);
            match read_beside(Arc::clone(&self.config), Arc::clone(&self.rules), Arc::clone(&before)).await {
                Err(errors) => self.rejection.set(errors.to_string()),
                Ok(judged) => {
                    self.rejection.clear();
                    if judged.is_same(&before) {
                        continue;
                    }
                    let judged = Arc::new(judged);
                    let count = judged.objects.sandboxes.len();
                    sender.send_replace(StoreState::Ready(Arc::clone(&judged.objects)));
                    *self.judged.lock().unwrap_or_else(PoisonError::into_inner) = judged;
                    if let Some(file) = &self.config.file {
                        tracing::info!("{}: the sandboxes have changed, and are {count} now", file.display());
                    }
                }
            }
        }
    }
}

/// The error of the file, while the last good content is in use.
struct FileRejection {
    /// Counts the files with an error.
    gauge: Gauge,
    text: Option<String>,
}

impl FileRejection {
    /// Records an error; it is logged once.
    fn set(&mut self, text: String) {
        if self.text.as_ref() == Some(&text) {
            return;
        }
        tracing::warn!("the last good sandboxes stay in use: {text}");
        if self.text.replace(text).is_none() {
            self.gauge.add(1);
        }
    }

    /// Records that the file is good.
    fn clear(&mut self) {
        if self.text.take().is_some() {
            self.gauge.add(-1);
        }
    }
}

impl Drop for FileRejection {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests;
