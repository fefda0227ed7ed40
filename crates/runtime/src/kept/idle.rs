//! Every program with kept sandboxes, so that an idle one of any can be given up for a request of another. Owns the choice; must never end a sandbox that
//! is at work.

use std::sync::{Mutex, PoisonError, Weak};

use crate::program::Program;

/// The programs of a node that keep sandboxes.
#[derive(Default)]
pub(crate) struct IdleSandboxes(Mutex<Vec<Weak<Program>>>);

impl IdleSandboxes {
    /// Adds a program that keeps sandboxes.
    pub(crate) fn add(&self, program: Weak<Program>) {
        let mut programs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        programs.retain(|program| program.strong_count() > 0);
        programs.push(program);
    }

    /// Ends the sandbox that has been idle longest. False when none is idle.
    pub(crate) fn give_up_one(&self) -> bool {
        // Programs are dropped after the lock: the last handle of one may be among these.
        let programs: Vec<_> = self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().filter_map(Weak::upgrade).collect();
        let longest = programs.iter().filter_map(|program| Some((program.kept.idle_since()?, program))).min_by_key(|(since, _)| *since);
        longest.is_some_and(|(_, program)| program.kept.give_up_one(program))
    }
}
