//! Whether this server still hears of the cluster. Owns acting on it: workers then go to a server that does. When that is, `membership::contact` says.

use std::{sync::Arc, time::Duration};

use membership::contact::{self, Seen};

use crate::{api_error::ApiError, core::Core, forward::no_leader};

/// How much longer this server speaks for the cluster, unless it hears of it again; nothing when it does not any more.
fn left(core: &Core) -> Option<Duration> {
    let health = core.consensus.health().borrow().clone();
    let seen = Seen {
        is_listed: core.state().node(core.node).is_some(),
        leads: core.consensus.leadership().borrow().is_leading(),
        health: &health,
        silence: core.consensus.contact().unwrap_or_else(|| Duration::from_millis(core.started.uptime().0)),
    };
    contact::left(&seen, contact::patience(core.settings.profile.into()))
}

/// Refuses when this server speaks for the cluster no more.
///
/// # Errors
/// `E0422`: nothing is done; another server may do it.
pub(crate) fn check(core: &Core) -> Result<(), ApiError> {
    match left(core) {
        Some(_) => Ok(()),
        None => Err(no_leader("the server that was asked is not in contact with the cluster")),
    }
}

/// Returns once this server speaks for the cluster no more.
pub(crate) async fn lost(core: Arc<Core>) {
    while let Some(left) = left(&core) {
        // A little longer, so that the last look finds the time over.
        tokio::time::sleep(left + Duration::from_millis(1)).await;
    }
    tracing::info!("this server is not in contact with the cluster; a worker is sent on to another one");
}
