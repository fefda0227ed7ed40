//! What workers saw and did. Owns `Observe` and `Note`; must never decide where anything runs.

use model::id::{ComponentId, NodeId, PlacementId, Timestamp};

use crate::{
    Applied, Event, EventKind, State,
    command::{NodeEventKind, Note, Observe, SeenPhase},
    limits::bounded,
};

impl State {
    pub(super) fn observe(&mut self, observe: &Observe) -> Applied {
        let (mut changed, mut stale) = (0, 0);
        for (placement, phase) in &observe.phases {
            match self.see(observe.at, observe.node, *placement, phase) {
                Seen::Changed => changed += 1,
                Seen::Same => {}
                Seen::Stale => stale += 1,
            }
        }
        Applied::Observed { changed, stale }
    }

    /// Records what a worker did. Nodes and apps that are gone have no events, nor do components that the node has no placement of: a worker speaks for itself.
    /// What is recorded already is not recorded again: every server hears of it, and one that leads next cannot know what the last one wrote.
    pub(super) fn note(&mut self, note: &Note) -> Applied {
        let mut events = 0;
        let Some(node_name) = self.node(note.node).map(|node| node.name.clone()) else { return Applied::Noted { events } };
        for event in &note.events {
            if event.component.as_ref().is_some_and(|component| !self.runs_on(note.node, component)) {
                continue;
            }
            let app = event.component.as_ref().map(|component| component.app.clone());
            let kind = match event.kind {
                NodeEventKind::WorkerStarted => EventKind::WorkerStarted,
                NodeEventKind::CodeCompiled => EventKind::CodeCompiled,
                NodeEventKind::GuestsTrapped => EventKind::GuestsTrapped,
            };
            let object = event.component.as_ref().map_or_else(|| node_name.clone(), ToString::to_string);
            let message = bounded(&event.message);
            let same = |known: &Event| known.at == event.at && known.kind == kind && known.object == object && known.message == message;
            if self.events_after(0).any(same) {
                continue;
            }
            self.record(event.at, kind, app.as_ref(), object, message);
            events += 1;
        }
        Applied::Noted { events }
    }

    fn runs_on(&self, node: NodeId, component: &ComponentId) -> bool {
        self.placements_of(&component.app).any(|placement| placement.node == node && placement.instance.component == *component)
    }

    fn see(&mut self, at: Timestamp, node: NodeId, id: PlacementId, phase: &SeenPhase) -> Seen {
        let phase = match phase {
            SeenPhase::Failed { code, message } => SeenPhase::Failed { code: bounded(code), message: bounded(message) },
            other => other.clone(),
        };
        let Some(known) = self.placements.get(&id).filter(|placement| placement.node == node) else { return Seen::Stale };
        if known.phase == phase {
            return Seen::Same;
        }
        let instance = known.instance.clone();
        let app = &instance.component.app;
        if let Some(placement) = self.placements.get_mut(&id) {
            placement.phase = phase.clone();
            placement.since = at;
        }
        self.change(app, |_| {});
        let node_name = self.node(node).map(|node| node.name.clone()).unwrap_or_default();
        match phase {
            SeenPhase::Ready => {
                self.record(at, EventKind::InstanceReady, Some(app), instance.to_string(), format!("takes requests on {node_name}"));
            }
            SeenPhase::Failed { code, message } => {
                self.record(at, EventKind::InstanceFailed, Some(app), instance.to_string(), format!("{code} on {node_name}: {message}"));
            }
            SeenPhase::Preparing | SeenPhase::Draining | SeenPhase::Stopped => {}
        }
        self.settle(at, app);
        Seen::Changed
    }
}

enum Seen {
    Changed,
    Same,
    Stale,
}
