//! What is held of what people did: who did what, and how it was answered. Owns these shapes; must never hold a secret or the content of an object.

use model::id::{Index, Timestamp, TokenId};
use serde::{Deserialize, Serialize};

use crate::Applied;

/// One change that somebody asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// Counts from 1 over the cluster's life, without a gap.
    pub sequence: u64,
    /// The log entry.
    pub index: Index,
    /// When it was asked for.
    pub at: Timestamp,
    /// Who asked: a principal, `join-token/ID` for a node that joined, or `node/NAME` for the server with which a group began anew.
    pub by: String,
    /// The token that was shown, if one was.
    pub token: Option<TokenId>,
    /// From which address; empty when nobody asked over a network.
    pub from: String,
    /// What was asked: `deploy`, `delete`, `create`.
    pub verb: String,
    /// Of what: `app/hello`, `node/node-7`.
    pub object: String,
    /// What came of it.
    pub outcome: AuditOutcome,
}

/// What came of a change that somebody asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AuditOutcome {
    /// It was done.
    Done,
    /// It was refused.
    Refused {
        /// `E0403` and the like.
        code: String,
        /// Why.
        message: String,
    },
    /// It was about to be done, beside the state, when this was written; what came of it the log does not know.
    Begun,
}

/// The answer to a change that came with an idempotency key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswerRecord {
    /// The first half of a sha256 over who asked and under which key.
    pub asker: [u8; 16],
    /// When.
    pub at: Timestamp,
    /// The log entry that was answered.
    pub index: Index,
    /// The sha256 of what was asked.
    pub asked: [u8; 32],
    /// The answer.
    pub answer: Applied,
}
