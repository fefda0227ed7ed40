//! What a killed process or a bad disk leaves of a log: whatever was written and wherever it ends or is hurt, opening it again gives everything that was
//! acknowledged, or is refused. Owns the histories and the damage; whole members over such logs are `durability.rs`'s.

use std::{fs, io, path::Path};

use consensus::{
    disk_log::DiskLog,
    log::{Entry, Flushed, LogBackend, LogId, Vote},
};
use proptest::prelude::*;

/// Something that is written and flushed.
#[derive(Debug, Clone)]
enum Write {
    Append { entries: u8, bytes: u8, later_term: bool },
    Vote { committed: bool },
    Truncate { back: u64 },
    Purge { back: u64 },
}

/// What happens to the file.
#[derive(Debug, Clone)]
enum Damage {
    /// It ends after this part of it, in thousandths of thousandths.
    Cut { at: u32 },
    /// It ends there, and so many zeros follow: a file system that had not written the last page.
    Zeros { at: u32, count: u16 },
    /// It ends there, and old bytes of the disk follow.
    Garbage { at: u32, bytes: Vec<u8> },
    /// A byte is another.
    Flip { at: u32, mask: u8 },
}

fn write() -> impl Strategy<Value = Write> {
    prop_oneof![
        6 => (1..5u8, any::<u8>(), any::<bool>()).prop_map(|(entries, bytes, later_term)| Write::Append { entries, bytes, later_term }),
        2 => any::<bool>().prop_map(|committed| Write::Vote { committed }),
        1 => (0..4u64).prop_map(|back| Write::Truncate { back }),
        1 => (0..6u64).prop_map(|back| Write::Purge { back }),
    ]
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = || 0..1_000_000u32;
    prop_oneof![
        4 => at().prop_map(|at| Damage::Cut { at }),
        1 => (at(), 1..5_000u16).prop_map(|(at, count)| Damage::Zeros { at, count }),
        1 => (at(), prop::collection::vec(any::<u8>(), 1..200)).prop_map(|(at, bytes)| Damage::Garbage { at, bytes }),
        4 => (at(), 1..=255u8).prop_map(|(at, mask)| Damage::Flip { at, mask }),
    ]
}

/// What a log holds, all of it acknowledged.
#[derive(Debug, Clone, PartialEq, Default)]
struct Held {
    entries: Vec<Entry>,
    last: Option<LogId>,
    purged: Option<LogId>,
    vote: Option<Vote>,
}

impl Held {
    fn of(log: &DiskLog) -> io::Result<Self> {
        let state = log.state();
        Ok(Self { entries: log.read(0..u64::MAX, usize::MAX)?, last: state.last, purged: state.purged, vote: state.vote })
    }

    /// Whether this is what a log may hold that was killed somewhere in the write that leads from `before` to `after`.
    fn lies_between(&self, before: &Self, after: &Self) -> bool {
        let grows = after.entries.starts_with(&before.entries) && (before.vote, before.purged) == (after.vote, after.purged);
        let part = self.entries.starts_with(&before.entries) && after.entries.starts_with(&self.entries);
        self == before || self == after || (grows && part && (self.vote, self.purged) == (after.vote, after.purged))
    }
}

/// Does `write` and waits until it is acknowledged.
fn perform(log: &mut DiskLog, write: &Write) -> io::Result<()> {
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

/// The only file of the log in `directory`.
fn file(directory: &Path) -> std::path::PathBuf {
    let entries = fs::read_dir(directory).expect("a readable directory").map(|entry| entry.expect("a readable entry").path());
    let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|extension| extension == "wal")).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files.remove(0)
}

/// The bytes of the file after `damage`, from where they differ from `whole`, and whether only its end is missing.
fn hurt(whole: &[u8], damage: &Damage) -> (Vec<u8>, usize) {
    let place = |at: u32| (whole.len() as u64 * u64::from(at) / 1_000_000) as usize;
    match damage {
        Damage::Cut { at } => (whole[..place(*at)].to_vec(), place(*at)),
        Damage::Zeros { at, count } => ([&whole[..place(*at)], &vec![0; usize::from(*count)]].concat(), place(*at)),
        Damage::Garbage { at, bytes } => ([&whole[..place(*at)], bytes].concat(), place(*at)),
        Damage::Flip { at, mask } => {
            let mut bytes = whole.to_vec();
            bytes[place(*at)] ^= mask;
            // A flipped byte is no kill: everything was acknowledged, and everything must be there.
            (bytes, whole.len())
        }
    }
}

/// Opens a log whose file holds `bytes`, and writes to it. None when it is refused.
fn reopened(name: &std::ffi::OsStr, bytes: &[u8]) -> Option<Held> {
    let copy = tempfile::tempdir().expect("a directory");
    fs::write(copy.path().join(name), bytes).expect("written");
    let mut log = DiskLog::open(copy.path()).ok()?;
    let found = Held::of(&log).ok()?;
    // It goes on from there, and that is there again too.
    perform(&mut log, &Write::Append { entries: 2, bytes: 9, later_term: true }).expect("it takes more");
    let more = Held::of(&log).expect("readable");
    drop(log);
    let again = DiskLog::open(copy.path()).expect("what it wrote after the damage is whole");
    assert_eq!(Held::of(&again).expect("readable"), more);
    assert!(more.entries.starts_with(&found.entries));
    Some(found)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_log_is_intact_up_to_the_last_acknowledged_write_or_refused(
        writes in prop::collection::vec(write(), 1..25),
        damages in prop::collection::vec(damage(), 12),
    ) {
        let directory = tempfile::tempdir().expect("a directory");
        let mut log = DiskLog::open(directory.path()).expect("opens");
        let length = || fs::metadata(file(directory.path())).expect("the file is there").len() as usize;
        // What was acknowledged when the file was how long.
        let mut acknowledged = vec![(length(), Held::of(&log).expect("readable"))];
        for write in &writes {
            perform(&mut log, write).expect("a log takes what follows its rules");
            acknowledged.push((length(), Held::of(&log).expect("readable")));
        }
        drop(log);
        let path = file(directory.path());
        let whole = fs::read(&path).expect("readable");
        for damage in &damages {
            let (bytes, upto) = hurt(&whole, damage);
            let Some(found) = reopened(path.file_name().expect("it has a name"), &bytes) else {
                // A mere cut behind the head of the file is what every kill leaves: refusing it would be loud, but no server would start again.
                prop_assert!(!matches!(damage, Damage::Cut { .. }) || upto < acknowledged[0].0, "{:?} is refused", damage);
                continue;
            };
            let count = acknowledged.iter().take_while(|(length, _)| *length <= upto).count();
            let Some((_, before)) = count.checked_sub(1).and_then(|last| acknowledged.get(last)) else {
                prop_assert_eq!(found, Held::default(), "{:?} came before anything was acknowledged", damage);
                continue;
            };
            let after = acknowledged.get(count).map_or(before, |(_, held)| held);
            prop_assert!(found.lies_between(before, after), "{damage:?} leaves\n{found:?}\nof\n{before:?}\nand\n{after:?}");
        }
    }
}
