//! Bugs that are put in on purpose, through the seams: a simulation that does not find them proves nothing.

use std::{
    io,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, SystemTime},
};

use consensus::{
    AsyncRuntime, Checkpoint, Entry, LogBackend, LogId, RestoreError, StateMachine, Vote,
    log::{Flushed, LogState},
    memory_log::{MemoryDisk, MemoryLog},
    snapshot::MemoryShelf,
};
use model::id::Timestamp;
use openraft_rt_sim::SimRuntime;
use simulation::{Fault, Honest, Made, Numbered, Outcome, Random, Reading, Replacement, Replica, Scenario, Seams, Subject, run};
use state::{
    Command,
    command::{Change, CommandV1, UserCommand},
};

/// A log that says it is flushed before it is.
struct Hasty(MemoryLog);

/// What both bugs leave as the log inside does it.
macro_rules! behaves_like_its_log {
    () => {
        fn state(&self) -> LogState {
            self.0.state()
        }

        fn save_vote(&mut self, vote: Vote, flushed: Flushed) -> io::Result<()> {
            self.0.save_vote(vote, flushed)
        }

        fn save_committed(&mut self, committed: LogId) -> io::Result<()> {
            self.0.save_committed(committed)
        }

        fn truncate_after(&mut self, last: Option<LogId>, flushed: Flushed) -> io::Result<()> {
            self.0.truncate_after(last, flushed)
        }

        fn purge(&mut self, upto: LogId, flushed: Flushed) -> io::Result<()> {
            self.0.purge(upto, flushed)
        }

        fn read(&self, range: Range<u64>, bytes_max: usize) -> io::Result<Vec<Entry>> {
            self.0.read(range, bytes_max)
        }

        fn room(&mut self, bytes: usize) -> io::Result<()> {
            self.0.room(bytes)
        }
    };
}

impl LogBackend for Hasty {
    behaves_like_its_log!();

    fn append(&mut self, entries: Vec<Entry>, flushed: Flushed) -> io::Result<()> {
        self.0.append(entries, Flushed::new(drop))?;
        flushed.tell(Ok(()));
        Ok(())
    }

    fn recover(&mut self) -> io::Result<()> {
        self.0.recover()
    }
}

struct HastyDisks;

impl Seams for HastyDisks {
    fn log(&self, disk: &MemoryDisk) -> io::Result<Box<dyn LogBackend>> {
        Ok(Box::new(Hasty(MemoryLog::open(disk)?)))
    }
}

/// A log that says of a vote that it is flushed, and writes it a moment later: a member may forget whom it elected, and elect another one in the same term.
struct Fickle(Arc<Mutex<Voting>>);

struct Voting {
    log: MemoryLog,
    /// The last vote, written or not.
    vote: Option<Vote>,
}

/// How much later.
const MOMENT: Duration = Duration::from_millis(300);

impl Fickle {
    fn voting(&self) -> MutexGuard<'_, Voting> {
        self.0.lock().expect("nobody panics with it")
    }
}

impl LogBackend for Fickle {
    fn state(&self) -> LogState {
        let voting = self.voting();
        LogState { vote: voting.vote, ..voting.log.state() }
    }

    fn append(&mut self, entries: Vec<Entry>, flushed: Flushed) -> io::Result<()> {
        self.voting().log.append(entries, flushed)
    }

    fn save_vote(&mut self, vote: Vote, flushed: Flushed) -> io::Result<()> {
        self.voting().vote = Some(vote);
        let voting = self.0.clone();
        drop(SimRuntime::spawn(async move {
            SimRuntime::sleep(MOMENT).await;
            // By then another one may have the disk.
            let _ = voting.lock().expect("nobody panics with it").log.save_vote(vote, Flushed::new(drop));
        }));
        flushed.tell(Ok(()));
        Ok(())
    }

    fn save_committed(&mut self, committed: LogId) -> io::Result<()> {
        self.voting().log.save_committed(committed)
    }

    fn truncate_after(&mut self, last: Option<LogId>, flushed: Flushed) -> io::Result<()> {
        self.voting().log.truncate_after(last, flushed)
    }

    fn purge(&mut self, upto: LogId, flushed: Flushed) -> io::Result<()> {
        self.voting().log.purge(upto, flushed)
    }

    fn read(&self, range: Range<u64>, bytes_max: usize) -> io::Result<Vec<Entry>> {
        self.voting().log.read(range, bytes_max)
    }

    fn room(&mut self, bytes: usize) -> io::Result<()> {
        self.voting().log.room(bytes)
    }

