//! What names mean to a router, live: the dtab of its store, then that of the configuration, and the namers behind its
//! transformers.

use crate::config::Router;
use crate::interpret::{Answer, Namer, Namers, Naming, State};
use crate::name::{Dtab, Path};
use crate::store::StoredDtab;
use std::sync::Arc;
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
    stored: Option<watch::Receiver<StoredDtab>>,
    configured: Dtab,
    namers: Namers,
}

/// A namer that says one thing of every name.
struct Always(State);

impl Namer for Always {
    fn lookup(&self, _: &Path) -> Answer {
        Answer::fixed(self.0.clone())
    }

    fn immediate(&self, _: &Path) -> Option<State> {
        Some(self.0.clone())
    }
}

impl Parts {
    fn whole(&mut self) -> Naming {
        let stored = self.stored.as_mut().map(|stored| stored.borrow_and_update().clone());
        let (dtab, unknown) = match stored {
            None => (self.configured.clone(), None),
            Some(StoredDtab::Dtab(stored)) => (stored.concat(&self.configured), None),
            Some(StoredDtab::Pending) => (self.configured.clone(), Some(State::Pending)),
            Some(StoredDtab::Failed(reason)) => (self.configured.clone(), Some(State::Failed(reason))),
        };
        let namers = match unknown {
            None => self.namers.clone(),
            Some(state) => all_are(state, &self.namers),
        };
        Naming { dtab, namers }
    }
}

/// While it is not known what is stored, no name is: half a dtab must not send requests where the whole would not.
fn all_are(state: State, namers: &Namers) -> Namers {
    let known = namers.iter().map(|(prefix, namer)| (prefix.clone(), Arc::clone(namer)));
    // The last one is asked first.
    let always: (Path, Arc<dyn Namer>) = (Path::empty(), Arc::new(Always(state)));
    namers.replaced_by(known.chain([always]).collect())
}

impl Base {
    /// Puts together what the router's store says, what the configuration says, and the namers; the task that follows
    /// them runs on `control`.
    pub(super) fn new(
        router: &Router,
        stored: Option<watch::Receiver<StoredDtab>>,
        namers: &Namers,
        control: &Handle,
    ) -> Self {
        let mut parts = Parts { stored, configured: router.dtab.clone(), namers: namers.clone() };
        let (sender, whole) = watch::channel(parts.whole());
        let (parts, receiver) = watch::channel(parts);
        control.spawn(follow(receiver, sender));
        Self { parts, whole }
    }

    /// The whole of it, now and whenever it changes.
    pub(super) fn naming(&self) -> watch::Receiver<Naming> {
        self.whole.clone()
    }

    /// Puts other parts in the place of those there are, all at once.
    pub(super) fn change(
        &self,
        router: &Router,
        stored: Option<watch::Receiver<StoredDtab>>,
        namers: &Namers,
    ) {
        self.parts.send_modify(|parts| {
            parts.configured = router.dtab.clone();
            parts.namers = namers.clone();
            parts.stored = stored;
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
        let (first, stored) = watch::channel(StoredDtab::Dtab(dtab("/a => /stored")));
        let control = Handle::current();
        let same = || Some(first.subscribe());
        let base = Base::new(&router("/a => /b"), Some(stored), &Namers::default(), &control);
        let mut whole = base.naming();
        let mut expect = async |expected: &str| {
            whole.wait_for(|naming| naming.dtab == dtab(expected)).await.expect("it is followed");
        };
        // At once, before anything could follow.
        base.change(&router("/a => /0"), same(), &Namers::default());
        expect("/a => /stored; /a => /0").await;
        base.change(&router("/a => /b"), same(), &Namers::default());
        expect("/a => /stored; /a => /b").await;
        first.send_replace(StoredDtab::Dtab(dtab("/a => /changed")));
        expect("/a => /changed; /a => /b").await;
        base.change(&router("/a => /c"), same(), &Namers::default());
        expect("/a => /changed; /a => /c").await;
        let (second, stored) = watch::channel(StoredDtab::Dtab(dtab("/other => /store")));
        base.change(&router("/a => /d"), Some(stored), &Namers::default());
        expect("/other => /store; /a => /d").await;
        assert!(first.is_closed(), "the store that is gone is followed no longer");
        // The last word of a store that ends counts.
        second.send_replace(StoredDtab::Dtab(dtab("/last => /word")));
        drop(second);
        expect("/last => /word; /a => /d").await;
        base.change(&router("/a => /e"), None, &Namers::default());
        expect("/a => /e").await;
    }
    #[tokio::test]
    async fn no_name_is_known_until_it_is_known_what_is_stored() {
        let (sender, stored) = watch::channel(StoredDtab::Pending);
        let base = Base::new(&router("/a => /b"), Some(stored), &Namers::default(), &Handle::current());
        let mut whole = base.naming();
        let says = |naming: &Naming| {
            let path = Path::from_elems(["#", "any"]);
            naming.namers.of(&path).next().and_then(|(_, namer, rest)| namer.immediate(&rest))
        };
        assert_eq!(says(&whole.borrow_and_update()), Some(State::Pending));
        let failed = State::Failed("forbidden".into());
        sender.send_replace(StoredDtab::Failed("forbidden".into()));
        whole.wait_for(|naming| says(naming).as_ref() == Some(&failed)).await.expect("it is followed");
        sender.send_replace(StoredDtab::Dtab(dtab("/a => /c")));
        let known = whole.wait_for(|naming| says(naming).is_none()).await.expect("it is followed");
        assert_eq!(known.dtab, dtab("/a => /c; /a => /b"));
    }
}
