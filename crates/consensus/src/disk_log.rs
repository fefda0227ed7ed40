//! The log on disk. Owns the mapping onto the write-ahead log crate and how it is mended after an error; the only door to that crate.
//! Must never acknowledge what is not flushed, nor decide what an entry says.
//!
//! Every stored value is guarded twice: the crate's checksum is over the record, ours over the frame. A frame's length is written once more, inverted,
//! so that a damaged length is seen as damage: taken as a length it would point past the end of the file, which looks like a torn write and would be cut off.

use std::{
    fs, io,
    io::{Read, Write},
    ops::Range,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use codeq::{Decode, Encode, OffsetSize};
use raft_log::{RaftLog, api::raft_log_writer::RaftLogWriter, codeq};

use crate::{
    frame::{self, Schema},
    limits::{CACHE_BYTES_MAX, COMMAND_BYTES_MAX, FILE_BYTES_MAX, READ_BUFFER_BYTES, ROOM_BYTES_KEPT},
    log::{Entry, Flushed, LogBackend, LogId, LogState, Vote},
};

/// A log in one directory, which it locks.
pub struct DiskLog {
    directory: PathBuf,
    /// Absent after an error, until `recover` succeeds.
    log: Option<RaftLog<Stored>>,
    /// What the log held when it was last whole.
    state: LogState,
    /// Where in the log everything is flushed up to, in bytes since the first file began.
    flushed: Arc<AtomicU64>,
}

impl DiskLog {
    /// Opens the log in `directory`, which is made if it is not there. A torn last record, which was never acknowledged, is cut off.
    /// Fails when the directory is locked by another process, and when anything but the torn end is damaged.
    pub fn open(directory: &Path) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        let log = open(directory)?;
        // A process before may have written without flushing, or have been told that a flush failed: what is read from here on must survive a power cut too.
        let end = settle_files(directory)?;
        let state = state_of(&log);
        Ok(Self { directory: directory.to_owned(), log: Some(log), state, flushed: Arc::new(AtomicU64::new(end)) })
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
        let log = open(&self.directory)?;
        self.state = state_of(&log);
        self.log = Some(log);
        Ok(())
    }
}

fn open(directory: &Path) -> io::Result<RaftLog<Stored>> {
    let text = directory.to_str().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the log's path is not UTF-8"))?;
    let mut config = raft_log::Config::new(text);
    // The owner batches what is queued while a flush runs, so waiting for more would only add its time to every answer.
    config.wal.flush_batch_wait = Some(Duration::ZERO);
    config.wal.chunk_max_size = Some(FILE_BYTES_MAX);
    config.wal.read_buffer_size = Some(READ_BUFFER_BYTES);
    config.log_cache_capacity = Some(CACHE_BYTES_MAX);
    config.log_cache_max_items = Some(usize::MAX);
    RaftLog::open(Arc::new(config)).map_err(|error| name_damaged_file(directory, error))
}

/// `error`, with the name of the file it is about. The crate says only at which byte of the log the file starts, which is a part of the name.
fn name_damaged_file(directory: &Path, error: io::Error) -> io::Error {
    let said = error.to_string();
    let about = |(_, path): &(u64, PathBuf)| {
        let start = path.file_stem().and_then(|stem| stem.to_str()?.strip_prefix("r-"));
        start.is_some_and(|start| said.contains(start))
    };
    match files(directory).unwrap_or_default().into_iter().find(about) {
        Some((_, path)) => io::Error::new(error.kind(), format!("{} cannot be read: {said}", path.display())),
        None => error,
    }
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

/// The log's files and where each starts, in order. The names are the crate's: `r-00_000_000_000_000_000_000.wal`.
fn files(directory: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let start = raft_log::chunked_wal::Config::parse_chunk_file_name(&entry.file_name().to_string_lossy());
        files.extend(start.ok().map(|start| (start, entry.path())));
    }
    files.sort();
    Ok(files)
}

