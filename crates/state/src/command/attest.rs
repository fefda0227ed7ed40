//! What members say of their state. Owns this encoded shape; must never decide who is right.

use model::id::{Index, NodeId};
use serde::{Deserialize, Serialize};

/// A member says what the hash of its state was at a checkpoint, so that all can compare.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attest {
    /// Which member.
    pub node: NodeId,
    /// The checkpoint: a multiple of [`crate::limits::CHECKPOINT_EVERY`].
    pub index: Index,
    /// The hash of its state after that entry.
    pub hash: [u8; 32],
}
