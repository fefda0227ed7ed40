//! The instances of this node that may be called right now, and how many requests each answers. Owns the map the request path reads; must never
//! decide who is in it.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use arc_swap::ArcSwap;

use crate::roster::ProgramKey;

/// Instances by program and number. Reading takes no lock.
#[derive(Debug)]
pub struct Instances<P> {
    map: ArcSwap<HashMap<(ProgramKey, u32), Arc<Instance<P>>>>,
}

/// One instance.
#[derive(Debug)]
pub struct Instance<P> {
    /// What answers for it.
    pub program: Arc<P>,
    in_flight: AtomicU32,
}

/// One request being answered by an instance, until it is dropped.
#[derive(Debug)]
pub struct InFlight<P> {
    instance: Arc<Instance<P>>,
}

impl<P> Default for Instances<P> {
    fn default() -> Self {
        Self { map: ArcSwap::default() }
    }
}

impl<P> Instances<P> {
    /// Makes the instance callable.
    pub fn insert(&self, key: ProgramKey, ordinal: u32, program: Arc<P>) {
        let instance = Arc::new(Instance { program, in_flight: AtomicU32::new(0) });
        self.map.rcu(|map| {
            let mut map = HashMap::clone(map);
            map.insert((key.clone(), ordinal), instance.clone());
            map
        });
    }

    /// Makes the instance unknown; requests it answers go on.
    pub fn remove(&self, key: &ProgramKey, ordinal: u32) {
        let key = (key.clone(), ordinal);
        self.map.rcu(|map| {
            let mut map = HashMap::clone(map);
            map.remove(&key);
            map
        });
    }

    /// Starts a request on the instance.
    pub fn begin(&self, key: ProgramKey, ordinal: u32) -> Option<InFlight<P>> {
        let instance = self.map.load().get(&(key, ordinal))?.clone();
        instance.in_flight.fetch_add(1, Ordering::Relaxed);
        Some(InFlight { instance })
    }

    /// Requests the instance answers right now; none when it is unknown.
    pub fn in_flight(&self, key: &ProgramKey, ordinal: u32) -> u32 {
        self.map.load().get(&(key.clone(), ordinal)).map_or(0, |instance| instance.in_flight.load(Ordering::Relaxed))
    }
}

impl<P> InFlight<P> {
    /// What answers.
    pub fn program(&self) -> &Arc<P> {
        &self.instance.program
    }
}

impl<P> Drop for InFlight<P> {
    fn drop(&mut self) {
        self.instance.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use model::id::RevisionNumber;

    use super::*;

    #[test]
    fn requests_are_counted_until_they_end_even_when_the_instance_is_gone() {
        let key = ProgramKey { component: "hello/web".parse().unwrap(), revision: RevisionNumber(1) };
        let instances = Instances::default();
        assert!(instances.begin(key.clone(), 1).is_none());
        instances.insert(key.clone(), 1, Arc::new(()));
        instances.insert(key.clone(), 2, Arc::new(()));
        let (first, second) = (instances.begin(key.clone(), 1).unwrap(), instances.begin(key.clone(), 1).unwrap());
        assert_eq!((instances.in_flight(&key, 1), instances.in_flight(&key, 2)), (2, 0));
        drop(first);
        assert_eq!(instances.in_flight(&key, 1), 1);
        instances.remove(&key, 1);
        assert_eq!(instances.in_flight(&key, 1), 0);
        drop(second);
    }
}
