//! The programs of this node that may be called right now. Owns the map the request path reads; must never decide what is in it.

use std::{collections::HashMap, sync::Arc};

use arc_swap::ArcSwap;

use crate::roster::ProgramKey;

/// Programs by component and revision. Reading takes no lock.
#[derive(Debug)]
pub struct Programs<P> {
    map: ArcSwap<HashMap<ProgramKey, Arc<P>>>,
}

impl<P> Default for Programs<P> {
    fn default() -> Self {
        Self { map: ArcSwap::default() }
    }
}

impl<P> Programs<P> {
    /// The program of `key`.
    pub fn find(&self, key: &ProgramKey) -> Option<Arc<P>> {
        self.map.load().get(key).cloned()
    }

    /// How many there are.
    pub fn loaded(&self) -> usize {
        self.map.load().len()
    }

    /// Makes a program callable.
    pub fn insert(&self, key: &ProgramKey, program: Arc<P>) {
        self.map.rcu(|map| {
            let mut map = HashMap::clone(map);
            map.insert(key.clone(), program.clone());
            map
        });
    }

    /// Makes a program unknown; requests it answers go on.
    pub fn remove(&self, key: &ProgramKey) {
        self.map.rcu(|map| {
            let mut map = HashMap::clone(map);
            map.remove(key);
            map
        });
    }
}
