//! The words of a group: who is in it, who leads it, how it is tuned. Owns the values that callers see; must never know how they came about.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::{Deserialize, Serialize};

/// Which group of members this is: 128 random bits, chosen when the group is founded. A message or a directory of another group is refused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct GroupId(pub [u8; 16]);

impl fmt::Display for GroupId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

impl fmt::Debug for GroupId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "GroupId({self})")
    }
}

/// A member and where it was when it was added. Whoever carries messages may know a newer address for the id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Peer {
    /// Its number, never used again in this group.
    pub id: u64,
    /// Where it answers, `host:port`.
    pub address: String,
}

/// Who is in the group, as far as this member knows; the newest change may not be committed yet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Membership {
    /// The entry that says so; none before the group is founded.
    pub index: Option<u64>,
    /// Whose votes count, in order of id. While [`Shape::Joint`], those of both sides.
    pub voters: Vec<Peer>,
    /// Who follows without a vote, in order of id.
    pub learners: Vec<Peer>,
    /// Whether a change is under way.
    pub shape: Shape,
}

/// Whether a membership is whole or in the middle of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Shape {
    /// One set of voters.
    #[default]
    Uniform,
    /// An old and a new set, of which both must agree.
    Joint,
}

impl Membership {
    /// The member `id`, voting or not.
    pub fn member(&self, id: u64) -> Option<&Peer> {
        self.voters.iter().chain(&self.learners).find(|peer| peer.id == id)
    }

    /// Whether `id` has a vote.
    pub fn is_voter(&self, id: u64) -> bool {
        self.voters.iter().any(|peer| peer.id == id)
    }
}

/// Who leads, as this member knows it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Leadership {
    /// Nobody, or nobody known.
    #[default]
    Unknown,
    /// Somebody else.
    Following {
        /// Who.
        leader: Peer,
        /// In which term.
        term: u64,
    },
    /// This member, and its state holds everything that was ever acknowledged: the first entry of its term is applied.
    Leading {
        /// In which term. A term has at most one leader.
        term: u64,
        /// The index of the first entry of that term.
        since: u64,
    },
}

impl Leadership {
    /// Whether this member leads.
    pub fn is_leading(&self) -> bool {
        matches!(self, Self::Leading { .. })
    }
}

/// How far a member has come, as the leader knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Which member.
    pub id: u64,
    /// The last entry that it is known to have on disk.
    pub matched: Option<u64>,
    /// How long ago it last answered; none when it never did in this term. Zero for the leader itself.
    pub heard: Option<Duration>,
}

/// How fast a group notices that its leader is gone. Choose by the slowest round trip plus the slowest flush: an election must take ten times that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Profile {
    /// One site, local disks: a heartbeat every 100 ms, elections after 250 to 400 ms.
    #[default]
    Lan,
    /// Several zones, or disks over the network: 150 ms, 500 to 900 ms.
    Cloud,
    /// Several regions: 500 ms, 1,500 to 3,000 ms.
    Wan,
}

/// The times of a profile, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Between two heartbeats.
    pub heartbeat_ms: u64,
    /// The shortest wait before an election.
    pub election_min_ms: u64,
    /// The longest.
    pub election_max_ms: u64,
}

impl Profile {
    /// Its times.
    pub fn timing(self) -> Timing {
        let (heartbeat_ms, election_min_ms, election_max_ms) = match self {
            Self::Lan => (100, 250, 400),
            Self::Cloud => (150, 500, 900),
            Self::Wan => (500, 1_500, 3_000),
        };
        Timing { heartbeat_ms, election_min_ms, election_max_ms }
    }
}

/// Where a member was when it was added: what openraft keeps beside each number.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Address(pub(crate) String);

impl Address {
    pub(crate) fn peer(&self, id: u64) -> Peer {
        Peer { id, address: self.0.clone() }
    }
}

/// A membership as it is written: to the log, into snapshots, to other members. Fields never change.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Members {
    /// One set of voters, or two while a change is under way.
    pub(crate) configs: Vec<Vec<u64>>,
    /// Everybody, voters and learners, in order of id.
    pub(crate) peers: Vec<Peer>,
}

impl Members {
    pub(crate) fn of(membership: &openraft::Membership<u64, Address>) -> Self {
        let configs = membership.get_joint_config().iter().map(|config| config.iter().copied().collect()).collect();
        Self { configs, peers: membership.nodes().map(|(id, address)| address.peer(*id)).collect() }
    }

    /// Nothing when a voter is not among the peers, or a set of voters is empty: then it was never written by a member.
    pub(crate) fn membership(&self) -> Option<openraft::Membership<u64, Address>> {
        let configs = self.configs.iter().map(|config| config.iter().copied().collect()).collect();
        let addresses: BTreeMap<u64, Address> = self.peers.iter().map(|peer| (peer.id, Address(peer.address.clone()))).collect();
        openraft::Membership::new(configs, addresses).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_members_are_read_back() {
        let peer = |id: u64| Peer { id, address: format!("host{id}:7071") };
        let members = Members { configs: vec![vec![1, 2], vec![1, 3]], peers: vec![peer(1), peer(2), peer(3), peer(9)] };
        assert_eq!(Members::of(&members.membership().expect("it is whole")), members);
        let stranger = Members { configs: vec![vec![1, 4]], peers: vec![peer(1)] };
        assert!(stranger.membership().is_none());
        assert_eq!(Members::of(&openraft::Membership::default()), Members::default());
    }
}
