//! Writing wishes: apply, undo, delete. Owns the requests and their answers; must never hold a manifest's YAML.

use std::fmt;

use model::{
    id::{AppId, Index, RevisionNumber},
    problem::Problem,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ValueAnswer;

/// `POST /v1/apply`. All documents are checked before any is written; then all are written together.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApplyRequest {
    /// Canonical JSON of each object (`apiVersion`, `kind`, `metadata`, `spec`; `status` is ignored, and without a `kind` it is an App). Every source is a
    /// digest, every value a text. Their order does not matter.
    #[schema(value_type = Vec<Object>)]
    pub documents: Vec<serde_json::Value>,
    /// Refuse unless the app still has this version (0: must not exist). A document's own `metadata.resourceVersion` wins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub expect: Option<Index>,
    /// Who asks, as the history shows it: `ana@laptop`.
    #[serde(default)]
    pub by: String,
    /// Whoever asks has seen what the apps may do afterwards and not now, and wants it. Without this such an apply is refused (E0211);
    /// an app that is new needs none.
    #[serde(default)]
    pub accept_permissions: bool,
}

/// Documents may hold the values of secrets: only how many there are is shown.
impl fmt::Debug for ApplyRequest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("ApplyRequest").field("documents", &self.documents.len()).field("by", &self.by).finish_non_exhaustive()
    }
}

/// What `apply` did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApplyAnswer {
    /// The log index after the write; a read at or after it sees everything.
    #[schema(value_type = u64)]
    pub index: Index,
    /// One per app, in their order.
    pub objects: Vec<ObjectAnswer>,
    /// One per Config, Secret and Namespace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<ValueAnswer>,
}

/// What became of one object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectAnswer {
    /// The app.
    #[schema(value_type = String)]
    pub app: AppId,
    /// What happened to it.
    pub outcome: Outcome,
    /// The revision it wishes for after this.
    #[schema(value_type = u64)]
    pub revision: RevisionNumber,
    /// Its version now.
    #[schema(value_type = u64)]
    pub version: Index,
    /// Where it answers, once it serves.
    pub urls: Vec<String>,
    /// What is allowed but worth a look.
    #[serde(default)]
    #[schema(schema_with = crate::schema::problems)]
    pub warnings: Vec<Problem>,
}

/// What happened to an object, or would.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// It is new.
    Created,
    /// It has a new revision.
    Changed,
    /// Its number of instances changed; the revision is the same.
    Scaled,
    /// It was so already.
    Unchanged,
}

/// `POST …/undo`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UndoRequest {
    /// The revision to go back to; the one before the current when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub to: Option<RevisionNumber>,
    /// Who asks.
    #[serde(default)]
    pub by: String,
}

/// What a delete started. The app is gone when its last instance has stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeleteAnswer {
    /// The log index after the write.
    #[schema(value_type = u64)]
    pub index: Index,
    /// The app.
    #[schema(value_type = String)]
    pub app: AppId,
    /// Instances that still have to stop.
    pub instances: usize,
}
