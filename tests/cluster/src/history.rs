//! What clients did and what they were told, in the order it happened. Owns the record; must never judge it: `linearizable` does.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

/// A moment after everything: an operation whose outcome nobody knows may have its effect as late as that.
pub const NEVER: u64 = u64::MAX;

/// What a client asked of one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Read it.
    Read,
    /// Write `value`, which nobody else ever writes.
    Write {
        /// What is written.
        value: u64,
        /// Only if the key has this version; 0: only if it is not there.
        expect: Option<u64>,
    },
}

/// What a key held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Its value.
    pub value: u64,
    /// Its version, a log index.
    pub version: u64,
}

/// What the client was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The answer to a read: what was there.
    Read(Option<Seen>),
    /// Written, as this version.
    Written {
        /// The version that the answer names.
        version: u64,
    },
    /// Not written: the key has another version than the expected one.
    Conflict,
    /// Not done, for certain.
    Failed,
    /// Done or not, now or later.
    Unknown,
}

/// One operation of one client on one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operation {
    /// On which key.
    pub key: u32,
    /// By whom.
    pub client: u32,
    /// What was asked.
    pub action: Action,
    /// What was told.
    pub outcome: Outcome,
    /// When it was called, in ticks of the history.
    pub called: u64,
    /// When the answer was there; [`NEVER`] when none came.
    pub returned: u64,
}

/// A record that many clients write to.
#[derive(Debug, Default)]
pub struct History {
    ticks: AtomicU64,
    operations: Mutex<Vec<Operation>>,
    acknowledged: AtomicU64,
    strange: Mutex<Vec<String>>,
}

impl History {
    /// The moment before a call: every call that has returned by now has an earlier one.
    pub fn call(&self) -> u64 {
        self.ticks.fetch_add(1, Ordering::SeqCst)
    }

    /// The call made at `called` is over.
    pub fn returned(&self, client: u32, key: u32, action: Action, called: u64, outcome: Outcome) {
        let returned = if outcome == Outcome::Unknown { NEVER } else { self.call() };
        self.operations.lock().unwrap_or_else(PoisonError::into_inner).push(Operation { key, client, action, outcome, called, returned });
        if matches!(outcome, Outcome::Written { .. }) {
            self.acknowledged.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Writes that were acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::SeqCst)
    }

    /// An answer that no server should ever give.
    pub fn strange(&self, what: String) {
        self.strange.lock().unwrap_or_else(PoisonError::into_inner).push(what);
    }

    /// Every answer that no server should ever give.
    pub fn strangenesses(&self) -> Vec<String> {
        self.strange.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Everything recorded so far.
    pub fn operations(&self) -> Vec<Operation> {
        self.operations.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
