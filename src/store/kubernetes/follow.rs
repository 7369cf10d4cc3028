//! What one object says, for as long as somebody wants to know.

use super::config::KubernetesStoreConfig;
use crate::kubernetes::{GroupState, GroupView, WatchedObject};
use crate::name::{Dtab, ParseError};
use crate::store::publisher::Publisher;
use tokio::sync::watch;

/// What is kept of an object that can hold a dtab.
pub(super) trait DtabSource: WatchedObject {
    /// Returns the dtab in it, if there is one.
    fn dtab(&self, config: &KubernetesStoreConfig) -> Result<Option<Dtab>, DtabError>;
}

/// Why what an object holds is no dtab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DtabError {
    /// In its first line what is wrong and where; then perhaps the place with a caret.
    pub(super) text: String,
    /// Line and column of the dtab's text, from 1.
    pub(super) place: Option<(usize, usize)>,
}

impl DtabError {
    /// Of a text that could not be read.
    pub(super) fn at_its_place(error: &ParseError) -> Self {
        let place = (error.line, error.column);
        Self { text: format!("line {}, column {}: {error}", place.0, place.1), place: Some(place) }
    }

    /// Returns what is wrong, and where, in one line.
    pub(super) fn line(&self) -> &str {
        self.text.lines().next().unwrap_or_default()
    }
}

/// Publishes what an object says until nobody is interested any more, and says to `judged` what became of it: how many
/// entries it has, or what is wrong.
pub(super) async fn follow<T: DtabSource>(
    config: KubernetesStoreConfig,
    mut known: watch::Receiver<GroupState<T>>,
    mut publisher: Publisher,
    judged: impl Fn(&T, Result<usize, &DtabError>) + Send,
) {
    let mut was_there = true;
    loop {
        let now = known.borrow_and_update().clone();
        match &now {
            GroupState::Pending => {}
            GroupState::Failed(reason) => publisher.fail(reason.clone()),
            GroupState::Ready(view) => {
                let found = found(&config, view);
                if let (Some(object), false) = (view.one(), view.stale) {
                    let entries = |dtab: &Option<Dtab>| dtab.as_ref().map_or(0, Dtab::len);
                    judged(object, found.as_ref().map(entries));
                }
                let is_there = !matches!(found, Ok(None));
                if was_there && !is_there {
                    tracing::warn!("{config}: it is not there, so that nothing is stored");
                }
                was_there = is_there;
                match found {
                    Ok(dtab) => publisher.accept(dtab.unwrap_or_else(Dtab::empty)),
                    Err(wrong) => publisher.reject(&format!("{config}: {}", wrong.text), wrong.place),
                }
            }
        }
        tokio::select! {
            changed = known.changed() => if changed.is_err() {
                // A watch that was refused says nothing more.
                publisher.closed().await;
                return;
            },
            () = publisher.closed() => return,
        }
    }
}

/// Returns what a complete list says of the object.
fn found<T: DtabSource>(
    config: &KubernetesStoreConfig,
    view: &GroupView<T>,
) -> Result<Option<Dtab>, DtabError> {
    match (view.one(), &view.unreadable) {
        (Some(object), _) => object.dtab(config),
        // It is there, and may well hold a dtab: that must not be taken away in silence.
        (None, Some(reason)) => Err(DtabError { text: reason.to_string(), place: None }),
        (None, None) => Ok(None),
    }
}
