//! Members that tell watchers something else than what happened. Owns what is told wrongly; a simulation that does not notice proves nothing about watches.

use std::{io, marker::PhantomData, sync::Arc};

use consensus::{RestoreError, StateMachine};
use simulation::{Changed, Honest, Listing, Numbered, Outcome, Random, Replica, Scenario, Subject, run};

/// Makes of what happened what is told.
pub trait Retelling: std::fmt::Debug + Clone + Send + Sync + 'static {
    /// What is told.
    fn retell(changes: Vec<Changed>) -> Vec<Changed>;
}

/// Every seventh change is left out.
#[derive(Debug, Clone)]
pub struct Forgets;

impl Retelling for Forgets {
    fn retell(changes: Vec<Changed>) -> Vec<Changed> {
        (1_usize..).zip(changes).filter(|(number, _)| !number.is_multiple_of(7)).map(|(_, changed)| changed).collect()
    }
}

/// Every seventh change is told twice.
#[derive(Debug, Clone)]
pub struct Repeats;

impl Retelling for Repeats {
    fn retell(changes: Vec<Changed>) -> Vec<Changed> {
        let times = |number: usize| if number.is_multiple_of(7) { 2 } else { 1 };
        (1..).zip(changes).flat_map(|(number, changed)| vec![changed; times(number)]).collect()
    }
}

/// The product's state, with what watchers are told retold.
#[derive(Debug, Clone)]
pub struct Retold<R>(Replica, PhantomData<R>);

impl<R: Retelling> StateMachine for Retold<R> {
    type Command = Numbered;
    type Answer = <Replica as StateMachine>::Answer;

    fn apply(&mut self, index: u64, numbered: &Numbered) -> Self::Answer {
        self.0.apply(index, numbered)
    }

    fn records(&self) -> Box<dyn Iterator<Item = Vec<u8>> + Send + '_> {
        self.0.records()
    }

    fn restore(records: &mut dyn Iterator<Item = io::Result<Vec<u8>>>) -> Result<Self, RestoreError> {
        Replica::restore(records).map(|replica| Self(replica, PhantomData))
    }

    fn hash(&self) -> [u8; 32] {
        self.0.hash()
    }
}

impl<R: Retelling> Subject for Retold<R> {
    fn empty() -> Self {
        Self(Replica::empty(), PhantomData)
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

    fn list(&self) -> Listing {
        self.0.list()
    }

    fn changes(&self, after: u64) -> Result<Vec<Changed>, u64> {
        self.0.changes(after).map(R::retell)
    }
}

/// Whether what is told wrongly shows in one of a few seeds, as something that contains `expected`.
fn is_found<R: Retelling>(expected: &str) -> bool {
    let simulate = |seed| -> Outcome { run::<Retold<R>>(seed, &Scenario::of(3, 3), Arc::new(Honest)) };
    (0..20).any(|seed| simulate(seed).violations.iter().any(|violation| violation.contains(expected)))
}

#[test]
fn a_change_that_is_not_told_is_found_though_a_later_one_of_the_same_object_is() {
    assert!(is_found::<Forgets>("watchers are told differently"));
}

#[test]
fn a_change_that_is_told_twice_is_found() {
    assert!(is_found::<Repeats>("told twice of"));
}
