//! The tasks of streams: each serves one stream after the other.
//!
//! A task is some kilobytes, and a stream is often over within microseconds: making a task for each would be a good part
//! of its cost.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

/// How many tasks of a listener wait for a stream at most: those of more streams at one time end with them.
const KEPT: usize = 64;

/// Something that a task does.
pub(crate) trait TaskWork: 'static {
    /// Does it.
    async fn run(self);
}

/// A worker's tasks for one listener's streams; cheap to clone.
#[derive(Debug)]
pub(crate) struct TaskPool<W>(Rc<RefCell<Vec<IdleTask<W>>>>);

/// A task that progress for work; its drop ends the task.
#[derive(Debug)]
struct IdleTask<W>(Rc<RefCell<TaskState<W>>>);

/// What a task is to do next.
#[derive(Debug)]
enum TaskState<W> {
    /// To wait for work.
    Nothing(Option<Waker>),
    TaskWork(W),
    /// To end.
    End,
}

impl<W> Clone for TaskPool<W> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<W> Default for TaskPool<W> {
    fn default() -> Self {
        Self(Rc::default())
    }
}

impl<W: TaskWork> TaskPool<W> {
    /// Lets a task do some work: one that progress for it, or a new one.
    pub(crate) fn spawn(&self, work: W) {
        let waiting = self.0.borrow_mut().pop();
        match waiting {
            Some(task) => task.wake(TaskState::TaskWork(work)),
            None => {
                let next = Rc::new(RefCell::new(TaskState::TaskWork(work)));
                tokio::task::spawn_local(run(Rc::downgrade(&self.0), next));
            }
        }
    }
}

/// Does one work after the other.
async fn run<W: TaskWork>(tasks: Weak<RefCell<Vec<IdleTask<W>>>>, next: Rc<RefCell<TaskState<W>>>) {
    while let Some(work) = poll_fn(|cx| next.borrow_mut().poll_take(cx)).await {
        work.run().await;
        let Some(tasks) = tasks.upgrade() else { return };
        let mut tasks = tasks.borrow_mut();
        if tasks.len() == KEPT {
            return;
        }
        tasks.push(IdleTask(Rc::clone(&next)));
    }
}

impl<W> TaskState<W> {
    /// Takes the work, once it is there; None when there will be none.
    fn poll_take(&mut self, cx: &Context<'_>) -> Poll<Option<W>> {
        match std::mem::replace(self, Self::Nothing(None)) {
            Self::Nothing(_) => {
                *self = Self::Nothing(Some(cx.waker().clone()));
                Poll::Pending
            }
            Self::TaskWork(work) => Poll::Ready(Some(work)),
            Self::End => Poll::Ready(None),
        }
    }
}

impl<W> IdleTask<W> {
    /// Wakes the task, if it still progress, to do this.
    fn wake(&self, to: TaskState<W>) {
        let mut next = self.0.borrow_mut();
        if let TaskState::Nothing(waker) = &mut *next {
            let waker = waker.take();
            *next = to;
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

impl<W> Drop for IdleTask<W> {
    fn drop(&mut self) {
        self.wake(TaskState::End);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use tokio::sync::Barrier;

    /// Notes that it was done once all that were begun with it are under way.
    struct Note(Rc<Cell<usize>>, Rc<Barrier>);

    impl TaskWork for Note {
        async fn run(self) {
            self.1.wait().await;
            self.0.set(self.0.get() + 1);
        }
    }

    async fn spawn(tasks: &TaskPool<Note>, count: usize) {
        let (done, together) = (Rc::default(), Rc::new(Barrier::new(count)));
        for _ in 0..count {
            tasks.spawn(Note(Rc::clone(&done), Rc::clone(&together)));
        }
        while done.get() < count || Rc::strong_count(&done) > 1 {
            tokio::task::yield_now().await;
        }
    }

    fn alive() -> usize {
        tokio::runtime::Handle::current().metrics().num_alive_tasks()
    }

    #[tokio::test(flavor = "local")]
    async fn tasks_are_used_again_and_end_with_their_listener() {
        let tasks = TaskPool::default();
        for _ in 0..3 {
            spawn(&tasks, 5).await;
            assert_eq!(tasks.0.borrow().len(), 5);
        }
        assert_eq!(alive(), 5);
        spawn(&tasks, KEPT + 6).await;
        assert_eq!(tasks.0.borrow().len(), KEPT, "what were more have ended");
        assert_eq!(alive(), KEPT);
        drop(tasks);
        while alive() > 0 {
            tokio::task::yield_now().await;
        }
    }
}
