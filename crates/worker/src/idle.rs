//! When idle code is looked for. Owns the timing; what is idle is `programs.rs`'s to know. Must never wake a process in which nothing is loaded.

use std::{sync::Arc, time::Duration};

use crate::{
    engine::Engine,
    limits::{SWEEP_WAIT_MIN, SWEEPS_PER_IDLE},
    programs::Programs,
};

/// Unloads what nobody asked for since `idle`, for ever; zero unloads nothing.
pub async fn unload<E: Engine>(programs: Arc<Programs<E>>, idle: Duration) {
    if idle.is_zero() {
        return std::future::pending().await;
    }
    let wait = (idle / SWEEPS_PER_IDLE).max(SWEEP_WAIT_MIN);
    loop {
        programs.wait_for_load().await;
        let mut left = usize::MAX;
        while left > 0 {
            tokio::time::sleep(wait).await;
            let looked_at = programs.clone();
            // Letting go of a thousand maps takes a while.
            let Ok((unloaded, still)) = tokio::task::spawn_blocking(move || looked_at.sweep(idle)).await else { continue };
            left = still;
            if unloaded > 0 {
                programs.count_unloaded(unloaded);
                tracing::debug!(programs = unloaded, programs.left = left, "idle code is unloaded");
            }
        }
    }
}
