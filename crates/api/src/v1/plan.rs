//! What an apply would do, without doing it. Owns the question and the answer; must never promise that the answer still holds at apply.

use std::fmt;

use model::{
    id::{AppId, Digest, Index, InstanceId, Name, RevisionNumber},
    problem::Problem,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Outcome, PlannedValue, Waiting};

/// `POST /v1/plan`. Nothing is written.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlanRequest {
    /// As in an apply.
    #[schema(value_type = Vec<Object>)]
    pub documents: Vec<serde_json::Value>,
    /// As in an apply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub expect: Option<Index>,
    /// What the sender read of artifacts the server may not have yet.
    #[serde(default)]
    pub artifacts: Vec<ArtifactFacts>,
}

/// Documents may hold the values of secrets: only how many there are is shown.
impl fmt::Debug for PlanRequest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("PlanRequest").field("documents", &self.documents.len()).finish_non_exhaustive()
    }
}

/// What a component says about itself, read without compiling it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ArtifactFacts {
    /// Its bytes.
    #[schema(value_type = String)]
    pub digest: Digest,
    /// How many.
    pub size: u64,
    /// What it was written in, when it says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// `wasi:http/outgoing-handler@0.2.4` and the like.
    pub imports: Vec<String>,
    /// `wasi:http/incoming-handler@0.2.4` and the like.
    pub exports: Vec<String>,
}

/// What an apply would do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanAnswer {
    /// The log index it was made on.
    #[schema(value_type = u64)]
    pub index: Index,
    /// One per app, in their order.
    pub objects: Vec<PlannedObject>,
    /// One per Config, Secret and Namespace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<PlannedValue>,
    /// Instances the whole plan leaves waiting, of any app.
    pub waits: Vec<Waiting>,
}

impl PlanAnswer {
    /// Whether an apply would change anything.
    pub fn has_changes(&self) -> bool {
        let apps = self.objects.iter().map(|object| object.outcome);
        apps.chain(self.values.iter().map(|value| value.outcome)).any(|outcome| outcome != Outcome::Unchanged)
    }
}

/// What would become of one object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlannedObject {
    /// The app.
    #[schema(value_type = String)]
    pub app: AppId,
    /// What would happen to it.
    pub outcome: Outcome,
    /// Its version now, 0 when it does not exist: `apply --check-index` takes it.
    #[schema(value_type = u64)]
    pub version: Index,
    /// The revision it would wish for.
    #[schema(value_type = u64)]
    pub revision: RevisionNumber,
    /// Field by field.
    pub changes: Vec<Change>,
    /// Where instances would start.
    pub placements: Vec<PlannedPlacement>,
    /// Instances that would stop, once the new ones serve.
    #[schema(value_type = Vec<String>)]
    pub stops: Vec<InstanceId>,
    /// Artifacts that would be compiled or uploaded first.
    pub compile: Vec<CompileNeed>,
    /// The files of its components.
    #[serde(default)]
    pub files: Vec<PlannedFile>,
    /// What the components could reach afterwards that they cannot now, and the other way round.
    pub permissions: Vec<PermissionChange>,
    /// What is allowed but worth a look.
    #[serde(default)]
    #[schema(schema_with = crate::schema::problems)]
    pub warnings: Vec<Problem>,
}

/// One field that differs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// `spec.components.web.env.COLOR`.
    pub path: String,
    /// The value now, as a manifest writes it; absent when the field is new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// The value afterwards; absent when the field goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

impl From<model::difference::Change> for Change {
    fn from(change: model::difference::Change) -> Self {
        Self { path: change.path, before: change.before, after: change.after }
    }
}

/// Where an instance would start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlannedPlacement {
    /// The instance.
    #[schema(value_type = String)]
    pub instance: InstanceId,
    /// The node's name.
    pub node: String,
}

/// An artifact that is not ready to run yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CompileNeed {
    /// The component.
    #[schema(value_type = String)]
    pub component: Name,
    /// Its artifact.
    #[schema(value_type = String)]
    pub digest: Digest,
    /// How many bytes, when known.
    pub size: Option<u64>,
    /// Whether the server has the bytes, so that nothing is uploaded.
    pub stored: bool,
}

/// A file that a component may read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlannedFile {
    /// The component.
    #[schema(value_type = String)]
    pub component: Name,
    /// Where the guest finds it.
    pub to: String,
    /// Its bytes.
    #[schema(value_type = String)]
    pub digest: Digest,
    /// How many bytes, when known.
    pub size: Option<u64>,
    /// Whether the server has the bytes, so that nothing is uploaded.
    pub stored: bool,
}

/// One thing a component may do afterwards and not now, or the other way round.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PermissionChange {
    /// The component.
    #[schema(value_type = String)]
    pub component: Name,
    /// Gained or lost.
    pub direction: Direction,
    /// `reach https://api.example:443`, `keep a sandbox for several requests`, `call wasi:sockets`.
    pub what: String,
}

/// Which way a permission goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum Direction {
    /// New.
    Gained,
    /// Gone.
    Lost,
}
