//! Snapshots for people: taken now, written to anywhere, and a new group begun from one. Owns how a state outlives its group; must never do that by itself.

use std::{
    io::{Read, Write},
    path::Path,
    sync::Arc,
    time::Duration,
};

use openraft::{AsyncRuntime, async_runtime::watch::WatchReceiver};

use crate::{
    Config, Consensus, GroupId, ImportError, LogBackend, OpenError, Peer, StateMachine,
    disk_log::DiskLog,
    entry::{self, Body},
    group::Members,
    identity,
    limits::{REPLAY_BYTES_MAX, SNAPSHOT_ASK_MS, SNAPSHOT_SEND_MS_MAX},
    log::{Flushed, LogId, Vote},
    snapshot::{DiskShelf, Meta, Snapshots, export, import},
    start::SNAPSHOTS,
};

/// Why a group could not be begun from a snapshot. The directory may have to be emptied before it is tried again.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The directory cannot be opened.
    #[error("opening the directory to recover in")]
    Open {
        /// Why.
        #[from]
        source: OpenError,
    },
    /// There is a log in it.
    #[error("there is a log in {} already", dir.display())]
    NotEmpty {
        /// Where.
        dir: std::path::PathBuf,
    },
    /// There is nothing in it.
    #[error("there is no log in {}", dir.display())]
    Empty {
        /// Where.
        dir: std::path::PathBuf,
    },
    /// The snapshot cannot be used.
    #[error("reading the snapshot")]
    Snapshot {
        /// Why.
        #[from]
        source: ImportError,
    },
    /// The directory cannot be written.
    #[error("writing the new group to {}", dir.display())]
    Write {
        /// Where.
        dir: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl<M: StateMachine, R: AsyncRuntime> Consensus<M, R> {
    /// Takes a snapshot now, and returns the index that it holds once it is on disk. Returns none when that could not be: the log says why.
    pub async fn snapshot(&self) -> Option<u64> {
        let before = *self.0.shared.applied.borrow();
        let taken = async {
            loop {
                // One that is being written already may be too old, and asking during that changes nothing: so it is asked again.
                self.0.raft.trigger().snapshot().await.ok()?;
                let mut metrics = self.0.raft.metrics();
                let done = metrics.wait_until(|metrics| metrics.snapshot.as_ref().is_some_and(|id| id.index >= before));
                if let Ok(taken) = R::timeout(Duration::from_millis(SNAPSHOT_ASK_MS), done).await {
                    return taken.ok()?.snapshot.map(|id| id.index);
                }
            }
        };
        R::timeout(Duration::from_millis(SNAPSHOT_SEND_MS_MAX), taken).await.ok().flatten()
    }

    /// Writes the state of this moment as a snapshot file, and returns the index that it holds. Blocks while it writes; the log goes on meanwhile.
    pub fn export(&self, out: impl Write) -> std::io::Result<u64> {
        let published = self.0.shared.published();
        let meta = published.meta.clone().ok_or_else(|| std::io::Error::other("there is nothing in the log yet"))?;
        export(&meta, published.machine.as_ref(), out)?;
        Ok(meta.last.index)
    }
}

/// Begins the group `config.identity.group` in an empty directory with the state of a snapshot, and `first` as its only member.
pub fn begin_from_snapshot<M: StateMachine>(config: &Config, first: Peer, from: impl Read) -> Result<Meta, RecoverError> {
    let (meta, machine) = import::<M>(from)?;
    let dir = &config.dir;
    let write = |source| RecoverError::Write { dir: dir.clone(), source };
    let log = DiskLog::open(dir).map_err(write)?;
    if log.state().last.is_some() || log.state().vote.is_some() {
        return Err(RecoverError::NotEmpty { dir: dir.clone() });
    }
    identity::claim(dir, config.identity)?;
    begin(dir, log, config.identity.group, first, meta.last, &machine).map_err(write)
}

/// Begins a new group from what a member of a lost one still has: every entry of its log counts as accepted, also those that may not have been. The member
/// must be stopped. Its directory becomes that of `config.identity`, and `first` the only member.
pub fn begin_from_member<M: StateMachine>(config: &Config, first: Peer, machine: M) -> Result<Meta, RecoverError> {
    let dir = &config.dir;
    let write = |source| RecoverError::Write { dir: dir.clone(), source };
    let log = DiskLog::open(dir).map_err(write)?;
    let shelf = DiskShelf::open(&dir.join(SNAPSHOTS)).map_err(write)?;
    let found = Snapshots::new(Arc::new(shelf)).newest::<M>().map_err(write)?;
    let (mut machine, mut last) = found.map_or((machine, None), |(meta, machine, _)| (machine, Some(meta.last)));
    replay(&log, &mut machine, &mut last)?;
    let last = last.ok_or_else(|| RecoverError::Empty { dir: dir.clone() })?;
    identity::rewrite(dir, config.identity).map_err(write)?;
    begin(dir, log, config.identity.group, first, last, &machine).map_err(write)
}

/// Applies every entry after `last`.
fn replay<M: StateMachine>(log: &DiskLog, machine: &mut M, last: &mut Option<LogId>) -> Result<(), OpenError> {
    let end = log.state().last.map_or(0, |id| id.index + 1);
    let mut next = last.map_or(0, |id| id.index + 1);
    while next < end {
        let failed = |index: u64, reason: String| OpenError::Entry { index, reason };
        let entries = log.read(next..end, REPLAY_BYTES_MAX).map_err(|error| failed(next, error.to_string()))?;
        if entries.first().is_none_or(|first| first.id.index != next) {
            return Err(OpenError::Gap { found: entries.first().map_or(end, |first| first.id.index), expected: next });
        }
        for found in entries {
            let index = found.id.index;
            if entry::open(&found.payload).map_err(|error| failed(index, error.to_string()))? == Body::Command {
                let command = entry::read_command(&found.payload).map_err(|error| failed(index, error.to_string()))?;
                machine.apply(index, &command);
            }
            *last = Some(found.id);
            next = index + 1;
        }
    }
    Ok(())
}

/// Writes the state as a snapshot of the new group, then lets the log begin behind it.
fn begin<M: StateMachine>(dir: &Path, mut log: DiskLog, group: GroupId, first: Peer, last: LogId, machine: &M) -> std::io::Result<Meta> {
    let snapshots = Snapshots::new(Arc::new(DiskShelf::open(&dir.join(SNAPSHOTS))?));
    let node = first.id;
    let members = Members { configs: vec![vec![node]], peers: vec![first] };
    let meta = Meta { group, last, members, members_at: Some(last) };
    let name = snapshots.save(&meta, machine)?;
    // Older ones are of the old group.
    snapshots.remove_all_but(&name)?;
    if log.state().vote.is_none_or(|vote| vote.term < last.term) {
        // The next term must come after that of the last entry.
        let vote = Vote { term: last.term, committed: false, node };
        flushed(|told| log.save_vote(vote, told))?;
    }
    flushed(|told| log.purge(last, told))?;
    Ok(meta)
}

/// Does a write and waits until it is on disk.
fn flushed(write: impl FnOnce(Flushed) -> std::io::Result<()>) -> std::io::Result<()> {
    let (flushed, told) = Flushed::pair();
    write(flushed)?;
    told.recv().unwrap_or_else(|_| Err(std::io::Error::other("the log never said whether a write was flushed")))
}
