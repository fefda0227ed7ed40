//! Carrying out plans. Owns the check of every step against the state as it is now: a plan may be stale, and a stale step is skipped.
//! Must never decide anything a plan did not say.

use model::id::{AppId, InstanceId, NodeId, PlacementId, RevisionNumber, Timestamp};

use crate::{
    Applied, EventKind, Placement, Rollout, State,
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
            Step::Settle { app, revision } => self.settle_without_silent(at, app, *revision),
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
        if !self.wishes(&placement) {
            return false;
        }
        self.next_placement = id.next();
        self.derived.add_placement(&placement);
        self.placements.insert(placement);
        self.change(app, |record| {
            record.waits.remove(instance);
        });
        self.record(at, EventKind::InstancePlaced, Some(app), instance.to_string(), format!("{revision} on {node_name}"));
        true
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
        if !self.placements.get(&id).is_some_and(Placement::runs) {
            return false;
        }
        let Some(placement) = self.placements.get_mut(&id) else { return false };
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
        let index = self.index;
        self.change(app, |record| {
            record.serving = Some(revision);
            record.serving_since = index;
        });
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
        let Some(placement) = self.placements.get(&id).filter(|placement| !placement.runs()).cloned() else { return false };
        let message = format!("{} is gone", placement.revision);
        self.drop_placement(at, &placement, EventKind::InstanceStopped, message);
        true
    }

    /// Takes `placement` out of the state, and its app too when that was all it waited for.
    pub(super) fn drop_placement(&mut self, at: Timestamp, placement: &Placement, kind: EventKind, message: String) {
        let app = &placement.instance.component.app;
        self.placements.remove(&placement.id);
        self.derived.remove_placement(placement);
        self.change(app, |_| {});
        self.prune(app);
        self.record(at, kind, Some(app), placement.instance.to_string(), message);
        self.remove_if_empty(at, app);
    }

    /// Whether some worker has that number; 1 stands for a worker that is yet to come when there is none.
    fn numbers_workers(&self, ordinal: u32) -> bool {
        let taken = self.nodes.values().any(|node| node.is_worker() && node.ordinal == ordinal);
        taken || (ordinal == 1 && self.derived.workers == 0)
    }

    /// Ends the rollout although not every instance was seen ready: the scheduler knows that those which were not are on nodes that do not report.
    fn settle_without_silent(&mut self, at: Timestamp, app: &AppId, revision: RevisionNumber) -> bool {
        let Some(record) = self.apps.get(app) else { return false };
        if record.rollout != Rollout::Progressing || record.wanted != revision || record.serving != Some(revision) || record.deleted {
            return false;
        }
        self.change(app, |record| record.rollout = Rollout::Done);
        let message = format!("{revision} serves, its instances on every node that reports are ready");
        self.record(at, EventKind::RolloutDone, Some(app), app.to_string(), message);
        true
    }

    fn wait(&mut self, at: Timestamp, instance: &InstanceId, reason: &str) -> bool {
        let app = &instance.component.app;
        let reason = bounded(reason);
        let Some(record) = self.apps.get(app).filter(|record| !record.deleted) else { return false };
        let mut held = record.held().filter_map(|number| self.revision(app, number));
        let known = held.any(|revision| revision.component(instance.component.component.as_str()).is_some());
        let numbered = self.numbers_workers(instance.ordinal);
        if !(known && numbered) || record.waits.get(instance) == Some(&reason) {
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
