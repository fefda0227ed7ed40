//! What is simulated: how many members, which faults, which machine. Owns the choices a test makes; must never act on them.

use std::io;

use consensus::{
    LogBackend, StateMachine,
    memory_log::{MemoryDisk, MemoryLog},
};

/// A state machine that can be put to the test.
pub trait Subject: StateMachine {
    /// The state before the first entry.
    fn empty() -> Self;

    /// A command that can be found again by `unique`; what else it does is up to `choice`.
    fn write(unique: u64, choice: u64) -> Self::Command;

    /// Whether the command `unique` was applied.
    fn holds(&self, unique: u64) -> bool;
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
}

impl Scenario {
    /// Everything goes wrong.
    pub fn of(members: u64, rounds: u32) -> Self {
        Self { members, rounds, faults: Fault::ALL.to_vec() }
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
    /// Leadership is handed over.
    Transfer,
    /// A member takes a snapshot.
    Snapshot,
    /// A member loses its disk for good, and another takes its place.
    Replace,
    /// Flushes take long.
    SlowDisk,
    /// A member finds no room on its disk for a while.
    FullDisk,
}

impl Fault {
    /// Every one.
    pub const ALL: [Self; 12] = [
        Self::CrashLeader,
        Self::CrashOne,
        Self::CrashAll,
        Self::Isolate,
        Self::OneWay,
        Self::Bridge,
        Self::Lossy,
        Self::Transfer,
        Self::Snapshot,
        Self::Replace,
        Self::SlowDisk,
        Self::FullDisk,
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

/// Where a test puts in what it wants to see found. What is not overridden is as it should be.
pub trait Seams: Send + Sync + 'static {
    /// The log on `disk`.
    ///
    /// # Errors
    /// The disk is damaged.
    fn log(&self, disk: &MemoryDisk) -> io::Result<Box<dyn LogBackend>> {
        Ok(Box::new(MemoryLog::open(disk)?))
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
