//! What happened, for people: a bounded ring derived in `apply`. Owns the kinds of events and the ring's bound; must never be read by a decision.

use model::id::{AppId, Timestamp};
use rpds::RedBlackTreeMapSync;
use serde::Serialize;

use crate::limits::EVENTS_MAX;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
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
        }
    }
}

/// The last [`EVENTS_MAX`] events.
#[derive(Debug, Clone)]
pub(crate) struct Events {
    ring: RedBlackTreeMapSync<u64, Event>,
    next: u64,
}

impl Events {
    pub(crate) fn empty() -> Self {
        Self { ring: RedBlackTreeMapSync::new_sync(), next: 1 }
    }

    /// Adds an event, whose sequence is given here, and forgets the oldest past the bound.
    pub(crate) fn push(&mut self, mut event: Event) {
        event.sequence = self.next;
        self.ring.insert_mut(self.next, event);
        self.next += 1;
        if let Some(forgotten) = self.next.checked_sub(EVENTS_MAX + 1) {
            self.ring.remove_mut(&forgotten);
        }
    }

    /// Events after `sequence`, oldest first.
    pub(crate) fn after(&self, sequence: u64) -> impl Iterator<Item = &Event> {
        self.ring.range(sequence.saturating_add(1)..).map(|(_, event)| event)
    }

    /// The sequence of the newest event; 0 before the first.
    pub(crate) fn newest(&self) -> u64 {
        self.next - 1
    }

    pub(crate) fn len(&self) -> u64 {
        self.ring.size() as u64
    }
}
