//! Carrying out plans. Owns the check of every step against the state as it is now: a plan may be stale, and a stale step is skipped.
//! Must never decide anything a plan did not say.

use model::id::{AppId, InstanceId, NodeId, PlacementId, RevisionNumber, Timestamp};

use crate::{
    Applied, Booked, EventKind, Placement, Rollout, State,
    command::{Plan, SeenPhase, Step},
    limits::{PLACEMENTS_PER_NODE_MAX, bounded},
};

impl State {
    pub(super) fn carry(&mut self, plan: &Plan) -> Applied {
        let (mut done, mut stale) = (0, 0);
        for step in &plan.steps {
            if self.step(plan.at, step) { done += 1 } else { stale += 1 }
        }
        Applied::Carried { done, stale }
    }

    /// Carries out one step, or says that it no longer fits.
    fn step(&mut self, at: Timestamp, step: &Step) -> bool {
        match step {
            Step::Place { instance, revision, node } => self.place(at, instance, *revision, *node),
            Step::Stop { placement, why } => self.stop(at, *placement, why),
            Step::Serve { app, revision } => self.serve(at, app, *revision),
            Step::Fail { app, revision, code, message } => self.fail(at, app, *revision, code, message),
            Step::Forget { placement } => self.forget(at, *placement),
            Step::Wait { instance, reason } => self.wait(at, instance, reason),
            Step::Resume { instance } => self.resume(instance),
        }
    }

    fn place(&mut self, at: Timestamp, instance: &InstanceId, revision: RevisionNumber, node: NodeId) -> bool {
        let app = &instance.component.app;
        let Some(node_name) = self.node(node).map(|node| node.name.clone()) else { return false };
        let Some(memory_bytes) = self.room_for(instance, revision, node) else { return false };
        let id = self.next_placement;
        let placement = Placement {
            id,
            instance: instance.clone(),
            revision,
            node,
            decided: self.index,
            memory_bytes,
            at,
            stopping: None,
            phase: SeenPhase::Preparing,
            since: at,
        };
        if !self.wishes(&placement) && !self.replaces(&placement) {
            return false;
        }
        self.next_placement = id.next();
        self.placements.insert_mut(id, placement);
        self.placements_by_app.insert_mut((app.clone(), id), ());
        self.placements_by_node.insert_mut((node, id), ());
        self.book(node, |booked| Booked {
            memory_bytes: booked.memory_bytes.saturating_add(memory_bytes),
            placements: booked.placements + 1,
        });
        self.change(app, |record| {
            record.waits.remove(instance);
        });
        self.record(at, EventKind::InstancePlaced, Some(app), instance.to_string(), format!("{revision} on {node_name}"));
        true
    }

    /// Whether `placement` takes the place of one that stops: a revision that only serves still keeps the instances it has.
    fn replaces(&self, placement: &Placement) -> bool {
        let app = &placement.instance.component.app;
        let same = |other: &Placement| other.instance == placement.instance && other.revision == placement.revision;
        self.apps.get(app).is_some_and(|record| !record.deleted && record.wanted != placement.revision) && self.placements_of(app).any(same)
    }

    /// The memory to book for `instance`, if it may be placed on `node`: its revision is wanted or serves, it does not run yet, and it fits.
    fn room_for(&self, instance: &InstanceId, revision: RevisionNumber, node: NodeId) -> Option<u64> {
        let app = &instance.component.app;
        let record = self.apps.get(app)?;
        let failed = matches!(record.rollout, Rollout::Failed { .. }) && record.wanted == revision && record.serving != Some(revision);
        let component = self.revision(app, revision)?.component(instance.component.component.as_str())?;
        let need = component.instance_memory_bytes;
        let held = record.held().any(|held| held == revision);
        let twice = self.placements_of(app).any(|placed| placed.runs() && placed.revision == revision && placed.instance == *instance);
        let fits = self.booked_memory(node).checked_add(need)? <= self.node(node)?.memory_bytes;
        let crowded = self.placed_on(node) >= PLACEMENTS_PER_NODE_MAX;
        (held && !failed && !twice && fits && !crowded).then_some(need)
    }

