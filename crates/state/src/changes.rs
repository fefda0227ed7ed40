//! What changed, for those who watch: a bounded ring of objects by index, one entry per object and entry of the log. It tells what to read again, not what is
//! there now. It is neither hashed nor part of a snapshot: a member that starts from one knows nothing older. Must never be read by a decision.

use std::{fmt, ops::Bound};

use model::id::{AppId, Index, InstanceId, Name, NodeId, ObjectId, PlacementId, RevisionNumber, TokenId};
use rpds::RedBlackTreeMapSync;

use crate::limits::CHANGES_MAX;

/// The name of an object among all objects. It says enough to tell whom a deleted one concerned.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectKey {
    /// The cluster.
    Cluster,
    /// A node, and its name.
    Node(NodeId, String),
    /// A token to join with.
    JoinToken(TokenId),
    /// A token for the API.
    ApiToken(TokenId),
    /// An app.
    App(AppId),
    /// A revision of an app.
    Revision(AppId, RevisionNumber),
    /// A placement, and of which instance.
    Placement(PlacementId, InstanceId),
    /// A Config.
    Config(ObjectId),
    /// A Secret.
    Secret(ObjectId),
    /// A Namespace.
    Namespace(Name),
}

/// Every kind of object, as manifests and listings name it.
pub const OBJECT_KINDS: [&str; 10] =
    ["Cluster", "Node", "JoinToken", "ApiToken", "App", "Revision", "Instance", "Config", "Secret", "Namespace"];

impl ObjectKey {
    /// The kind, as manifests and listings name it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Cluster => "Cluster",
            Self::Node(..) => "Node",
            Self::JoinToken(_) => "JoinToken",
            Self::ApiToken(_) => "ApiToken",
            Self::App(_) => "App",
            Self::Revision(..) => "Revision",
            Self::Placement(..) => "Instance",
            Self::Config(_) => "Config",
            Self::Secret(_) => "Secret",
            Self::Namespace(_) => "Namespace",
        }
    }
}

/// The object as users name it.
impl fmt::Display for ObjectKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cluster => out.pad("cluster"),
            Self::Node(_, name) => out.pad(name),
            Self::JoinToken(id) | Self::ApiToken(id) => id.fmt(out),
            Self::App(id) => id.fmt(out),
            Self::Revision(app, number) => write!(out, "{app} {number}"),
            Self::Placement(_, instance) => instance.fmt(out),
            Self::Config(id) | Self::Secret(id) => id.fmt(out),
            Self::Namespace(name) => name.fmt(out),
        }
    }
}

/// What became of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Op {
    /// It is new.
    Added,
    /// It is another than before.
    Modified,
    /// It is gone.
    Deleted,
}

/// One object that one entry of the log changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectChange {
    /// The entry's index.
    pub index: Index,
    /// Which of the entry's changes: the same on every member.
    pub number: u32,
    /// The object.
    pub object: ObjectKey,
    /// What became of it.
    pub op: Op,
}

/// Somebody asked for changes that are forgotten: they must list again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("what changed before index {oldest} is forgotten: list again, and watch from the index of that list")]
pub struct Compacted {
    /// The lowest index after which changes are still known.
    pub oldest: Index,
}

/// The last [`CHANGES_MAX`] changes.
#[derive(Debug, Clone)]
pub(crate) struct Changes {
    ring: RedBlackTreeMapSync<(Index, u32), ObjectChange>,
    /// Changes of this entry and older ones are not all known.
    floor: Index,
}

impl Changes {
    /// Nothing is known up to `floor`.
    pub(crate) fn since(floor: Index) -> Self {
        Self { ring: RedBlackTreeMapSync::new_sync(), floor }
    }

    /// Adds what the entry at `index` changed behind what is known of it, and forgets the oldest past the bound.
    pub(crate) fn extend(&mut self, index: Index, changed: impl Iterator<Item = (ObjectKey, Op)>) {
        let first = self.ring.last().filter(|((last, _), _)| *last == index).map_or(0, |((_, number), _)| number + 1);
        for (number, (object, op)) in (first..).zip(changed) {
            self.ring.insert_mut((index, number), ObjectChange { index, number, object, op });
            if self.ring.size() > CHANGES_MAX {
                let oldest = self.ring.first().map(|(key, _)| *key).expect("a ring over its bound is not empty");
                self.ring.remove_mut(&oldest);
                self.floor = oldest.0;
            }
        }
    }

    pub(crate) fn after(&self, index: Index) -> Result<impl Iterator<Item = &ObjectChange>, Compacted> {
        if index < self.floor {
            return Err(Compacted { oldest: self.floor });
        }
        let bounds = (Bound::Excluded((index, u32::MAX)), Bound::Unbounded);
        Ok(self.ring.range(bounds).map(|(_, change)| change))
    }

    pub(crate) fn len(&self) -> usize {
        self.ring.size()
    }
}
