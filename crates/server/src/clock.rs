//! The edge where time enters: everything behind it takes a moment as a parameter. Must never be read by a decision.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use model::{id::Timestamp, quantity::Millis};

/// When this process started.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Started {
    /// On the wall.
    pub(crate) at: Timestamp,
    instant: Instant,
}

impl Started {
    /// Now.
    pub(crate) fn now() -> Self {
        Self { at: now(), instant: Instant::now() }
    }

    /// Since then.
    pub(crate) fn uptime(&self) -> Millis {
        Millis(u64::try_from(self.instant.elapsed().as_millis()).unwrap_or(u64::MAX))
    }
}

/// The time on the wall; the epoch itself when the clock stands before it.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
