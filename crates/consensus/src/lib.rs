//! The replicated log behind one door: a proposed command is on disk before it is answered, and is applied in order by every member.
//!
//! Owns the log, its frame and its one writer; generic over the state machine. Must never know what a command means.
//! Start with [`Consensus`]; [`log`] is the seam under it, with [`disk_log`] for real and [`memory_log`] as its twin with a modelled disk.

pub mod disk_log;
pub mod frame;
pub mod limits;
pub mod log;
pub mod memory_log;

mod handle;
mod owner;

use serde::{Serialize, de::DeserializeOwned};

pub use crate::{
    handle::{Config, Consensus, Health, OpenError, ProposeError},
    log::{Entry, LogBackend, LogId, Vote},
};

/// What the log is applied to. A plain value: a clone is published after every batch, so it must be cheap.
pub trait StateMachine: Clone + Send + Sync + 'static {
    /// What may be proposed. Its encoding is for ever: variants are only appended, fields never change.
    type Command: Serialize + DeserializeOwned + Send + 'static;
    /// What the proposer gets back.
    type Answer: Send + 'static;

    /// Applies the entry at `index`. Must be a pure function of the machine, the index and the command; a panic ends the process.
    fn apply(&mut self, index: u64, command: &Self::Command) -> Self::Answer;
}
