//! The last so many of something that keeps happening, each with a number that counts from 1 without a gap. Owns the numbering; must never know what happened.

use rpds::RedBlackTreeMapSync;

use crate::tally::{Tallied, Tally};

/// The last entries. A clone shares all but what changes afterwards.
#[derive(Debug, Clone)]
pub(crate) struct Ring<T> {
    kept: RedBlackTreeMapSync<u64, T>,
    tally: Tally,
    newest: u64,
    bound: u64,
}

impl<T: Tallied> Ring<T> {
    /// Nothing yet of what may become `bound` entries, after `newest` that are forgotten.
    pub(crate) fn empty(bound: u64, newest: u64) -> Self {
        Self { kept: RedBlackTreeMapSync::new_sync(), tally: Tally::default(), newest, bound }
    }

    /// Adds what `make` makes of the next number, and forgets the oldest past the bound.
    pub(crate) fn push(&mut self, make: impl FnOnce(u64) -> T) {
        self.newest += 1;
        self.load(self.newest, make(self.newest));
        let forgotten = self.newest.checked_sub(self.bound);
        if let Some((number, entry)) = forgotten.and_then(|number| Some((number, self.kept.get(&number)?))) {
            self.tally.remove(entry);
            self.kept.remove_mut(&number);
        }
    }

    /// Puts in what a snapshot held under `number`, which is not taken.
    pub(crate) fn load(&mut self, number: u64, entry: T) {
        self.tally.add(&entry);
        self.kept.insert_mut(number, entry);
    }

    /// Entries after `number`, oldest first.
    pub(crate) fn after(&self, number: u64) -> impl Iterator<Item = &T> {
        self.kept.range(number.saturating_add(1)..).map(|(_, entry)| entry)
    }

    /// The number of the newest entry; 0 before the first.
    pub(crate) fn newest(&self) -> u64 {
        self.newest
    }

    /// What the kept entries come to.
    pub(crate) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Whether exactly the last entries are kept, and their tally is right.
    pub(crate) fn whole(&self) -> bool {
        let first = self.newest.saturating_sub(self.bound) + 1;
        self.kept.keys().copied().eq(first..=self.newest) && self.tally == Tally::of(self.kept.values())
    }
}
