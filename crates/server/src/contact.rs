//! Whether this server still hears of the cluster. Owns when it stops to speak for it: workers then go to a server that does. Must never touch what runs.
//!
//! Who led stays known on a server that is cut off, and what it knew stays true of the past. Neither is what a worker of another machine should go by.

use std::{sync::Arc, time::Duration};

use consensus::Health;
use founding::fitness::Profile;

use crate::{
    api_error::ApiError,
    core::Core,
    forward::no_leader,
    limits::{CONTACT_ELECTIONS, CONTACT_LOST_MIN},
};

/// How long a server of `profile` may hear of no leader: longer than the group takes to find another one.
pub(crate) fn patience(profile: Profile) -> Duration {
    let election = Duration::from_millis(consensus::Profile::from(profile).timing().election_max_ms);
    (election * CONTACT_ELECTIONS).max(CONTACT_LOST_MIN)
}

/// How much longer this server speaks for the cluster, unless it hears of it again; nothing when it does not any more.
fn left(core: &Core) -> Option<Duration> {
    let patience = patience(core.settings.profile);
    // One that is not there was removed, or has not come so far that it knows of itself.
    core.state().node(core.node)?;
    let follows = !core.consensus.leadership().borrow().is_leading();
    if follows && matches!(*core.consensus.health().borrow(), Health::Refusing { .. }) {
        // It hears of the others, and takes nothing new from them. A leader that takes nothing is known for it, and nobody is better placed.
        return None;
    }
    let silence = core.consensus.contact().unwrap_or_else(|| Duration::from_millis(core.started.uptime().0));
    patience.checked_sub(silence)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leader_that_is_replaced_in_time_is_waited_for() {
        for (profile, expected_ms) in [(Profile::Lan, 3_000), (Profile::Cloud, 3_000), (Profile::Wan, 9_000)] {
            assert_eq!(patience(profile), Duration::from_millis(expected_ms), "{profile:?}");
        }
    }
}
