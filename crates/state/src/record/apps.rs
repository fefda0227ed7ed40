//! What is held of apps, their history and where they run. Owns these shapes; must never know how they change.

use std::{collections::BTreeMap, sync::Arc};

use model::{
    frozen::{ComponentSpecV1, Frozen},
    id::{AppId, Digest, Index, InstanceId, Name, NodeId, PlacementId, RevisionNumber, Timestamp},
};
use serde::{Deserialize, Serialize};

use crate::{changes::ObjectKey, command::SeenPhase, table::Row};

/// An app: what is wished, what serves, and how far it is from the one to the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppRecord {
    /// Which app.
    pub id: AppId,
    /// Index of the last change of the wish: what compare-and-set compares with.
    pub version: Index,
    /// Index of the last change of anything here.
    pub status_version: Index,
    /// When it was first deployed.
    pub created_at: Timestamp,
    /// When the wish last changed.
    pub changed_at: Timestamp,
    /// The revision the user wishes.
    pub wanted: RevisionNumber,
    /// The revision that has the traffic.
    pub serving: Option<RevisionNumber>,
    /// Index of the entry that gave it the traffic; 0 before. Gateways that know an older assignment may send it elsewhere still.
    pub serving_since: Index,
    /// The newest revision ever made; numbers are never used again.
    pub newest: RevisionNumber,
    /// Wished instances on every worker by component, of the wanted and of the serving revision.
    pub replicas: BTreeMap<Name, u32>,
    /// A protected app is not deleted.
    pub protected: bool,
    /// The app goes away as soon as its last placement is forgotten.
    pub deleted: bool,
    /// How far the wanted revision is.
    pub rollout: Rollout,
    /// Instances that wait, and for what.
    pub waits: BTreeMap<InstanceId, String>,
}

impl AppRecord {
    /// The revision whose routes gateways follow: none once the app is deleted.
    pub fn routed(&self) -> Option<RevisionNumber> {
        self.serving.filter(|_| !self.deleted)
    }

    /// Wished instances of all its components on one worker.
    pub fn wished_per_node(&self) -> u64 {
        self.replicas.values().map(|count| u64::from(*count)).sum()
    }

    /// The revisions that own their routes and keep their history.
    pub fn held(&self) -> impl Iterator<Item = RevisionNumber> + use<> {
        std::iter::once(self.wanted).chain(self.serving.filter(|serving| *serving != self.wanted))
    }
}

/// How far the wanted revision is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rollout {
    /// Its instances are being placed or prepared.
    Progressing,
    /// It serves, and every wished instance was ready.
    Done,
    /// It cannot run; what served before still does.
    Failed {
        /// `E0301` and the like.
        code: String,
        /// Why.
        message: String,
    },
}

/// An immutable version of an app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    /// Which app.
    pub app: AppId,
    /// Its number, from 1.
    pub number: RevisionNumber,
    /// When it was made.
    pub at: Timestamp,
    /// Who made it.
    pub by: String,
    /// What it is. Its `replicas` are what was wished when it was made; the app holds what is wished today.
    pub frozen: Arc<Frozen>,
    /// Equal for two revisions that differ in nothing but scale.
    pub identity: Digest,
    /// `undo of r2`, or empty.
    pub note: String,
}

impl Revision {
    /// What decisions read of `component`.
    pub fn component(&self, component: &str) -> Option<&ComponentSpecV1> {
        self.frozen.spec.components.iter().find(|spec| spec.name.as_str() == component)
    }
}

/// The decision that an instance runs on a node under a revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// The decision's id: it grows with every decision, and is never used twice.
    pub id: PlacementId,
    /// Which instance.
    pub instance: InstanceId,
    /// Under which revision.
    pub revision: RevisionNumber,
    /// Where.
    pub node: NodeId,
    /// Index of the entry that decided it.
    pub decided: Index,
    /// Bytes booked on the node until the placement is forgotten.
    pub memory_bytes: u64,
    /// When it was decided.
    pub at: Timestamp,
    /// Why it drains and stops; none while it should run.
    pub stopping: Option<String>,
    /// How far it is, as last recorded.
    pub phase: SeenPhase,
    /// Since when.
    pub since: Timestamp,
}

impl Placement {
    /// Whether it should run.
    pub fn runs(&self) -> bool {
        self.stopping.is_none()
    }
}

impl Row for AppRecord {
    type Key = AppId;

    fn key(&self) -> AppId {
        self.id.clone()
    }

    fn object(&self) -> ObjectKey {
        ObjectKey::App(self.id.clone())
    }
}

impl Row for Revision {
    type Key = (AppId, RevisionNumber);

    fn key(&self) -> Self::Key {
        (self.app.clone(), self.number)
    }

    fn object(&self) -> ObjectKey {
        ObjectKey::Revision(self.app.clone(), self.number)
    }
}

impl Row for Placement {
    type Key = PlacementId;

    fn key(&self) -> PlacementId {
        self.id
    }

    fn object(&self) -> ObjectKey {
        ObjectKey::Placement(self.id, self.instance.clone())
    }
}
