//! What the log is applied to. Owns the contract of a state machine; must never know what one means.

use std::io;

use serde::{Serialize, de::DeserializeOwned};

/// What the log is applied to. A plain value: a clone is published after every batch, so it must be cheap.
pub trait StateMachine: Clone + Send + Sync + 'static {
    /// What may be proposed. Its encoding is for ever: variants are only appended, fields never change.
    type Command: Serialize + DeserializeOwned + Clone + Send + Sync + 'static;
    /// What the proposer gets back.
    type Answer: Send + 'static;

    /// Applies the entry at `index`. Must be a pure function of the machine, the index and the command; a panic ends the process.
    /// Indices grow, but not every index is a command.
    fn apply(&mut self, index: u64, command: &Self::Command) -> Self::Answer;

    /// The whole state as records in a fixed order, each encoded by the machine and at most [`crate::limits::RECORD_BYTES_MAX`] long.
    fn records(&self) -> Box<dyn Iterator<Item = Vec<u8>> + Send + '_>;

    /// The state that gave `records`. Ends at the first error, which may come from a damaged file.
    fn restore(records: &mut dyn Iterator<Item = io::Result<Vec<u8>>>) -> Result<Self, RestoreError>;

    /// A digest of everything in the state: equal states have equal ones.
    fn hash(&self) -> [u8; 32];
}

/// Why records are not a state.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// They could not be read.
    #[error("reading the records of a snapshot")]
    Read {
        /// Why.
        #[from]
        source: io::Error,
    },
    /// One of them does not decode.
    #[error("record {number} of the snapshot does not decode: {reason}")]
    Record {
        /// Which, from 0.
        number: u64,
        /// Why.
        reason: String,
    },
    /// They decode, but do not make a state.
    #[error("the records of the snapshot make no state: {reason}")]
    State {
        /// Why.
        reason: String,
    },
}

/// What a state hashed to at one index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkpoint {
    /// A multiple of [`crate::limits::CHECKPOINT_ENTRIES`]: every entry up to it is applied, and none after.
    pub index: u64,
    /// The state's digest.
    pub hash: [u8; 32],
}
