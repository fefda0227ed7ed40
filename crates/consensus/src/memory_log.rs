//! A log on a modelled disk: the twin of [`crate::disk_log`] for tests and simulation. Owns the model: what is written is lost in a crash unless it was
//! flushed, a crash may keep any number of the unflushed bytes, and writes and flushes can be made to wait or to fail. Must never be more forgiving than a disk.

use std::{
    collections::BTreeMap,
    io,
    ops::Range,
    sync::{Arc, Condvar, Mutex, MutexGuard},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{
    frame::{self, Schema},
    log::{Entry, Flushed, LogBackend, LogId, LogState, Vote},
};

/// The disk. Clones are the same disk; it outlives the logs that are opened on it.
#[derive(Clone, Default)]
pub struct MemoryDisk(Arc<(Mutex<Platter>, Condvar)>);

/// Takes a flush that is wanted, and does it some time later.
type Later = Arc<dyn Fn(Due) + Send + Sync>;

/// A flush that is wanted and not done yet.
pub struct Due {
    disk: MemoryDisk,
    end: usize,
    cuts: u64,
}

impl Due {
    /// Does it: what was written before it was wanted survives from here on. After a power cut there is nothing to do.
    pub fn flush(self) {
        self.disk.flush_upto(self.end, self.cuts);
    }
}

#[derive(Default)]
struct Platter {
    bytes: Vec<u8>,
    /// How many of them would survive a power cut.
    flushed: usize,
    /// Flushes that wait for [`MemoryDisk::flush`], each with the length it makes safe.
    waiting: Vec<(usize, Flushed)>,
    flushes: usize,
    /// Power cuts so far: a log that was opened before one is cut off from the disk.
    cuts: u64,
    /// Told about each flush that is wanted, instead of flushing at once.
    later: Option<Later>,
    held: bool,
    full: bool,
    crowded: bool,
    broken: bool,
}

impl MemoryDisk {
    /// An empty disk that flushes at once.
    pub fn new() -> Self {
        Self::default()
    }

    /// A disk that takes its time: `later` gets every flush that is wanted.
    pub fn slow(later: impl Fn(Due) + Send + Sync + 'static) -> Self {
        let disk = Self::default();
        disk.platter().later = Some(Arc::new(later));
        disk
    }

    /// From here on flushes wait until [`Self::flush`] or [`Self::release`].
    pub fn hold(&self) {
        self.platter().held = true;
    }

    /// Blocks until a flush waits, at most `patience`; says whether one does.
    pub fn until_held(&self, patience: Duration) -> bool {
        let waits = |platter: &mut Platter| platter.waiting.is_empty();
        let (platter, changed) = &*self.0;
        let platter = platter.lock().expect("no holder of the platter's lock calls out while it holds it");
        changed.wait_timeout_while(platter, patience, waits).is_ok_and(|(platter, _)| !platter.waiting.is_empty())
    }

    /// Flushes asked for so far.
    pub fn flushes(&self) -> usize {
        self.platter().flushes
    }

    /// Flushes no longer wait, and those that do are completed.
    pub fn release(&self) {
        self.platter().held = false;
        self.flush();
    }

    /// Completes every flush that waits.
    pub fn flush(&self) {
        let cuts = self.platter().cuts;
        self.flush_upto(usize::MAX, cuts);
    }

    fn flush_upto(&self, upto: usize, cuts: u64) {
        let mut platter = self.platter();
        if platter.cuts != cuts {
            return;
        }
        let (done, waiting) = std::mem::take(&mut platter.waiting).into_iter().partition(|(end, _)| *end <= upto);
        let done: Vec<(usize, Flushed)> = done;
        platter.waiting = waiting;
        platter.flushed = done.iter().map(|(end, _)| *end).fold(platter.flushed, usize::max);
        drop(platter);
        for (_, flushed) in done {
            flushed.tell(Ok(()));
        }
    }

    /// Whether there is room for more. A write without room keeps half of its bytes, as a real one may.
    pub fn set_full(&self, full: bool) {
        self.platter().full = full;
    }

    /// Whether it is so nearly full that proposals are refused. Small writes still find room.
    pub fn set_crowded(&self, crowded: bool) {
        self.platter().crowded = crowded;
    }

    /// From here on no flush succeeds, and it is not known what was kept.
    pub fn break_down(&self) {
        self.platter().broken = true;
    }

    /// The power is cut: of the bytes that were not flushed the first `kept` are there afterwards. Returns how many were not flushed.
    pub fn crash(&self, kept: usize) -> usize {
        let mut platter = self.platter();
        let loose = platter.bytes.len() - platter.flushed;
        let end = platter.flushed + kept.min(loose);
        platter.bytes.truncate(end);
        platter.flushed = end;
        platter.cuts += 1;
        (platter.held, platter.full, platter.broken) = (false, false, false);
        let waiting = std::mem::take(&mut platter.waiting);
        drop(platter);
        // Whoever waits learns that nothing was promised.
        drop(waiting);
        loose
    }

    /// Changes the bits `mask` of byte `at`, as a failing disk would. Beyond the end nothing happens.
    pub fn damage(&self, at: usize, mask: u8) {
        if let Some(byte) = self.platter().bytes.get_mut(at) {
            *byte ^= mask;
        }
    }

    /// Bytes on it.
    pub fn len(&self) -> usize {
        self.platter().bytes.len()
    }

    /// Whether nothing was ever written.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn platter(&self) -> MutexGuard<'_, Platter> {
        self.0.0.lock().expect("no holder of the platter's lock calls out while it holds it")
    }
}

/// The log on a [`MemoryDisk`].
pub struct MemoryLog {
    disk: MemoryDisk,
    held: Held,
    /// An error came back, and `recover` did not yet.
    poisoned: bool,
    /// How many power cuts there had been when it was opened.
    cuts: u64,
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
    /// Opens the log on `disk`. A torn end is cut off; damage before it is refused.
    pub fn open(disk: &MemoryDisk) -> io::Result<Self> {
        let mut platter = disk.platter();
        let (held, cuts) = (load(&mut platter)?, platter.cuts);
        drop(platter);
        Ok(Self { disk: disk.clone(), held, poisoned: false, cuts })
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
        if platter.cuts != self.cuts {
            self.poisoned = true;
            return Err(io::Error::other("the power was cut"));
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
        let (held, later, cuts) = (platter.held, platter.later.clone(), platter.cuts);
        drop(platter);
        match later {
            _ if held => {}
            Some(later) => later(Due { disk: self.disk.clone(), end, cuts }),
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
        let end = platter.flushed;
        platter.bytes.truncate(end);
        platter.waiting.clear();
        self.cuts = platter.cuts;
        self.held = load(&mut platter)?;
        self.poisoned = false;
        Ok(())
    }
}

fn load(platter: &mut Platter) -> io::Result<Held> {
    let mut held = Held::default();
    let mut at = 0;
    while let Some(frame) = next_frame(&platter.bytes[at..])? {
        held.accept(&frame::decode(Schema::MemoryRecord, frame).map_err(invalid)?)?;
        at += 8 + frame.len();
    }
    platter.bytes.truncate(at);
    platter.flushed = at;
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
