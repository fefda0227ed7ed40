//! The seam under consensus: a durable log of entries, a vote and a commit mark. Owns the contract; must never know what an entry says.
//!
//! The rules every implementation keeps, because a Raft group is built on them:
//! 1. A write's [`Flushed`] is called with success only when the write, and every write before it, would survive a power cut.
//! 2. An entry can be read as soon as `append` returns, flushed or not.
//! 3. Writes reach the disk in the order of the calls: a vote is never overtaken by an entry, nor the other way round.
//! 4. There are no holes: entries are appended at the end, truncated from the end and purged from the start.
//! 5. After any error nothing more is accepted until [`LogBackend::recover`] succeeds, which goes back to what was last flushed.

use std::{io, ops::Range, sync::mpsc};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Where an entry stands, and in which term it was written. A term has one leader, so no two entries share both. Ordered by term, then index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct LogId {
    /// The term of the leader that wrote it.
    pub term: u64,
    /// The place in the log, from 0: the first entry names the first member.
    pub index: u64,
}

/// For whom a member voted. Ordered: within a term, what a majority granted comes after what one member wished.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Vote {
    /// In which term.
    pub term: u64,
    /// Whether a majority granted it, so that `node` leads.
    pub committed: bool,
    /// For which node.
    pub node: u64,
}

/// One entry: its place and its payload, a whole frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its place.
    pub id: LogId,
    /// A [`crate::frame`] of schema `Entry`.
    pub payload: Bytes,
}

/// What a log holds, flushed or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogState {
    /// The last entry, or the last that was purged when none is left.
    pub last: Option<LogId>,
    /// The last entry that was purged.
    pub purged: Option<LogId>,
    /// The last entry known to be committed; may lag behind.
    pub committed: Option<LogId>,
    /// The saved vote.
    pub vote: Option<Vote>,
}

/// Told once when a write is safe, or that it is not. Dropping it untold is an error for whoever waits.
pub struct Flushed(Option<Box<dyn FnOnce(io::Result<()>) + Send>>);

impl Flushed {
    /// Calls `told` once, from whichever thread flushes.
    pub fn new(told: impl FnOnce(io::Result<()>) + Send + 'static) -> Self {
        Self(Some(Box::new(told)))
    }

    /// One end to give away and one to wait on.
    pub fn pair() -> (Self, mpsc::Receiver<io::Result<()>>) {
        let (sender, receiver) = mpsc::sync_channel(1);
        // A waiter that went away does not need the answer.
        let told = move |result| drop(sender.send(result));
        (Self::new(told), receiver)
    }

    /// Says how it went.
    pub fn tell(mut self, result: io::Result<()>) {
        if let Some(told) = self.0.take() {
            told(result);
        }
    }
}

impl Drop for Flushed {
    fn drop(&mut self) {
        if let Some(told) = self.0.take() {
            told(Err(io::Error::other("the log dropped a write before it was flushed")));
        }
    }
}

/// A durable log. All calls come from one owner, so nothing here locks.
pub trait LogBackend: Send + 'static {
    /// What it holds.
    fn state(&self) -> LogState;

    /// Adds `entries`, which follow the last one without a gap. They can be read when this returns, and are safe when `flushed` is told so.
    fn append(&mut self, entries: Vec<Entry>, flushed: Flushed) -> io::Result<()>;

    /// Replaces the vote; it never goes back.
    fn save_vote(&mut self, vote: Vote, flushed: Flushed) -> io::Result<()>;

    /// Notes how far the log is committed. Flushed with the next write that is.
    fn save_committed(&mut self, committed: LogId) -> io::Result<()>;

    /// Removes every entry after `last`. Nothing to remove is no error.
    fn truncate_after(&mut self, last: Option<LogId>, flushed: Flushed) -> io::Result<()>;

    /// Removes every entry up to `upto`, which may lie beyond the last one: then the log continues from there.
    fn purge(&mut self, upto: LogId, flushed: Flushed) -> io::Result<()>;

    /// The entries in `range` that are there, in order, at least one if any, and then no more than about `bytes_max` bytes of payload.
    fn read(&self, range: Range<u64>, bytes_max: usize) -> io::Result<Vec<Entry>>;

    /// Whether a write of `bytes` would find room, said early: a write that finds none is an error after which a member must restart.
    fn room(&mut self, bytes: usize) -> io::Result<()>;

    /// After an error: forgets everything that was not flushed, on disk too, and accepts writes again. May be called as often as it fails. A log that failed is
    /// closed with it: what a failed flush was of can be read, and is gone after a power cut.
    fn recover(&mut self) -> io::Result<()>;
}
