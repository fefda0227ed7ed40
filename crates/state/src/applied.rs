//! What a command did. Owns the answers of `apply`, which are kept for those who ask again and so only ever grow; must never know who asked.

use model::id::{AppId, Index, NodeId, RevisionNumber, TokenId};
use serde::{Deserialize, Serialize};

/// What a command did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Applied {
    /// A node is known.
    Joined {
        /// Under this id, from now on and after every restart.
        node: NodeId,
        /// Whether it came for the first time.
        fresh: bool,
        /// The lost node it took the place of.
        replaced: Option<NodeId>,
    },
    /// An app is wished.
    Deployed {
        /// Which.
        app: AppId,
        /// Its wanted revision.
        revision: RevisionNumber,
        /// Its version now.
        version: Index,
        /// What that changed.
        outcome: DeployOutcome,
    },
    /// An earlier revision is wished again.
    Undone {
        /// The app.
        app: AppId,
        /// The revision that was made.
        revision: RevisionNumber,
        /// The revision it repeats.
        of: RevisionNumber,
        /// The app's version now.
        version: Index,
    },
    /// An app goes away.
    Deleted {
        /// Which.
        app: AppId,
        /// Whether it is gone already: it had no placements.
        gone: bool,
    },
    /// A plan was carried out.
    Carried {
        /// Steps that were.
        done: u32,
        /// Steps that no longer fitted the state, and were skipped.
        stale: u32,
    },
    /// Phases were recorded.
    Observed {
        /// Placements whose phase changed.
        changed: u32,
        /// Phases of placements that are gone or on another node, skipped.
        stale: u32,
    },
    /// Events of a worker were recorded.
    Noted {
        /// How many.
        events: u32,
    },
    /// A cluster began.
    Founded {
        /// Its first node.
        node: NodeId,
    },
    /// What a node says of itself was recorded.
    NodeUpdated {
        /// Which.
        node: NodeId,
        /// Whether it was something new.
        changed: bool,
    },
    /// A node was forgotten.
    NodeRemoved {
        /// Which.
        node: NodeId,
        /// Placements that were forgotten with it.
        placements: u32,
    },
    /// A token lets in.
    TokenCreated {
        /// Which.
        id: TokenId,
    },
    /// A token lets in no more.
    TokenRevoked {
        /// Which.
        id: TokenId,
    },
    /// What a member says of its state was read.
    Attested {
        /// Whether it is kept: it is of one of the last checkpoints.
        kept: bool,
    },
    /// A Config, a Secret or a Namespace was put.
    Put {
        /// Its version now.
        version: Index,
        /// The number of the Secret's version.
        number: Option<u64>,
        /// What that changed.
        outcome: PutOutcome,
    },
    /// A Config, a Secret or a Namespace is gone.
    ObjectDeleted,
    /// The group began anew.
    Recovered {
        /// Its only server.
        node: NodeId,
        /// Servers that are none any more.
        retired: u32,
    },
    /// It is written down.
    Witnessed,
}

/// What deploying an app changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeployOutcome {
    /// The app is new.
    Created,
    /// The app has a new revision.
    Revised,
    /// The same revision, with another scale or protection.
    Adjusted,
    /// The same revision, which had failed, is tried again.
    Retried,
    /// Nothing: the app was wished like this already.
    Unchanged,
}

/// What putting an object changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PutOutcome {
    /// It is new.
    Created,
    /// It is another than before.
    Changed,
    /// Nothing: it was like this already. Secrets cannot be compared, and are always changed.
    Unchanged,
}