/// Writes the newest two files once more and flushes every file; says where the last one ends.
///
/// After a flush that failed the system takes what it was of for written: it can be read, and the next flush succeeds without it. Only writing it again brings
/// it to the disk. The newest file may have been made a moment ago, because the crate (chunked-wal 0.2.3) writes no more to one whose torn end it has cut off: that
/// one is then the second. Older files need it not: the crate flushes one before it writes to the next, and gives up when that fails.
fn settle_files(directory: &Path) -> io::Result<u64> {
    let (mut end, files) = (0, files(directory)?);
    for (number, (start, path)) in files.iter().enumerate() {
        let file = fs::File::options().read(true).write(true).open(path)?;
        if number + 2 >= files.len() {
            write_again(&file)?;
        }
        file.sync_all()?;
        end = start + file.metadata()?.len();
    }
    fs::File::open(directory)?.sync_all()?;
    Ok(end)
}

/// Puts every byte of `file` where it is. Cut off in the middle, it leaves what was there.
fn write_again(file: &fs::File) -> io::Result<()> {
    let (mut buffer, mut at) = (vec![0; READ_BUFFER_BYTES], 0);
    loop {
        let count = file.read_at(&mut buffer, at)?;
        if count == 0 {
            return Ok(());
        }
        file.write_all_at(&buffer[..count], at)?;
        at += count as u64;
    }
}

/// Cuts off everything after `end`: it was written but never acknowledged. Needs no free space.
fn cut_files(directory: &Path, end: u64) -> io::Result<()> {
    for (start, path) in files(directory)?.into_iter().rev() {
        if start >= end && start > 0 {
            fs::remove_file(&path)?;
        } else {
            let file = fs::OpenOptions::new().write(true).open(&path)?;
            if file.metadata()?.len() > end - start {
                file.set_len(end - start)?;
            }
            file.sync_all()?;
            break;
        }
    }
    fs::File::open(directory)?.sync_all()
}

/// What the crate stores for us.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Stored;

type Crc = codeq::config::Crc32fast;

impl raft_log::Types for Stored {
    type LogId = Place;
    type LogPayload = Framed;
    type Vote = StoredVote;
    type Callback = Told;
    type UserData = Framed;

    fn log_index(id: &Place) -> u64 {
        id.0.index
    }

    fn payload_size(payload: &Framed) -> u64 {
        payload.0.len() as u64
    }
}

struct Told(Flushed);

impl raft_log::Callback for Told {
    fn send(self, result: io::Result<()>) {
        self.0.tell(result);
    }
}

/// A log id as 16 bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place(LogId);

impl Encode for Place {
    fn encode<W: Write>(&self, mut out: W) -> io::Result<usize> {
        for number in [self.0.term, self.0.index] {
            out.write_all(&number.to_be_bytes())?;
        }
        Ok(16)
    }
}

impl Decode for Place {
    fn decode<R: Read>(mut from: R) -> io::Result<Self> {
        let mut number = || {
            let mut bytes = [0; 8];
            from.read_exact(&mut bytes).map(|()| u64::from_be_bytes(bytes))
        };
        Ok(Self(LogId { term: number()?, index: number()? }))
    }
}

/// A frame, with its length guarded.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Framed(Bytes);

impl Encode for Framed {
    fn encode<W: Write>(&self, mut out: W) -> io::Result<usize> {
        let length = u32::try_from(self.0.len()).map_err(|_| invalid("a frame is longer than 4 GiB"))?;
        out.write_all(&length.to_be_bytes())?;
        out.write_all(&(!length).to_be_bytes())?;
        out.write_all(&self.0)?;
        Ok(8 + self.0.len())
    }
}

impl Decode for Framed {
    fn decode<R: Read>(mut from: R) -> io::Result<Self> {
        let mut number = || {
            let mut bytes = [0; 4];
            from.read_exact(&mut bytes).map(|()| u32::from_be_bytes(bytes))
        };
        let (length, guard) = (number()?, number()?);
        if length != !guard || length as usize > COMMAND_BYTES_MAX + frame::HEADER_BYTES {
            return Err(invalid("the length of a record is damaged"));
        }
        let mut bytes = vec![0; length as usize];
        from.read_exact(&mut bytes)?;
        Ok(Self(Bytes::from(bytes)))
    }
}

/// A vote in a frame.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd)]
struct StoredVote(Vote);

impl Encode for StoredVote {
    fn encode<W: Write>(&self, out: W) -> io::Result<usize> {
        Framed(frame::encode(Schema::Vote, &self.0).map_err(invalid)?.into()).encode(out)
    }
}

impl Decode for StoredVote {
    fn decode<R: Read>(from: R) -> io::Result<Self> {
        frame::decode(Schema::Vote, &Framed::decode(from)?.0).map(Self).map_err(invalid)
    }
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
