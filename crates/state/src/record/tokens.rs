//! What is held of tokens. Owns these shapes; must never hold a secret, and shows no hash of one in `Debug`.

use std::fmt;

use model::id::{Index, Name, Timestamp, TokenId};
use serde::{Deserialize, Serialize};

use crate::{
    changes::ObjectKey,
    command::{ApiRole, NodeRole},
    table::Row,
};

/// A token with which nodes may join.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinTokenRecord {
    /// Its id.
    pub id: TokenId,
    /// The sha256 of its secret.
    pub secret_hash: [u8; 32],
    /// As what a node may join.
    pub role: NodeRole,
    /// From when on it lets nobody in.
    pub expires_at: Timestamp,
    /// How many more nodes may join with it; any number when absent.
    pub uses_left: Option<u32>,
    /// How many joined with it.
    pub used: u32,
    /// When it was made.
    pub created_at: Timestamp,
    /// By whom.
    pub created_by: String,
    /// What it is for.
    pub note: String,
    /// Index of the last change of anything here.
    pub version: Index,
}

/// A token with which a person or a program may use the API.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiTokenRecord {
    /// Its id.
    pub id: TokenId,
    /// The sha256 of its secret.
    pub secret_hash: [u8; 32],
    /// Whose it is.
    pub name: String,
    /// What it may do.
    pub role: ApiRole,
    /// Where it may do it; everywhere when absent.
    pub namespace: Option<Name>,
    /// From when on it opens nothing; never when absent.
    pub expires_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// By whom.
    pub created_by: String,
    /// Index of the last change of anything here.
    pub version: Index,
}

impl ApiTokenRecord {
    /// Whether it opens nothing any more at `now`.
    pub fn expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|end| end <= now)
    }
}

impl JoinTokenRecord {
    /// Whether it lets nobody in any more at `now`, because of its age.
    pub fn expired(&self, now: Timestamp) -> bool {
        self.expires_at <= now
    }
}

impl fmt::Debug for JoinTokenRecord {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = out.debug_struct("JoinTokenRecord");
        shown.field("id", &self.id).field("role", &self.role).field("expires_at", &self.expires_at);
        shown.field("uses_left", &self.uses_left).field("used", &self.used).finish_non_exhaustive()
    }
}

impl fmt::Debug for ApiTokenRecord {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = out.debug_struct("ApiTokenRecord");
        shown.field("id", &self.id).field("name", &self.name).field("role", &self.role).field("namespace", &self.namespace);
        shown.field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

impl Row for JoinTokenRecord {
    type Key = TokenId;

    fn key(&self) -> TokenId {
        self.id.clone()
    }

    fn object(&self) -> ObjectKey {
        ObjectKey::JoinToken(self.id.clone())
    }
}

impl Row for ApiTokenRecord {
    type Key = TokenId;

    fn key(&self) -> TokenId {
        self.id.clone()
    }

    fn object(&self) -> ObjectKey {
        ObjectKey::ApiToken(self.id.clone())
    }
}
