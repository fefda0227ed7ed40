//! The cluster's authority, and how far replacing it is. Owns these shapes; must never carry a key.

use model::id::NodeId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::JoinRole;
use crate::{peer::RotationPhase, time::Time};

/// `GET /v1/authority`: who signs the nodes' certificates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuthorityView {
    /// The digest to pin: while a rotation is under way that of the old one, which leads to the new one too.
    pub digest: String,
    /// Until when the certificate of the one that signs holds.
    #[schema(value_type = String, format = DateTime)]
    pub not_after: Time,
    /// The rotation that is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<RotationView>,
    /// Those that were replaced and are remembered, the newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retired: Vec<RetiredView>,
    /// Who was away at the end of the last rotation and still has a certificate of an old authority.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub behind: Vec<HolderView>,
}

/// A rotation that is under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RotationView {
    /// Who asked for it.
    pub by: String,
    /// Since when it is under way.
    #[schema(value_type = String, format = DateTime)]
    pub since: Time,
    /// How far it is.
    pub phase: RotationPhase,
    /// The digest of the authority that takes over.
    pub next: String,
    /// Who has not learned, or not renewed, yet.
    pub waits_for: Vec<HolderView>,
}

/// A node in one of its roles: each has a certificate of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HolderView {
    /// The node's id.
    #[schema(value_type = u64)]
    pub id: NodeId,
    /// Its name.
    pub node: String,
    /// In which of its roles.
    pub role: JoinRole,
}

/// An authority that was replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RetiredView {
    /// Its digest.
    pub digest: String,
    /// When it was trusted no longer.
    #[schema(value_type = String, format = DateTime)]
    pub at: Time,
}
