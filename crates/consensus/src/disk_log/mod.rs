//! The log on disk. Owns the mapping onto the write-ahead log crate and how it is mended after an error; the only door to that crate.
//! Must never acknowledge what is not flushed, nor decide what an entry says.
//!
//! Every stored value is guarded twice: the crate's checksum is over the record, ours over the frame. A frame's length is written once more, inverted,
//! so that a damaged length is seen as damage: taken as a length it would point past the end of the file, which looks like a torn write and would be cut off.

mod files;
mod stored;

use std::{
    fs, io,
    ops::Range,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use codeq::OffsetSize;
use raft_log::{RaftLog, api::raft_log_writer::RaftLogWriter, codeq};

use self::{
    files::{check_files, check_start, cut_files, name_damaged_file, settle_files},
    stored::{Crc, Framed, Place, Stored, StoredVote, Told},
};
use crate::{
    limits::{CACHE_BYTES_MAX, FILE_BYTES_MAX, READ_BUFFER_BYTES, ROOM_BYTES_KEPT},
    log::{Entry, Flushed, LogBackend, LogId, LogState, Vote},
};

/// A log in one directory, which it locks.
pub struct DiskLog {
    directory: PathBuf,
    /// How large a file grows before the next one begins, in bytes.
    file_bytes_max: usize,
    /// Absent after an error, until `recover` succeeds.
    log: Option<RaftLog<Stored>>,
    /// What the log held when it was last whole.
    state: LogState,
    /// Where in the log everything is flushed up to, in bytes since the first file began.
    flushed: Arc<AtomicU64>,
}

impl DiskLog {
    /// Opens the log in `directory`, which is made if it is not there. A torn last record, which was never acknowledged, is cut off.
    ///
    /// # Errors
    /// The directory is locked by another process, or anything but the torn end is damaged or missing: then the error names the file.
    pub fn open(directory: &Path) -> io::Result<Self> {
        Self::open_with(directory, FILE_BYTES_MAX)
    }

    /// The same, and a new file begins once one has `file_bytes_max` bytes. Files that are there already stay as they are.
    ///
    /// # Errors
    /// As of [`Self::open`].
    pub fn open_with(directory: &Path, file_bytes_max: usize) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        let log = open(directory, file_bytes_max)?;
        // A process before may have written without flushing, or have been told that a flush failed: what is read from here on must survive a power cut too.
        let end = settle_files(directory)?;
        let state = state_of(&log);
        Ok(Self { directory: directory.to_owned(), file_bytes_max, log: Some(log), state, flushed: Arc::new(AtomicU64::new(end)) })
    }

    /// Does `write`, then flushes. After an error the log is closed until it recovers.
    fn write(&mut self, flushed: Flushed, write: impl FnOnce(&mut RaftLog<Stored>) -> io::Result<codeq::Segment<Crc>>) -> io::Result<()> {
        let log = self.log.as_mut().ok_or_else(closed)?;
        let reached = self.flushed.clone();
        let result = write(log).and_then(|segment| {
            let end = segment.end().0;
            let then = Flushed::new(move |result| {
                if result.is_ok() {
                    reached.fetch_max(end, Ordering::AcqRel);
                }
                flushed.tell(result);
            });
            log.flush(true, Some(Told(then)))
        });
        match &result {
            Ok(()) => self.state = state_of(log),
            Err(_) => self.log = None,
        }
        result
    }
}

impl LogBackend for DiskLog {
    fn state(&self) -> LogState {
        self.state
    }

    fn append(&mut self, entries: Vec<Entry>, flushed: Flushed) -> io::Result<()> {
        self.write(flushed, |log| log.append(entries.into_iter().map(|entry| (Place(entry.id), Framed(entry.payload)))))
    }

    fn save_vote(&mut self, vote: Vote, flushed: Flushed) -> io::Result<()> {
        self.write(flushed, |log| log.save_vote(StoredVote(vote)))
    }

    fn save_committed(&mut self, committed: LogId) -> io::Result<()> {
        let log = self.log.as_mut().ok_or_else(closed)?;
        log.commit(Place(committed))?;
        self.state = state_of(log);
        Ok(())
    }

    fn truncate_after(&mut self, last: Option<LogId>, flushed: Flushed) -> io::Result<()> {
        let keep = last.map_or(0, |last| last.index + 1);
        if self.state.last.is_none_or(|end| end.index < keep) {
            flushed.tell(Ok(()));
            return Ok(());
        }
        self.write(flushed, |log| log.truncate(keep))
    }

    fn purge(&mut self, upto: LogId, flushed: Flushed) -> io::Result<()> {
        self.write(flushed, |log| log.purge(Place(upto)))
    }

    fn read(&self, range: Range<u64>, bytes_max: usize) -> io::Result<Vec<Entry>> {
        let log = self.log.as_ref().ok_or_else(closed)?;
        let (mut entries, mut bytes) = (Vec::new(), 0);
        for read in log.read(range.start, range.end) {
            let (Place(id), Framed(payload)) = read?;
            bytes += payload.len();
            if !entries.is_empty() && bytes > bytes_max {
                break;
            }
            entries.push(Entry { id, payload });
        }
        Ok(entries)
    }

    fn room(&mut self, bytes: usize) -> io::Result<()> {
        let disk = rustix::fs::statvfs(&self.directory)?;
        let needed = bytes as u64 + ROOM_BYTES_KEPT;
        if disk.f_bavail.saturating_mul(disk.f_frsize) < needed { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn recover(&mut self) -> io::Result<()> {
        // Joins the crate's flusher and gives up its lock on the directory, before the files are touched.
        self.log = None;
        cut_files(&self.directory, self.flushed.load(Ordering::Acquire))?;
        let log = open(&self.directory, self.file_bytes_max)?;
        self.state = state_of(&log);
        self.log = Some(log);
        Ok(())
    }
}

fn open(directory: &Path, file_bytes_max: usize) -> io::Result<RaftLog<Stored>> {
    let text = directory.to_str().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the log's path is not UTF-8"))?;
    let mut config = raft_log::Config::new(text);
    // The owner batches what is queued while a flush runs, so waiting for more would only add its time to every answer.
    config.wal.flush_batch_wait = Some(Duration::ZERO);
    config.wal.chunk_max_size = Some(file_bytes_max);
    config.wal.read_buffer_size = Some(READ_BUFFER_BYTES);
    config.log_cache_capacity = Some(CACHE_BYTES_MAX);
    config.log_cache_max_items = Some(usize::MAX);
    check_files(directory)?;
    let log = RaftLog::open(Arc::new(config)).map_err(|error| name_damaged_file(directory, error))?;
    check_start(directory, missing_from(&log))?;
    Ok(log)
}

/// The first entry that should be there and is not. Only the first ones can be missing: the crate sees every other gap.
fn missing_from(log: &RaftLog<Stored>) -> Option<u64> {
    let state = log.log_state();
    let first = state.purged().map_or(0, |Place(purged)| purged.index + 1);
    let wanted = state.last().is_some_and(|Place(last)| last.index >= first);
    (wanted && log.read(first, first + 1).next().is_none()).then_some(first)
}

fn state_of(log: &RaftLog<Stored>) -> LogState {
    let state = log.log_state();
    let place = |place: Option<&Place>| place.map(|place| place.0);
    LogState {
        last: place(state.last()).max(place(state.purged())),
        purged: place(state.purged()),
        committed: place(state.committed()),
        vote: state.vote().map(|vote| vote.0),
    }
}

fn closed() -> io::Error {
    io::Error::other("the log is closed after an error")
}
