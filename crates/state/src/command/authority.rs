//! How the cluster's authority is replaced. Owns these encoded shapes; must never hold a private key that is not sealed.

use model::id::{Index, NodeId, Timestamp};
use serde::{Deserialize, Serialize};

use super::{NodeRole, Sealed};

/// Another authority is to sign the nodes' certificates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RotateAuthority {
    /// The version of the authorities that it was made on: the cross is of no use when another one signs by now.
    pub after: Index,
    /// Its certificate: DER, public.
    pub certificate: Vec<u8>,
    /// A certificate over the same key that the authority of today signed: DER, public.
    pub cross: Vec<u8>,
    /// Its key.
    pub key: Sealed,
}

/// How far a rotation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum RotationPhase {
    /// Both authorities are trusted and the old one signs: nodes learn of the new one.
    Learning,
    /// Both are trusted and the new one signs: nodes renew their certificates.
    Renewing,
}

impl RotationPhase {
    /// As people read it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Learning => "learning",
            Self::Renewing => "renewing",
        }
    }
}

/// Nodes have done what a rotation waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfirmAuthority {
    /// When.
    pub at: Timestamp,
    /// The entry that began the rotation: one that is over is not confirmed any more.
    pub rotation: Index,
    /// What they have done: learned of the new authority, or renewed under it.
    pub phase: RotationPhase,
    /// Which, each in which of its roles.
    pub confirmed: Vec<(NodeId, NodeRole)>,
    /// Who was not heard of for so long that the rotation goes on without them.
    pub away: Vec<(NodeId, NodeRole)>,
}
