//! Which artifacts the state refers to. Owns what counts as a reference; must never count less than what an undo needs: every kept revision refers to all it
//! names.

use std::collections::BTreeSet;

use model::id::{Digest, NodeId};

use crate::State;

impl State {
    /// Every artifact that a kept revision names: the sources of components and of files.
    pub fn artifacts(&self) -> BTreeSet<Digest> {
        self.all_revisions().flat_map(|revision| revision.frozen.artifacts()).collect()
    }

    /// Whether a placement on `node` needs the artifact `digest`.
    pub fn needs(&self, node: NodeId, digest: &Digest) -> bool {
        let placed: BTreeSet<_> =
            self.placements_on(node).map(|placement| (&placement.instance.component.app, placement.revision)).collect();
        let revisions = || placed.iter().filter_map(|(app, number)| self.revision(app, *number));
        // Components first: they are there without reading anything.
        revisions().any(|revision| revision.frozen.spec.components.iter().any(|component| component.digest == *digest))
            || revisions().any(|revision| revision.frozen.artifacts().contains(digest))
    }
}