    fn recover(&mut self) -> io::Result<()> {
        self.voting().log.recover()
    }
}

struct FickleVoters;

impl Seams for FickleVoters {
    fn log(&self, disk: &MemoryDisk) -> io::Result<Box<dyn LogBackend>> {
        let log = MemoryLog::open(disk)?;
        let vote = log.state().vote;
        Ok(Box::new(Fickle(Arc::new(Mutex::new(Voting { log, vote })))))
    }
}

/// A log that trusts what it reads after a flush that failed: it neither cuts it off nor writes it again.
struct Trusting(MemoryLog);

impl LogBackend for Trusting {
    behaves_like_its_log!();

    fn append(&mut self, entries: Vec<Entry>, flushed: Flushed) -> io::Result<()> {
        self.0.append(entries, flushed)
    }

    fn recover(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct TrustingLogs;

impl Seams for TrustingLogs {
    fn log(&self, disk: &MemoryDisk) -> io::Result<Box<dyn LogBackend>> {
        let hollow = disk.hollow();
        let log = MemoryLog::open(disk)?;
        disk.set_hollow(hollow);
        Ok(Box::new(Trusting(log)))
    }
}

/// The product's state behind somebody who looks at a clock instead of the time in the command.
#[derive(Debug, Clone)]
struct Clocked(Replica);

impl StateMachine for Clocked {
    type Command = Numbered;
    type Answer = <Replica as StateMachine>::Answer;

    fn apply(&mut self, index: u64, numbered: &Numbered) -> Self::Answer {
        let mut numbered = numbered.clone();
        let Command::V1(command) = &mut numbered.command;
        if let CommandV1::User(user) = command {
            user.at = Timestamp(SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_nanos() as u64));
        }
        self.0.apply(index, &numbered)
    }

    fn records(&self) -> Box<dyn Iterator<Item = Vec<u8>> + Send + '_> {
        self.0.records()
    }

    fn restore(records: &mut dyn Iterator<Item = io::Result<Vec<u8>>>) -> Result<Self, RestoreError> {
        Replica::restore(records).map(Self)
    }

    fn hash(&self) -> [u8; 32] {
        self.0.hash()
    }
}

impl Subject for Clocked {
    fn empty() -> Self {
        Self(Replica::empty())
    }

    fn write(&self, unique: u64, random: &mut Random) -> Numbered {
        self.0.write(unique, random)
    }

    fn holds(&self, unique: u64) -> bool {
        self.0.holds(unique)
    }

    fn reached(&self) -> u64 {
        self.0.reached()
    }

    fn founding(unique: u64) -> Vec<Numbered> {
        Replica::founding(unique)
    }

    fn admission(name: &str, unique: u64) -> Option<Numbered> {
        Replica::admission(name, unique)
    }

    fn number(answer: &Self::Answer) -> Option<u64> {
        Replica::number(answer)
    }

    fn attestation(member: u64, checkpoint: Checkpoint, unique: u64) -> Option<Numbered> {
        Replica::attestation(member, checkpoint, unique)
    }

    fn diverged(&self, member: u64, checkpoint: Checkpoint, voters: &[u64]) -> Option<String> {
        self.0.diverged(member, checkpoint, voters)
    }
}

/// A state that keeps something else than what it was given, now and then, and says that all is well.
#[derive(Debug, Clone)]
struct Careless(Replica);

impl StateMachine for Careless {
    type Command = Numbered;
    type Answer = <Replica as StateMachine>::Answer;

    fn apply(&mut self, index: u64, numbered: &Numbered) -> Self::Answer {
        let mut numbered = numbered.clone();
        let Command::V1(command) = &mut numbered.command;
        if let CommandV1::User(UserCommand { change: Change::PutConfig(put), .. }) = command
            && index.is_multiple_of(7)
        {
            put.data.clear();
        }
        self.0.apply(index, &numbered)
    }

    fn records(&self) -> Box<dyn Iterator<Item = Vec<u8>> + Send + '_> {
        self.0.records()
    }

    fn restore(records: &mut dyn Iterator<Item = io::Result<Vec<u8>>>) -> Result<Self, RestoreError> {
        Replica::restore(records).map(Self)
    }

    fn hash(&self) -> [u8; 32] {
        self.0.hash()
    }
}

impl Subject for Careless {
    fn empty() -> Self {
        Self(Replica::empty())
    }

    fn write(&self, unique: u64, random: &mut Random) -> Numbered {
        self.0.write(unique, random)
    }

    fn holds(&self, unique: u64) -> bool {
        self.0.holds(unique)
    }

