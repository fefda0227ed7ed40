//! One number for a whole state. Owns the order in which it is hashed; must never leave out what a decision reads.

use std::io;

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::State;

impl State {
    /// The sha256 over the bincode encoding of everything held, in map order. Members that applied the same log have the same hash.
    pub fn hash(&self) -> [u8; 32] {
        let mut out = Hasher(Sha256::new());
        out.add(&(self.index, self.next_placement, self.newest_event()));
        self.apps.values().for_each(|app| out.add(app));
        self.revisions.values().for_each(|revision| out.add(revision));
        self.nodes.values().for_each(|node| out.add(node));
        self.placements.values().for_each(|placement| out.add(placement));
        self.events_after(0).for_each(|event| out.add(event));
        out.0.finalize().into()
    }
}

struct Hasher(Sha256);

impl Hasher {
    fn add(&mut self, part: &impl Serialize) {
        bincode::serde::encode_into_std_write(part, self, bincode::config::standard())
            .expect("the records hold nothing bincode cannot encode, and hashing cannot fail");
    }
}

impl io::Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
