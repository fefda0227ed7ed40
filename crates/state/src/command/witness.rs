//! What people do beside the state and what is to be known all the same. Owns this encoded shape; must never say what came of it.

use serde::{Deserialize, Serialize};

/// Somebody is about to do something that no other change says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Witness {
    /// What.
    pub deed: Deed,
    /// To what, as the audit log says it: a kind and a name.
    pub object: String,
}

/// What people do beside the state. Variants are only ever appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Deed {
    /// A server gets a vote.
    Promote,
    /// Another server leads.
    Transfer,
    /// A server loses its vote, before its node is forgotten.
    RemoveMember,
    /// The key of the cluster is given to whoever asks.
    GiveKey,
}

impl Deed {
    /// The deed, as the audit log says it.
    pub fn verb(self) -> &'static str {
        match self {
            Self::Promote => "promote",
            Self::Transfer => "transfer",
            Self::RemoveMember => "remove",
            Self::GiveKey => "give",
        }
    }
}
