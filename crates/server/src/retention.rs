//! When artifacts go: looked at now and then, and before an upload that would not fit. Owns when; what counts as a reference is the
//! state's, and removing is `artifacts`'.

use std::{sync::Arc, time::SystemTime};

use tokio::time::{MissedTickBehavior, interval};

use crate::{core::Core, limits::ARTIFACT_SWEEP_EVERY};

/// Looks until the process stops.
pub(crate) async fn run(core: Arc<Core>) {
    let mut ticks = interval(ARTIFACT_SWEEP_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = core.stop.cancelled() => return,
            _ = ticks.tick() => sweep(&core).await,
        }
    }
}

/// Removes what is too much and nobody needs.
pub(crate) async fn sweep(core: &Arc<Core>) {
    if !core.artifacts.is_full() {
        return;
    }
    let core = core.clone();
    let swept = tokio::task::spawn_blocking(move || {
        let referenced = core.state().artifacts();
        core.artifacts.sweep(|digest| referenced.contains(digest), SystemTime::now())
    });
    match swept.await {
        Ok(Ok(0)) => tracing::warn!("the artifacts are at their bound, and all of them are needed"),
        Ok(Ok(removed)) => tracing::info!(artifacts.removed = removed, "artifacts that no kept revision names are removed"),
        Ok(Err(error)) => tracing::error!(error = %error, "artifacts cannot be removed"),
        Err(error) => tracing::error!(error = %error, "artifacts cannot be removed"),
    }
}
