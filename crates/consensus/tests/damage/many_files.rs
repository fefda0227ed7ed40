//! Logs of many files, of which one is hurt, short or gone: they are intact, or refused by the name of the file. Owns what happens to files that are not the only one.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use consensus::disk_log::DiskLog;
use proptest::prelude::*;

use crate::history::{Held, Write, around, files, perform, reopened, write};

/// Bytes of a file of a log with many: some records.
const FILE_BYTES: usize = 300;

/// What happens to one of many files, or to all after a place. Where is said in thousandths of thousandths.
#[derive(Debug, Clone)]
enum Harm {
    /// A byte of any file is another.
    Flip { file: u32, at: u32, mask: u8 },
    /// A file that is not the newest ends early.
    Cut { file: u32, at: u32 },
    /// A file that is not the newest is empty.
    Empty { file: u32 },
    /// A file that is not the newest is gone.
    Remove { file: u32 },
    /// The whole log ends early, as a kill leaves it: later files are gone, or were made and have nothing yet.
    Kill { at: u32, made: bool },
}

fn harm() -> impl Strategy<Value = Harm> {
    let part = || 0..1_000_000u32;
    prop_oneof![
        4 => (part(), part(), 1..=255u8).prop_map(|(file, at, mask)| Harm::Flip { file, at, mask }),
        2 => (part(), part()).prop_map(|(file, at)| Harm::Cut { file, at }),
        1 => part().prop_map(|file| Harm::Empty { file }),
        2 => part().prop_map(|file| Harm::Remove { file }),
        3 => (part(), any::<bool>()).prop_map(|(at, made)| Harm::Kill { at, made }),
    ]
}

/// A log of many files, and what it was told was flushed.
struct Logged {
    directory: tempfile::TempDir,
    /// Where each file with something in it starts, and how many bytes it has.
    files: Vec<(u64, u64)>,
    /// What was acknowledged when the log ended at which byte.
    acknowledged: Vec<(u64, Held)>,
    /// Where the log ended when it was first seen to start where it starts now.
    removed: u64,
}

/// Where each file in `directory` starts, and how many bytes it has.
fn places(directory: &Path) -> Vec<(u64, u64)> {
    let start = |path: &Path| path.file_stem()?.to_str()?.strip_prefix("r-")?.replace('_', "").parse().ok();
    // A file may go while it is looked at.
    let place = |path: &PathBuf| Some((start(path)?, fs::metadata(path).ok()?.len()));
    files(directory).iter().filter_map(place).collect()
}

impl Logged {
    fn of(writes: &[Write]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let mut log = DiskLog::open_with(directory.path(), FILE_BYTES).expect("opens");
        let (mut acknowledged, mut removed) = (Vec::new(), (0, 0));
        let mut note = |log: &DiskLog| {
            let places = places(directory.path());
            let end = places.last().map_or(0, |(start, length)| start + length);
            acknowledged.push((end, Held::of(log).expect("readable")));
            let first = places.first().map_or(0, |(start, _)| *start);
            removed = if first == removed.0 { removed } else { (first, end) };
        };
        note(&log);
        for write in writes {
            perform(&mut log, write).expect("a log takes what follows its rules");
            note(&log);
        }
        drop(log);
        let files: Vec<_> = places(directory.path()).into_iter().filter(|(_, length)| *length > 0).collect();
        let first = files.first().map_or(0, |(start, _)| *start);
        // Those that nobody saw being removed were removed at the end.
        let removed = if first == removed.0 { removed.1 } else { u64::MAX };
        Self { directory, files, acknowledged, removed }
    }

    /// A copy with `harm` done to it, opened, and the start of the file that was hurt, or where the log ends. None when there is nothing to hurt in this way.
    fn harmed(&self, harm: &Harm) -> Option<(u64, io::Result<Held>)> {
        let part = |of: u64, part: u32| of * u64::from(part) / 1_000_000;
        let older = &self.files[..self.files.len() - 1];
        let pick = |from: &[(u64, u64)], file: u32| from.get(part(from.len() as u64, file) as usize).copied();
        let copy = self.copy();
        let path = |start: u64| copy.path().join(name(start));
        let hurt = match harm {
            Harm::Flip { file, at, mask } => {
                let (start, length) = pick(&self.files, *file)?;
                let mut bytes = fs::read(path(start)).expect("readable");
                bytes[part(length, *at) as usize] ^= mask;
                fs::write(path(start), bytes).expect("written");
                start
            }
            Harm::Cut { file, at } => {
                let (start, length) = pick(older, *file)?;
                cut(&path(start), part(length, *at));
                start
            }
            Harm::Empty { file } => {
                let (start, _) = pick(older, *file)?;
                cut(&path(start), 0);
                start
            }
            Harm::Remove { file } => {
                let (start, _) = pick(older, *file)?;
                fs::remove_file(path(start)).expect("it was there");
                start
            }
            Harm::Kill { at, made } => {
                let (first, (last, length)) = (self.files.first()?.0, *self.files.last()?);
                let end = first + part(last + length - first, *at);
                // Files are removed once it is flushed that nobody needs them: no log that starts here ends before.
                if end < self.removed {
                    return None;
                }
                for (start, length) in &self.files {
                    match () {
                        () if start + length <= end => {}
                        () if *start <= end => cut(&path(*start), end - start),
                        () if *made => cut(&path(*start), 0),
                        () => fs::remove_file(path(*start)).expect("it was there"),
                    }
                }
                end
            }
        };
        Some((hurt, reopened(copy.path(), FILE_BYTES)))
    }

