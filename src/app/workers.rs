//! Starts the threads that serve, and waits for their end.

use super::{END_TIMEOUT, Threads};
use crate::drain::Guard;
use crate::proxy::{Proxy, WorkerTask};
use std::io;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::oneshot;

/// The threads that serve.
#[derive(Debug)]
pub(super) enum Workers {
    Here(tokio::task::JoinHandle<()>),
    Threads(Vec<oneshot::Receiver<()>>),
}

impl Workers {
    /// Starts the workers of a proxy.
    ///
    /// # Errors
    ///
    /// A thread cannot be started.
    pub(super) fn start(proxy: Proxy, guard: &Guard, threads: Threads) -> io::Result<Self> {
        match threads {
            Threads::Here => {
                let tasks = proxy.split(1, guard);
                Ok(Self::Here(tokio::task::spawn_local(async move {
                    for task in tasks {
                        task.run().await;
                    }
                })))
            }
            Threads::Workers(count) => {
                let tasks = proxy.split(count.max(1), guard);
                let threads = tasks.into_iter().enumerate().map(|(at, task)| thread(at, task));
                Ok(Self::Threads(threads.collect::<io::Result<_>>()?))
            }
        }
    }

    /// Waits until the last of them has ended.
    pub(super) async fn ended(self) {
        let all = async {
            match self {
                Self::Here(task) => drop(task.await),
                Self::Threads(threads) => {
                    for ended in threads {
                        // An error is the end of a thread as well.
                        let _ = ended.await;
                    }
                }
            }
        };
        let _ = tokio::time::timeout(END_TIMEOUT, all).await;
    }
}

/// The stack of a worker's thread: twice the size that the deepest delegation takes in a debug build. Only the part in
/// use costs memory.
const STACK: usize = 4 * 1024 * 1024;

/// Starts a worker's thread. The receiver resolves when the thread has ended.
fn thread(at: usize, task: WorkerTask) -> io::Result<oneshot::Receiver<()>> {
    let runtime = || Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
    let (ended, ending) = oneshot::channel();
    let builder = std::thread::Builder::new().name(format!("worker-{at}")).stack_size(STACK);
    builder.spawn(move || match runtime() {
        Ok(runtime) => {
            runtime.block_on(task.run());
            drop(runtime);
            drop(ended);
        }
        Err(error) => tracing::error!(%error, "a worker cannot start its runtime"),
    })?;
    Ok(ending)
}
