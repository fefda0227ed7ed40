//! What is written into a log that is then hurt, and what it may hold afterwards. Owns the histories; must never know what happens to the files.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use consensus::{
    disk_log::DiskLog,
    log::{Entry, Flushed, LogBackend, LogId, Vote},
};
use proptest::prelude::*;

/// Something that is written and flushed.
#[derive(Debug, Clone)]
pub enum Write {
    Append { entries: u8, bytes: u8, later_term: bool },
    Vote { committed: bool },
    Truncate { back: u64 },
    Purge { back: u64 },
}

pub fn write() -> impl Strategy<Value = Write> {
    prop_oneof![
        6 => (1..5u8, any::<u8>(), any::<bool>()).prop_map(|(entries, bytes, later_term)| Write::Append { entries, bytes, later_term }),
        2 => any::<bool>().prop_map(|committed| Write::Vote { committed }),
        1 => (0..4u64).prop_map(|back| Write::Truncate { back }),
        1 => (0..6u64).prop_map(|back| Write::Purge { back }),
    ]
}

/// What a log holds, all of it acknowledged.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Held {
    pub entries: Vec<Entry>,
    pub last: Option<LogId>,
    pub purged: Option<LogId>,
    pub vote: Option<Vote>,
}

impl Held {
    pub fn of(log: &DiskLog) -> io::Result<Self> {
        let state = log.state();
        Ok(Self { entries: log.read(0..u64::MAX, usize::MAX)?, last: state.last, purged: state.purged, vote: state.vote })
    }

    /// Whether this is what a log may hold that was killed somewhere in the write that leads from `before` to `after`.
    pub fn lies_between(&self, before: &Self, after: &Self) -> bool {
        let grows = after.entries.starts_with(&before.entries) && (before.vote, before.purged) == (after.vote, after.purged);
        let part = self.entries.starts_with(&before.entries) && after.entries.starts_with(&self.entries);
        self == before || self == after || (grows && part && (self.vote, self.purged) == (after.vote, after.purged))
    }
}

/// Does `write` and waits until it is acknowledged.
pub fn perform(log: &mut DiskLog, write: &Write) -> io::Result<()> {
    let state = log.state();
    let last = state.last.unwrap_or_default();
    let back = |back: u64| log.read(0..u64::MAX, usize::MAX).map(|all| all.iter().rev().nth(back as usize).map(|entry| entry.id));
    let (flushed, told) = Flushed::pair();
    match write {
        Write::Append { entries, bytes, later_term } => {
            let term = last.term.max(1) + u64::from(*later_term);
            let entry = |index| Entry { id: LogId { term, index }, payload: vec![index as u8; usize::from(*bytes)].into() };
            log.append((last.index + 1..=last.index + u64::from(*entries)).map(entry).collect(), flushed)?;
        }
        Write::Vote { committed } => {
            let before = state.vote.map_or(0, |vote| vote.term);
            log.save_vote(Vote { term: before + 1, node: 1 + before % 3, committed: *committed }, flushed)?;
        }
        Write::Truncate { back: count } => log.truncate_after(back(*count)?.or(state.purged), flushed)?,
        Write::Purge { back: count } => match back(*count)? {
            Some(upto) => log.purge(upto, flushed)?,
            None => return Ok(()),
        },
    }
    told.recv().map_err(io::Error::other)?
}

/// The files of the log in `directory`, in order.
pub fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("a readable directory").map(|entry| entry.expect("a readable entry").path());
    let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|extension| extension == "wal")).collect();
    files.sort();
    files
}

/// Opens the log in `directory`, and writes to it.
pub fn reopened(directory: &Path, file_bytes: usize) -> io::Result<Held> {
    let mut log = DiskLog::open_with(directory, file_bytes)?;
    let found = Held::of(&log)?;
    // It goes on from there, and that is there again too.
    perform(&mut log, &Write::Append { entries: 2, bytes: 9, later_term: true }).expect("it takes more");
    let more = Held::of(&log).expect("readable");
    drop(log);
    let again = DiskLog::open_with(directory, file_bytes).expect("what it wrote after the damage is whole");
    assert_eq!(Held::of(&again).expect("readable"), more);
    assert!(more.entries.starts_with(&found.entries));
    Ok(found)
}

/// What was acknowledged when the log ended at which byte. What a log may hold that ends at `end`: something from the one to the other.
pub fn around(acknowledged: &[(u64, Held)], end: u64) -> (Held, Held) {
    let count = acknowledged.iter().take_while(|(length, _)| *length <= end).count();
    let before = count.checked_sub(1).map_or_else(Held::default, |last| acknowledged[last].1.clone());
    let after = match count {
        0 => Held::default(),
        count => acknowledged.get(count).map_or_else(|| before.clone(), |(_, held)| held.clone()),
    };
    (before, after)
}
