//! What workers said last, and what follows from it. Owns what silence means; must never conclude more from it than silence.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use api::{
    node::{HeldAuthorities, Phase, ReportedEvent, ReportedEventKind},
    v1::NodeState,
};
use model::id::{Generation, NodeId, PlacementId, Timestamp};
use scheduler::Observed;
use state::{
    State,
    command::{NodeEvent, NodeEventKind, SeenPhase},
    limits::bounded,
};

use crate::limits::SILENT_AFTER;

/// The last report of one worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// When it came.
    pub at: Timestamp,
    /// The worker's process.
    pub pid: u32,
    /// The assignment it acts on.
    pub generation: Generation,
    /// Which of the process's reports it is.
    pub sequence: u64,
    /// Every placement it knows.
    pub phases: BTreeMap<PlacementId, Phase>,
    /// The authorities it goes by.
    pub authorities: Option<HeldAuthorities>,
}

/// The last report of every worker.
pub type SeenNodes = Arc<BTreeMap<NodeId, Seen>>;

/// What workers said last, since this server listens.
#[derive(Debug, Clone)]
pub struct Reports {
    /// Since when it listens.
    pub since: Timestamp,
    /// The last report of every worker that has spoken since.
    pub seen: SeenNodes,
}

impl Reports {
    /// What the scheduler may know of `state` at `now`. A node that has not reported since this server started is as silent as one that stopped.
    pub fn observed(&self, state: &State, now: Timestamp) -> Observed {
        let seen = &self.seen;
        let last = |node: NodeId| seen.get(&node).map_or(self.since, |seen| seen.at);
        let workers = state.nodes().filter(|node| node.is_worker()).map(|node| node.id);
        let silent = workers.filter(|node| is_silent(last(*node), now)).collect::<BTreeSet<_>>();
        // A worker speaks of its own placements alone: what it says of another's is not heard.
        let own = |node: NodeId, placement: PlacementId| state.placement(placement).is_some_and(|placement| placement.node == node);
        let phases = seen
            .iter()
            .flat_map(|(node, seen)| seen.phases.iter().map(|(placement, phase)| (*node, *placement, phase)))
            .filter(|(node, placement, _)| own(*node, *placement))
            .map(|(_, placement, phase)| (placement, recorded(phase)))
            .collect();
        Observed { phases, silent }
    }

    /// Who is silent at `now`; nodes that never reported are together none.
    pub fn silent(&self, now: Timestamp) -> BTreeSet<Option<NodeId>> {
        let told = self.seen.iter().map(|(node, seen)| (Some(*node), seen.at));
        told.chain([(None, self.since)]).filter(|(_, at)| is_silent(*at, now)).map(|(node, _)| node).collect()
    }

    /// How `node` is at `now`.
    pub fn state_of(&self, node: NodeId, now: Timestamp) -> NodeState {
        match self.seen.get(&node) {
            Some(seen) if !is_silent(seen.at, now) => NodeState::Ready,
            Some(_) => NodeState::Silent,
            None if is_silent(self.since, now) => NodeState::Silent,
            None => NodeState::Unknown,
        }
    }
}

/// Whether who was heard last at `at` counts as silent at `now`.
pub fn is_silent(at: Timestamp, now: Timestamp) -> bool {
    u128::from(now.millis_since(at)) > SILENT_AFTER.as_millis()
}

/// The event as the log records it.
pub fn recorded_event(event: ReportedEvent) -> NodeEvent {
    let kind = match event.kind {
        ReportedEventKind::WorkerStarted => NodeEventKind::WorkerStarted,
        ReportedEventKind::CodeCompiled => NodeEventKind::CodeCompiled,
        ReportedEventKind::GuestsTrapped => NodeEventKind::GuestsTrapped,
    };
    NodeEvent { at: event.at.0, kind, component: event.component, message: bounded(&event.message) }
}

/// The phase as the log records it.
pub fn recorded(phase: &Phase) -> SeenPhase {
    match phase {
        Phase::Assigned | Phase::Fetching | Phase::Compiling { .. } | Phase::Starting | Phase::Waiting { .. } => SeenPhase::Preparing,
        Phase::Ready => SeenPhase::Ready,
        Phase::Draining => SeenPhase::Draining,
        Phase::Stopped => SeenPhase::Stopped,
        // What a worker says at length would make a command too long for the log.
        Phase::Failed { code, message } => SeenPhase::Failed { code: bounded(code), message: bounded(message) },
    }
}
