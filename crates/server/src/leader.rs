//! The leader loop: whatever happens, one decision is taken on the state and what was observed, and proposed. Owns when to look;
//! must never decide what to do (that is the scheduler's).

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use consensus::Leadership;
use model::{
    id::{PlacementId, Timestamp},
    problem::chain,
};
use scheduler::Observed;
use state::{
    Applied, Command, State,
    command::{CommandV1, Note, Observe, Plan, SeenPhase, Step},
};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use crate::{
    clock,
    core::Core,
    limits::{LOOK_CHEAP, LOOK_REST, LOOK_REST_MAX, OBSERVE_WAIT, PHASES_PER_BATCH_MAX, PHASES_PER_COMMAND_MAX, TICK},
};

/// Everything that can wake the leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wake {
    /// The state changed.
    Applied,
    /// A worker said something new.
    Reported,
    /// Time passed: silence and retries are no events.
    Tick,
    /// What was seen has waited long enough for company.
    Recorded,
}

/// What the loop remembers from one decision to the next.
#[derive(Debug, Default)]
struct Memory {
    /// What was recorded last of each placement, so that what the state refuses is not offered for ever.
    recorded: BTreeMap<PlacementId, SeenPhase>,
    /// Steps that had no effect; they are tried again at the next tick.
    fruitless: Vec<Step>,
    /// How long the last decision took, without what came of it.
    deciding: Duration,
    /// The term all this is of: what another leader recorded since is not known here.
    term: u64,
}

/// Runs until the process stops.
pub(crate) async fn run(core: Arc<Core>) {
    let (mut applied, mut reported, leader) = (core.consensus.applied(), core.live.changes(), core.consensus.leadership());
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut memory, mut due) = (Memory::default(), None::<Instant>);
    loop {
        let wake = tokio::select! {
            biased;
            () = core.stop.cancelled() => return,
            changed = applied.changed() => match changed { Ok(()) => Wake::Applied, Err(_) => return },
            changed = reported.changed() => match changed { Ok(()) => Wake::Reported, Err(_) => return },
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => Wake::Recorded,
            _ = ticks.tick() => Wake::Tick,
        };
        if wake == Wake::Tick {
            core.live.look(clock::now());
        }
        let Leadership::Leading { term, .. } = *leader.borrow() else { continue };
        if memory.term != term {
            (memory, due) = (Memory { term, ..Memory::default() }, None);
        }
        due = act(&core, &mut memory, wake, due).await;
        if memory.deciding > LOOK_CHEAP {
            // With very many apps a decision takes milliseconds: what happens meanwhile is decided together.
            sleep_until(Instant::now() + (memory.deciding * LOOK_REST).min(LOOK_REST_MAX)).await;
        }
    }
}

/// Takes one decision. Returns when what was seen must be recorded, if something waits for that.
async fn act(core: &Core, memory: &mut Memory, wake: Wake, due: Option<Instant>) -> Option<Instant> {
    let (now, begin) = (clock::now(), Instant::now());
    let state = core.state();
    let observed = core.live.observed(&state, now);
    if wake == Wake::Tick {
        memory.fruitless.clear();
    }
    let plan = scheduler::plan(&state, &observed, now);
    let plan = Some(plan).filter(|plan| !plan.steps.is_empty() && plan.steps != memory.fruitless);
    let seen = unrecorded(&state, &observed, &memory.recorded, now);
    memory.deciding = begin.elapsed();
    let has_news = !seen.is_empty() || core.live.has_unrecorded_events();
    let record = has_news && (plan.is_some() || due.is_some_and(|due| due <= Instant::now()));
    if plan.is_none() && !record {
        return if has_news { due.or_else(|| Some(Instant::now() + OBSERVE_WAIT)) } else { None };
    }
    let (seen, notes) = if record { (seen, core.live.take_unrecorded_events(now)) } else { Default::default() };
    propose(core, memory, (seen, notes), plan).await;
    None
}

async fn propose(core: &Core, memory: &mut Memory, (seen, notes): (Vec<Observe>, Vec<Note>), plan: Option<Plan>) {
    let steps = plan.as_ref().map(|plan| plan.steps.clone());
    let phases: Vec<_> = seen.iter().flat_map(|observe| observe.phases.clone()).collect();
    let mut commands: Vec<_> = seen.into_iter().map(|observe| Command::V1(CommandV1::Observe(observe))).collect();
    commands.extend(notes.into_iter().map(|note| Command::V1(CommandV1::Note(note))));
    commands.extend(plan.map(|plan| Command::V1(CommandV1::Carry(plan))));
    core.metrics.proposals.inc_by(commands.len() as u64);
    match core.consensus.propose_batch(commands).await {
        Ok(answers) => {
            memory.recorded.extend(phases);
            let carried = answers.iter().find_map(|(_, answer)| match answer {
                Ok(Applied::Carried { done, .. }) => Some(*done),
                _ => None,
            });
            if carried == Some(0) {
                memory.fruitless = steps.unwrap_or_default();
            }
        }
        Err(error) => {
            tracing::error!(error = %chain(&error), "the plan cannot be written; it is tried again");
            // Until the next tick: a full disk is not made emptier by haste.
            memory.fruitless = steps.unwrap_or_default();
        }
    }
    let state = core.state();
    memory.recorded.retain(|placement, _| state.placement(*placement).is_some());
}

/// What was seen and is not in the state, by node.
fn unrecorded(state: &State, observed: &Observed, recorded: &BTreeMap<PlacementId, SeenPhase>, now: Timestamp) -> Vec<Observe> {
    let mut nodes: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (id, phase) in &observed.phases {
        let Some(placement) = state.placement(*id) else { continue };
        if placement.phase != *phase && recorded.get(id) != Some(phase) {
            nodes.entry(placement.node).or_default().push((*id, phase.clone()));
        }
    }
    let pieces = nodes.iter().flat_map(|(node, phases)| phases.chunks(PHASES_PER_COMMAND_MAX).map(move |phases| (*node, phases.to_vec())));
    let mut count = 0;
    // What does not fit is still unrecorded the next time.
    let fitting = pieces.take_while(|(_, phases)| {
        count += phases.len();
        count <= PHASES_PER_BATCH_MAX
    });
    fitting.map(|(node, phases)| Observe { at: now, node, phases }).collect()
}
