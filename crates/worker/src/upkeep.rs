//! What must be looked at from time to time: counts of components that are gone are forgotten. Owns the rhythm; must never do what a request waits for.

use std::{collections::HashSet, sync::Arc};

use model::id::Generation;
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};

use crate::{agent::Seat, limits::UPKEEP_EVERY, logs::LogStore};

/// What is kept up.
pub struct Upkeep {
    /// What is assigned.
    pub seats: watch::Receiver<Seat>,
    /// The logs and their counts.
    pub logs: Arc<LogStore>,
}

impl Upkeep {
    /// Runs until the worker ends.
    pub async fn run(self) {
        let mut ticks = interval(UPKEEP_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut kept_for = None;
        loop {
            ticks.tick().await;
            kept_for = self.forget_the_gone(kept_for);
        }
    }

    /// Forgets what is counted of components that are not assigned; `kept_for` is the assignment for which that was done last.
    fn forget_the_gone(&self, kept_for: Option<Generation>) -> Option<Generation> {
        let seat = self.seats.borrow();
        let (_, generation) = (seat.roster.node()?, seat.roster.generation());
        if kept_for != Some(generation) {
            let programs = seat.roster.apps().values().flat_map(|part| &part.programs);
            let assigned: HashSet<_> = programs.map(|program| &program.component).collect();
            self.logs.retain(&assigned);
        }
        Some(generation)
    }
}
