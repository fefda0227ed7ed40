//! What can be told from the records and is kept beside them so that nobody has to count: indexes and sums. Not hashed and not in snapshots; `check` derives
//! it anew. Must never hold what the records do not say.

use model::id::{AppId, NodeId, PlacementId, RevisionNumber};
use rpds::RedBlackTreeMapSync;

use crate::{
    AppRecord, ConfigRecord, NodeRecord, Placement, Revision, SecretRecord, State,
    command::NodeRole,
    owners::Owners,
    references::{self, Reference},
};

/// Indexes and sums over the records.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Derived {
    pub(crate) placements_by_app: RedBlackTreeMapSync<(AppId, PlacementId), ()>,
    pub(crate) placements_by_node: RedBlackTreeMapSync<(NodeId, PlacementId), ()>,
    /// Sums over the placements of each node that has any.
    pub(crate) booked: RedBlackTreeMapSync<NodeId, Booked>,
    /// What every worker should run: the sum over all apps of their components.
    pub(crate) wished: u64,
    /// Who names which place in a route.
    pub(crate) owners: Owners,
    /// Who refers to what, of the kept revisions.
    pub(crate) references: RedBlackTreeMapSync<Reference, RedBlackTreeMapSync<(AppId, RevisionNumber), ()>>,
    /// Bytes of all Configs and Secrets.
    pub(crate) value_bytes: u64,
    pub(crate) node_names: RedBlackTreeMapSync<String, NodeId>,
    pub(crate) node_keys: RedBlackTreeMapSync<[u8; 32], (NodeId, NodeRole)>,
    pub(crate) servers: usize,
    pub(crate) workers: usize,
}

/// What the placements of one node come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Booked {
    pub(crate) memory_bytes: u64,
    pub(crate) placements: usize,
}

impl Derived {
    pub(crate) fn empty() -> Self {
        Self {
            placements_by_app: RedBlackTreeMapSync::new_sync(),
            placements_by_node: RedBlackTreeMapSync::new_sync(),
            booked: RedBlackTreeMapSync::new_sync(),
            wished: 0,
            owners: Owners::empty(),
            references: RedBlackTreeMapSync::new_sync(),
            value_bytes: 0,
            node_names: RedBlackTreeMapSync::new_sync(),
            node_keys: RedBlackTreeMapSync::new_sync(),
            servers: 0,
            workers: 0,
        }
    }

    pub(crate) fn add_app(&mut self, app: &AppRecord) {
        self.wished += app.wished_per_node();
    }

    pub(crate) fn remove_app(&mut self, app: &AppRecord) {
        self.wished -= app.wished_per_node();
    }

    pub(crate) fn add_revision(&mut self, revision: &Revision) {
        self.owners.add(revision);
        for reference in references::of(&revision.app, &revision.frozen.spec) {
            let mut referents = self.references.get(&reference).cloned().unwrap_or_else(RedBlackTreeMapSync::new_sync);
            referents.insert_mut((revision.app.clone(), revision.number), ());
            self.references.insert_mut(reference, referents);
        }
    }

    /// The other half of forgetting a revision; its routes may be those of another kept one.
    pub(crate) fn remove_references(&mut self, revision: &Revision) {
        for reference in references::of(&revision.app, &revision.frozen.spec) {
            let mut referents = self.references.get(&reference).cloned().unwrap_or_else(RedBlackTreeMapSync::new_sync);
            referents.remove_mut(&(revision.app.clone(), revision.number));
            if referents.is_empty() {
                self.references.remove_mut(&reference);
            } else {
                self.references.insert_mut(reference, referents);
            }
        }
    }

    pub(crate) fn add_node(&mut self, node: &NodeRecord) {
        self.node_names.insert_mut(node.name.clone(), node.id);
        for (role, key) in node.keys.roles() {
            self.node_keys.insert_mut(key, (node.id, role));
        }
        self.servers += usize::from(node.is_server());
        self.workers += usize::from(node.is_worker());
    }

    pub(crate) fn remove_node(&mut self, node: &NodeRecord) {
        self.node_names.remove_mut(&node.name);
        for (_, key) in node.keys.roles() {
            self.node_keys.remove_mut(&key);
        }
        self.servers -= usize::from(node.is_server());
        self.workers -= usize::from(node.is_worker());
    }

    pub(crate) fn add_placement(&mut self, placement: &Placement) {
        let (id, node) = (placement.id, placement.node);
        self.placements_by_app.insert_mut((placement.instance.component.app.clone(), id), ());
        self.placements_by_node.insert_mut((node, id), ());
        let before = self.booked.get(&node).copied().unwrap_or_default();
        let memory_bytes = before.memory_bytes.saturating_add(placement.memory_bytes);
        self.booked.insert_mut(node, Booked { memory_bytes, placements: before.placements + 1 });
    }

    pub(crate) fn remove_placement(&mut self, placement: &Placement) {
        let (id, node) = (placement.id, placement.node);
        self.placements_by_app.remove_mut(&(placement.instance.component.app.clone(), id));
        self.placements_by_node.remove_mut(&(node, id));
        let before = self.booked.get(&node).copied().unwrap_or_default();
        if before.placements <= 1 {
            self.booked.remove_mut(&node);
            return;
        }
        let memory_bytes = before.memory_bytes.saturating_sub(placement.memory_bytes);
        self.booked.insert_mut(node, Booked { memory_bytes, placements: before.placements - 1 });
    }
}

impl State {
    /// What the records of this state say, counted anew.
    pub(crate) fn derive(&self) -> Derived {
        let mut derived = Derived::empty();
        self.apps.values().for_each(|app| derived.add_app(app));
        self.revisions.values().for_each(|revision| derived.add_revision(revision));
        self.nodes.values().for_each(|node| derived.add_node(node));
        self.placements.values().for_each(|placement| derived.add_placement(placement));
        let configs: u64 = self.configs.values().map(ConfigRecord::bytes).sum();
        derived.value_bytes = configs + self.secrets.values().map(SecretRecord::bytes).sum::<u64>();
        derived
    }
}
