//! A log on a modelled disk: the twin of [`crate::disk_log`] for tests and simulation. Owns the model: what is written is lost in a crash unless it was
//! flushed, a crash may keep any number of the unflushed bytes, and writes and flushes can be made to wait or to fail. Must never be more forgiving than a disk.

mod disk;

use std::{collections::BTreeMap, io, ops::Range};

use serde::{Deserialize, Serialize};

use self::disk::Platter;
pub use self::disk::{Due, FLUSH_FAILED, MemoryDisk};
use crate::{
    frame::{self, Schema},
    log::{Entry, Flushed, LogBackend, LogId, LogState, Vote},
};

/// What a log is told that no longer has its disk.
const CUT_OFF: &str = "the power was cut";

/// The log on a [`MemoryDisk`].
pub struct MemoryLog {
    disk: MemoryDisk,
    held: Held,
    /// An error came back, and `recover` did not yet.
    poisoned: bool,
    /// The number that the disk gave it.
    owner: u64,
}

/// One stored write.
#[derive(Debug, Serialize, Deserialize)]
enum Record {
    Append(Entry),
    Vote(Vote),
    Committed(LogId),
    TruncateAfter(Option<LogId>),
    Purge(LogId),
}

/// What the records add up to.
#[derive(Debug, Default)]
struct Held {
    entries: BTreeMap<u64, Entry>,
    state: LogState,
}

impl MemoryLog {
    /// Opens the log on `disk`, and takes the disk from whoever had it. A torn end is cut off; damage before it is refused.
    pub fn open(disk: &MemoryDisk) -> io::Result<Self> {
        let mut platter = disk.platter();
        let held = load(&mut platter)?;
        platter.owner += 1;
        let (owner, waiting) = (platter.owner, std::mem::take(&mut platter.waiting));
        drop(platter);
        // Whoever waits learns that nothing was promised.
        drop(waiting);
        Ok(Self { disk: disk.clone(), held, poisoned: false, owner })
    }

    fn write(&mut self, records: Vec<Record>, flushed: Option<Flushed>) -> io::Result<()> {
        if self.poisoned {
            return Err(io::Error::other("the log is closed after an error"));
        }
        records.iter().try_for_each(|record| self.held.accept(record))?;
        let mut bytes = Vec::new();
        for record in &records {
            let frame = frame::encode(Schema::MemoryRecord, record).map_err(invalid)?;
            bytes.extend((frame.len() as u32).to_be_bytes());
            bytes.extend((!(frame.len() as u32)).to_be_bytes());
            bytes.extend(frame);
        }
        let mut platter = self.disk.platter();
        if platter.owner != self.owner || platter.failed {
            self.poisoned = true;
            return Err(io::Error::other(if platter.failed { FLUSH_FAILED } else { CUT_OFF }));
        }
        if platter.full {
            let torn = &bytes[..bytes.len() / 2];
            platter.bytes.extend_from_slice(torn);
            self.poisoned = true;
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        platter.bytes.extend_from_slice(&bytes);
        let Some(flushed) = flushed else { return Ok(()) };
        if platter.broken {
            self.poisoned = true;
            drop(platter);
            flushed.tell(Err(io::Error::other("the disk is broken")));
            return Ok(());
        }
        let end = platter.bytes.len();
        platter.waiting.push((end, flushed));
        platter.flushes += 1;
        self.disk.0.1.notify_all();
        let (held, later, owner) = (platter.held, platter.later.clone(), platter.owner);
        drop(platter);
        match later {
            _ if held => {}
            Some(later) => later(Due { disk: self.disk.clone(), end, owner }),
            None => self.disk.flush(),
        }
        Ok(())
    }
}

impl LogBackend for MemoryLog {
    fn state(&self) -> LogState {
        self.held.state
    }

    fn append(&mut self, entries: Vec<Entry>, flushed: Flushed) -> io::Result<()> {
        self.write(entries.into_iter().map(Record::Append).collect(), Some(flushed))
    }

    fn save_vote(&mut self, vote: Vote, flushed: Flushed) -> io::Result<()> {
        self.write(vec![Record::Vote(vote)], Some(flushed))
    }

    fn save_committed(&mut self, committed: LogId) -> io::Result<()> {
        self.write(vec![Record::Committed(committed)], None)
    }

