//! What names mean to a router, live: the dtab of its store, then that of the configuration, and the namers behind its
//! transformers.

use crate::config::Router;
use crate::interpret::{Namers, Naming};
use crate::name::Dtab;
use crate::store;
use tokio::runtime::Handle;
use tokio::sync::watch;

/// What names mean to one router.
#[derive(Debug)]
pub(super) struct Base {
    /// What it is made of.
    parts: watch::Sender<Parts>,
    /// What comes of them.
    whole: watch::Receiver<Naming>,
}

#[derive(Clone, Debug)]
struct Parts {
    /// Comes first, so that the configuration has precedence.
    stored: Option<watch::Receiver<Dtab>>,
    configured: Dtab,
    namers: Namers,
}

impl Parts {
    fn whole(&mut self) -> Naming {
        let dtab = match &mut self.stored {
            None => self.configured.clone(),
            Some(stored) => stored.borrow_and_update().concat(&self.configured),
        };
        Naming { dtab, namers: self.namers.clone() }
    }
}

/// Opens a router's store, when it has one.
///
/// # Errors
///
/// There is no good dtab in it.
pub(super) async fn stored(
    router: &Router,
    control: &Handle,
) -> Result<Option<watch::Receiver<Dtab>>, store::Error> {
    match &router.store {
        None => Ok(None),
        Some(config) => store::open(config, control).await.map(Some),
    }
}

impl Base {
    /// Puts together what the router's store says, what the configuration says, and the namers; the task that follows
    /// them runs on `control`.
    pub(super) fn new(
        router: &Router,
        stored: Option<watch::Receiver<Dtab>>,
        namers: Namers,
        control: &Handle,
    ) -> Self {
        let mut parts = Parts { stored, configured: router.dtab.clone(), namers };
        let (sender, whole) = watch::channel(parts.whole());
        let (parts, receiver) = watch::channel(parts);
        control.spawn(follow(receiver, sender));
        Self { parts, whole }
    }

    /// The whole of it, now and whenever it changes.
    pub(super) fn naming(&self) -> watch::Receiver<Naming> {
        self.whole.clone()
    }

    /// Puts other parts in the place of those there are, all at once; the store stays when `stored` is nothing.
    pub(super) fn change(
        &self,
        router: &Router,
        stored: Option<Option<watch::Receiver<Dtab>>>,
        namers: Namers,
    ) {
        self.parts.send_modify(|parts| {
            parts.configured = router.dtab.clone();
            parts.namers = namers;
            if let Some(stored) = stored {
                parts.stored = stored;
            }
        });
    }
}

/// Publishes the whole whenever a part of it changes.
async fn follow(mut receiver: watch::Receiver<Parts>, whole: watch::Sender<Naming>) {
    // Not taken as seen: a change may have come before this is first polled.
    let mut parts = receiver.borrow().clone();
    loop {
        let stored_changes = async {
            let changed = match &mut parts.stored {
                Some(stored) => stored.changed().await.is_ok(),
                None => false,
            };
            // A store that has ended says nothing new.
            if !changed {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            changed = receiver.changed() => match changed {
                Ok(()) => parts = receiver.borrow_and_update().clone(),
                // The app has ended.
                Err(_) => return,
            },
            () = stored_changes => {}
            () = whole.closed() => return,
        }
        whole.send_replace(parts.whole());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn router(dtab: &str) -> Router {
        let yaml = format!("routers: [{{protocol: http, dtab: '{dtab}', servers: [{{port: 0}}]}}]");
        crate::config::read("test", &yaml).unwrap().routers.remove(0)
    }

    fn dtab(text: &str) -> Dtab {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn the_store_comes_first_and_each_part_can_change() {
        let (first, stored) = watch::channel(dtab("/a => /stored"));
        let control = Handle::current();
        let base = Base::new(&router("/a => /b"), Some(stored), Namers::default(), &control);
        let mut whole = base.naming();
        let mut expect = async |expected: &str| {
            whole.wait_for(|naming| naming.dtab == dtab(expected)).await.expect("it is followed");
        };
        // At once, before anything could follow.
        base.change(&router("/a => /0"), None, Namers::default());
        expect("/a => /stored; /a => /0").await;
        base.change(&router("/a => /b"), None, Namers::default());
        expect("/a => /stored; /a => /b").await;
        first.send_replace(dtab("/a => /changed"));
        expect("/a => /changed; /a => /b").await;
        base.change(&router("/a => /c"), None, Namers::default());
        expect("/a => /changed; /a => /c").await;
        let (second, stored) = watch::channel(dtab("/other => /store"));
        base.change(&router("/a => /d"), Some(Some(stored)), Namers::default());
        expect("/other => /store; /a => /d").await;
        assert!(first.is_closed(), "the store that is gone is followed no longer");
        // The last word of a store that ends counts.
        second.send_replace(dtab("/last => /word"));
        drop(second);
        expect("/last => /word; /a => /d").await;
        base.change(&router("/a => /e"), Some(None), Namers::default());
        expect("/a => /e").await;
    }
}
