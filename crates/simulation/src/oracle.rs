//! What must hold whatever goes wrong. Owns what was promised to clients and seen of members, and says when the two do not fit; must never cause anything.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use consensus::Checkpoint;

use crate::{
    Subject,
    accounts::{Account, Accounts},
    scenario::Made,
};

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
    /// States that members compared by themselves, through the log.
    pub attested: usize,
    /// Lists that a watcher had right from changes alone.
    pub watched: usize,
    /// Changes that a watcher was told as another one had been before.
    pub told_alike: usize,
    /// Lists that a watcher had to read again, because changes were forgotten.
    pub listed_again: usize,
    /// Members that were let in after the first ones.
    pub newcomers: usize,
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
    /// The highest index that an answer has shown.
    shown: u64,
    /// What watchers were told.
    accounts: Accounts,
    /// What was told under which name.
    told: BTreeMap<String, String>,
    /// The last version of each object that somebody was told is there.
    made: BTreeMap<String, Made>,
    /// Objects that somebody asked to be taken away, whatever came of it.
    unmade: BTreeSet<String>,
}

/// What was promised before a read began.
pub(crate) struct Promised {
    acknowledged: BTreeSet<u64>,
    made: BTreeMap<String, Made>,
}

impl Oracle {
    pub(crate) fn violation(&self, what: String) {
        self.facts().violation(what);
    }

    /// Somebody begins to ask: what they are told must be later than everything that was shown to anybody before. With the one order of the log, in which
    /// no index is acknowledged twice and all members have equal states, that is what makes a history linearizable.
    pub(crate) fn begin(&self) -> u64 {
        self.facts().shown
    }

    /// A client that had `begun` was told that its write stands at `index`.
    pub(crate) fn acknowledged(&self, unique: u64, begun: u64, index: u64) {
        let mut facts = self.facts();
        facts.acknowledged.insert(unique);
        if let Some(other) = facts.places.insert(index, unique).filter(|other| *other != unique) {
            facts.violation(format!("writes {other} and {unique} were both acknowledged at entry {index}"));
        }
        if index <= begun {
            facts.violation(format!("write {unique} stands at entry {index}, though entry {begun} was shown before it began"));
        }
        facts.shown = facts.shown.max(index);
    }

    /// A client was told something that everybody must be told alike.
    pub(crate) fn told(&self, what: String, told: String) {
        let mut facts = self.facts();
        let before = facts.told.entry(what.clone()).or_insert_with(|| told.clone()).clone();
        if before != told {
            facts.violation(format!("{what}: {before} and {told} were both told"));
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
    pub(crate) fn promised(&self) -> Promised {
        let facts = self.facts();
        Promised { acknowledged: facts.acknowledged.clone(), made: facts.made.clone() }
    }

    /// A client was told that an object is so.
    pub(crate) fn made(&self, made: Made) {
        let mut facts = self.facts();
        let last = facts.made.entry(made.object.clone()).or_insert_with(|| made.clone());
        if last.version < made.version {
            *last = made;
        }
    }

    /// A client asks for an object to be taken away.
    pub(crate) fn unmade(&self, object: String) {
        self.facts().unmade.insert(object);
    }

    /// A member gave a state that was promised to hold what was acknowledged and shown when the read had begun.
    pub(crate) fn read<S: Subject>(&self, member: u64, begun: u64, promised: &Promised, state: &S) {
        let lost = promised.acknowledged.iter().filter(|unique| !state.holds(**unique)).count();
        let mut facts = self.facts();
        facts.outcome.reads += 1;
        if lost > 0 {
            facts.violation(format!("a read of member {member} misses {lost} acknowledged writes"));
        }
        let index = state.reached();
        if index < begun {
            facts.violation(format!("a read of member {member} shows entry {index}, though entry {begun} was shown before it began"));
        }
        facts.shown = facts.shown.max(index);
        facts.compare(member, &promised.made, state);
    }

    pub(crate) fn attested(&self) {
        self.facts().outcome.attested += 1;
    }

    pub(crate) fn watched(&self) {
        self.facts().outcome.watched += 1;
    }

    pub(crate) fn listed_again(&self) {
        self.facts().outcome.listed_again += 1;
    }

    pub(crate) fn newcomer(&self) {
        self.facts().outcome.newcomers += 1;
    }

    /// A watcher was told what changed: whoever else is told of the same entries must be told exactly that.
    pub(crate) fn account(&self, account: Account) {
        let mut facts = self.facts();
        match facts.accounts.add(account) {
            Ok(alike) => facts.outcome.told_alike += alike,
            Err(differs) => facts.violation(format!("watchers are told differently: {differs}")),
        }
    }

    /// `member` leads in `term`, as it says of itself or as a message says that it sends.
    pub(crate) fn leads(&self, member: u64, term: u64) {
        let mut facts = self.facts();
        let before = *facts.leaders.entry(term).or_insert(member);
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
    pub(crate) fn last_look<S: Subject>(&self, member: u64, state: &S) {
        let mut facts = self.facts();
        let lost = facts.acknowledged.iter().filter(|unique| !state.holds(**unique)).count();
        let back = facts.refused.iter().filter(|unique| state.holds(**unique)).count();
        let made = facts.made.clone();
        facts.compare(member, &made, state);
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
    /// Whether `state` shows what writes were said to have made, or something later.
    fn compare<S: Subject>(&mut self, member: u64, made: &BTreeMap<String, Made>, state: &S) {
        for (object, made) in made {
            let found = state.look(object);
            let fits = match &found {
                Some(found) => found.version > made.version || found == made,
                None => self.unmade.contains(object),
            };
            if !fits {
                self.violation(format!("member {member} shows {found:?}, though {made:?} was acknowledged"));
            }
        }
    }

    fn violation(&mut self, what: String) {
        self.outcome.violations.push(what);
    }
}