    fn reached(&self) -> u64 {
        self.0.reached()
    }

    fn made(numbered: &Numbered, answer: &Self::Answer) -> Option<Made> {
        Replica::made(numbered, answer)
    }

    fn unmakes(numbered: &Numbered) -> Option<String> {
        Replica::unmakes(numbered)
    }

    fn look(&self, object: &str) -> Option<Made> {
        self.0.look(object)
    }

    fn founding(unique: u64) -> Vec<Numbered> {
        Replica::founding(unique)
    }

    fn admission(name: &str, unique: u64) -> Option<Numbered> {
        Replica::admission(name, unique)
    }

    fn number(answer: &Self::Answer) -> Option<u64> {
        Replica::number(answer)
    }
}

/// Snapshots that are said to be there before they are.
struct HastyShelves;

impl Seams for HastyShelves {
    fn shelf(&self) -> MemoryShelf {
        MemoryShelf::hasty()
    }
}

/// Reads that wait for nothing.
struct NoBarrier;

impl Seams for NoBarrier {
    fn reading(&self) -> Reading {
        Reading::TakesWhatIsThere
    }
}

/// Whoever lost its disk comes back under its old number.
struct SameNumber;

impl Seams for SameNumber {
    fn replacement(&self) -> Replacement {
        Replacement::SameNumber
    }
}

/// Whether what is planted shows in one of a few seeds, as something that contains `expected`.
fn is_found(expected: &str, simulate: impl Fn(u64) -> Outcome) -> bool {
    (0..20).any(|seed| simulate(seed).violations.iter().any(|violation| violation.contains(expected)))
}

#[test]
fn a_log_that_answers_before_it_flushes_is_found() {
    let scenario = Scenario { faults: vec![Fault::CrashAll], ..Scenario::of(3, 10) };
    assert!(is_found("acknowledged", |seed| run::<Replica>(seed, &scenario, Arc::new(HastyDisks))));
    assert!(!is_found("", |seed| run::<Replica>(seed, &scenario, Arc::new(Honest))), "it is found where it is not");
}

#[test]
fn a_vote_that_is_counted_before_it_is_flushed_is_found() {
    let scenario = Scenario { faults: vec![Fault::CrashAll], ..Scenario::of(3, 10) };
    assert!(is_found("both lead in term", |seed| run::<Replica>(seed, &scenario, Arc::new(FickleVoters))));
}

#[test]
fn a_log_that_trusts_what_it_reads_after_a_failed_flush_is_found() {
    let scenario = Scenario { faults: vec![Fault::FailedFlush], ..Scenario::of(3, 10) };
    assert!(is_found("", |seed| run::<Replica>(seed, &scenario, Arc::new(TrustingLogs))));
    assert!(!is_found("", |seed| run::<Replica>(seed, &scenario, Arc::new(Honest))), "it is found where it is not");
}

#[test]
fn a_write_that_makes_something_else_is_found() {
    assert!(is_found("was acknowledged", |seed| run::<Careless>(seed, &Scenario::of(3, 3), Arc::new(Honest))));
}

#[test]
fn a_snapshot_that_is_not_there_after_a_power_cut_is_found() {
    let scenario = Scenario { faults: vec![Fault::Snapshot, Fault::CrashOne], ..Scenario::of(3, 10) };
    assert!(is_found("cannot start: the log starts at entry", |seed| run::<Replica>(seed, &scenario, Arc::new(HastyShelves))));
    assert!(!is_found("", |seed| run::<Replica>(seed, &scenario, Arc::new(Honest))), "it is found where it is not");
}

#[test]
fn a_read_that_waits_for_nothing_is_found() {
    assert!(is_found("before it began", |seed| run::<Replica>(seed, &Scenario::of(3, 3), Arc::new(NoBarrier))));
}

#[test]
fn a_state_that_looks_at_a_clock_is_found_by_us_and_by_its_members() {
    for expected in ["differ at entry", "finds by the log that its state differs"] {
        assert!(is_found(expected, |seed| run::<Clocked>(seed, &Scenario::of(3, 3), Arc::new(Honest))), "{expected}");
    }
}

#[test]
fn a_number_that_is_used_again_is_found() {
    let scenario = Scenario { faults: vec![Fault::Replace, Fault::Isolate, Fault::CrashAll], ..Scenario::of(3, 10) };
    assert!(is_found("acknowledged writes", |seed| run::<Replica>(seed, &scenario, Arc::new(SameNumber))));
    assert!(!is_found("", |seed| run::<Replica>(seed, &scenario, Arc::new(Honest))), "it is found where it is not");
}
