//! Where long computations run: aside in a thread, or inline where the runtime has no threads. Owns that choice; must never know what is computed.

use std::{future::poll_fn, io, task::Poll};

use openraft::AsyncRuntime;

/// How long computations are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// On a thread of their own, so that heartbeats go on.
    Aside,
    /// At once: a simulation has no threads, and its time stands still meanwhile.
    Inline,
}

impl Work {
    /// What the runtime offers.
    pub(crate) async fn offered<R: AsyncRuntime>() -> Self {
        match R::spawn_blocking(|| ()).await {
            Ok(()) => Self::Aside,
            Err(_) => Self::Inline,
        }
    }

    /// Computes `work`. Fails when it panicked or the runtime is going down.
    pub(crate) async fn run<R: AsyncRuntime, T: Send + 'static>(self, work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
        match self {
            Self::Aside => R::spawn_blocking(work).await,
            Self::Inline => Ok(work()),
        }
    }
}

/// Lets whatever else is ready run first.
pub(crate) async fn step_aside() {
    let mut passed = false;
    poll_fn(|context| {
        if std::mem::replace(&mut passed, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
