//! A [`LogBackend`] as openraft's log storage. Owns the order of calls and who is told what after an error; must never answer before the flush.

use std::{
    fmt::Debug,
    io,
    marker::PhantomData,
    ops::{Bound, RangeBounds},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use openraft::{
    AsyncRuntime, LogState, RaftLogReader,
    alias::EntryOf,
    storage::{IOFlushed, RaftLogStorage},
};
use tokio::sync::oneshot;

use super::{RaftLogId, RaftVote, Types, entry_in, entry_out, log_id_in, log_id_out, vote_in, vote_out};
use crate::{
    health::Status,
    limits::{MESSAGE_ENTRIES_BYTES_MAX, REPLAY_BYTES_MAX},
    log::{Flushed, LogBackend},
};

/// The log, as openraft writes and reads it. Clones are the same log.
pub(crate) struct LogStore<A, R> {
    /// Taken when the group is shut down, which gives up the directory.
    log: Arc<Mutex<Option<Box<dyn LogBackend>>>>,
    status: Status,
    types: PhantomData<fn() -> (A, R)>,
}

impl<A, R> Clone for LogStore<A, R> {
    fn clone(&self) -> Self {
        Self { log: self.log.clone(), status: self.status.clone(), types: PhantomData }
    }
}

impl<A: Send + 'static, R: AsyncRuntime> LogStore<A, R> {
    pub(crate) fn new(log: Box<dyn LogBackend>, status: Status) -> Self {
        Self { log: Arc::new(Mutex::new(Some(log))), status, types: PhantomData }
    }

    /// Closes the log. Whatever is asked of it later fails. After an error it is cut to what was flushed: the rest was promised to nobody, and may read well
    /// without being there.
    pub(crate) fn close(&self) {
        let Some(mut log) = self.locked().take() else { return };
        if self.status.check().is_err()
            && let Err(error) = log.recover()
        {
            tracing::error!(error = %error, "the log could not be cut to what was flushed; it is written anew when it is opened");
        }
    }

    /// Whether there is room for `bytes` more. A log that is closed has none.
    pub(crate) fn room(&self, bytes: usize) -> io::Result<()> {
        self.locked().as_mut().ok_or_else(closed)?.room(bytes)
    }

    /// Whether anything was ever written.
    pub(crate) fn is_empty(&self) -> bool {
        self.locked().as_ref().is_some_and(|log| log.state().last.is_none() && log.state().vote.is_none())
    }

    fn locked(&self) -> MutexGuard<'_, Option<Box<dyn LogBackend>>> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does `act` on the open log, unless consensus has failed. An error of it is the end: what the disk holds is known after a restart only.
    fn act<T>(&self, attempt: &str, act: impl FnOnce(&mut dyn LogBackend) -> io::Result<T>) -> io::Result<T> {
        self.status.check()?;
        let mut log = self.locked();
        let result = log.as_mut().ok_or_else(closed).and_then(|log| act(log.as_mut()));
        drop(log);
        result.inspect_err(|error| self.status.fail(format!("{attempt} failed: {error}")))
    }

    /// Tells a failed flush to everybody, then to whoever waits for it.
    fn told(&self, tell: impl FnOnce(io::Result<()>) + Send + 'static) -> Flushed {
        let status = self.status.clone();
        Flushed::new(move |result| {
            if let Err(error) = &result {
                status.fail(format!("writing to the log failed: {error}"));
            }
            tell(result);
        })
    }

    /// Does a write and waits until it is on disk.
    async fn written(&self, attempt: &str, write: impl FnOnce(&mut dyn LogBackend, Flushed) -> io::Result<()>) -> io::Result<()> {
        let (tell, told) = oneshot::channel();
        // A waiter that went away does not need the answer.
        let flushed = self.told(|result| drop(tell.send(result)));
        self.act(attempt, |log| write(log, flushed))?;
        told.await.unwrap_or_else(|_| Err(io::Error::other("the log never said whether a write was flushed")))
    }

    fn read(&self, start: u64, end: u64, bytes_max: usize) -> io::Result<Vec<EntryOf<Types<A, R>>>> {
        let entries = self.act("reading the log", |log| log.read(start..end, bytes_max))?;
        entries.into_iter().map(entry_in::<A, R>).collect::<io::Result<_>>().inspect_err(|error| {
            self.status.fail(format!("reading the log from entry {start} failed: {error}"));
        })
    }
}

