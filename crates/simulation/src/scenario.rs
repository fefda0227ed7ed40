//! What is simulated: how many members, which faults, which machine. Owns the choices a test makes; must never act on them.

use std::{collections::BTreeMap, io};

use consensus::{
    Checkpoint, LogBackend, StateMachine,
    memory_log::{MemoryDisk, MemoryLog},
    snapshot::MemoryShelf,
};

use crate::Random;

/// A state machine that can be put to the test. What is not overridden is not tested.
pub trait Subject: StateMachine {
    /// The state before the first entry.
    fn empty() -> Self;

    /// A command that can be found again by `unique`, from a client that last saw this state.
    fn write(&self, unique: u64, random: &mut Random) -> Self::Command;

    /// Whether the command `unique` was applied.
    fn holds(&self, unique: u64) -> bool;

    /// The entry of the last command that was applied, by what the state itself says.
    fn reached(&self) -> u64;

    /// What a write that was done must be seen to have done, by the answer to it.
    fn made(_command: &Self::Command, _answer: &Self::Answer) -> Option<Made> {
        None
    }

    /// The object that `command` would take away.
    fn unmakes(_command: &Self::Command) -> Option<String> {
        None
    }

    /// The object as it is.
    fn look(&self, _object: &str) -> Option<Made> {
        None
    }

    /// `command` once more, as `unique`, when its first answer did not arrive. None when doing it twice is not the same as doing it once.
    fn again(_command: &Self::Command, _unique: u64) -> Option<Self::Command> {
        None
    }

    /// What everybody who is told of it must be told alike: under which name, and what.
    fn told(_command: &Self::Command, _answer: &Self::Answer) -> Vec<(String, String)> {
        Vec::new()
    }

    /// What the first member writes when the group is founded, in order, numbered from `unique`.
    fn founding(_unique: u64) -> Vec<Self::Command> {
        Vec::new()
    }

    /// What is written to let in the newcomer `name`, whose number then is [`Self::number`] of the answer. None when members are counted.
    fn admission(_name: &str, _unique: u64) -> Option<Self::Command> {
        None
    }

    /// The number that an admission gave.
    fn number(_answer: &Self::Answer) -> Option<u64> {
        None
    }

    /// What `member` writes about its own state at `checkpoint`.
    fn attestation(_member: u64, _checkpoint: Checkpoint, _unique: u64) -> Option<Self::Command> {
        None
    }

    /// Why `member`, whose state was `checkpoint`, must not go on, by what the voters wrote.
    fn diverged(&self, _member: u64, _checkpoint: Checkpoint, _voters: &[u64]) -> Option<String> {
        None
    }

    /// Everything there is.
    fn list(&self) -> Listing {
        Listing::default()
    }

    /// What changed after the index of an earlier list, in order.
    ///
    /// # Errors
    /// The lowest index after which it is known, when that is a later one.
    fn changes(&self, _after: u64) -> Result<Vec<Changed>, u64> {
        Ok(Vec::new())
    }
}

/// What a write made of an object, or what is there of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// Which object.
    pub object: String,
    /// Its version, which only grows.
    pub version: u64,
    /// What it holds in that version.
    pub content: String,
}

/// Everything there is at one index.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listing {
    /// The index.
    pub index: u64,
    /// The objects, as text.
    pub objects: BTreeMap<String, String>,
}

/// One object that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// At which index.
    pub index: u64,
    /// Which object.
    pub object: String,
    /// What became of it.
    pub became: Became,
    /// What it is now, which may be later than `index`; none when it is gone.
    pub now: Option<String>,
}

/// What became of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Became {
    /// It is new.
    Added,
    /// It is another.
    Modified,
    /// It is gone.
    Deleted,
}

/// How much goes wrong.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Members at first, all with a vote.
    pub members: u64,
    /// Rounds. Each has at least one fault, with clients that go on meanwhile.
    pub rounds: u32,
    /// What may go wrong.
    pub faults: Vec<Fault>,
    /// By how many thousandths a member's clock is fast or slow at most.
    pub drift_permille_max: u32,
}

impl Scenario {
    /// Everything goes wrong. Clocks are worse than any real one, whose drift is below a tenth of a thousandth.
    pub fn of(members: u64, rounds: u32) -> Self {
        Self { members, rounds, faults: Fault::ALL.to_vec(), drift_permille_max: 40 }
    }
}

/// One thing that goes wrong, or that is done while things go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The leader loses power, with a part of what it had not flushed, and comes back.
    CrashLeader,
    /// Any member does.
    CrashOne,
    /// All of them do at once.
    CrashAll,
    /// One member is cut off.
    Isolate,
    /// One member is heard, but hears nobody; or the other way round.
    OneWay,
    /// Two halves that only one member connects.
    Bridge,
    /// Messages are lost, late, and come twice.
    Lossy,
    /// A member's process stands still and goes on, the leader's most often.
    Pause,
    /// Leadership is handed over.
    Transfer,
    /// A member takes a snapshot.
    Snapshot,
    /// A member is cut off until the others have forgotten the entries it lacks, so that it needs their snapshot.
    Laggard,
    /// A member loses its disk for good, and another takes its place.
    Replace,
    /// A member joins, learns, gets a vote, and another one leaves.
    Rotate,
    /// A member loses its vote for a while.
    Demote,
    /// Flushes take long.
    SlowDisk,
    /// A member finds no room on its disk for a while.
    FullDisk,
    /// A flush of a member fails, which ends it; what it wrote reads well when it starts again, and is gone when the power is cut.
    FailedFlush,
}

impl Fault {
    /// Every one.
    pub const ALL: [Self; 17] = [
        Self::CrashLeader,
        Self::CrashOne,
        Self::CrashAll,
        Self::Isolate,
        Self::OneWay,
        Self::Bridge,
        Self::Lossy,
        Self::Pause,
        Self::Transfer,
        Self::Snapshot,
        Self::Laggard,
        Self::Replace,
        Self::Rotate,
        Self::Demote,
        Self::SlowDisk,
        Self::FullDisk,
        Self::FailedFlush,
    ];
}

/// Who takes the place of a member that lost its disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replacement {
    /// One with a number that was never used.
    NewNumber,
    /// One with the same number, as if nothing had been lost. This is what must never be done.
    SameNumber,
}

/// How a client reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// It waits until the member knows everything that was acknowledged before.
    Waits,
    /// It takes what the member has. This is what must never be called current.
    TakesWhatIsThere,
}

/// Where a test puts in what it wants to see found. What is not overridden is as it should be.
pub trait Seams: Send + Sync + 'static {
    /// The log on `disk`.
    ///
    /// # Errors
    /// The disk is damaged.
    fn log(&self, disk: &MemoryDisk) -> io::Result<Box<dyn LogBackend>> {
        Ok(Box::new(MemoryLog::open(disk)?))
    }

    /// Where a new member keeps its snapshots.
    fn shelf(&self) -> MemoryShelf {
        MemoryShelf::new()
    }

    /// What a client does that wants to read what is true now.
    fn reading(&self) -> Reading {
        Reading::Waits
    }

    /// How a lost member is replaced.
    fn replacement(&self) -> Replacement {
        Replacement::NewNumber
    }
}

/// No bug is planted.
#[derive(Debug, Clone, Copy)]
pub struct Honest;

impl Seams for Honest {}
