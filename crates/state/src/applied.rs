//! What a command did. Owns the answers of `apply`; must never know who asked.

use model::id::{AppId, Index, NodeId, RevisionNumber};
use serde::Serialize;

/// What a command did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Applied {
    /// A node is known.
    Joined {
        /// Under this id, from now on and after every restart.
        node: NodeId,
        /// Whether it came for the first time.
        fresh: bool,
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
}

/// What deploying an app changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
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
