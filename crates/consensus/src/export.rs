//! Snapshots for people: taken now, written to anywhere, and a new group begun from one. Owns how a state outlives its group; must never do that by itself.

use std::{
    collections::BTreeSet,
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

    /// The state of this moment, to be written as a snapshot file; none before the first entry. The log goes on meanwhile.
    pub fn frozen(&self) -> Option<Frozen<M>> {
        let published = self.0.shared.published();
        published.meta.clone().map(|meta| Frozen { meta, machine: published.machine.clone() })
    }
}

/// A state that changes no more.
pub struct Frozen<M> {
    meta: Meta,
    machine: Arc<M>,
}

impl<M: StateMachine> Frozen<M> {
    /// The last entry that is in it.
    pub fn index(&self) -> u64 {
        self.meta.last.index
    }

    /// The state.
    pub fn machine(&self) -> &M {
        &self.machine
    }

    /// Writes it as a snapshot file. Blocks while it writes.
    pub fn write(&self, out: impl Write) -> std::io::Result<()> {
        export(&self.meta, self.machine.as_ref(), out)
    }
}

/// What a new group may begin from: the state of a snapshot, or what a member that is stopped still has. Nothing is changed until [`Remains::begin`].
pub struct Remains<M> {
    last: LogId,
    committed: Option<u64>,
    members: Members,
    machine: M,
    /// The member's own log, locked as long as this lives.
    log: Option<DiskLog>,
}

impl<M: StateMachine> Remains<M> {
    /// Those of a snapshot, which is read to its end and checked.
    pub fn of_snapshot(from: impl Read) -> Result<Self, RecoverError> {
        let (meta, machine) = import::<M>(from)?;
        Ok(Self { last: meta.last, committed: Some(meta.last.index), members: meta.members, machine, log: None })
    }

    /// Those of the member in `dir`, which must be stopped; `machine` is an empty one. Every entry of its log counts, also those that may not have been accepted.
    pub fn of_member(dir: &Path, machine: M) -> Result<Self, RecoverError> {
        let write = |source| RecoverError::Write { dir: dir.to_owned(), source };
        let log = DiskLog::open(dir).map_err(write)?;
        let shelf = DiskShelf::open(&dir.join(SNAPSHOTS)).map_err(write)?;
        let found = Snapshots::new(Arc::new(shelf)).newest::<M>().map_err(write)?;
        let empty = (machine, None, Members::default());
        let (mut machine, mut last, mut members) = found.map_or(empty, |(meta, machine, _)| (machine, Some(meta.last), meta.members));
        replay(&log, &mut machine, &mut last, &mut members)?;
        let last = last.ok_or_else(|| RecoverError::Empty { dir: dir.to_owned() })?;
        let committed = log.state().committed.map(|id| id.index);
        Ok(Self { last, committed, members, machine, log: Some(log) })
    }

    /// The last entry that is there.
    pub fn last(&self) -> u64 {
        self.last.index
    }

    /// The last entry that is known to be accepted; later ones may not have been.
    pub fn committed(&self) -> Option<u64> {
        self.committed
    }

    /// Who had a vote, as far as this is known here.
    pub fn voters(&self) -> Vec<Peer> {
        let voters: BTreeSet<u64> = self.members.configs.iter().flatten().copied().collect();
        self.members.peers.iter().filter(|peer| voters.contains(&peer.id)).cloned().collect()
    }

    /// The state after the last entry.
    pub fn machine(&self) -> &M {
        &self.machine
    }

    /// Begins the group of `config.identity` in `config.dir`, with `first` as its only member and `counts_from` as the last entry it has: what it writes comes
    /// after. The directory is the member's own, or empty.
    ///
    /// # Panics
    /// When `counts_from` is an entry before the last that is there.
    pub fn begin(self, config: &Config, first: Peer, counts_from: u64) -> Result<Meta, RecoverError> {
        assert!(counts_from >= self.last.index, "a group that has entry {} goes on behind it, not at {counts_from}", self.last.index);
        let dir = &config.dir;
        let write = |source| RecoverError::Write { dir: dir.clone(), source };
        let log = match self.log {
            Some(log) => {
                identity::rewrite(dir, config.identity).map_err(write)?;
                log
            }
            None => {
                let log = DiskLog::open(dir).map_err(write)?;
                if log.state().last.is_some() || log.state().vote.is_some() {
                    return Err(RecoverError::NotEmpty { dir: dir.clone() });
                }
                identity::claim(dir, config.identity)?;
                log
            }
        };
        let last = LogId { index: counts_from, ..self.last };
        begin(dir, log, config.identity.group, first, last, &self.machine).map_err(write)
    }
}

/// The last entry of the log in `dir`; none when there is no log, or nothing in it. Nobody may have it open.
pub fn last_in(dir: &Path) -> std::io::Result<Option<u64>> {
    if !dir.is_dir() {
        return Ok(None);
    }
    Ok(DiskLog::open(dir)?.state().last.map(|id| id.index))
}

/// Applies every entry after `last`.
fn replay<M: StateMachine>(log: &DiskLog, machine: &mut M, last: &mut Option<LogId>, members: &mut Members) -> Result<(), OpenError> {
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
            match entry::open(&found.payload).map_err(|error| failed(index, error.to_string()))? {
                Body::Command => {
                    let command = entry::read_command(&found.payload).map_err(|error| failed(index, error.to_string()))?;
                    machine.apply(index, &command);
                }
                Body::Members(now) => *members = now,
                Body::Blank => {}
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
