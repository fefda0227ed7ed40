//! What one component did on this node: counters that outlive its programs and sandboxes. Owns the numbers of a component; must never know the form they
//! are read in.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::limits;

/// The counters of one component. Whoever makes programs makes one per component and gives it to each of them.
#[derive(Debug, Default)]
pub struct ComponentFigures {
    pub(crate) requests: AtomicU64,
    pub(crate) instantiations: AtomicU64,
    pub(crate) memory_held_bytes: AtomicU64,
    pub(crate) memory_peak_bytes: AtomicU64,
    pub(crate) cpu_nanos: AtomicU64,
    pub(crate) traps: AtomicU64,
    pub(crate) timeouts: AtomicU64,
    pub(crate) cpu_exhausted: AtomicU64,
    pub(crate) memory_denials: AtomicU64,
    pub(crate) slow_lane: AtomicU64,
    pub(crate) recycled: AtomicU64,
    pub(crate) egress_calls: AtomicU64,
    pub(crate) egress_denials: AtomicU64,
    /// Processor time of a recent request, on average; see [`ComponentFigures::note_request`].
    average_nanos: AtomicU64,
    /// What a sandbox most likely will hold; see [`ComponentFigures::note_peak`].
    estimate_bytes: AtomicU64,
}

/// What one request used, for whoever sent it and asked. Complete once the sandbox that answered it is gone; a sandbox that answers more than one request
/// tells nothing here.
#[derive(Debug, Default)]
pub struct RequestUsage {
    pub(crate) cpu_nanos: AtomicU64,
    pub(crate) memory_bytes: AtomicU64,
}

impl RequestUsage {
    /// Processor time in nanoseconds, and most memory in bytes; none while nothing was told.
    pub fn read(&self) -> Option<(u64, u64)> {
        let told = (self.cpu_nanos.load(Relaxed), self.memory_bytes.load(Relaxed));
        (told != (0, 0)).then_some(told)
    }
}

/// What the counters said at one time. The numbers are read one after another, not at one instant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ComponentReading {
    /// Requests that were given to a sandbox or waited for one.
    pub requests: u64,
    /// Processor time of its guests, in nanoseconds.
    pub cpu_nanos: u64,
    /// Most memory one sandbox ever held, in bytes.
    pub memory_peak_bytes: u64,
    /// Memory its sandboxes hold now, in bytes.
    pub memory_held_bytes: u64,
    /// Sandboxes started.
    pub instantiations: u64,
    /// Guests that trapped or ended themselves.
    pub traps: u64,
    /// Requests without a response in time.
    pub timeouts: u64,
    /// Guests that used up their processor time.
    pub cpu_exhausted: u64,
    /// Times a guest was denied memory, and requests that found no room in the memory of their instance.
    pub memory_denials: u64,
    /// Guests that were moved to the slow lane or began there.
    pub slow_lane: u64,
    /// Sandboxes that were replaced though they could have gone on.
    pub recycled: u64,
    /// Requests its guests sent.
    pub egress_calls: u64,
    /// Requests its guests were not allowed to send.
    pub egress_denials: u64,
}

impl ComponentFigures {
    /// The numbers now.
    pub fn read(&self) -> ComponentReading {
        ComponentReading {
            requests: self.requests.load(Relaxed),
            cpu_nanos: self.cpu_nanos.load(Relaxed),
            memory_peak_bytes: self.memory_peak_bytes.load(Relaxed),
            memory_held_bytes: self.memory_held_bytes.load(Relaxed),
            instantiations: self.instantiations.load(Relaxed),
            traps: self.traps.load(Relaxed),
            timeouts: self.timeouts.load(Relaxed),
            cpu_exhausted: self.cpu_exhausted.load(Relaxed),
            memory_denials: self.memory_denials.load(Relaxed),
            slow_lane: self.slow_lane.load(Relaxed),
            recycled: self.recycled.load(Relaxed),
            egress_calls: self.egress_calls.load(Relaxed),
            egress_denials: self.egress_denials.load(Relaxed),
        }
    }

    pub(crate) fn count(&self, counter: &AtomicU64) {
        counter.fetch_add(1, Relaxed);
    }

    /// A sandbox held this much when it ended. The estimate follows the recent peak: up at once, down slowly.
    pub(crate) fn note_peak(&self, bytes: u64) {
        if bytes > self.memory_peak_bytes.load(Relaxed) {
            self.memory_peak_bytes.fetch_max(bytes, Relaxed);
        }
        let estimate = self.estimate_bytes.load(Relaxed);
        let next = bytes.max(estimate - estimate.saturating_sub(bytes) / 16);
        if next != estimate {
            self.estimate_bytes.store(next, Relaxed);
        }
    }

    /// What the next sandbox most likely will hold, in bytes.
    pub(crate) fn estimate_bytes(&self) -> u64 {
        self.estimate_bytes.load(Relaxed)
    }

    /// A request used this much processor time, or more. Each counts for at most twice what is heavy, so the average says whether most of them are, and
    /// one that computes for a second does not condemn a hundred that do not.
    pub(crate) fn note_request(&self, cpu_nanos: u64) {
        let sample = cpu_nanos.min(2 * limits::SLOW_AFTER_NANOS);
        let average = self.average_nanos.load(Relaxed);
        let next = average - average / 8 + sample / 8;
        // Two at once may lose one of them: it is an average. Equal ones leave the line of the cache alone.
        if next != average {
            self.average_nanos.store(next, Relaxed);
        }
    }

    /// Whether most recent requests were heavy, so that the next one most likely is.
    pub(crate) fn is_heavy(&self) -> bool {
        self.average_nanos.load(Relaxed) > limits::SLOW_AFTER_NANOS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: heavy is what most requests are. Method: one endless guest among light ones changes nothing, a row of them does, and light ones undo it.
    #[test]
    fn a_component_is_heavy_when_most_of_its_requests_are() {
        let figures = ComponentFigures::default();
        let (light, heavy) = (20_000, u64::MAX);
        for _ in 0..10 {
            figures.note_request(heavy);
            (0..8).for_each(|_| figures.note_request(light));
            assert!(!figures.is_heavy());
        }
        (0..8).for_each(|_| figures.note_request(heavy));
        assert!(figures.is_heavy());
        (0..8).for_each(|_| figures.note_request(light));
        assert!(!figures.is_heavy());
    }
}
