//! What the runtime counts. Owns the counters of a node and the slots they bound; must never know the form metrics are read in.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

/// Upper bounds of the buckets for the time an instantiation takes, in microseconds; what takes longer falls into one more bucket.
const INSTANTIATION_MICROS: [u64; 12] = [5, 10, 15, 20, 30, 50, 100, 200, 500, 1_000, 10_000, 100_000];

/// What the runtime has done since its start. The numbers are read one after another, not at one instant.
#[derive(Debug, Clone, PartialEq)]
pub struct Figures {
    /// Sandboxes that may live at once.
    pub slots: u32,
    /// Sandboxes that live now.
    pub sandboxes_live: u32,
    /// Sandboxes started.
    pub instantiations: u64,
    /// How long each start took.
    pub instantiation: Histogram,
    /// Guests that trapped or ended themselves.
    pub traps: u64,
    /// Requests without a response in time.
    pub timeouts: u64,
    /// Times a guest asked for more memory than its limit, or than its instance had left.
    pub memory_denials: u64,
    /// Requests that found no room in the memory of their instance in time.
    pub instance_memory_refusals: u64,
    /// Guests that used up their processor time.
    pub cpu_exhausted: u64,
    /// Guests that reached a limit of the host.
    pub host_limits: u64,
    /// Guests that were moved to the slow lane or began there.
    pub slow_lane: u64,
    /// Sandboxes that live now and are kept for more than one request.
    pub sandboxes_kept: u32,
    /// Kept sandboxes that were replaced though they could have gone on.
    pub recycled: u64,
    /// Requests that found every slot in use.
    pub exhaustions: u64,
    /// Guests that sent no response, an error, or one that is not valid.
    pub bad_responses: u64,
    /// Sandboxes that could not be started.
    pub start_failures: u64,
    /// Guests still at work after their response when their time was over.
    pub overruns: u64,
    /// The pools of both engines together, where there are any.
    pub pool: Option<PoolFigures>,
}

/// Counts by size.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    /// Upper bound of a bucket in seconds, and how many fell into it and no lower one. The last bound is infinite.
    pub buckets: Vec<(f64, u64)>,
    /// Sum of all, in seconds.
    pub sum_seconds: f64,
}

/// What of the pool is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolFigures {
    /// Memories in use.
    pub memories: usize,
    /// Tables in use.
    pub tables: usize,
    /// Stacks in use.
    pub stacks: usize,
    /// Unused memories that are kept warm.
    pub memories_warm: u32,
    /// Bytes kept resident in unused memories.
    pub warm_bytes: usize,
}

impl PoolFigures {
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            memories: self.memories + other.memories,
            tables: self.tables + other.tables,
            stacks: self.stacks + other.stacks,
            memories_warm: self.memories_warm + other.memories_warm,
            warm_bytes: self.warm_bytes + other.warm_bytes,
        }
    }
}

/// The counters behind [`Figures`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) slots: u32,
    live: AtomicU32,
    instantiation_buckets: [AtomicU64; INSTANTIATION_MICROS.len() + 1],
    instantiation_nanos: AtomicU64,
    pub(crate) traps: AtomicU64,
    pub(crate) timeouts: AtomicU64,
    pub(crate) memory_denials: AtomicU64,
    pub(crate) instance_memory_refusals: AtomicU64,
    pub(crate) cpu_exhausted: AtomicU64,
    pub(crate) host_limits: AtomicU64,
    pub(crate) slow_lane: AtomicU64,
    pub(crate) kept: AtomicU32,
    pub(crate) recycled: AtomicU64,
    exhaustions: AtomicU64,
    pub(crate) bad_responses: AtomicU64,
    pub(crate) start_failures: AtomicU64,
    pub(crate) overruns: AtomicU64,
}

/// The right to one slot, for as long as it is held.
#[derive(Debug)]
pub(crate) struct Slot(Arc<Counters>);

impl Counters {
    pub(crate) fn new(slots: u32) -> Self {
        Self { slots, ..Self::default() }
    }

    /// A free slot, or none when all are in use.
    pub(crate) fn take_slot(self: &Arc<Self>) -> Option<Slot> {
        if self.live.fetch_add(1, Relaxed) < self.slots {
            return Some(Slot(Arc::clone(self)));
        }
        self.live.fetch_sub(1, Relaxed);
        None
    }

    /// A request found no slot, or the pool itself said that it is full: a component may hold more of it than one slot.
    pub(crate) fn count_exhaustion(&self) {
        self.count(&self.exhaustions);
    }

    pub(crate) fn count(&self, counter: &AtomicU64) {
        counter.fetch_add(1, Relaxed);
    }

    pub(crate) fn count_instantiation(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = INSTANTIATION_MICROS.partition_point(|bound| *bound < micros);
        self.instantiation_buckets[bucket].fetch_add(1, Relaxed);
        self.instantiation_nanos.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }

    pub(crate) fn figures(&self, pool: Option<PoolFigures>) -> Figures {
        let bounds = INSTANTIATION_MICROS.iter().map(|micros| *micros as f64 / 1e6).chain([f64::INFINITY]);
        let buckets: Vec<_> = bounds.zip(self.instantiation_buckets.iter().map(|bucket| bucket.load(Relaxed))).collect();
        Figures {
            slots: self.slots,
            sandboxes_live: self.live.load(Relaxed).min(self.slots),
            instantiations: buckets.iter().map(|(_, count)| count).sum(),
            instantiation: Histogram { buckets, sum_seconds: self.instantiation_nanos.load(Relaxed) as f64 / 1e9 },
            traps: self.traps.load(Relaxed),
            timeouts: self.timeouts.load(Relaxed),
            memory_denials: self.memory_denials.load(Relaxed),
            instance_memory_refusals: self.instance_memory_refusals.load(Relaxed),
            cpu_exhausted: self.cpu_exhausted.load(Relaxed),
            host_limits: self.host_limits.load(Relaxed),
            slow_lane: self.slow_lane.load(Relaxed),
            sandboxes_kept: self.kept.load(Relaxed),
            recycled: self.recycled.load(Relaxed),
            exhaustions: self.exhaustions.load(Relaxed),
            bad_responses: self.bad_responses.load(Relaxed),
            start_failures: self.start_failures.load(Relaxed),
            overruns: self.overruns.load(Relaxed),
            pool,
        }
    }
}

impl Slot {
    pub(crate) fn counters(&self) -> &Counters {
        &self.0
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let before = self.0.live.fetch_sub(1, Relaxed);
        assert!(before > 0, "a slot is given back once");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_bounded_and_given_back() {
        let counters = Arc::new(Counters::new(2));
        let (first, second) = (counters.take_slot(), counters.take_slot());
        assert!(first.is_some() && second.is_some() && counters.take_slot().is_none());
        drop(first);
        assert!(counters.take_slot().is_some());
        drop(second);
        let figures = counters.figures(None);
        assert_eq!(figures.sandboxes_live, 0);
    }

    #[test]
    fn instantiations_fall_into_buckets() {
        let counters = Counters::new(1);
        for micros in [1, 5, 6, 1_000_000] {
            counters.count_instantiation(Duration::from_micros(micros));
        }
        let histogram = counters.figures(None).instantiation;
        assert_eq!(histogram.buckets.first(), Some(&(5e-6, 2)));
        assert_eq!(histogram.buckets[1], (1e-5, 1));
        assert_eq!(histogram.buckets.last(), Some(&(f64::INFINITY, 1)));
        assert!((histogram.sum_seconds - 1.000_012).abs() < 1e-9);
    }
}
