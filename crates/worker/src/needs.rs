//! Of which artifacts this node needs code, told to the supervisor whenever that changes: it removes what nobody needs. Must never name less than the
//! newest assignment does, nor leave out what still drains.

use std::collections::BTreeSet;

use model::id::Digest;
use tokio::sync::watch;

use crate::{agent::Seat, lifeline::Lifeline, limits::NEEDS_REST, roster::Roster};

/// Tells `lifeline` what is needed, until the agent ends. Before the first assignment nothing is told: then nobody knows what is needed.
pub async fn tell(mut seats: watch::Receiver<Seat>, lifeline: Lifeline) {
    let mut told: Option<BTreeSet<Digest>> = None;
    loop {
        let roster = seats.borrow_and_update().roster.clone();
        if let Some(needed) = needed(&roster).filter(|needed| told.as_ref() != Some(needed)) {
            lifeline.needs(needed.iter().copied().collect()).await;
            told = Some(needed);
            tokio::time::sleep(NEEDS_REST).await;
        }
        if seats.changed().await.is_err() {
            return;
        }
    }
}

fn needed(roster: &Roster) -> Option<BTreeSet<Digest>> {
    let programs = roster.apps().values().flat_map(|part| &part.programs).map(|program| program.digest);
    roster.is_assigned().then(|| programs.chain(roster.placements().values().map(|held| held.digest)).collect())
}

#[cfg(test)]
mod tests {
    use api::node::Wanted;

    use super::*;
    use crate::fixtures::{assignment, place};

    #[test]
    fn everything_assigned_is_needed_and_what_left_as_long_as_it_drains() {
        let mut roster = Roster::default();
        assert_eq!(needed(&roster), None);
        roster.accept(assignment(1, vec![place("hello/web", 1, 1, Wanted::Run), place("other/web", 1, 2, Wanted::Stop)]).into()).unwrap();
        assert_eq!(needed(&roster).unwrap().len(), 2);
        roster.accept(assignment(2, vec![]).into()).unwrap();
        assert_eq!(needed(&roster).unwrap().len(), 2, "they have not stopped yet");
        [1, 2].into_iter().for_each(|id| roster.set(model::id::PlacementId(id), crate::next_step::Seen::Stopped));
        roster.accept(assignment(3, vec![]).into()).unwrap();
        assert_eq!(needed(&roster), Some(BTreeSet::new()));
    }
}
