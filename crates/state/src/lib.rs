//! The replicated state: a plain value with one `apply` over one closed, versioned `Command`.
//!
//! Owns what every member of the cluster must agree on. Must never do I/O, read a clock, make an id, or parse text inside `apply`.
//! Start with [`command`] for what may change, [`record`] for what is held, then [`State`]; [`routes`] says when two routes collide, [`changes`] tells those
//! who watch.

pub mod ceilings;
pub mod changes;
pub mod command;
pub mod event;
pub mod limits;
pub mod record;
pub mod refused;
pub mod routes;

mod answers;
mod applied;
mod apply;
mod artifacts;
mod attest;
mod check;
mod derived;
mod hosts;
mod owners;
mod references;
mod ring;
mod snapshot;
mod table;
mod tally;
mod views;

use std::{ops::Bound, sync::Arc};

use model::id::{AppId, Index, NodeId, PlacementId, RevisionNumber};

use crate::{
    answers::Answers,
    attest::Attestations,
    changes::Changes,
    derived::Derived,
    limits::{AUDIT_MAX, EVENTS_MAX},
    ring::Ring,
    table::Table,
};
pub use crate::{
    applied::{Applied, DeployOutcome, PutOutcome},
    apply::begins_anew_after,
    attest::Verdict,
    changes::{Compacted, OBJECT_KINDS, ObjectChange, ObjectKey, Op},
    command::Command,
    event::{Event, EventKind},
    record::{
        ApiTokenRecord, AppRecord, AuditEntry, AuditOutcome, Authorities, ClusterRecord, ConfigRecord, JoinTokenRecord, NamespaceRecord,
        NodeRecord, Placement, Revision, Rollout, SecretRecord, SecretVersion,
    },
    references::SecretNeed,
    refused::{Collision, Refused},
    snapshot::RestoreError,
};

/// The id of the node that founds a cluster. Its consensus needs a number before there is a log, so it cannot be the index of an entry. No other node gets
/// it: a node joins only a cluster that was founded, so the entry of a join is never the first one, and indexes only grow.
pub const FOUNDER: NodeId = NodeId(1);

/// The whole replicated state at one index. A clone shares all but what changes afterwards, and costs a few pointers.
#[derive(Debug, Clone)]
pub struct State {
    index: Index,
    next_placement: PlacementId,
    /// At most one.
    cluster: Table<ClusterRecord>,
    nodes: Table<NodeRecord>,
    join_tokens: Table<JoinTokenRecord>,
    api_tokens: Table<ApiTokenRecord>,
    apps: Table<AppRecord>,
    revisions: Table<Revision>,
    placements: Table<Placement>,
    configs: Table<ConfigRecord>,
    secrets: Table<SecretRecord>,
    namespaces: Table<NamespaceRecord>,
    events: Ring<Event>,
    audit: Ring<AuditEntry>,
    answers: Answers,
    attestations: Attestations,
    authorities: Arc<Authorities>,
    derived: Derived,
    changes: Changes,
    /// Whether changes are only tried out on it, so that nobody asks what happened. Neither hashed nor part of a snapshot.
    trial: bool,
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
            cluster: Table::empty(),
            nodes: Table::empty(),
            join_tokens: Table::empty(),
            api_tokens: Table::empty(),
            apps: Table::empty(),
            revisions: Table::empty(),
            placements: Table::empty(),
            configs: Table::empty(),
            secrets: Table::empty(),
            namespaces: Table::empty(),
            events: Ring::empty(EVENTS_MAX, 0),
            audit: Ring::empty(AUDIT_MAX, 0),
            answers: Answers::empty(),
            attestations: Attestations::empty(),
            authorities: Arc::default(),
            derived: Derived::empty(),
            changes: Changes::since(Index(0)),
            trial: false,
        }
    }

    /// The same state, for trying out what changes would do: it keeps no history of them, neither events nor audit log nor answers nor what watchers are told.
    /// What changes come to is the same, but for one that is asked for again under a key that came on trial.
    pub fn trial(&self) -> Self {
        Self { trial: true, ..self.clone() }
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
        self.derived.placements_by_app.range(bounds).filter_map(|((_, id), ())| self.placements.get(id))
    }

    /// The placements on `node`, in order of decision.
    pub fn placements_on(&self, node: NodeId) -> impl Iterator<Item = &Placement> {
        let bounds = (node, PlacementId(0))..=(node, PlacementId(u64::MAX));
        self.derived.placements_by_node.range(bounds).filter_map(|((_, id), ())| self.placements.get(id))
    }

    /// How many placements `node` has.
    pub fn placed_on(&self, node: NodeId) -> usize {
        self.derived.booked.get(&node).map_or(0, |booked| booked.placements)
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
        self.nodes.get(self.derived.node_names.get(name)?)
    }

    /// Bytes booked on `node` by placements that are not forgotten yet.
    pub fn booked_memory(&self, node: NodeId) -> u64 {
        self.derived.booked.get(&node).map_or(0, |booked| booked.memory_bytes)
    }

    /// The kept events after `sequence`, oldest first. When the first is not `sequence + 1`, those between are forgotten.
    pub fn events_after(&self, sequence: u64) -> impl Iterator<Item = &Event> {
        self.events.after(sequence)
    }

    /// The sequence of the newest event; 0 before the first.
    pub fn newest_event(&self) -> u64 {
        self.events.newest()
    }

    /// How many nodes run instances.
    pub fn workers(&self) -> usize {
        self.derived.workers
    }

    /// Instances that should run on each worker: one of every component of every app.
    pub fn wished_per_worker(&self) -> u64 {
        self.derived.wished
    }

    /// Instances of all apps together that should run: one of every component on every worker.
    pub fn wished_instances(&self) -> u64 {
        self.derived.wished * self.derived.workers as u64
    }

    fn revisions_before(&self, app: &AppId, number: RevisionNumber) -> impl DoubleEndedIterator<Item = &Revision> {
        let bounds = (Bound::Included((app.clone(), RevisionNumber(0))), Bound::Excluded((app.clone(), number)));
        self.revisions.range(bounds).map(|(_, revision)| revision)
    }
}
