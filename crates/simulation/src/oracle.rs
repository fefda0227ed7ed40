//! What must hold whatever goes wrong. Owns what was promised to clients and seen of members, and says when the two do not fit; must never cause anything.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use consensus::{Checkpoint, Leadership};

/// What came of a simulation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// What must never be, in the order it was seen. Empty when all is well.
    pub violations: Vec<String>,
    /// Writes that were acknowledged.
    pub acknowledged: usize,
    /// Writes of which nothing is known.
    pub unknown: usize,
    /// Reads that were promised to be current, and were.
    pub reads: usize,
    /// Messages that were sent.
    pub messages: u64,
    /// Terms that had a leader.
    pub terms: usize,
    /// States that were compared.
    pub compared: usize,
    /// How long it took, in virtual time.
    pub took: Duration,
    /// From each crash of a leader to the next acknowledged write.
    pub failovers: Vec<Duration>,
}

/// What is known. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Oracle(Arc<Mutex<Facts>>);

#[derive(Default)]
struct Facts {
    outcome: Outcome,
    acknowledged: BTreeSet<u64>,
    /// Which write was acknowledged at which index.
    places: BTreeMap<u64, u64>,
    /// Refused for certain.
    refused: BTreeSet<u64>,
    leaders: BTreeMap<u64, u64>,
    hashes: BTreeMap<u64, ([u8; 32], u64)>,
}

impl Oracle {
    pub(crate) fn violation(&self, what: String) {
        self.facts().violation(what);
    }

    /// A client was told that its write stands at `index`.
    pub(crate) fn acknowledged(&self, unique: u64, index: u64) {
        let mut facts = self.facts();
        facts.acknowledged.insert(unique);
        if let Some(other) = facts.places.insert(index, unique) {
            facts.violation(format!("writes {other} and {unique} were both acknowledged at entry {index}"));
        }
    }

    /// A client was told that its write was not made and never will be.
    pub(crate) fn refused(&self, unique: u64) {
        self.facts().refused.insert(unique);
    }

    pub(crate) fn unknown(&self) {
        self.facts().outcome.unknown += 1;
    }

    pub(crate) fn message(&self) {
        self.facts().outcome.messages += 1;
    }

    pub(crate) fn failover(&self, took: Duration) {
        self.facts().outcome.failovers.push(took);
    }

    /// Everything acknowledged so far.
    pub(crate) fn promised(&self) -> BTreeSet<u64> {
        self.facts().acknowledged.clone()
    }

    /// A member gave a state that was promised to hold `promised`, at least.
    pub(crate) fn read(&self, member: u64, promised: &BTreeSet<u64>, holds: impl Fn(u64) -> bool) {
        let lost = promised.iter().filter(|unique| !holds(**unique)).count();
        let mut facts = self.facts();
        facts.outcome.reads += 1;
        if lost > 0 {
            facts.violation(format!("a read of member {member} misses {lost} acknowledged writes"));
        }
    }

    pub(crate) fn leads(&self, member: u64, leadership: &Leadership) {
        let Leadership::Leading { term, .. } = leadership else { return };
        let mut facts = self.facts();
        let before = *facts.leaders.entry(*term).or_insert(member);
        if before != member {
            facts.violation(format!("members {before} and {member} both lead in term {term}"));
        }
    }

    pub(crate) fn hashed(&self, member: u64, checkpoint: Checkpoint) {
        let mut facts = self.facts();
        let (hash, other) = *facts.hashes.entry(checkpoint.index).or_insert((checkpoint.hash, member));
        facts.outcome.compared += usize::from(other != member);
        if hash != checkpoint.hash {
            facts.violation(format!("the states of members {other} and {member} differ at entry {}", checkpoint.index));
        }
    }

    /// At the end, when nothing goes wrong any more and everybody caught up.
    pub(crate) fn last_look(&self, member: u64, holds: impl Fn(u64) -> bool) {
        let mut facts = self.facts();
        let lost = facts.acknowledged.iter().filter(|unique| !holds(**unique)).count();
        let back = facts.refused.iter().filter(|unique| holds(**unique)).count();
        if lost > 0 {
            facts.violation(format!("member {member} lost {lost} acknowledged writes"));
        }
        if back > 0 {
            facts.violation(format!("member {member} holds {back} writes that were refused"));
        }
    }

    pub(crate) fn outcome(&self, took: Duration) -> Outcome {
        let mut facts = self.facts();
        let (acknowledged, terms) = (facts.acknowledged.len(), facts.leaders.len());
        let outcome = std::mem::take(&mut facts.outcome);
        Outcome { acknowledged, terms, took, ..outcome }
    }

    fn facts(&self) -> MutexGuard<'_, Facts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Facts {
    fn violation(&mut self, what: String) {
        self.outcome.violations.push(what);
    }
}
