//! HTTP/2 streams whose client takes nothing. On HTTP/1 a stalled client stalls its socket, which `guarded_io.rs` sees; on HTTP/2 the socket lives on while
//! one stream's window stays shut, and a component would wait behind it for ever. Owns noticing that; must never know what a body holds.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::Poll,
    time::Duration,
};

use tokio::time::Instant;

tokio::task_local! {
    /// Set in the task of an HTTP/2 stream.
    static TAKEN: Arc<Taken>;
}

/// When the client's side was last handed a frame that it has not asked beyond.
#[derive(Debug)]
struct Taken {
    since: Instant,
    /// Milliseconds after `since`, and one; zero while it is not the client that is waited for.
    handed_ms: AtomicU64,
}

impl Taken {
    fn now_ms(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// How long the client has taken nothing.
    fn stalled_for(&self) -> Duration {
        match self.handed_ms.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            handed => Duration::from_millis(self.now_ms().saturating_sub(handed - 1)),
        }
    }
}

/// Runs one stream; gives it up when its client takes nothing for `limit`.
pub(crate) async fn watched(stream: impl Future, limit: Duration) {
    let taken = Arc::new(Taken { since: Instant::now(), handed_ms: AtomicU64::new(0) });
    let stalled = async {
        loop {
            tokio::time::sleep(limit.saturating_sub(taken.stalled_for()).max(Duration::from_millis(1))).await;
            if taken.stalled_for() >= limit {
                return;
            }
        }
    };
    tokio::select! {
        biased;
        _ = TAKEN.scope(taken.clone(), stream) => {}
        () = stalled => {}
    }
}

/// Notes what a response body said when it was asked: a frame to hand on, or nothing yet.
pub(crate) fn note<T>(said: &Poll<Option<T>>) {
    let _ = TAKEN.try_with(|taken| {
        let handed = if matches!(said, Poll::Ready(Some(_))) { taken.now_ms() + 1 } else { 0 };
        taken.handed_ms.store(handed, Ordering::Relaxed);
    });
}
