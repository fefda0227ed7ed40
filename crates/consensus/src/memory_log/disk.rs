//! The modelled disk. Owns what survives: what was flushed, and of the rest as much as a test says. A flush may wait or fail; what it was of can be read all the
//! same, as on a real system. Must never know what a record is.

use std::{
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard},
    time::Duration,
};

use crate::log::Flushed;

/// What whoever waited for a flush that failed is told.
pub const FLUSH_FAILED: &str = "a flush failed";

/// The disk. Clones are the same disk; it outlives the logs that are opened on it.
#[derive(Clone, Default)]
pub struct MemoryDisk(pub(super) Arc<(Mutex<Platter>, Condvar)>);

/// Takes a flush that is wanted, and does it some time later.
pub(super) type Later = Arc<dyn Fn(Due) + Send + Sync>;

/// A flush that is wanted and not done yet.
pub struct Due {
    pub(super) disk: MemoryDisk,
    pub(super) end: usize,
    pub(super) owner: u64,
}

impl Due {
    /// Does it: what was written before it was wanted survives from here on. When the log that wanted it is gone there is nothing to do.
    pub fn flush(self) {
        self.disk.flush_upto(self.end, self.owner);
    }
}

#[derive(Default)]
pub(super) struct Platter {
    pub(super) bytes: Vec<u8>,
    /// How many of them would survive a power cut, were it not for `hollow`.
    pub(super) flushed: usize,
    /// From where on what reads well is not there: a flush of it failed, after which the system takes it for written. Only writing it anew helps.
    pub(super) hollow: Option<usize>,
    /// Flushes that wait for [`MemoryDisk::flush`], each with the length it makes safe.
    pub(super) waiting: Vec<(usize, Flushed)>,
    pub(super) flushes: usize,
    /// Counts the logs that were opened and the power cuts: whoever has another number is cut off from the disk.
    pub(super) owner: u64,
    /// Told about each flush that is wanted, instead of flushing at once.
    pub(super) later: Option<Later>,
    pub(super) held: bool,
    pub(super) full: bool,
    pub(super) crowded: bool,
    pub(super) broken: bool,
    /// The next flush fails.
    failing: bool,
    /// A flush failed, and the log did not recover or start anew since.
    pub(super) failed: bool,
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
        let owner = self.platter().owner;
        self.flush_upto(usize::MAX, owner);
    }

    fn flush_upto(&self, upto: usize, owner: u64) {
        let mut platter = self.platter();
        if platter.owner != owner {
            return;
        }
        if platter.failing {
            return self.fail_waiting(platter);
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

    /// Nothing that waits is on the disk, though all of it can be read.
    fn fail_waiting(&self, mut platter: MutexGuard<'_, Platter>) {
        let end = platter.flushed;
        (platter.failing, platter.failed) = (false, true);
        platter.hollow = Some(platter.hollow.map_or(end, |before| before.min(end)));
        let waiting = std::mem::take(&mut platter.waiting);
        drop(platter);
        for (_, flushed) in waiting {
            flushed.tell(Err(io::Error::other(FLUSH_FAILED)));
        }
    }

    /// Whether the next flush fails. What it was of can still be read, and later flushes succeed without it.
    pub fn set_failing(&self, failing: bool) {
        self.platter().failing = failing;
    }

    /// From which byte on what can be read would not survive a power cut, because a flush of it failed.
    pub fn hollow(&self) -> Option<usize> {
        self.platter().hollow
    }

    /// Makes it hollow as it was before it was written anew: what a log does that trusts what it reads.
    pub fn set_hollow(&self, hollow: Option<usize>) {
        self.platter().hollow = hollow;
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
        let end = platter.hollow.take().unwrap_or(platter.flushed + kept.min(loose));
        platter.bytes.truncate(end);
        platter.flushed = end;
        platter.owner += 1;
        (platter.held, platter.full, platter.broken) = (false, false, false);
        (platter.failing, platter.failed) = (false, false);
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

    pub(super) fn platter(&self) -> MutexGuard<'_, Platter> {
        self.0.0.lock().expect("no holder of the platter's lock calls out while it holds it")
    }
}
