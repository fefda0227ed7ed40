//! What the scheduler decides and workers see. Owns these encoded shapes; must never know why something was decided.

use model::id::{AppId, ComponentId, Index, InstanceId, NodeId, PlacementId, RevisionNumber, Timestamp};
use serde::{Deserialize, Serialize};

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
    /// The rollout is done: `revision` serves, and every instance on a node that reports is ready.
    Settle {
        /// The app.
        app: AppId,
        /// Its revision.
        revision: RevisionNumber,
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
