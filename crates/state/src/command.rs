//! Everything that may change the state. Owns the encoded shapes: append-only, golden bytes under test. Must never carry a model type that may change.

use model::{
    app::App,
    frozen::{self, Frozen},
    id::{AppId, ComponentId, Digest, Index, InstanceId, Name, NodeId, PlacementId, RevisionNumber, Timestamp},
};
use serde::{Deserialize, Serialize};

/// A change, in the version it was written in. Variants are only ever appended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// The first vocabulary.
    V1(CommandV1),
}

/// The first vocabulary of changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CommandV1 {
    /// A node joins, or comes back under its name.
    Join(Join),
    /// A user wishes an app; a new revision when anything but its scale changed.
    Deploy(Deploy),
    /// A user wishes an earlier revision again.
    Undo(Undo),
    /// A user wishes an app gone.
    Delete(Delete),
    /// The scheduler's plan is carried out.
    Carry(Plan),
    /// What workers saw.
    Observe(Observe),
    /// What workers did that people want to know of.
    Note(Note),
}

/// A node joins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Join {
    /// When.
    pub at: Timestamp,
    /// The node's name, unique in the cluster.
    pub name: String,
    /// Bytes the scheduler may book on it.
    pub memory_bytes: u64,
    /// Thousandths of a core the scheduler may book on it.
    pub cpu_millis: u32,
}

/// A user wishes an app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deploy {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub by: String,
    /// The app.
    pub app: AppId,
    /// What it should be.
    pub frozen: Frozen,
    /// Equal for two wishes that differ only in what lives outside revisions: scale and protection. `apply` compares it and parses nothing.
    pub identity: Digest,
    /// A protected app is not deleted.
    pub protected: bool,
    /// Refuse unless the app still has this version; 0 means it must not exist.
    pub expect: Option<Index>,
}

impl Deploy {
    /// The wish for `app`, expecting the version its metadata names. Fails with the first component whose source is no digest yet.
    pub fn of(app: &App, at: Timestamp, by: impl Into<String>) -> Result<Self, Name> {
        let mut wish = app.clone();
        wish.metadata.resource_version = None;
        let frozen = frozen::freeze(&wish)?;
        wish.metadata.protected = false;
        wish.spec.components.values_mut().for_each(|component| component.scale.replicas = 1);
        let identity = Digest::of(frozen::freeze(&wish)?.canonical.as_bytes());
        let expect = app.metadata.resource_version;
        Ok(Self { at, by: by.into(), app: app.id(), frozen, identity, protected: app.metadata.protected, expect })
    }
}

/// A user wishes an earlier revision again. It becomes a new revision; the scale stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undo {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub by: String,
    /// The app.
    pub app: AppId,
    /// The revision to go back to. When absent: the one that serves if that is another, else the one before.
    pub to: Option<RevisionNumber>,
}

/// A user wishes an app gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delete {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub by: String,
    /// The app.
    pub app: AppId,
}

/// What the scheduler decided. `apply` re-checks every step: plans may be stale.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Plan {
    /// When it was decided.
    pub at: Timestamp,
    /// The state it was decided on.
    pub based_on: Index,
    /// In order.
    pub steps: Vec<Step>,
}

/// One decision of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// Run `instance` of `revision` on `node`.
    Place {
        /// The instance.
        instance: InstanceId,
        /// Under which revision.
        revision: RevisionNumber,
        /// Where.
        node: NodeId,
    },
    /// Drain and stop a placement.
    Stop {
        /// Which.
        placement: PlacementId,
        /// Why, in the words users see.
        why: String,
    },
    /// Traffic goes to `revision` from here on.
    Serve {
        /// The app.
        app: AppId,
        /// Its revision.
        revision: RevisionNumber,
    },
    /// The rollout of `revision` ends without success; what serves keeps serving.
    Fail {
        /// The app.
        app: AppId,
        /// The revision that failed.
        revision: RevisionNumber,
        /// `E0301` and the like.
        code: String,
        /// Why.
        message: String,
    },
    /// Forget a placement whose worker says it has stopped.
    Forget {
        /// Which.
        placement: PlacementId,
    },
    /// An instance waits, and for what.
    Wait {
        /// The instance.
        instance: InstanceId,
        /// For what, in the words users see.
        reason: String,
    },
    /// An instance waits no longer.
    Resume {
        /// The instance.
        instance: InstanceId,
    },
}

/// What workers saw, batched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observe {
    /// When.
    pub at: Timestamp,
    /// The node.
    pub node: NodeId,
    /// New phases of its placements.
    pub phases: Vec<(PlacementId, SeenPhase)>,
}

/// What a worker did that people want to know of. Nothing is decided by it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// The node.
    pub node: NodeId,
    /// In order.
    pub events: Vec<NodeEvent>,
}

/// One thing a worker did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeEvent {
    /// When.
    pub at: Timestamp,
    /// What.
    pub kind: NodeEventKind,
    /// With which component, if with one.
    pub component: Option<ComponentId>,
    /// One sentence.
    pub message: String,
}

/// What a worker may do that people want to know of. Variants are only ever appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum NodeEventKind {
    /// It serves, for the first time or again.
    WorkerStarted,
    /// It has code of a component that had none.
    CodeCompiled,
    /// Guests of a component trap, and did not before.
    GuestsTrapped,
}

impl Plan {
    /// Whether there is nothing to carry out.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }
}

/// How far a placement is, as recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SeenPhase {
    /// Known to the worker; its code may be on the way.
    Preparing,
    /// Takes requests.
    Ready,
    /// Finishes what it has.
    Draining,
    /// Gone.
    Stopped,
    /// Cannot run.
    Failed {
        /// `E0301` and the like.
        code: String,
        /// Why.
        message: String,
    },
}
