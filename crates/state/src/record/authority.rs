//! What is held of the cluster's authorities beside the one that signs: one on its way in or out, and those that were replaced. Owns these shapes; must never
//! know how they change.

use std::collections::BTreeSet;

use model::id::{Index, NodeId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::command::{NodeRole, RotationPhase, Sealed};

/// The authorities beside the one in [`crate::ClusterRecord`], which signs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Authorities {
    /// Index of the last change of what nodes trust; 0 as long as there was never another authority.
    pub version: Index,
    /// The rotation that is under way.
    pub rotation: Option<Rotation>,
    /// Those that were replaced, the newest first.
    pub retired: Vec<Retired>,
    /// The entry that began the last rotation that is over.
    pub last: Index,
    /// Who was away when it was over and has not renewed since.
    pub behind: BTreeSet<(NodeId, NodeRole)>,
}

/// An authority takes the place of another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotation {
    /// The entry that began it, by which it is told from others.
    pub began: Index,
    /// When.
    pub at: Timestamp,
    /// Who asked for it.
    pub by: String,
    /// Which authority does not sign, and who has come how far.
    pub step: Step,
    /// The new authority's key under the old one's signature: DER.
    pub cross: Vec<u8>,
    /// Who has done what the phase waits for.
    pub confirmed: BTreeSet<(NodeId, NodeRole)>,
}

/// What a rotation is at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// The old one signs.
    Learning {
        /// The new one's certificate: DER.
        next: Vec<u8>,
        /// The new one's key.
        key: Sealed,
    },
    /// The new one signs. The old one's key is gone.
    Renewing {
        /// The old one's certificate: DER.
        last: Vec<u8>,
    },
}

/// An authority that was replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retired {
    /// Its certificate: DER.
    pub certificate: Vec<u8>,
    /// The key of the one that took its place under its signature: DER.
    pub cross: Vec<u8>,
    /// When it was trusted no longer.
    pub at: Timestamp,
}

impl Rotation {
    /// How far it is.
    pub fn phase(&self) -> RotationPhase {
        match self.step {
            Step::Learning { .. } => RotationPhase::Learning,
            Step::Renewing { .. } => RotationPhase::Renewing,
        }
    }
}
