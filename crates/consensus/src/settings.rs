//! What a member is started with. Owns the settings and how they become openraft's; must never read a file.

use std::path::PathBuf;

use openraft::{Config as RaftConfig, ConfigError, SnapshotPolicy, StepDownPolicy};

use crate::{
    GroupId, Profile,
    group::Timing,
    limits::{CHECKPOINT_ENTRIES, LOG_ENTRIES_KEPT, MESSAGE_ENTRIES_MAX, QUEUE_MAX, SNAPSHOT_ENTRIES, SNAPSHOT_SEND_MS_MAX},
};

/// Which member of which group this is. Neither ever changes for a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The group.
    pub group: GroupId,
    /// This member's number. Never one that another member has or had, nor this one's own with an older disk.
    pub node_id: u64,
}

/// Where a member keeps its log, who it is, and how patient it is.
#[derive(Debug, Clone)]
pub struct Config {
    /// The log's directory. Made if it is not there, locked while it is open.
    pub dir: PathBuf,
    /// Who it is.
    pub identity: Identity,
    /// How patient it is.
    pub profile: Profile,
}

/// The figures a group runs with. Every member of a group should have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tuning {
    /// Heartbeats and elections.
    pub timing: Timing,
    /// Entries between two snapshots.
    pub snapshot_entries: u64,
    /// Entries kept behind the newest snapshot.
    pub log_entries_kept: u64,
    /// Entries between two hashes of the state.
    pub checkpoint_entries: u64,
}

impl From<Profile> for Tuning {
    fn from(profile: Profile) -> Self {
        Self {
            timing: profile.timing(),
            snapshot_entries: SNAPSHOT_ENTRIES,
            log_entries_kept: LOG_ENTRIES_KEPT,
            checkpoint_entries: CHECKPOINT_ENTRIES,
        }
    }
}

impl Tuning {
    /// As openraft wants it.
    pub(crate) fn raft(&self) -> Result<RaftConfig, ConfigError> {
        let Timing { heartbeat_ms, election_min_ms, election_max_ms } = self.timing;
        let config = RaftConfig {
            cluster_name: "shoal".to_owned(),
            heartbeat_interval: heartbeat_ms,
            election_timeout_min: election_min_ms,
            election_timeout_max: election_max_ms,
            // A member that was cut off asks first, and so does not unseat a leader that the others still hear.
            enable_pre_vote: Some(true),
            // A leader without a majority falls silent for a while, so that members which hear it but not each other's leader can elect.
            quorum_loss_probe_interval: Some(2 * election_max_ms),
            // A leader that restarts asks for votes like everybody else: it may have lost what it had not flushed.
            enable_leader_restore: Some(false),
            // A member that lost acknowledged entries must not be fed as if it never had them.
            allow_log_reversion: None,
            backoff: "20ms 40ms 80ms 160ms 320ms ..500ms".to_owned(),
            install_snapshot_timeout: SNAPSHOT_SEND_MS_MAX,
            snapshot_policy: SnapshotPolicy::LogsSinceLast(self.snapshot_entries),
            max_in_snapshot_log_to_keep: self.log_entries_kept,
            max_payload_entries: MESSAGE_ENTRIES_MAX,
            api_channel_size: Some(QUEUE_MAX as u64),
            removed_leader_step_down: StepDownPolicy::After(heartbeat_ms),
            ..RaftConfig::default()
        };
        config.validate()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_is_one_that_openraft_takes() {
        for profile in [Profile::Lan, Profile::Cloud, Profile::Wan] {
            let config = Tuning::from(profile).raft().expect("a valid profile");
            // Each of them keeps a promise: see where they are set.
            assert_eq!(config.enable_pre_vote, Some(true), "{profile:?}");
            assert_eq!(config.enable_leader_restore, Some(false), "{profile:?}");
            assert_eq!(config.quorum_loss_probe_interval, Some(2 * config.election_timeout_max), "{profile:?}");
            assert_eq!(config.allow_log_reversion, None, "{profile:?}");
        }
    }
}
