//! The log on disk and its twin on a modelled disk are the same log: whatever is asked of both, they answer alike, before and after a restart.

mod support;

use consensus::{
    disk_log::DiskLog,
    log::{Entry, Flushed, LogBackend, LogId, Vote},
    memory_log::{MemoryDisk, MemoryLog},
};
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Ask {
    Append { entries: u8, later_term: bool },
    Vote { term: u64 },
    Commit { back: u64 },
    Truncate { back: u64 },
    Purge { back: u64 },
    Read { from: u64, bytes: usize },
    Reopen,
}

fn ask() -> impl Strategy<Value = Ask> {
    prop_oneof![
        6 => (1..5u8, any::<bool>()).prop_map(|(entries, later_term)| Ask::Append { entries, later_term }),
        1 => (0..6u64).prop_map(|term| Ask::Vote { term }),
        1 => (0..4u64).prop_map(|back| Ask::Commit { back }),
        2 => (0..6u64).prop_map(|back| Ask::Truncate { back }),
        1 => (0..6u64).prop_map(|back| Ask::Purge { back }),
        2 => (0..20u64, 0..200usize).prop_map(|(from, bytes)| Ask::Read { from, bytes }),
        1 => Just(Ask::Reopen),
    ]
}

/// What `ask` means for a log that ends where `log` does: places come from the entries there are.
fn perform(log: &mut dyn LogBackend, ask: &Ask) -> Result<Vec<Entry>, ()> {
    let state = log.state();
    let last = state.last.unwrap_or_default();
    let at = |log: &dyn LogBackend, back: u64| {
        let index = last.index.saturating_sub(back);
        let there = log.read(index..index + 1, 0).expect("readable").pop();
        there.map(|entry| entry.id).or(state.purged.filter(|purged| purged.index == index))
    };
    let (flushed, result) = Flushed::pair();
    let done = match ask {
        Ask::Append { entries, later_term } => {
            let term = last.term.max(1) + u64::from(*later_term);
            let entry = |index| Entry { id: LogId { term, index }, payload: vec![index as u8; 20].into() };
            log.append((last.index + 1..=last.index + u64::from(*entries)).map(entry).collect(), flushed)
        }
        Ask::Vote { term } if state.vote.is_some_and(|vote| vote.term > *term) => return Ok(vec![]),
        Ask::Vote { term } => log.save_vote(Vote { term: *term, node: 1, committed: false }, flushed),
        Ask::Commit { back } => match at(log, *back).filter(|place| Some(*place) >= state.committed) {
            Some(place) => return log.save_committed(place).map(|()| vec![]).map_err(drop),
            None => return Ok(vec![]),
        },
        Ask::Truncate { back } => match at(log, *back).filter(|place| Some(*place) >= state.committed && Some(*place) >= state.purged) {
            Some(place) => log.truncate_after(Some(place), flushed),
            None => return Ok(vec![]),
        },
        Ask::Purge { back } => match at(log, *back) {
            Some(place) => log.purge(place, flushed),
            None => return Ok(vec![]),
        },
        Ask::Read { from, bytes } => return log.read(*from..*from + 10, *bytes).map_err(drop),
        Ask::Reopen => return Ok(vec![]),
    };
    done.map_err(drop)?;
    result.recv().expect("every flush is told").map_err(drop)?;
    Ok(vec![])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_logs_answer_alike(asks in prop::collection::vec(ask(), 1..40)) {
        let (directory, disk) = (tempfile::tempdir().expect("a directory"), MemoryDisk::new());
        let mut real = DiskLog::open(directory.path()).expect("opens");
        let mut model = MemoryLog::open(&disk).expect("opens");
        for ask in asks.iter().chain([&Ask::Vote { term: 9 }, &Ask::Reopen, &Ask::Read { from: 0, bytes: 10_000 }]) {
            if matches!(ask, Ask::Reopen) {
                // A vote flushes the commit mark before it, which may otherwise be lost.
                let vote = Ask::Vote { term: real.state().vote.map_or(0, |vote| vote.term) };
                prop_assert_eq!(perform(&mut real, &vote), perform(&mut model, &vote));
                drop(real);
                real = DiskLog::open(directory.path()).expect("opens again");
                model = MemoryLog::open(&disk).expect("opens again");
            }
            prop_assert_eq!(perform(&mut real, ask), perform(&mut model, ask), "{:?}", ask);
            prop_assert_eq!(real.state(), model.state(), "after {:?}", ask);
        }
    }
}
