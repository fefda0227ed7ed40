//! Apps, their instances and their history, as read. Owns the views; must never hold a secret or decide what a status means for an exit code.

use model::{
    app::Metadata,
    id::{AppId, Digest, Generation, Index, InstanceId, Name, PlacementId, RevisionNumber},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Change;
use crate::{node::Wanted, time::Time};

/// An app: wish and status. Without `status` it can be applied again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AppView {
    /// `shoal.dev/v1`.
    pub api_version: String,
    /// `App`.
    pub kind: String,
    /// Name, labels and the like; `resourceVersion` is the log index of the last change.
    #[schema(schema_with = crate::schema::metadata)]
    pub metadata: Metadata,
    /// The wish, canonical, with the scale as it is now.
    #[schema(value_type = Object)]
    pub spec: serde_json::Value,
    /// How it is.
    pub status: AppStatus,
}

impl AppView {
    /// The app's id.
    pub fn id(&self) -> AppId {
        AppId { namespace: self.metadata.namespace.clone(), name: self.metadata.name.clone() }
    }
}

/// How an app is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AppStatus {
    /// When it was first applied.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Time,
    /// The revision wished for.
    #[schema(value_type = u64)]
    pub wanted: RevisionNumber,
    /// The revision traffic goes to; absent before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub serving: Option<RevisionNumber>,
    /// The assignment every worker that runs the app acts on; older than `metadata.resourceVersion` while word is on its way.
    #[schema(value_type = u64)]
    pub observed_generation: Generation,
    /// Every worker that runs the app and speaks knows that traffic goes to `serving`; until then another revision may answer there, or none.
    #[serde(default)]
    pub routed: bool,
    /// How the rollout of `wanted` goes.
    pub rollout: RolloutView,
    /// The same as yes-or-no questions.
    pub conditions: Vec<Condition>,
    /// Per component.
    pub components: Vec<ComponentStatus>,
    /// Every instance.
    pub instances: Vec<InstanceView>,
    /// What does not run, and what it waits for.
    pub waits: Vec<Waiting>,
    /// Where it answers.
    pub urls: Vec<String>,
    /// It was deleted, and its last instances are stopping.
    pub deleting: bool,
}

/// How a rollout goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutView {
    /// How far.
    pub phase: RolloutPhase,
    /// `E0301` and the like, when it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// One sentence.
    pub message: String,
}

/// How far a rollout is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum RolloutPhase {
    /// Under way.
    Progressing,
    /// Every instance of the wanted revision is ready and traffic goes there.
    Done,
    /// It ended without success; what served before still serves.
    Failed,
}

/// A yes-or-no question about an app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// `Available`, `Progressing`, `Deleting`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The answer.
    pub status: bool,
    /// One word for programs: `AllReady`, `Compiling`, `Failed`.
    pub reason: String,
    /// One sentence for people.
    pub message: String,
}

/// How one component is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ComponentStatus {
    /// The component.
    #[schema(value_type = String)]
    pub name: Name,
    /// Its artifact in the wanted revision.
    #[schema(value_type = String)]
    pub digest: Digest,
    /// Instances wished for.
    pub wanted: u32,
    /// Instances of the wanted revision that take requests.
    pub ready: u32,
}

/// One instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct InstanceView {
    /// `hello/web.1`.
    #[schema(value_type = String)]
    pub instance: InstanceId,
    /// Under which revision.
    #[schema(value_type = u64)]
    pub revision: RevisionNumber,
    /// The decision that put it there.
    #[schema(value_type = u64)]
    pub placement: PlacementId,
    /// The node's name.
    pub node: String,
    /// Run or stop.
    pub wanted: Wanted,
    /// How far it is.
    pub phase: InstancePhase,
    /// When it was decided.
    #[schema(value_type = String, format = DateTime)]
    pub since: Time,
    /// `E0301` and the like, when it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Why it is not ready; empty when it is.
    #[serde(default)]
    pub message: String,
    /// What is being compiled for it, while something is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compiling: Option<CompilingView>,
}

/// A compilation under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CompilingView {
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub since: Time,
    /// Of how many bytes; absent when that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// How far an instance is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum InstancePhase {
    /// Its node has not spoken of it yet.
    Assigned,
    /// Its artifact is on the way.
    Fetching,
    /// Its code is being made.
    Compiling,
    /// A probe sandbox is being started.
    Starting,
    /// Takes requests.
    Ready,
    /// Finishes what it has.
    Draining,
    /// Gone.
    Stopped,
    /// Cannot run.
    Failed,
    /// Its node is silent, or has not reported to this server yet.
    Unknown,
}

/// An instance that waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Waiting {
    /// The instance.
    #[schema(value_type = String)]
    pub instance: InstanceId,
    /// For what.
    pub reason: String,
}

/// An immutable version of an app.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RevisionView {
    /// Its app.
    #[schema(value_type = String)]
    pub app: AppId,
    /// Counted from 1.
    #[schema(value_type = u64)]
    pub number: RevisionNumber,
    /// When it was applied.
    #[schema(value_type = String, format = DateTime)]
    pub at: Time,
    /// By whom.
    pub by: String,
    /// `undo of r2`, or empty.
    pub note: String,
    /// Traffic goes to it.
    pub serving: bool,
    /// It is wished for.
    pub wanted: bool,
    /// What runs in it.
    pub components: Vec<RevisionComponent>,
    /// What changed since the revision before.
    pub changes: Vec<Change>,
}

/// A component in a revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RevisionComponent {
    /// The component.
    #[schema(value_type = String)]
    pub name: Name,
    /// Its artifact.
    #[schema(value_type = String)]
    pub digest: Digest,
}

/// One line of `…/watch`: first how the app is, then each change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", tag = "type")]
pub enum WatchEvent {
    /// How the app is now.
    Status {
        /// The log index it was read at.
        #[schema(value_type = u64)]
        index: Index,
        /// The app.
        app: Box<AppView>,
    },
    /// The app is gone; the stream ends.
    Deleted {
        /// The log index it was read at.
        #[schema(value_type = u64)]
        index: Index,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_line_says_its_type_first() {
        let line = serde_json::to_string(&WatchEvent::Deleted { index: Index(7) }).expect("plain data");
        assert_eq!(line, r#"{"type":"deleted","index":7}"#);
    }
}
