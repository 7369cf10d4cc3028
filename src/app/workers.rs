//! Starts the threads that serve, and waits for their end.

use super::{END_TIMEOUT, Threads};
use crate::proxy::Worker;
use std::io;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{oneshot, watch};

/// The threads that serve.
#[derive(Debug)]
pub(super) struct Workers {
    count: usize,
    /// How many of them have ended.
    ended: watch::Receiver<usize>,
}

/// The notice of one worker's end, which its drop gives: also when the worker panics.
struct EndNotice(watch::Sender<usize>);

impl Drop for EndNotice {
    fn drop(&mut self) {
        self.0.send_modify(|ended| *ended += 1);
    }
}

impl Workers {
    /// Starts workers, and waits until they run.
    ///
    /// # Errors
    ///
    /// A thread or its runtime cannot be started. The drain of the workers ends the others.
    pub(super) async fn start(tasks: Vec<Worker>, threads: Threads) -> io::Result<Self> {
        let (ends, ended) = watch::channel(0);
        let workers = Self { count: tasks.len(), ended };
        let mut starting = Vec::new();
        for (at, task) in tasks.into_iter().enumerate() {
            let (started, start) = oneshot::channel();
            let notice = EndNotice(ends.clone());
            match threads {
                Threads::Here => drop(tokio::task::spawn_local(async move {
                    let _notice = notice;
                    run(task, started).await;
                })),
                Threads::Workers(_) => spawn_thread(at, notice, || run(task, started))?,
            }
            starting.push(start);
        }
        for start in starting {
            start.await.map_err(|_| io::Error::other("it ended while it was started"))?;
        }
        Ok(workers)
    }

    /// Waits until one of them has ended, which it should not do before the drain.
    pub(super) fn one_ended(&self) -> impl Future<Output = ()> + use<> {
        let mut ended = self.ended.clone();
        async move {
            // The senders are gone when all of them have ended.
            let _ = ended.wait_for(|ended| *ended > 0).await;
        }
    }

    /// Waits until the last of them has ended.
    pub(super) async fn ended(mut self) {
        let all = self.ended.wait_for(|ended| *ended >= self.count);
        let _ = tokio::time::timeout(END_TIMEOUT, all).await;
    }
}

/// Serves until the drain is over. Sends first that it runs.
async fn run(task: Worker, started: oneshot::Sender<()>) {
    // Without a receiver, the start has failed elsewhere, and the drain follows.
    let _ = started.send(());
    task.run().await;
}

/// The stack of a worker's thread: twice the size that the deepest delegation takes in a debug build. Only the part in
/// use costs memory.
const STACK: usize = 4 * 1024 * 1024;

/// Starts a worker's thread, which runs a future to its end.
fn spawn_thread<W: Future<Output = ()>>(
    at: usize,
    notice: EndNotice,
    work: impl FnOnce() -> W + Send + 'static,
) -> io::Result<()> {
    let builder = std::thread::Builder::new().name(format!("worker-{at}")).stack_size(STACK);
    builder.spawn(move || {
        // Dropped last, when the runtime is gone.
        let _notice = notice;
        match Builder::new_current_thread().enable_all().build_local(LocalOptions::default()) {
            Ok(runtime) => runtime.block_on(work()),
            Err(error) => tracing::error!(%error, "a worker cannot start its runtime"),
        }
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_worker_that_panics_has_ended() {
        let (ends, ended) = watch::channel(0);
        let workers = Workers { count: 2, ended };
        let (end, ending) = oneshot::channel::<()>();
        spawn_thread(0, EndNotice(ends.clone()), || async { drop(ending.await) }).expect("there is a thread");
        spawn_thread(1, EndNotice(ends), || async { panic!("a bug, made for this test") }).expect("a thread");
        workers.one_ended().await;
        end.send(()).expect("the other one serves on");
        let mut all = workers.ended.clone();
        all.wait_for(|ended| *ended == 2).await.expect("it ends as well");
    }
}
