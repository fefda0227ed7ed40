//! What many entries come to, told anew with each that comes or goes instead of by reading all: the sum of their hashes. Owns the sum; must never be asked where
//! somebody gains by making two collections look alike.
//!
//! The sum of hashes as the hash of a set is AdHash (M. Bellare and D. Micciancio, "A New Paradigm for Collision-free Hashing", EUROCRYPT 1997). The log's order
//! is in the entries themselves, each has its number or index.

/// What the entries of a collection come to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    entries: u64,
    /// The hashes' four words, each added up by itself.
    words: [u64; 4],
}

/// What can be counted in a [`Tally`].
pub(crate) trait Tallied: Clone {
    /// The hash of all of it but for what it says in sentences.
    fn digest(&self) -> [u8; 32];
}

impl Tally {
    /// What `entries` come to.
    pub(crate) fn of<'a, T: Tallied + 'a>(entries: impl Iterator<Item = &'a T>) -> Self {
        let mut tally = Self::default();
        entries.for_each(|entry| tally.add(entry));
        tally
    }

    pub(crate) fn add(&mut self, entry: &impl Tallied) {
        self.entries += 1;
        self.change(entry, u64::wrapping_add);
    }

    /// Takes back an entry that was added.
    pub(crate) fn remove(&mut self, entry: &impl Tallied) {
        self.entries -= 1;
        self.change(entry, u64::wrapping_sub);
    }

    fn change(&mut self, entry: &impl Tallied, by: fn(u64, u64) -> u64) {
        let digest = entry.digest();
        for (word, bytes) in self.words.iter_mut().zip(digest.as_chunks::<8>().0) {
            *word = by(*word, u64::from_le_bytes(*bytes));
        }
    }

    /// How many entries there are, and their sum.
    pub(crate) fn bytes(&self) -> [u8; 40] {
        let mut bytes = [0; 40];
        let numbers = std::iter::once(self.entries).chain(self.words);
        for (place, number) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(numbers) {
            *place = number.to_le_bytes();
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sha2::{Digest as _, Sha256};

    use super::*;

    impl Tallied for u32 {
        fn digest(&self) -> [u8; 32] {
            Sha256::digest(self.to_le_bytes()).into()
        }
    }

    proptest! {
        #[test]
        fn what_came_and_went_leaves_nothing(stay in prop::collection::vec(any::<u32>(), 0..20), go in prop::collection::vec(any::<u32>(), 0..20)) {
            let mut tally = Tally::of(go.iter());
            stay.iter().for_each(|entry| tally.add(entry));
            go.iter().rev().for_each(|entry| tally.remove(entry));
            prop_assert_eq!(tally, Tally::of(stay.iter()));
        }

        #[test]
        fn one_that_differs_shows(entries in prop::collection::vec(any::<u32>(), 1..20), at in any::<prop::sample::Index>()) {
            let mut other = entries.clone();
            *at.get_mut(&mut other) ^= 1;
            prop_assert_ne!(Tally::of(other.iter()).bytes(), Tally::of(entries.iter()).bytes());
            prop_assert_ne!(Tally::of(entries.iter().skip(1)).bytes(), Tally::of(entries.iter()).bytes());
        }
    }
}