impl<A: Send + 'static, R: AsyncRuntime> RaftLogReader<Types<A, R>> for LogStore<A, R> {
    async fn try_get_log_entries<B: RangeBounds<u64> + Clone + Debug + Send>(&mut self, range: B) -> io::Result<Vec<EntryOf<Types<A, R>>>> {
        let (mut next, end) = ends(&range);
        let mut entries = Vec::new();
        while next < end {
            let more = self.read(next, end, REPLAY_BYTES_MAX)?;
            let Some(last) = more.last() else { break };
            next = last.log_id.index + 1;
            entries.extend(more);
        }
        Ok(entries)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<EntryOf<Types<A, R>>>> {
        self.read(start, end, MESSAGE_ENTRIES_BYTES_MAX)
    }

    async fn read_vote(&mut self) -> io::Result<Option<RaftVote>> {
        self.act("reading the vote", |log| Ok(log.state().vote)).map(|vote| vote.map(vote_in))
    }
}

impl<A: Send + 'static, R: AsyncRuntime> RaftLogStorage<Types<A, R>> for LogStore<A, R> {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types<A, R>>> {
        let state = self.act("reading the log's state", |log| Ok(log.state()))?;
        let id = |id: Option<_>| id.map(log_id_in);
        Ok(LogState { last_purged_log_id: id(state.purged), last_log_id: id(state.last) })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &RaftVote) -> io::Result<()> {
        let vote = vote_out(vote);
        self.written("writing a vote", |log, flushed| log.save_vote(vote, flushed)).await
    }

    async fn save_committed(&mut self, committed: Option<RaftLogId>) -> io::Result<()> {
        let Some(committed) = committed else { return Ok(()) };
        let committed = log_id_out(&committed);
        self.act("noting what is committed", |log| {
            let state = log.state();
            // A snapshot may be ahead of the log for a moment; its own place is kept with it.
            if Some(committed) > state.committed && Some(committed) <= state.last { log.save_committed(committed) } else { Ok(()) }
        })
    }

    async fn read_committed(&mut self) -> io::Result<Option<RaftLogId>> {
        let committed = self.act("reading what is committed", |log| Ok(log.state().committed))?;
        Ok(committed.map(log_id_in))
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types<A, R>>) -> io::Result<()>
    where
        I: IntoIterator<Item = EntryOf<Types<A, R>>> + Send,
        I::IntoIter: Send,
    {
        let entries = entries.into_iter().map(entry_out::<A, R>).collect::<io::Result<Vec<_>>>()?;
        let flushed = self.told(|result| callback.io_completed(result));
        self.act("writing to the log", |log| log.append(entries, flushed))
    }

    async fn truncate_after(&mut self, last: Option<RaftLogId>) -> io::Result<()> {
        let last = last.as_ref().map(log_id_out);
        // Nothing waits for the flush: whatever is written next reaches the disk after it.
        let flushed = self.told(drop);
        self.act("truncating the log", |log| log.truncate_after(last, flushed))
    }

    async fn purge(&mut self, upto: RaftLogId) -> io::Result<()> {
        let upto = log_id_out(&upto);
        let flushed = self.told(drop);
        self.act("purging the log", |log| log.purge(upto, flushed))
    }
}

fn ends(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(start) => start + 1,
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(end) => end + 1,
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    (start, end)
}

fn closed() -> io::Error {
    io::Error::other("the log is closed")
}
