//! What must be looked at from time to time: counts of components that are gone are forgotten, and guests that begin to trap are told of. Owns the rhythm; must
//! never do what a request waits for.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use api::node::ReportedEventKind;
use model::id::{ComponentId, Generation};
use runtime::ComponentReading;
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval},
};

use crate::{
    agent::Seat,
    chronicle::Chronicle,
    engine::Engine,
    limits::{TRAPS_TOLD_EVERY, UPKEEP_EVERY},
    logs::LogStore,
};

/// What is kept up.
pub struct Upkeep<E> {
    /// What is assigned.
    pub seats: watch::Receiver<Seat>,
    /// The logs and their counts.
    pub logs: Arc<LogStore>,
    /// Has the counts of guests.
    pub engine: Arc<E>,
    /// Is told of traps.
    pub chronicle: Arc<Chronicle>,
}

/// How often guests of each component had trapped at the last look, and when that was told last.
#[derive(Debug, Default)]
struct Traps(BTreeMap<ComponentId, (u64, Option<Instant>)>);

impl<E: Engine> Upkeep<E> {
    /// Runs until the worker ends.
    pub async fn run(self) {
        let mut ticks = interval(UPKEEP_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut kept_for, mut traps) = (None, Traps::default());
        loop {
            let now = ticks.tick().await;
            kept_for = self.forget_the_gone(kept_for);
            for (component, count) in traps.look(&self.engine.counters(), now) {
                let (plural, seconds) = (if count == 1 { "guest" } else { "guests" }, UPKEEP_EVERY.as_secs());
                let message = format!("{count} {plural} trapped within {seconds} s; `shoal logs {component}` has why");
                self.chronicle.tell(ReportedEventKind::GuestsTrapped, Some(component), message);
            }
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

impl Traps {
    /// The components whose guests began to trap since the last look, and how many did.
    fn look(&mut self, counters: &[(ComponentId, ComponentReading)], now: Instant) -> Vec<(ComponentId, u64)> {
        let mut before = std::mem::take(&mut self.0);
        let mut begun = Vec::new();
        for (component, reading) in counters.iter().filter(|(_, reading)| reading.traps > 0) {
            let (known, mut told_at) = before.remove(component).unwrap_or_default();
            let grown = reading.traps.saturating_sub(known);
            if grown > 0 && told_at.is_none_or(|at| now.duration_since(at) >= TRAPS_TOLD_EVERY) {
                told_at = Some(now);
                begun.push((component.clone(), grown));
            }
            self.0.insert(component.clone(), (reading.traps, told_at));
        }
        begun
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traps_are_told_when_they_begin_and_then_rarely() {
        let (mut traps, start) = (Traps::default(), Instant::now());
        let mut look = |seconds: u64, count: u64| {
            let reading = ComponentReading { traps: count, ..ComponentReading::default() };
            let counters = [("hello/web".parse().unwrap(), reading), ("quiet/web".parse().unwrap(), ComponentReading::default())];
            let told = traps.look(&counters, start + std::time::Duration::from_secs(seconds));
            told.into_iter().map(|(component, count)| format!("{component} {count}")).collect::<Vec<_>>()
        };
        let nothing: [&str; 0] = [];
        assert_eq!(look(0, 0), nothing);
        assert_eq!(look(5, 3), ["hello/web 3"]);
        assert_eq!(look(10, 3), nothing);
        assert_eq!(look(15, 900), nothing, "the same burst");
        assert_eq!(look(400, 900), nothing, "it is over");
        assert_eq!(look(405, 901), ["hello/web 1"]);
        assert_eq!(look(410, 2), nothing, "counted anew");
    }
}
