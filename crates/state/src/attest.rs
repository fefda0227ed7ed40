//! Whether members agree. Owns what is kept of what they said, and the verdict; must never halt anybody.

use std::collections::{BTreeMap, BTreeSet};

use model::id::{Index, NodeId};
use rpds::RedBlackTreeMapSync;

use crate::{
    State,
    limits::{CHECKPOINT_EVERY, CHECKPOINTS_KEPT},
};

/// What a member finds out when it compares itself with the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// More than half of the voters have its state.
    Agree,
    /// Too few said something yet.
    Wait,
    /// It has another state than others that applied the same log.
    Diverged {
        /// At which checkpoint.
        at: Index,
        /// The hash of its state there.
        mine: [u8; 32],
        /// The hash most of the others have.
        theirs: [u8; 32],
        /// Whether more than half of the voters have `theirs`. If not, nobody can say who is right.
        majority: bool,
    },
}

/// What members said of the last checkpoints.
#[derive(Debug, Clone)]
pub(crate) struct Attestations(RedBlackTreeMapSync<(Index, NodeId), [u8; 32]>);

impl Attestations {
    pub(crate) fn empty() -> Self {
        Self(RedBlackTreeMapSync::new_sync())
    }

    /// Keeps what `node` said last of `at`, and forgets checkpoints past the bound. Says whether it is kept.
    pub(crate) fn keep(&mut self, at: Index, node: NodeId, hash: [u8; 32]) -> bool {
        self.0.insert_mut((at, node), hash);
        let checkpoints: BTreeSet<Index> = self.0.keys().map(|(at, _)| *at).collect();
        let oldest = checkpoints.iter().rev().nth(CHECKPOINTS_KEPT - 1).copied().unwrap_or(Index(0));
        self.forget(|checkpoint, _| checkpoint < oldest);
        at >= oldest
    }

    pub(crate) fn forget(&mut self, which: impl Fn(Index, NodeId) -> bool) {
        let forgotten: Vec<_> = self.0.keys().filter(|(at, node)| which(*at, *node)).copied().collect();
        for key in &forgotten {
            self.0.remove_mut(key);
        }
    }

    pub(crate) fn load(&mut self, at: Index, node: NodeId, hash: [u8; 32]) {
        self.0.insert_mut((at, node), hash);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Index, NodeId, [u8; 32])> {
        self.0.iter().map(|((at, node), hash)| (*at, *node, *hash))
    }
}

impl State {
    /// What members said of their states, in order of checkpoint and node.
    pub fn attestations(&self) -> impl Iterator<Item = (Index, NodeId, [u8; 32])> {
        self.attestations.iter()
    }

    /// What `me`, whose state had the hash `mine` at the checkpoint `at`, finds out. What it said itself does not count, but what it knows.
    pub fn verdict(&self, me: NodeId, (at, mine): (Index, [u8; 32]), voters: &BTreeSet<NodeId>) -> Verdict {
        let said = self.attestations().filter(|(checkpoint, node, _)| *checkpoint == at && *node != me && voters.contains(node));
        let mut counts: BTreeMap<[u8; 32], usize> = BTreeMap::new();
        said.for_each(|(_, _, hash)| *counts.entry(hash).or_default() += 1);
        if voters.contains(&me) {
            *counts.entry(mine).or_default() += 1;
        }
        let heard: usize = counts.values().sum();
        let enough = voters.len() / 2 + 1;
        if counts.get(&mine).is_some_and(|count| *count >= enough) {
            return Verdict::Agree;
        }
        let others = counts.iter().filter(|(hash, _)| **hash != mine).max_by_key(|(_, count)| **count);
        match others {
            Some((theirs, count)) if *count >= enough => Verdict::Diverged { at, mine, theirs: *theirs, majority: true },
            Some((theirs, _)) if heard == voters.len() => Verdict::Diverged { at, mine, theirs: *theirs, majority: false },
            _ => Verdict::Wait,
        }
    }

    pub(crate) fn check_attestations(&self) -> Result<(), String> {
        let checkpoints: BTreeSet<Index> = self.attestations().map(|(at, ..)| at).collect();
        if checkpoints.len() > CHECKPOINTS_KEPT {
            return Err(format!("{} checkpoints are kept", checkpoints.len()));
        }
        let wrong =
            self.attestations().find(|(at, node, _)| at.0 % CHECKPOINT_EVERY != 0 || *at > self.index || self.node(*node).is_none());
        wrong.map_or(Ok(()), |(at, node, _)| Err(format!("{node} says something of {at}")))
    }
}
