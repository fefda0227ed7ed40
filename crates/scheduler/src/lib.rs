//! What should happen next: a pure function of the replicated state, what was observed, and the time.
//!
//! Owns placement and rollout. Must never read a clock, do I/O, or change anything: [`state::State::apply`] carries a plan out and re-checks every step.
//! Start with [`plan`]; [`rollout`] decides about one app, [`room`] finds a node, [`waiting`] has the words for what is waited for.

pub mod limits;
pub mod rollout;
pub mod room;
pub mod waiting;

use std::collections::{BTreeMap, BTreeSet};

use model::id::{AppId, NodeId, PlacementId, Timestamp};
use state::{
    Placement, State,
    command::{Plan, SeenPhase},
};

use crate::{limits::STEPS_PER_PLAN_MAX, room::Room};

/// What is known beside the replicated state: it is newer than what is recorded there, and lost with the leader.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    /// The phases workers reported.
    pub phases: BTreeMap<PlacementId, SeenPhase>,
    /// Nodes that have not reported for too long.
    pub silent: BTreeSet<NodeId>,
}

impl Observed {
    /// How far `placement` is: as reported, or else as recorded.
    pub fn phase<'a>(&'a self, placement: &'a Placement) -> &'a SeenPhase {
        self.phases.get(&placement.id).unwrap_or(&placement.phase)
    }
}

/// Decides what to do next. An empty plan means that nothing is to be done until something changes or [`wake_at`] comes.
///
/// Carrying a plan out and planning again, with workers that do what they are told, ends in an empty plan.
/// A plan is bounded; when there is more to do the next one continues.
pub fn plan(state: &State, observed: &Observed, now: Timestamp) -> Plan {
    let mut steps = Vec::new();
    let mut apps = state.apps().filter(|app| !rollout::is_at_rest(state, observed, app)).peekable();
    if apps.peek().is_some() {
        let mut room = Room::of(state, observed);
        for app in apps {
            steps.extend(rollout::decide(state, observed, now, app, &mut room));
            if steps.len() >= STEPS_PER_PLAN_MAX {
                break;
            }
        }
    }
    Plan { at: now, based_on: state.index(), steps }
}

/// When something is due even if nothing changes: a failed instance is tried again.
pub fn wake_at(state: &State, observed: &Observed) -> Option<Timestamp> {
    state.apps().flat_map(|app| rollout::retries(state, observed, app)).map(|(_, at)| at).min()
}

/// What each instance of `app` waits for, in words: those that have no node, and those that are not ready yet.
pub fn waiting(state: &State, observed: &Observed, app: &AppId) -> BTreeMap<model::id::InstanceId, String> {
    waiting::all(state, observed, app)
}
