//! The dtab of one object, and the task that publishes it.

use super::config::KubernetesStoreConfig;
use crate::kubernetes::{GroupState, GroupView, WatchedObject};
use crate::name::{Dtab, ParseError};
use crate::store::publisher::Publisher;
use tokio::sync::watch;
use tokio::task::spawn_blocking;

/// An object that can hold a dtab.
pub(super) trait DtabSource: WatchedObject {
    /// Returns the dtab in it, if there is one.
    fn dtab(&self, config: &KubernetesStoreConfig) -> Result<Option<Dtab>, DtabError>;
}

/// The reason why an object holds no valid dtab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DtabError {
    /// The description. Its first line names the error and its place; lines with a caret may follow.
    pub(super) text: String,
    /// The line and column in the dtab's text, from 1.
    pub(super) place: Option<(usize, usize)>,
}

impl DtabError {
    /// Returns the error of a text that cannot be parsed.
    pub(super) fn from_parse_error(error: &ParseError) -> Self {
        let place = (error.line, error.column);
        Self { text: format!("line {}, column {}: {error}", place.0, place.1), place: Some(place) }
    }

    /// Returns the first line: the error and its place.
    pub(super) fn line(&self) -> &str {
        self.text.lines().next().unwrap_or_default()
    }
}

/// Publishes the dtab of an object until the store has no reader any more. Calls `report` for each version of the
/// object, with the number of entries or the error.
pub(super) async fn publish_changes<T: DtabSource>(
    config: KubernetesStoreConfig,
    mut known: watch::Receiver<GroupState<T>>,
    mut publisher: Publisher,
    report: impl Fn(&T, Result<usize, &DtabError>) + Send,
) {
    let mut was_there = true;
    loop {
        let now = known.borrow_and_update().clone();
        match &now {
            GroupState::Pending => {}
            GroupState::Failed(reason) => publisher.fail(reason.clone()),
            GroupState::Ready(view) => {
                let dtab = dtab_beside(&config, view).await;
                if let (Some(object), false) = (view.one(), view.stale) {
                    let entries = |dtab: &Option<Dtab>| dtab.as_ref().map_or(0, Dtab::len);
                    report(object, dtab.as_ref().map(entries));
                }
                let is_there = !matches!(dtab, Ok(None));
                if was_there && !is_there {
                    tracing::warn!("{config}: it does not exist, so no dtab is stored");
                }
                was_there = is_there;
                match dtab {
                    Ok(Some(dtab)) => publisher.accept(dtab),
                    Ok(None) => publisher.accept_absence(),
                    Err(error) => publisher.reject(&format!("{config}: {}", error.text), error.place),
                }
            }
        }
        tokio::select! {
            changed = known.changed() => if changed.is_err() {
                // A refused watch sends nothing more.
                publisher.closed().await;
                return;
            },
            () = publisher.closed() => return,
        }
    }
}

/// Parses the dtab in a complete list, as [`dtab_in`] does, on a thread for work that takes long.
async fn dtab_beside<T: DtabSource>(
    config: &KubernetesStoreConfig,
    view: &GroupView<T>,
) -> Result<Option<Dtab>, DtabError> {
    let (config, view) = (config.clone(), view.clone());
    let parsed = spawn_blocking(move || dtab_in(&config, &view)).await;
    parsed.unwrap_or_else(|error| Err(DtabError { text: error.to_string(), place: None }))
}

/// Returns the dtab of the object in a complete list; none if the object or its key is absent.
fn dtab_in<T: DtabSource>(
    config: &KubernetesStoreConfig,
    view: &GroupView<T>,
) -> Result<Option<Dtab>, DtabError> {
    match (view.one(), &view.unreadable) {
        (Some(object), _) => object.dtab(config),
        // The object exists and may hold a dtab, which must not be taken away in silence.
        (None, Some(reason)) => Err(DtabError { text: reason.to_string(), place: None }),
        (None, None) => Ok(None),
    }
}
