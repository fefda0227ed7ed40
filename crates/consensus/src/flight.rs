//! Proposals under way, so that shutting down can wait for them. Owns the count; must never know what is proposed.

use std::sync::Arc;

use tokio::sync::watch;

/// Counts what is under way. Clones count together.
#[derive(Clone)]
pub(crate) struct Flights(Arc<watch::Sender<Count>>);

#[derive(Debug, Default)]
struct Count {
    under_way: usize,
    closed: bool,
}

/// One proposal under way, until it is dropped.
pub(crate) struct Flight(Flights);

impl Flights {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(Count::default())))
    }

    /// One more, unless it is closed.
    pub(crate) fn start(&self) -> Option<Flight> {
        let started = self.0.send_if_modified(|count| {
            count.under_way += usize::from(!count.closed);
            !count.closed
        });
        started.then(|| Flight(self.clone()))
    }

    pub(crate) fn close(&self) {
        self.0.send_modify(|count| count.closed = true);
    }

    /// Waits until none is under way.
    pub(crate) async fn landed(&self) {
        let mut count = self.0.subscribe();
        // The sender lives as long as `self`.
        let _ = count.wait_for(|count| count.under_way == 0).await;
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.0.0.send_modify(|count| count.under_way -= 1);
    }
}
