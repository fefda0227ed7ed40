//! How the long-lived children hold memory: few arenas, and what is free goes back to the system. Owns the allocator's settings; must never know what is
//! allocated.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

/// Arenas of the allocator: two threads seldom meet in two of them, and each keeps its own free memory for itself.
const ARENAS_MAX: libc::c_int = 2;

/// Between two looks for memory that can go back: what a thousand starting programs leave behind is gone half a minute later, for a millisecond of work.
const TRIM_EVERY: Duration = Duration::from_secs(30);

/// Sets the allocator up. Must be called before the process has a second thread.
pub fn prepare() {
    #[cfg(target_env = "gnu")]
    // SAFETY: a number is set before anybody else could allocate at the same time.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, ARENAS_MAX);
        // The per-thread caches hold what is small; with the older lists of small pieces beside them, every larger allocation would sort through those.
        libc::mallopt(libc::M_MXFAST, 0);
    }
}

/// Gives free memory back for ever.
pub async fn trim() {
    let mut ticks = interval(TRIM_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        #[cfg(target_env = "gnu")]
        // SAFETY: it takes no pointer of ours, and locks what it looks at.
        unsafe {
            libc::malloc_trim(0);
        }
    }
}
