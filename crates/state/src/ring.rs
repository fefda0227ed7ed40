//! The last so many of something that keeps happening, each with a number that counts from 1 without a gap. Owns the numbering; must never know what happened.

use rpds::RedBlackTreeMapSync;

/// The last entries. A clone shares all but what changes afterwards.
#[derive(Debug, Clone)]
pub(crate) struct Ring<T> {
    kept: RedBlackTreeMapSync<u64, T>,
    newest: u64,
    bound: u64,
}

impl<T: Clone> Ring<T> {
    /// Nothing yet of what may become `bound` entries, after `newest` that are forgotten.
    pub(crate) fn empty(bound: u64, newest: u64) -> Self {
        Self { kept: RedBlackTreeMapSync::new_sync(), newest, bound }
    }

    /// Adds what `make` makes of the next number, and forgets the oldest past the bound.
    pub(crate) fn push(&mut self, make: impl FnOnce(u64) -> T) {
        self.newest += 1;
        self.kept.insert_mut(self.newest, make(self.newest));
        if let Some(forgotten) = self.newest.checked_sub(self.bound) {
            self.kept.remove_mut(&forgotten);
        }
    }

    /// Puts in what a snapshot held under `number`.
    pub(crate) fn load(&mut self, number: u64, entry: T) {
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

    /// Whether exactly the last entries are kept.
    pub(crate) fn whole(&self) -> bool {
        let first = self.newest.saturating_sub(self.bound) + 1;
        self.kept.keys().copied().eq(first..=self.newest)
    }
}