    fn truncate_after(&mut self, last: Option<LogId>, flushed: Flushed) -> io::Result<()> {
        self.write(vec![Record::TruncateAfter(last)], Some(flushed))
    }

    fn purge(&mut self, upto: LogId, flushed: Flushed) -> io::Result<()> {
        self.write(vec![Record::Purge(upto)], Some(flushed))
    }

    fn read(&self, range: Range<u64>, bytes_max: usize) -> io::Result<Vec<Entry>> {
        let (mut entries, mut bytes) = (Vec::new(), 0);
        for entry in self.held.entries.range(range).map(|(_, entry)| entry) {
            bytes += entry.payload.len();
            if !entries.is_empty() && bytes > bytes_max {
                break;
            }
            entries.push(entry.clone());
        }
        Ok(entries)
    }

    fn room(&mut self, _: usize) -> io::Result<()> {
        let platter = self.disk.platter();
        if platter.full || platter.crowded { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn recover(&mut self) -> io::Result<()> {
        let mut platter = self.disk.platter();
        if platter.broken {
            return Err(io::Error::other("the disk is broken"));
        }
        if platter.owner != self.owner {
            return Err(io::Error::other(CUT_OFF));
        }
        let end = platter.flushed;
        platter.bytes.truncate(end);
        let waiting = std::mem::take(&mut platter.waiting);
        self.held = load(&mut platter)?;
        self.poisoned = false;
        drop(platter);
        drop(waiting);
        Ok(())
    }
}

/// Reads all, and writes it anew: what can be read is then there.
fn load(platter: &mut Platter) -> io::Result<Held> {
    let mut held = Held::default();
    let mut at = 0;
    while let Some(frame) = next_frame(&platter.bytes[at..])? {
        held.accept(&frame::decode(Schema::MemoryRecord, frame).map_err(invalid)?)?;
        at += 8 + frame.len();
    }
    platter.bytes.truncate(at);
    platter.flushed = at;
    (platter.hollow, platter.failed) = (None, false);
    Ok(held)
}

/// The frame at the start of `bytes`, if it is whole.
fn next_frame(bytes: &[u8]) -> io::Result<Option<&[u8]>> {
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else { return Ok(None) };
    let Some((guard, rest)) = rest.split_first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_be_bytes(*length);
    if length != !u32::from_be_bytes(*guard) {
        return Err(invalid("the length of a record is damaged"));
    }
    Ok(rest.get(..length as usize))
}

impl Held {
    /// Takes in one record, or refuses what breaks the rules of a log.
    fn accept(&mut self, record: &Record) -> io::Result<()> {
        let state = &mut self.state;
        match record {
            Record::Append(entry) => {
                let follows = state.last.is_none_or(|last| entry.id > last && entry.id.index == last.index + 1);
                refuse_unless(follows, "an entry does not follow the last one")?;
                state.last = Some(entry.id);
                self.entries.insert(entry.id.index, entry.clone());
            }
            Record::Vote(vote) => {
                refuse_unless(Some(*vote) >= state.vote, "a vote goes back")?;
                state.vote = Some(*vote);
            }
            Record::Committed(committed) => {
                refuse_unless(Some(*committed) <= state.last && Some(*committed) >= state.committed, "the commit mark leaves the log")?;
                state.committed = Some(*committed);
            }
            Record::TruncateAfter(last) => {
                let keep = last.map_or(0, |last| last.index + 1);
                if state.last.is_some_and(|end| end.index >= keep) {
                    refuse_unless(*last >= state.committed, "committed entries are truncated")?;
                    self.entries.split_off(&keep);
                    state.last = self.entries.last_key_value().map(|(_, entry)| entry.id).or(state.purged);
                }
            }
            Record::Purge(upto) if Some(*upto) > state.purged => {
                self.entries = self.entries.split_off(&(upto.index + 1));
                state.purged = Some(*upto);
                state.last = state.last.max(state.purged);
            }
            Record::Purge(_) => {}
        }
        Ok(())
    }
}

fn refuse_unless(holds: bool, rule: &'static str) -> io::Result<()> {
    if holds { Ok(()) } else { Err(invalid(rule)) }
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
