//! How much one plan decides, and when it looks again. Owns the numbers and their reasons; must never know who carries a plan out.

/// Steps in one plan. Keeps a plan far below the largest log entry, and its application below a millisecond or two; the next plan continues.
pub const STEPS_PER_PLAN_MAX: usize = 1_024;

/// Milliseconds until an instance that failed after its rollout is tried again: long enough that compiling it over and over costs little,
/// short enough that nobody waits for a person when a disk had been full.
pub const RETRY_MILLIS: u64 = 30_000;
