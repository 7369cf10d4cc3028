//! A router's base dtab, live: what its store says, then what the configuration says.

use crate::config::Router;
use crate::name::Dtab;
use crate::store;
use tokio::runtime::Handle;
use tokio::sync::watch;

/// The base dtab of one router.
#[derive(Debug)]
pub(super) struct Base {
    /// The part that stands in the configuration.
    configured: watch::Sender<Dtab>,
    /// All of it.
    whole: watch::Receiver<Dtab>,
}

impl Base {
    /// Opens the router's store, when it has one.
    pub(super) async fn open(router: &Router, control: &Handle) -> Result<Self, store::Error> {
        let (configured, receiver) = watch::channel(router.dtab.clone());
        let whole = match &router.store {
            None => receiver,
            Some(config) => joined(store::open(config, control).await?, receiver, control),
        };
        Ok(Self { configured, whole })
    }

    /// The whole of it, now and whenever it changes.
    pub(super) fn dtab(&self) -> watch::Receiver<Dtab> {
        self.whole.clone()
    }

    /// Replaces the part that stands in the configuration.
    pub(super) fn configure(&self, dtab: Dtab) {
        self.configured.send_replace(dtab);
    }
}

/// Two dtabs as one: `stored` first, so that `configured` has precedence.
fn joined(
    mut stored: watch::Receiver<Dtab>,
    mut configured: watch::Receiver<Dtab>,
    control: &Handle,
) -> watch::Receiver<Dtab> {
    let (whole, receiver) = watch::channel(stored.borrow().concat(&configured.borrow()));
    control.spawn(async move {
        loop {
            let changed = tokio::select! {
                changed = stored.changed() => changed,
                changed = configured.changed() => changed,
                () = whole.closed() => return,
            };
            // The store, or the app, has ended.
            if changed.is_err() {
                return;
            }
            let dtab = stored.borrow_and_update().concat(&configured.borrow_and_update());
            whole.send_replace(dtab);
        }
    });
    receiver
}
