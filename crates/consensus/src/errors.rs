//! What can go wrong for callers of consensus. Owns the errors; each names what was tried and says what is known to have happened.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use crate::{Peer, frame::FrameError};

/// Why the log could not be opened. Nothing was changed on disk, except that a torn end may have been cut off.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory cannot be used, or the log in it is damaged.
    #[error("opening the log in {}", dir.display())]
    Log {
        /// Where.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The directory is another member's.
    #[error("the log in {} is member {found}'s, expected member {expected}'s", dir.display())]
    Identity {
        /// Where.
        dir: PathBuf,
        /// Whose it is.
        found: String,
        /// Whose it should be.
        expected: String,
    },
    /// The snapshots cannot be read, or none of them is whole.
    #[error("reading the snapshots")]
    Snapshots {
        /// Why.
        source: io::Error,
    },
    /// The log does not reach back to the state it would be applied to.
    #[error("the log starts at entry {found}, expected {expected} or before: the snapshot that it continues is missing or damaged")]
    Gap {
        /// What is there.
        found: u64,
        /// What should be.
        expected: u64,
    },
    /// An entry cannot be decoded or applied.
    #[error("applying entry {index} of the log: {reason}")]
    Entry {
        /// Which.
        index: u64,
        /// Why.
        reason: String,
    },
    /// The state cannot be brought up to what the log says.
    #[error("replaying the log: {reason}")]
    Replay {
        /// Why.
        reason: String,
    },
    /// The settings make no sense together.
    #[error("starting with these timings: {reason}")]
    Settings {
        /// Why.
        reason: String,
    },
    /// The thread could not be started.
    #[error("starting the consensus thread")]
    Thread {
        /// Why.
        source: io::Error,
    },
}

/// Why a group could not be founded.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FoundError {
    /// There is something in the log: the group exists.
    #[error("member {node_id} is in a group already")]
    Exists {
        /// This member.
        node_id: u64,
    },
    /// The first member can only be this one.
    #[error("member {node_id} cannot found a group for member {other}")]
    Other {
        /// This member.
        node_id: u64,
        /// Who was named.
        other: u64,
    },
    /// The log failed meanwhile.
    #[error("the log has failed: {message}")]
    Failed {
        /// Why.
        message: String,
    },
}

/// Why a proposal was not accepted.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ProposeError {
    /// Another member leads, or none does. It was not written and never will be.
    #[error("{}", not_leader(leader.as_ref()))]
    NotLeader {
        /// Who leads, if known.
        leader: Option<Peer>,
    },
    /// Leadership was lost, or nothing was heard of a majority, after it was written. It may be applied, now or later, or never.
    #[error("it is not known whether the command was accepted")]
    Unknown,
    /// There is no room for it. It was not written and never will be; a later one may succeed.
    #[error("writing to the log")]
    Storage {
        /// Why: most often, the disk is full.
        source: Arc<io::Error>,
    },
    /// The log failed in a way that cannot be mended while running. Whether this proposal survives is known after a restart.
    #[error("the log has failed: {message}")]
    Failed {
        /// Why.
        message: String,
    },
    /// The command is too large for one entry.
    #[error("a command of {bytes} bytes is more than one log entry may have ({limit})")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The command cannot be encoded.
    #[error("encoding a command for the log")]
    Encode {
        /// Why.
        source: FrameError,
    },
    /// This member is shutting down. It was not written.
    #[error("the log is closed")]
    Stopped,
}

/// Why a read cannot be promised to be the newest. Reading [`crate::Consensus::state`] all the same gives what was true a moment ago.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// No leader could confirm itself with a majority in time.
    #[error("no leader confirmed itself with a majority within {} ms", within.as_millis())]
    NoLeader {
        /// How long was waited.
        within: Duration,
    },
    /// The leader answered, but this member lags.
    #[error("this member did not reach entry {index} within {} ms", within.as_millis())]
    Lagging {
        /// What must be applied here first.
        index: u64,
        /// How long was waited.
        within: Duration,
    },
    /// The log failed.
    #[error("the log has failed: {message}")]
    Failed {
        /// Why.
        message: String,
    },
    /// This member is shutting down.
    #[error("the log is closed")]
    Stopped,
}

/// Why the membership was not changed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum MemberError {
    /// Only the leader changes it.
    #[error("{}", not_leader(leader.as_ref()))]
    NotLeader {
        /// Who leads, if known.
        leader: Option<Peer>,
    },
    /// Nobody has this number.
    #[error("there is no member {id}")]
    NoSuchMember {
        /// The number.
        id: u64,
    },
    /// The number is taken.
    #[error("member {id} is there already, at {address}")]
    Taken {
        /// The number.
        id: u64,
        /// Where it is.
        address: String,
    },
    /// A group without votes cannot decide anything.
    #[error("member {id} is the last one with a vote")]
    LastVoter {
        /// Who.
        id: u64,
    },
    /// Too few of the voters that would be left answer.
    #[error("of the {voters} voters that would be left only {heard} answer, and {needed} must")]
    NoQuorumAfter {
        /// Voters left.
        voters: usize,
        /// How many of them answer.
        heard: usize,
        /// How many must.
        needed: usize,
    },
    /// It has not caught up enough to vote.
    #[error("member {id} lags behind by {behind} entries")]
    Lagging {
        /// Who.
        id: u64,
        /// By how much.
        behind: u64,
    },
    /// It is not heard of, so that a vote of it would count for nothing.
    #[error("member {id} does not answer")]
    Silent {
        /// Who.
        id: u64,
    },
    /// It leads, and nobody took over from it in time. Nothing was changed.
    #[error("member {id} leads, and no other one took over from it")]
    Leads {
        /// Who.
        id: u64,
    },
    /// Another change is not finished.
    #[error("another change of the membership is under way")]
    InProgress,
    /// Leadership was lost on the way. Ask for the membership to see what came of it.
    #[error("it is not known whether the membership was changed")]
    Unknown,
    /// The log failed.
    #[error("the log has failed: {message}")]
    Failed {
        /// Why.
        message: String,
    },
    /// This member is shutting down.
    #[error("the log is closed")]
    Stopped,
}

/// Why leadership was not handed over.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TransferError {
    /// Only the leader can hand it over.
    #[error("{}", not_leader(leader.as_ref()))]
    NotLeader {
        /// Who leads, if known.
        leader: Option<Peer>,
    },
    /// This member is the only one with a vote, or no other one answers.
    #[error("there is nobody to hand leadership to")]
    NobodyElse,
    /// Not a member with a vote, or not another one.
    #[error("member {id} cannot lead: it has no vote, or leads already")]
    NotAVoter {
        /// Who.
        id: u64,
    },
    /// It has a vote and does not answer.
    #[error("member {id} cannot lead: it does not answer")]
    Silent {
        /// Who.
        id: u64,
    },
    /// It did not take over in time; somebody will be elected.
    #[error("member {to} did not take over within {} ms", within.as_millis())]
    Late {
        /// Who should have.
        to: u64,
        /// How long was waited.
        within: Duration,
    },
    /// The log failed, or is closed.
    #[error("the log has failed: {message}")]
    Failed {
        /// Why.
        message: String,
    },
}

fn not_leader(leader: Option<&Peer>) -> String {
    match leader {
        Some(leader) => format!("member {} at {} leads", leader.id, leader.address),
        None => "no leader is known".to_owned(),
    }
}
