//! What happened, for people: a bounded ring derived in `apply`. Owns the kinds of events; must never be read by a decision.

use model::id::{AppId, Timestamp};
use serde::{Deserialize, Serialize};

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Counts from 1 over the cluster's life, without a gap.
    pub sequence: u64,
    /// When.
    pub at: Timestamp,
    /// What happened.
    pub kind: EventKind,
    /// To which app, if to one.
    pub app: Option<AppId>,
    /// To what: `hello`, `hello/web.1`, or a node's name.
    pub object: String,
    /// One sentence.
    pub message: String,
}

/// What may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum EventKind {
    /// A node came for the first time.
    NodeJoined,
    /// A node came back with other resources.
    NodeChanged,
    /// A new revision is wished.
    AppDeployed,
    /// Other numbers of instances are wished.
    AppScaled,
    /// A failed revision is tried again.
    AppRetried,
    /// An earlier revision is wished again.
    AppUndone,
    /// An app is to go away.
    AppDeleting,
    /// An app is gone.
    AppDeleted,
    /// A revision has the traffic.
    RevisionServing,
    /// A revision serves, and every instance was ready.
    RolloutDone,
    /// A revision cannot run.
    RolloutFailed,
    /// An instance was given a node.
    InstancePlaced,
    /// An instance takes requests.
    InstanceReady,
    /// An instance cannot run.
    InstanceFailed,
    /// An instance waits.
    InstanceWaiting,
    /// An instance drains.
    InstanceStopping,
    /// An instance is gone.
    InstanceStopped,
    /// A worker serves, for the first time or again.
    WorkerStarted,
    /// There is code of a component that had none.
    CodeCompiled,
    /// Guests of a component trap, and did not before.
    GuestsTrapped,
    /// The cluster began.
    ClusterFounded,
    /// Every server reads a newer vocabulary by now, and the cluster writes it.
    ClusterUpgraded,
    /// A node took the place of a lost one.
    NodeReplaced,
    /// A node was removed.
    NodeRemoved,
    /// The node of an instance is gone, and the instance with it.
    InstanceLost,
    /// A Config holds other values.
    ConfigChanged,
    /// A Config is gone.
    ConfigDeleted,
    /// A Secret has another version.
    SecretChanged,
    /// A Secret is gone.
    SecretDeleted,
    /// A Namespace has other ceilings.
    NamespaceChanged,
    /// A Namespace has no ceilings any more.
    NamespaceDeleted,
    /// The group of servers began anew, from a snapshot or from what one server kept.
    ClusterRecovered,
    /// Another authority is to sign, and nodes learn of it.
    AuthorityRotating,
    /// The new authority signs, and nodes renew their certificates.
    AuthoritySigning,
    /// The old authority is trusted no longer.
    AuthorityRotated,
}

impl EventKind {
    /// The kind as users read and filter it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NodeJoined => "NodeJoined",
            Self::NodeChanged => "NodeChanged",
            Self::AppDeployed => "AppDeployed",
            Self::AppScaled => "AppScaled",
            Self::AppRetried => "AppRetried",
            Self::AppUndone => "AppUndone",
            Self::AppDeleting => "AppDeleting",
            Self::AppDeleted => "AppDeleted",
            Self::RevisionServing => "RevisionServing",
            Self::RolloutDone => "RolloutDone",
            Self::RolloutFailed => "RolloutFailed",
            Self::InstancePlaced => "InstancePlaced",
            Self::InstanceReady => "InstanceReady",
            Self::InstanceFailed => "InstanceFailed",
            Self::InstanceWaiting => "InstanceWaiting",
            Self::InstanceStopping => "InstanceStopping",
            Self::InstanceStopped => "InstanceStopped",
            Self::WorkerStarted => "WorkerStarted",
            Self::CodeCompiled => "CodeCompiled",
            Self::GuestsTrapped => "GuestsTrapped",
            Self::ClusterFounded => "ClusterFounded",
            Self::ClusterUpgraded => "ClusterUpgraded",
            Self::NodeReplaced => "NodeReplaced",
            Self::NodeRemoved => "NodeRemoved",
            Self::InstanceLost => "InstanceLost",
            Self::ConfigChanged => "ConfigChanged",
            Self::ConfigDeleted => "ConfigDeleted",
            Self::SecretChanged => "SecretChanged",
            Self::SecretDeleted => "SecretDeleted",
            Self::NamespaceChanged => "NamespaceChanged",
            Self::NamespaceDeleted => "NamespaceDeleted",
            Self::ClusterRecovered => "ClusterRecovered",
            Self::AuthorityRotating => "AuthorityRotating",
            Self::AuthoritySigning => "AuthoritySigning",
            Self::AuthorityRotated => "AuthorityRotated",
        }
    }
}
