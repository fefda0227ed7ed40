//! Whether an instance fits. Owns the bookkeeping of one plan; must never know why something is placed.
//!
//! Memory is what is booked: by placement, from the decision until the placement is forgotten.

use std::collections::BTreeMap;

use model::id::NodeId;
use state::{NodeRecord, Placement, State, limits::PLACEMENTS_PER_NODE_MAX};

use crate::{Observed, waiting::Waiting};

/// What the workers that report have left, as steps are decided.
#[derive(Debug)]
pub struct Room(BTreeMap<NodeId, NodeRoom>);

#[derive(Debug)]
struct NodeRoom {
    memory: u64,
    booked: u64,
    placements: usize,
}

impl Room {
    /// What is left on the workers that are not silent.
    pub fn of(state: &State, observed: &Observed) -> Self {
        let reporting = state.nodes().filter(|node| node.is_worker() && !observed.silent.contains(&node.id));
        let room = |node: &NodeRecord| NodeRoom {
            memory: node.memory_bytes,
            booked: state.booked_memory(node.id),
            placements: state.placed_on(node.id),
        };
        Self(reporting.map(|node| (node.id, room(node))).collect())
    }

    /// Gives back what a placement that is forgotten in this plan had booked.
    pub fn release(&mut self, placement: &Placement) {
        if let Some(node) = self.0.get_mut(&placement.node) {
            node.placements -= 1;
            node.booked = node.booked.saturating_sub(placement.memory_bytes);
        }
    }

    /// Books `need` bytes for an instance on `node`, or says what is waited for.
    pub fn book(&mut self, node: &NodeRecord, need: u64) -> Result<NodeId, Waiting> {
        let Some(room) = self.0.get_mut(&node.id) else { return Err(Waiting::SilentNode { node: node.name.clone() }) };
        let free = room.memory.saturating_sub(room.booked);
        if free < need {
            return Err(Waiting::Memory { need, node: node.name.clone(), free });
        }
        if room.placements >= PLACEMENTS_PER_NODE_MAX {
            return Err(Waiting::Place { node: node.name.clone(), limit: PLACEMENTS_PER_NODE_MAX });
        }
        room.placements += 1;
        room.booked += need;
        Ok(node.id)
    }
}
