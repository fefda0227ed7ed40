//! Endpoints as they are right now: how many requests each has, and which one takes the next. Owns the pick (power of two choices, least in flight
//! among those with room); must never know why an endpoint exists or how requests wait when there is none.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
};

use crate::{random, stack::Target};

/// What was counted at one endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EndpointReading {
    /// Requests that were given a place at it since it was first named.
    pub requests: u64,
    /// Requests at it now.
    pub in_flight: u32,
    /// Requests it may have at once.
    pub capacity: u32,
}

/// One endpoint. It outlives tables: a table that names it again finds the same counter.
#[derive(Debug)]
pub(crate) struct EndpointState {
    pub(crate) target: Arc<Target>,
    capacity: AtomicU32,
    local: AtomicBool,
    in_flight: AtomicU32,
    /// Requests that were given a place.
    taken: AtomicU64,
}

impl EndpointState {
    pub(crate) fn new(target: Target, capacity: u32, local: bool) -> Self {
        Self { target: Arc::new(target), capacity: capacity.into(), local: local.into(), in_flight: 0.into(), taken: 0.into() }
    }

    /// Takes over what a newer table says.
    pub(crate) fn update(&self, capacity: u32, local: bool) {
        self.capacity.store(capacity, Ordering::Relaxed);
        self.local.store(local, Ordering::Relaxed);
    }

    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    pub(crate) fn capacity(&self) -> u32 {
        self.capacity.load(Ordering::Relaxed)
    }

    pub(crate) fn is_local(&self) -> bool {
        self.local.load(Ordering::Relaxed)
    }

    /// Counts one request in, unless it is full.
    fn try_enter(&self) -> bool {
        let capacity = self.capacity();
        // SeqCst: pairs with the queue's count of waiters, so that a waiter and a leaver cannot miss each other.
        let enter = |count: u32| (count < capacity).then(|| count + 1);
        let entered = self.in_flight.fetch_update(Ordering::SeqCst, Ordering::SeqCst, enter).is_ok();
        self.taken.fetch_add(u64::from(entered), Ordering::Relaxed);
        entered
    }

    /// What was counted here.
    pub(crate) fn read(&self) -> EndpointReading {
        EndpointReading { requests: self.taken.load(Ordering::Relaxed), in_flight: self.in_flight(), capacity: self.capacity() }
    }

    /// Counts one request out.
    pub(crate) fn leave(&self) {
        let before = self.in_flight.fetch_sub(1, Ordering::SeqCst);
        debug_assert!(before > 0, "a request left {} that never entered", self.target.ordinal);
    }

    /// Lower is less loaded: requests per unit of capacity, compared without division.
    fn is_freer_than(&self, other: &Self) -> bool {
        u64::from(self.in_flight()) * u64::from(other.capacity()) <= u64::from(other.in_flight()) * u64::from(self.capacity())
    }
}

/// The endpoints of one component at one revision, those of this process first.
#[derive(Debug, Default)]
pub(crate) struct EndpointSet {
    endpoints: Box<[Arc<EndpointState>]>,
    locals: usize,
}

impl EndpointSet {
    pub(crate) fn new(mut endpoints: Vec<Arc<EndpointState>>) -> Self {
        endpoints.sort_by_key(|endpoint| (!endpoint.is_local(), endpoint.target.ordinal));
        let locals = endpoints.iter().take_while(|endpoint| endpoint.is_local()).count();
        Self { endpoints: endpoints.into(), locals }
    }

    pub(crate) fn all(&self) -> &[Arc<EndpointState>] {
        &self.endpoints
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.endpoints.is_empty()
    }

    /// An endpoint with room, already counted in. Local ones first: they save the hop.
    pub(crate) fn pick(&self) -> Option<Arc<EndpointState>> {
        let (local, remote) = self.endpoints.split_at(self.locals);
        pick_among(local).or_else(|| pick_among(remote))
    }
}

fn pick_among(endpoints: &[Arc<EndpointState>]) -> Option<Arc<EndpointState>> {
    let count = endpoints.len();
    if count <= 1 {
        return endpoints.first().filter(|endpoint| endpoint.try_enter()).cloned();
    }
    let first = random::below(count);
    let second = (first + 1 + random::below(count - 1)) % count;
    let (one, two) = (&endpoints[first], &endpoints[second]);
    let best = if one.is_freer_than(two) { one } else { two };
    if best.try_enter() {
        return Some(best.clone());
    }
    // Both chosen may be full while others have room: a refusal must mean that all are full.
    let others = endpoints[first..].iter().chain(&endpoints[..first]);
    others.into_iter().find(|endpoint| endpoint.try_enter()).cloned()
}

#[cfg(test)]
mod tests {
    use model::id::RevisionNumber;

    use super::*;

    fn set(endpoints: &[(u32, bool)]) -> EndpointSet {
        let component: model::id::ComponentId = "hello/web".parse().expect("a valid id");
        let endpoint = |(at, &(capacity, local)): (usize, &(u32, bool))| {
            let ordinal = u32::try_from(at + 1).expect("tests are small");
            Arc::new(EndpointState::new(Target { component: component.clone(), revision: RevisionNumber(1), ordinal }, capacity, local))
        };
        EndpointSet::new(endpoints.iter().enumerate().map(endpoint).collect())
    }

    #[test]
    fn fills_every_endpoint_before_it_refuses() {
        let set = set(&[(3, false), (1, false), (2, false)]);
        let picked: Vec<_> = (0..6).map(|_| set.pick().expect("room is left").target.ordinal).collect();
        assert!(set.pick().is_none());
        assert_eq!([1, 2, 3].map(|ordinal| picked.iter().filter(|&&picked| picked == ordinal).count()), [3, 1, 2]);
        set.all()[1].leave();
        assert_eq!(set.pick().map(|endpoint| endpoint.target.ordinal), Some(2));
    }

    #[test]
    fn prefers_this_process_while_it_has_room() {
        let set = set(&[(100, false), (2, true), (100, false)]);
        let picked: Vec<_> = (0..3).map(|_| set.pick().expect("room is left").target.ordinal).collect();
        assert_eq!(picked[..2], [2, 2]);
        assert_ne!(picked[2], 2);
    }

    #[test]
    fn spreads_evenly_over_equal_endpoints() {
        let set = set(&[(1000, false); 10]);
        for _ in 0..1000 {
            set.pick().expect("room is left");
        }
        let loads: Vec<_> = set.all().iter().map(|endpoint| endpoint.in_flight()).collect();
        assert!(loads.iter().all(|load| (85..=115).contains(load)), "{loads:?}");
    }

    #[test]
    fn no_endpoints_no_pick() {
        assert!(set(&[]).pick().is_none());
        assert!(set(&[(0, true), (0, false)]).pick().is_none());
    }
}
