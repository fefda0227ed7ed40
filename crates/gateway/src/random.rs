//! Numbers without a pattern, for spreading load and for names that must differ. Owns one generator per thread (xorshift64*); must never make a secret.

use std::cell::Cell;

/// The next number.
pub(crate) fn next() -> u64 {
    thread_local!(static SEED: Cell<u64> = Cell::new(seed()));
    SEED.with(|seed| {
        let mut x = seed.get();
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        seed.set(x);
        x.wrapping_mul(0x2545_F491_4F6C_DD1D)
    })
}

/// A number below `bound`.
pub(crate) fn below(bound: usize) -> usize {
    (((next() >> 32) * bound as u64) >> 32) as usize
}

fn seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::thread::current().id()) | 1
}
