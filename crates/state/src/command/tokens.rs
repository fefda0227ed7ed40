//! What lets nodes and people in. Owns these encoded shapes; must never carry a secret: only its sha256 enters the log, which tells nothing about a
//! secret of 128 random bits.

use std::fmt;

use model::id::{Name, Timestamp, TokenId};
use serde::{Deserialize, Serialize};

use super::NodeRole;

/// A token with which nodes may join.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateJoinToken {
    /// Its id, made where it was asked for.
    pub id: TokenId,
    /// The sha256 of its secret.
    pub secret_hash: [u8; 32],
    /// As what a node may join: with `Server` also as a server that works.
    pub role: NodeRole,
    /// From when on it lets nobody in.
    pub expires_at: Timestamp,
    /// How many nodes may join with it; any number when absent.
    pub uses: Option<u32>,
    /// What it is for.
    pub note: String,
}

/// No node may join with it any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokeJoinToken {
    /// Which.
    pub id: TokenId,
}

/// A token with which a person or a program may use the API.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateApiToken {
    /// Its id, made where it was asked for.
    pub id: TokenId,
    /// The sha256 of its secret.
    pub secret_hash: [u8; 32],
    /// Whose it is: the name that stands beside what is done with it.
    pub name: String,
    /// What it may do.
    pub role: ApiRole,
    /// Where it may do it; everywhere when absent. An admin is not held to a namespace.
    pub namespace: Option<Name>,
    /// From when on it opens nothing; never when absent.
    pub expires_at: Option<Timestamp>,
}

/// It opens nothing any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokeApiToken {
    /// Which.
    pub id: TokenId,
}

/// What may be done with an API token, from the least to the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ApiRole {
    /// Look.
    Viewer,
    /// Look, deploy and delete.
    Deployer,
    /// Everything.
    Admin,
}

impl fmt::Display for ApiRole {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(match self {
            Self::Viewer => "viewer",
            Self::Deployer => "deployer",
            Self::Admin => "admin",
        })
    }
}

impl fmt::Debug for CreateJoinToken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = out.debug_struct("CreateJoinToken");
        shown.field("id", &self.id).field("role", &self.role).field("expires_at", &self.expires_at).field("uses", &self.uses);
        shown.finish_non_exhaustive()
    }
}

impl fmt::Debug for CreateApiToken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = out.debug_struct("CreateApiToken");
        shown.field("id", &self.id).field("name", &self.name).field("role", &self.role).field("namespace", &self.namespace);
        shown.finish_non_exhaustive()
    }
}