    fn copy(&self) -> tempfile::TempDir {
        let copy = tempfile::tempdir().expect("a directory");
        for file in files(self.directory.path()) {
            fs::copy(&file, copy.path().join(file.file_name().expect("a name"))).expect("copied");
        }
        copy
    }
}

fn cut(path: &Path, length: u64) {
    fs::OpenOptions::new().write(true).open(path).and_then(|file| file.set_len(length)).expect("cut");
}

/// What the file is called that starts at `start`.
fn name(start: u64) -> String {
    let digits = format!("{start:020}");
    let groups: Vec<&str> = std::iter::once(&digits[..2]).chain((2..20).step_by(3).map(|at| &digits[at..at + 3])).collect();
    format!("r-{}.wal", groups.join("_"))
}

/// Whether `error` says that the file that starts at `start` cannot be read.
fn names(error: &io::Error, start: u64) -> bool {
    error.to_string().contains(&format!("{} cannot be read: ", name(start)))
}

/// One entry after the other, with votes and a change of mind between them.
fn history() -> Vec<Write> {
    let some = || (0..6).map(|number| Write::Append { entries: 1, bytes: 40, later_term: number == 0 });
    let between = [Write::Vote { committed: false }, Write::Truncate { back: 2 }, Write::Vote { committed: true }];
    some().chain(between).chain(some()).chain([Write::Append { entries: 3, bytes: 9, later_term: false }]).collect()
}

#[test]
fn a_damaged_byte_in_any_of_many_files_is_noticed() {
    let logged = Logged::of(&history());
    assert!(logged.files.len() > 3, "{:?}", logged.files);
    let whole = &logged.acknowledged.last().expect("it was opened").1;
    let (mut refused, mut byte) = (0, 0);
    for (start, length) in &logged.files {
        for at in 0..*length {
            byte += 1;
            let copy = logged.copy();
            let path = copy.path().join(name(*start));
            let mut bytes = fs::read(&path).expect("readable");
            bytes[at as usize] ^= [0x01, 0x80, 0xff][byte % 3];
            fs::write(&path, bytes).expect("written");
            match DiskLog::open_with(copy.path(), FILE_BYTES).and_then(|log| Held::of(&log)) {
                Ok(found) => assert_eq!(&found, whole, "byte {at} of the file at {start} changed, and was not noticed"),
                Err(error) if names(&error, *start) => refused += 1,
                Err(error) => panic!("byte {at} of the file at {start}: {error}"),
            }
        }
    }
    assert!(refused * 10 > byte * 9, "{refused} of {byte} were refused");
}

#[test]
fn a_log_that_lacks_a_file_or_a_part_of_one_is_refused_by_name() {
    let logged = Logged::of(&history());
    let [older @ .., _] = logged.files.as_slice() else { panic!("it has no files") };
    for (number, (start, length)) in older.iter().enumerate() {
        // Of a file that is gone the one before it is named, which ends too early; of the first one, the one that is first now.
        let before = if number == 0 { logged.files[1].0 } else { logged.files[number - 1].0 };
        for (lacks, whose, harm) in [
            ("half of it", *start, Some(length / 2)),
            ("its last byte", *start, Some(length - 1)),
            ("all but a byte", *start, Some(1)),
            ("everything", *start, Some(0)),
            ("itself", before, None),
        ] {
            let copy = logged.copy();
            let path = copy.path().join(name(*start));
            match harm {
                Some(length) => cut(&path, length),
                None => fs::remove_file(&path).expect("it was there"),
            }
            let error = DiskLog::open_with(copy.path(), FILE_BYTES)
                .err()
                .unwrap_or_else(|| panic!("file {number} lacks {lacks}, and nobody says so"));
            assert!(names(&error, whose), "file {number} lacks {lacks}: {error}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_log_of_many_files_is_intact_or_the_file_that_is_not_is_named(
        writes in prop::collection::vec(write(), 20..50),
        harms in prop::collection::vec(harm(), 16),
    ) {
        let logged = Logged::of(&writes);
        for harm in &harms {
            let Some((file, outcome)) = logged.harmed(harm) else { continue };
            match (outcome, harm) {
                (Ok(found), Harm::Kill { .. }) => {
                    let (before, after) = around(&logged.acknowledged, file);
                    prop_assert!(found.lies_between(&before, &after), "{harm:?} leaves\n{found:?}\nof\n{before:?}\nand\n{after:?}");
                }
                (Ok(found), _) => prop_assert_eq!(&found, &logged.acknowledged.last().expect("it was opened").1, "{:?} is not noticed", harm),
                (Err(error), Harm::Kill { .. }) => prop_assert!(false, "{harm:?} is refused: {error}"),
                (Err(error), Harm::Flip { .. }) => prop_assert!(names(&error, file), "{:?} of the file at {}: {}", harm, file, error),
                (Err(error), _) => prop_assert!(error.to_string().contains(".wal cannot be read: "), "{:?}: {}", harm, error),
            }
        }
    }
}
