//! Measures disk and network of this server once and warns when its profile is too short. Owns when; what fits is `founding::fitness`'s.

use std::{sync::Arc, time::Duration};

use founding::fitness::{disk_writes, millis, misfit, round_trip};

use crate::{core::Core, limits::FITNESS_REST};

/// Measures once, when the server has come to rest after its start, and warns when its profile is too short.
pub(crate) async fn look(core: Arc<Core>) {
    tokio::select! {
        () = core.stop.cancelled() => return,
        () = tokio::time::sleep(FITNESS_REST) => {}
    }
    let data = core.settings.data.clone();
    let Ok(Ok(writes)) = tokio::task::spawn_blocking(move || disk_writes(&data)).await else { return };
    let state = core.state();
    let mut farthest: Option<(String, Duration)> = None;
    for server in state.servers().filter(|server| server.id != core.node && !server.addresses.peer.is_empty()) {
        // Who is not there is somebody else's to say.
        let Ok(way) = round_trip(&server.addresses.peer).await else { continue };
        if farthest.as_ref().is_none_or(|(_, known)| *known < way) {
            farthest = Some((server.name.clone(), way));
        }
    }
    match misfit(core.settings.profile, writes.p99, farthest.as_ref()) {
        Some(misfit) => tracing::warn!(
            fsync.p50 = millis(writes.p50),
            fsync.p99 = millis(writes.p99),
            "this server may lose its leader for no reason: {misfit}"
        ),
        None => tracing::info!(fsync.p50 = millis(writes.p50), fsync.p99 = millis(writes.p99), "disk and network fit the profile"),
    }
}
