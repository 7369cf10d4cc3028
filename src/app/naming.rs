//! The naming of a router, live: the dtab of its store, then that of the configuration, and the namers behind its
//! transformers.

use crate::config::Router;
use crate::interpret::{Answer, AnswerState, Namer, Namers, Naming};
use crate::name::{Dtab, Path};
use crate::store::StoredDtab;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::watch;

/// The dtab and namers of one router, put together from their parts whenever one changes.
#[derive(Debug)]
pub(super) struct RouterNaming {
    /// The parts, changed by reloads.
    parts: watch::Sender<NamingParts>,
    /// The naming made from the parts.
    whole: watch::Receiver<Naming>,
}

/// The parts of a router's naming.
#[derive(Clone, Debug)]
struct NamingParts {
    /// The stored dtab; it comes first, so that the configuration has precedence.
    stored: Option<watch::Receiver<StoredDtab>>,
    configured: Dtab,
    namers: Namers,
}

/// A namer that gives one answer for every name.
struct UniformNamer(AnswerState);

impl Namer for UniformNamer {
    fn lookup(&self, _: &Path) -> Answer {
        Answer::fixed(self.0.clone())
    }

    fn immediate(&self, _: &Path) -> Option<AnswerState> {
        Some(self.0.clone())
    }
}

impl NamingParts {
    /// Returns the naming made from the parts.
    fn whole(&mut self) -> Naming {
        let stored = self.stored.as_mut().map(|stored| stored.borrow_and_update().clone());
        let (dtab, unknown) = match stored {
            None => (self.configured.clone(), None),
            Some(StoredDtab::Dtab(stored)) => (stored.concat(&self.configured), None),
            Some(StoredDtab::Pending) => (self.configured.clone(), Some(AnswerState::Pending)),
            Some(StoredDtab::Failed(reason)) => (self.configured.clone(), Some(AnswerState::Failed(reason))),
        };
        let namers = match unknown {
            None => self.namers.clone(),
            Some(state) => replace_namers(state, &self.namers),
        };
        Naming { dtab, namers }
    }
}

/// Returns namers that give `state` for every name. Used until the stored dtab is known: half a dtab must not send
/// requests where the whole would not.
fn replace_namers(state: AnswerState, namers: &Namers) -> Namers {
    let known = namers.iter().map(|(prefix, namer)| (prefix.clone(), Arc::clone(namer)));
    // The last one is asked first.
    let always: (Path, Arc<dyn Namer>) = (Path::empty(), Arc::new(UniformNamer(state)));
    namers.replaced_by(known.chain([always]).collect())
}

impl RouterNaming {
    /// Puts together the stored dtab, the configured dtab and the namers; the task that publishes their changes runs on
    /// `control`.
    pub(super) fn new(
        router: &Router,
        stored: Option<watch::Receiver<StoredDtab>>,
        namers: &Namers,
        control: &Handle,
    ) -> Self {
        let mut parts = NamingParts { stored, configured: router.dtab.clone(), namers: namers.clone() };
        let (sender, whole) = watch::channel(parts.whole());
        let (parts, receiver) = watch::channel(parts);
        control.spawn(publish_naming(receiver, sender));
        Self { parts, whole }
    }

    /// Returns the naming, now and whenever it changes.
    pub(super) fn naming(&self) -> watch::Receiver<Naming> {
        self.whole.clone()
    }

    /// Replaces all parts at once.
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

/// Publishes the naming whenever a part of it changes.
async fn publish_naming(mut receiver: watch::Receiver<NamingParts>, whole: watch::Sender<Naming>) {
    // The parts are not marked as seen: a change may have come before this future is first polled.
    let mut parts = receiver.borrow().clone();
    loop {
        let stored_changes = async {
            let changed = match &mut parts.stored {
                Some(stored) => stored.changed().await.is_ok(),
                None => false,
            };
            // A store that has ended does not change again.
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
        let base = RouterNaming::new(&router("/a => /b"), Some(stored), &Namers::default(), &control);
        let mut whole = base.naming();
        let mut expect = async |expected: &str| {
            whole.wait_for(|naming| naming.dtab == dtab(expected)).await.expect("it is followed");
        };
        // At once, before the task is polled.
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
        assert!(first.is_closed(), "the former store is not watched any longer");
        // The last dtab of a store that ends counts.
        second.send_replace(StoredDtab::Dtab(dtab("/last => /word")));
        drop(second);
        expect("/last => /word; /a => /d").await;
        base.change(&router("/a => /e"), None, &Namers::default());
        expect("/a => /e").await;
    }
    #[tokio::test]
    async fn no_name_is_known_until_the_stored_dtab_is() {
        let (sender, stored) = watch::channel(StoredDtab::Pending);
        let base =
            RouterNaming::new(&router("/a => /b"), Some(stored), &Namers::default(), &Handle::current());
        let mut whole = base.naming();
        let says = |naming: &Naming| {
            let path = Path::from_elems(["#", "any"]);
            naming.namers.matching(&path).next().and_then(|(_, namer, rest)| namer.immediate(&rest))
        };
        assert_eq!(says(&whole.borrow_and_update()), Some(AnswerState::Pending));
        let failed = AnswerState::Failed("forbidden".into());
        sender.send_replace(StoredDtab::Failed("forbidden".into()));
        whole.wait_for(|naming| says(naming).as_ref() == Some(&failed)).await.expect("it is followed");
        sender.send_replace(StoredDtab::Dtab(dtab("/a => /c")));
        let known = whole.wait_for(|naming| says(naming).is_none()).await.expect("it is followed");
        assert_eq!(known.dtab, dtab("/a => /c; /a => /b"));
    }
}
