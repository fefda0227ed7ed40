//! Who has done what a rotation waits for, and who is not waited for. Owns what silence means here; who takes the step is the state.

use std::{collections::BTreeMap, time::Duration};

use api::node::HeldAuthorities;
use model::id::{Index, NodeId, Timestamp};
use state::{
    State,
    command::{ConfirmAuthority, NodeRole, RotationPhase},
};
use transport::AuthorityDigest;

use crate::{limits::AWAY_AFTER, set};

/// What a rotation waits for: which one, by its first entry, and how far it is.
pub type Awaited = (Index, RotationPhase);

/// Whether whoever goes by `held` has done what is `awaited`; `signing` is the authority that signs according to the state that awaits it.
pub fn has_done(held: &HeldAuthorities, signing: AuthorityDigest, (rotation, phase): Awaited) -> bool {
    held.version >= rotation.0 && (phase == RotationPhase::Learning || held.shows == signing)
}

/// What the leader has heard of all nodes.
#[derive(Debug, Clone)]
pub struct Heard {
    /// This server, and what it goes by.
    pub own: (NodeId, HeldAuthorities),
    /// When each worker reported last, and what.
    pub workers: BTreeMap<NodeId, (Timestamp, Option<HeldAuthorities>)>,
    /// How long ago each server was heard of.
    pub servers: BTreeMap<NodeId, Option<Duration>>,
    /// For how long this server leads: whoever led before heard others.
    pub leading: Duration,
    /// Since when.
    pub leading_at: Timestamp,
    /// The moment of all this.
    pub now: Timestamp,
}

impl Heard {
    /// What the leader is to write; nothing when there is no news.
    pub fn confirms(&self, state: &State) -> Option<ConfirmAuthority> {
        let (awaited, signing) = (state.awaited()?, set::signing(state)?);
        let unconfirmed = state.unconfirmed();
        let confirmed: Vec<_> = unconfirmed.iter().filter(|holder| self.is_done(**holder, signing, awaited)).copied().collect();
        let away: Vec<_> = unconfirmed.iter().filter(|holder| self.is_away(**holder)).copied().collect();
        let is_whole = unconfirmed.iter().all(|holder| confirmed.contains(holder) || away.contains(holder));
        let steps_on = is_whole && state.authorities().rotation.is_some();
        let (rotation, phase) = awaited;
        (steps_on || !confirmed.is_empty()).then_some(ConfirmAuthority { at: self.now, rotation, phase, confirmed, away })
    }

    fn is_done(&self, (node, role): (NodeId, NodeRole), signing: AuthorityDigest, awaited: Awaited) -> bool {
        let held = match role {
            // The others say it themselves.
            NodeRole::Server => Some(&self.own).filter(|(own, _)| *own == node).map(|(_, held)| held),
            NodeRole::Worker => self.workers.get(&node).and_then(|(_, held)| held.as_ref()),
        };
        held.is_some_and(|held| has_done(held, signing, awaited))
    }

    fn is_away(&self, (node, role): (NodeId, NodeRole)) -> bool {
        let silent = match role {
            NodeRole::Server => self.servers.get(&node).copied().flatten().unwrap_or(self.leading),
            NodeRole::Worker => {
                let last = self.workers.get(&node).map_or(self.leading_at, |(at, _)| *at).max(self.leading_at);
                Duration::from_millis(self.now.millis_since(last))
            }
        };
        silent.min(self.leading) > AWAY_AFTER
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000;
    const SIGNING: AuthorityDigest = AuthorityDigest::from_bytes([1; 32]);

    fn held(version: u64, byte: u8) -> HeldAuthorities {
        HeldAuthorities { version, shows: AuthorityDigest::from_bytes([byte; 32]) }
    }

    fn heard() -> Heard {
        let now = 1_000 * SECOND;
        let at = |seconds: u64| Timestamp(now - seconds * SECOND);
        Heard {
            own: (NodeId(1), held(20, 1)),
            workers: [
                (NodeId(1), (at(1), Some(held(20, 1)))),
                (NodeId(2), (at(2), Some(held(20, 2)))),
                (NodeId(3), (at(40), Some(held(9, 2)))),
                (NodeId(4), (at(3), None)),
            ]
            .into(),
            servers: [(NodeId(1), Some(Duration::ZERO)), (NodeId(2), Some(Duration::from_secs(31))), (NodeId(3), None)].into(),
            leading: Duration::from_secs(60),
            leading_at: at(60),
            now: Timestamp(now),
        }
    }

    #[test]
    fn what_a_node_has_done_is_what_it_holds() {
        let check = |node: u64, role, phase, expected: bool| {
            assert_eq!(heard().is_done((NodeId(node), role), SIGNING, (Index(10), phase)), expected, "{node} {role} {phase:?}");
        };
        for phase in [RotationPhase::Learning, RotationPhase::Renewing] {
            check(1, NodeRole::Server, phase, true);
            check(2, NodeRole::Server, phase, false);
            check(1, NodeRole::Worker, phase, true);
            check(3, NodeRole::Worker, phase, false);
            check(4, NodeRole::Worker, phase, false);
            check(5, NodeRole::Worker, phase, false);
        }
        check(2, NodeRole::Worker, RotationPhase::Learning, true);
        check(2, NodeRole::Worker, RotationPhase::Renewing, false);
    }

    #[test]
    fn who_has_learned_and_not_renewed_has_not_renewed() {
        // It goes by both, and the old one signed what it shows: what signs is said by the state, not by what it goes by.
        assert!(has_done(&held(10, 7), SIGNING, (Index(10), RotationPhase::Learning)));
        assert!(!has_done(&held(10, 7), SIGNING, (Index(10), RotationPhase::Renewing)));
    }

    #[test]
    fn who_is_not_heard_of_is_away_once_a_leader_has_listened_long_enough() {
        let away = |heard: &Heard, node: u64, role| heard.is_away((NodeId(node), role));
        let old = heard();
        assert!(!away(&old, 1, NodeRole::Server) && away(&old, 2, NodeRole::Server) && away(&old, 3, NodeRole::Server));
        assert!(away(&old, 9, NodeRole::Server), "not even a member");
        assert!(!away(&old, 1, NodeRole::Worker) && !away(&old, 4, NodeRole::Worker) && away(&old, 3, NodeRole::Worker));
        assert!(away(&old, 9, NodeRole::Worker));
        let fresh = Heard { leading: Duration::from_secs(5), leading_at: Timestamp(995 * SECOND), ..heard() };
        for node in [1, 2, 3, 4, 9] {
            assert!(!away(&fresh, node, NodeRole::Server) && !away(&fresh, node, NodeRole::Worker), "{node}");
        }
    }
}