    fn stop(&mut self, at: Timestamp, id: PlacementId, why: &str) -> bool {
        let Some(placement) = self.placements.get_mut(&id).filter(|placement| placement.runs()) else { return false };
        placement.stopping = Some(bounded(why));
        let instance = placement.instance.clone();
        let app = &instance.component.app;
        self.change(app, |_| {});
        self.record(at, EventKind::InstanceStopping, Some(app), instance.to_string(), bounded(why));
        true
    }

    fn serve(&mut self, at: Timestamp, app: &AppId, revision: RevisionNumber) -> bool {
        let Some(record) = self.apps.get(app) else { return false };
        let fits = record.wanted == revision && record.serving != Some(revision) && !record.deleted;
        if !fits || record.rollout != Rollout::Progressing {
            return false;
        }
        let message = match record.serving {
            Some(before) => format!("{revision} has the traffic, {before} had it"),
            // Nothing is ready yet: requests are held until it is.
            None => format!("the traffic is meant for {revision}"),
        };
        self.change(app, |record| record.serving = Some(revision));
        self.prune(app);
        self.record(at, EventKind::RevisionServing, Some(app), app.to_string(), message);
        self.settle(at, app);
        true
    }

    fn fail(&mut self, at: Timestamp, app: &AppId, revision: RevisionNumber, code: &str, message: &str) -> bool {
        let Some(record) = self.apps.get(app) else { return false };
        if record.wanted != revision || record.deleted || record.rollout != Rollout::Progressing {
            return false;
        }
        let kept = record.serving.filter(|serving| *serving != revision);
        let (code, message) = (bounded(code), bounded(message));
        let mut text = format!("{revision} failed: {code} {message}");
        if let Some(kept) = kept {
            text.push_str(&format!("; {kept} keeps the traffic"));
        }
        self.change(app, |record| {
            record.rollout = Rollout::Failed { code, message };
            record.waits.clear();
        });
        self.record(at, EventKind::RolloutFailed, Some(app), app.to_string(), bounded(&text));
        true
    }

    fn forget(&mut self, at: Timestamp, id: PlacementId) -> bool {
        let Some(placement) = self.placements.get(&id).filter(|placement| !placement.runs()) else { return false };
        let (instance, node) = (placement.instance.clone(), placement.node);
        let app = &instance.component.app;
        let (revision, memory_bytes) = (placement.revision, placement.memory_bytes);
        self.placements.remove_mut(&id);
        self.placements_by_app.remove_mut(&(app.clone(), id));
        self.placements_by_node.remove_mut(&(node, id));
        self.book(node, |booked| Booked {
            memory_bytes: booked.memory_bytes.saturating_sub(memory_bytes),
            placements: booked.placements - 1,
        });
        self.change(app, |_| {});
        self.prune(app);
        self.record(at, EventKind::InstanceStopped, Some(app), instance.to_string(), format!("{revision} is gone"));
        self.remove_if_empty(at, app);
        true
    }

    fn book(&mut self, node: NodeId, change: impl FnOnce(Booked) -> Booked) {
        let booked = self.booked.get(&node).copied().unwrap_or_default();
        self.booked.insert_mut(node, change(booked));
    }

    fn wait(&mut self, at: Timestamp, instance: &InstanceId, reason: &str) -> bool {
        let app = &instance.component.app;
        let reason = bounded(reason);
        let Some(record) = self.apps.get(app).filter(|record| !record.deleted) else { return false };
        let known = record.held().filter_map(|number| self.revision(app, number));
        let mut components = known.filter_map(|revision| revision.component(instance.component.component.as_str()));
        let wished = components.any(|component| (1..=record.wished(component)).contains(&instance.ordinal));
        let placed = self.placements_of(app).any(|placement| placement.instance == *instance);
        if !(wished || placed) || record.waits.get(instance) == Some(&reason) {
            return false;
        }
        self.change(app, |record| {
            record.waits.insert(instance.clone(), reason.clone());
        });
        self.record(at, EventKind::InstanceWaiting, Some(app), instance.to_string(), reason);
        true
    }

    fn resume(&mut self, instance: &InstanceId) -> bool {
        let app = &instance.component.app;
        let waits = self.apps.get(app).is_some_and(|record| record.waits.contains_key(instance));
        if waits {
            self.change(app, |record| {
                record.waits.remove(instance);
            });
        }
        waits
    }
}
