//! Where an instance fits. Owns the bookkeeping of one plan and the policy, which is the order of [`Score`]'s fields; must never know why something is placed.
//!
//! Memory is what is booked: by placement, from the decision until the placement is forgotten.

use std::collections::BTreeMap;

use model::id::{ComponentId, NodeId, RevisionNumber};
use state::{Placement, State, limits::PLACEMENTS_PER_NODE_MAX};

use crate::{Observed, waiting::Waiting};

/// What the nodes that report have left, as steps are decided.
#[derive(Debug)]
pub struct Room(BTreeMap<NodeId, NodeRoom>);

#[derive(Debug)]
struct NodeRoom {
    name: String,
    memory: u64,
    booked: u64,
    placements: usize,
    running: BTreeMap<(ComponentId, RevisionNumber), u32>,
}

/// How good a node is: lower is better, compared from top to bottom.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Score {
    /// Spread the instances of a component, so that a lost node takes few of them.
    same_component: u32,
    /// Then fill nodes evenly.
    memory_used_permille: u64,
    /// Then decide the same everywhere.
    node: NodeId,
}

impl Room {
    /// What is left on the nodes that are not silent.
    pub fn of(state: &State, observed: &Observed) -> Self {
        let reporting = state.nodes().filter(|node| !observed.silent.contains(&node.id));
        let mut room = Self(
            reporting
                .map(|node| {
                    let name = node.name.clone();
                    (node.id, NodeRoom { name, memory: node.memory_bytes, booked: 0, placements: 0, running: BTreeMap::new() })
                })
                .collect(),
        );
        for placement in state.placements() {
            if let Some(node) = room.0.get_mut(&placement.node) {
                node.placements += 1;
                node.booked = node.booked.saturating_add(placement.memory_bytes);
                if placement.runs() {
                    *node.running.entry((placement.instance.component.clone(), placement.revision)).or_default() += 1;
                }
            }
        }
        room
    }

    /// Gives back what a placement that is forgotten in this plan had booked.
    pub fn release(&mut self, placement: &Placement) {
        if let Some(node) = self.0.get_mut(&placement.node) {
            node.placements -= 1;
            node.booked = node.booked.saturating_sub(placement.memory_bytes);
        }
    }

    /// Books `need` bytes for an instance of `component` under `revision` on the best node, or says what is waited for.
    pub fn book(&mut self, component: &ComponentId, revision: RevisionNumber, need: u64) -> Result<NodeId, Waiting> {
        let key = (component.clone(), revision);
        let roomy = self.0.iter().filter(|(_, node)| node.free() >= need);
        let best = roomy.filter(|(_, node)| node.placements < PLACEMENTS_PER_NODE_MAX).map(|(id, node)| node.score(*id, &key)).min();
        let Some(Score { node: id, .. }) = best else { return Err(self.lacking(need)) };
        let node = self.0.get_mut(&id).expect("the best node is one of these");
        node.placements += 1;
        node.booked += need;
        *node.running.entry(key).or_default() += 1;
        Ok(id)
    }

    fn lacking(&self, need: u64) -> Waiting {
        // The first of the freest, so that the sentence stays the same from plan to plan.
        match self.0.values().rev().max_by_key(|node| node.free()) {
            None => Waiting::Node,
            Some(freest) if freest.free() < need => Waiting::Memory { need, freest: (freest.name.clone(), freest.free()) },
            Some(_) => Waiting::Place { limit: PLACEMENTS_PER_NODE_MAX },
        }
    }
}

impl NodeRoom {
    fn free(&self) -> u64 {
        self.memory.saturating_sub(self.booked)
    }

    fn score(&self, node: NodeId, component: &(ComponentId, RevisionNumber)) -> Score {
        let used = u128::from(self.booked) * 1000 / u128::from(self.memory.max(1));
        Score {
            same_component: self.running.get(component).copied().unwrap_or(0),
            memory_used_permille: u64::try_from(used).unwrap_or(u64::MAX),
            node,
        }
    }
}
