//! What a killed process or a bad disk leaves of a log: whatever was written and wherever it ends or is hurt, opening it again gives everything that was
//! acknowledged, or is refused. Owns the damage to one file; what happens to many is `many_files.rs`'s, and whole members over such logs are `durability.rs`'s.

mod history;
mod many_files;

use std::{
    fs,
    path::{Path, PathBuf},
};

use consensus::{disk_log::DiskLog, limits::FILE_BYTES_MAX};
use history::{Held, around, files, perform, reopened, write};
use proptest::prelude::*;

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

fn damage() -> impl Strategy<Value = Damage> {
    let at = || 0..1_000_000u32;
    prop_oneof![
        4 => at().prop_map(|at| Damage::Cut { at }),
        1 => (at(), 1..5_000u16).prop_map(|(at, count)| Damage::Zeros { at, count }),
        1 => (at(), prop::collection::vec(any::<u8>(), 1..200)).prop_map(|(at, bytes)| Damage::Garbage { at, bytes }),
        4 => (at(), 1..=255u8).prop_map(|(at, mask)| Damage::Flip { at, mask }),
    ]
}

/// The only file of the log in `directory`.
fn file(directory: &Path) -> PathBuf {
    let mut files = files(directory);
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_log_is_intact_up_to_the_last_acknowledged_write_or_refused(
        writes in prop::collection::vec(write(), 1..25),
        damages in prop::collection::vec(damage(), 12),
    ) {
        let directory = tempfile::tempdir().expect("a directory");
        let mut log = DiskLog::open(directory.path()).expect("opens");
        let length = || fs::metadata(file(directory.path())).expect("the file is there").len();
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
            let copy = tempfile::tempdir().expect("a directory");
            fs::write(copy.path().join(path.file_name().expect("it has a name")), bytes).expect("written");
            let Ok(found) = reopened(copy.path(), FILE_BYTES_MAX) else {
                // A mere cut behind the head of the file is what every kill leaves: refusing it would be loud, but no server would start again.
                prop_assert!(!matches!(damage, Damage::Cut { .. }) || (upto as u64) < acknowledged[0].0, "{:?} is refused", damage);
                continue;
            };
            let (before, after) = around(&acknowledged, upto as u64);
            prop_assert!(found.lies_between(&before, &after), "{damage:?} leaves\n{found:?}\nof\n{before:?}\nand\n{after:?}");
        }
    }
}
