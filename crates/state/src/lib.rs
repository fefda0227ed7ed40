//! The replicated state: a plain value with one `apply` over one closed, versioned `Command`.
//!
//! Owns what every member of the cluster must agree on. Must never do I/O, read a clock, make an id, or parse text inside `apply`.
//! Start with [`command`] for what may change, [`record`] for what is held, then [`State`]; [`routes`] says when two routes collide.

pub mod command;
pub mod event;
pub mod limits;
pub mod record;
pub mod refused;
pub mod routes;

mod applied;
mod apply;
mod check;
mod hash;
mod owners;

use std::ops::Bound;

use model::id::{AppId, Index, NodeId, PlacementId, RevisionNumber};
use rpds::RedBlackTreeMapSync;

pub use crate::{
    applied::{Applied, DeployOutcome},
    command::Command,
    event::{Event, EventKind},
    record::{AppRecord, NodeRecord, Placement, Revision, Rollout},
    refused::{Collision, Refused},
};
use crate::{event::Events, owners::Owners};

/// The whole replicated state at one index. A clone shares all but what changes afterwards, and costs a few pointers.
#[derive(Debug, Clone)]
pub struct State {
    index: Index,
    next_placement: PlacementId,
    apps: RedBlackTreeMapSync<AppId, AppRecord>,
    revisions: RedBlackTreeMapSync<(AppId, RevisionNumber), Revision>,
    nodes: RedBlackTreeMapSync<NodeId, NodeRecord>,
    placements: RedBlackTreeMapSync<PlacementId, Placement>,
    placements_by_app: RedBlackTreeMapSync<(AppId, PlacementId), ()>,
    placements_by_node: RedBlackTreeMapSync<(NodeId, PlacementId), ()>,
    /// Sums over the placements of each node, so that booking does not count them.
    booked: RedBlackTreeMapSync<NodeId, Booked>,
    /// The sum of every app's wished instances.
    wished: u64,
    /// Who names which place in a route.
    owners: Owners,
    events: Events,
}

/// What the placements of one node come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Booked {
    memory_bytes: u64,
    placements: usize,
}

impl Default for State {
    fn default() -> Self {
        Self::empty()
    }
}

impl State {
    /// The state before the first entry.
    pub fn empty() -> Self {
        Self {
            index: Index(0),
            next_placement: PlacementId(1),
            apps: RedBlackTreeMapSync::new_sync(),
            revisions: RedBlackTreeMapSync::new_sync(),
            nodes: RedBlackTreeMapSync::new_sync(),
            placements: RedBlackTreeMapSync::new_sync(),
            placements_by_app: RedBlackTreeMapSync::new_sync(),
            placements_by_node: RedBlackTreeMapSync::new_sync(),
            booked: RedBlackTreeMapSync::new_sync(),
            wished: 0,
            owners: Owners::empty(),
            events: Events::empty(),
        }
    }

    /// The index of the last entry that was applied; 0 before the first.
    pub fn index(&self) -> Index {
        self.index
    }

    /// Every app, those being deleted too, in order of id.
    pub fn apps(&self) -> impl Iterator<Item = &AppRecord> {
        self.apps.values()
    }

    /// How many apps there are.
    pub fn apps_count(&self) -> usize {
        self.apps.size()
    }

    /// The app `id`.
    pub fn app(&self, id: &AppId) -> Option<&AppRecord> {
        self.apps.get(id)
    }

    /// The kept revisions of `app`, oldest first.
    pub fn revisions(&self, app: &AppId) -> impl DoubleEndedIterator<Item = &Revision> {
        let bounds = (app.clone(), RevisionNumber(0))..=(app.clone(), RevisionNumber(u64::MAX));
        self.revisions.range(bounds).map(|(_, revision)| revision)
    }

    /// The kept revisions of all apps.
    pub fn all_revisions(&self) -> impl Iterator<Item = &Revision> {
        self.revisions.values()
    }

    /// Revision `number` of `app`, while it is kept.
    pub fn revision(&self, app: &AppId, number: RevisionNumber) -> Option<&Revision> {
        self.revisions.get(&(app.clone(), number))
    }

    /// Every placement, in order of decision.
    pub fn placements(&self) -> impl Iterator<Item = &Placement> {
        self.placements.values()
    }

    /// The placement `id`.
    pub fn placement(&self, id: PlacementId) -> Option<&Placement> {
        self.placements.get(&id)
    }

    /// The placements of `app`, in order of decision.
    pub fn placements_of(&self, app: &AppId) -> impl Iterator<Item = &Placement> {
        let bounds = (app.clone(), PlacementId(0))..=(app.clone(), PlacementId(u64::MAX));
        self.placements_by_app.range(bounds).filter_map(|((_, id), ())| self.placements.get(id))
    }

    /// The placements on `node`, in order of decision.
    pub fn placements_on(&self, node: NodeId) -> impl Iterator<Item = &Placement> {
        let bounds = (node, PlacementId(0))..=(node, PlacementId(u64::MAX));
        self.placements_by_node.range(bounds).filter_map(|((_, id), ())| self.placements.get(id))
    }

    /// How many placements `node` has.
    pub fn placed_on(&self, node: NodeId) -> usize {
        self.booked.get(&node).map_or(0, |booked| booked.placements)
    }

    /// Every node, in order of id.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeRecord> {
        self.nodes.values()
    }

    /// The node `id`.
    pub fn node(&self, id: NodeId) -> Option<&NodeRecord> {
        self.nodes.get(&id)
    }

    /// The node called `name`.
    pub fn node_named(&self, name: &str) -> Option<&NodeRecord> {
        self.nodes.values().find(|node| node.name == name)
    }

    /// Bytes booked on `node` by placements that are not forgotten yet.
    pub fn booked_memory(&self, node: NodeId) -> u64 {
        self.booked.get(&node).map_or(0, |booked| booked.memory_bytes)
    }

    /// The kept events after `sequence`, oldest first. When the first is not `sequence + 1`, those between are forgotten.
    pub fn events_after(&self, sequence: u64) -> impl Iterator<Item = &Event> {
        self.events.after(sequence)
    }

    /// The sequence of the newest event; 0 before the first.
    pub fn newest_event(&self) -> u64 {
        self.events.newest()
    }

    /// Wished instances of all apps together.
    pub fn wished_instances(&self) -> u64 {
        self.wished
    }

    fn revisions_before(&self, app: &AppId, number: RevisionNumber) -> impl DoubleEndedIterator<Item = &Revision> {
        let bounds = (Bound::Included((app.clone(), RevisionNumber(0))), Bound::Excluded((app.clone(), number)));
        self.revisions.range(bounds).map(|(_, revision)| revision)
    }
}
