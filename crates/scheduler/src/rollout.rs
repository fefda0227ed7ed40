//! What to do for one app. Owns the order of a rollout; must never stop what serves before what follows it is ready.
//!
//! - Every worker runs one instance of every component, under the worker's own number. A node that joins gets instances of everything.
//! - The first revision serves at once: there is nothing to protect, and requests wait for it instead of finding nothing.
//! - Another wanted revision is placed beside the one that serves. When every instance of it on a node that reports is ready it gets the traffic, and then
//!   the old one is stopped. Nodes that do not report are not waited for; nothing is placed there, and nothing is taken away but what is wished no longer.
//! - Until then the old revision keeps its instances: a failed one is replaced, and a node that joins gets one.
//! - If an instance of the new one fails, the rollout has failed: its instances are stopped, and the old revision keeps the traffic.
//! - An instance of a serving revision that fails later is replaced after a while.

use std::collections::{BTreeMap, BTreeSet};

use model::{
    frozen::ComponentSpecV1,
    id::{InstanceId, PlacementId, RevisionNumber, Timestamp},
};
use state::{
    AppRecord, NodeRecord, Placement, Rollout, State,
    command::{SeenPhase, Step},
};

use crate::{
    Observed,
    limits::{RETRY_MILLIS, STEPS_PER_PLAN_MAX},
    room::Room,
    waiting::Waiting,
};

/// The steps for `app`, in the order in which they must be carried out; any first few of them are a valid plan too.
pub fn decide(state: &State, observed: &Observed, now: Timestamp, app: &AppRecord, room: &mut Room) -> Vec<Step> {
    let mut view = View { state, observed, now, app, running: BTreeMap::new(), steps: Vec::new() };
    view.forget_stopped(room);
    if app.deleted {
        view.stop_where(|_| true, |_| "the app is deleted".to_owned());
    } else if let Some((code, message)) = view.failure() {
        view.fail(code, message);
    } else {
        view.roll(room);
    }
    view.steps.truncate(STEPS_PER_PLAN_MAX);
    view.steps
}

/// Whether `app` serves what is wished with exactly the instances that are wished, none of them failed or silent: then nothing is to be done for it.
/// Most apps are so most of the time, and a plan looks at all of them; this allocates nothing.
pub(crate) fn is_at_rest(state: &State, observed: &Observed, app: &AppRecord) -> bool {
    if app.deleted || app.rollout != Rollout::Done || app.serving != Some(app.wanted) || !app.waits.is_empty() {
        return false;
    }
    let Some(revision) = state.revision(&app.id, app.wanted) else { return false };
    let mut running = 0;
    for placement in state.placements_of(&app.id) {
        let well = !observed.silent.contains(&placement.node) && !failed(observed.phase(placement));
        if !(placement.runs() && placement.revision == app.wanted && well) {
            return false;
        }
        running += 1;
    }
    // A revision has every component of every instance that was placed under it, and no instance runs twice.
    running == revision.frozen.spec.components.len() * state.workers()
}

/// Failed instances of `app` that are tried again although nothing changes, and when.
pub(crate) fn retries<'a>(
    state: &'a State,
    observed: &'a Observed,
    app: &'a AppRecord,
) -> impl Iterator<Item = (PlacementId, Timestamp)> + 'a {
    let retried = move |revision| match app.rollout {
        Rollout::Done => app.serving == Some(revision),
        // While the wanted revision makes its way, or after it failed, the one that serves is still looked after.
        Rollout::Progressing | Rollout::Failed { .. } => app.serving == Some(revision) && app.wanted != revision,
    };
    let running = state.placements_of(&app.id).filter(|placement| placement.runs());
    running
        .filter(move |placement| !app.deleted && retried(placement.revision))
        // Only a recorded failure has a time; an observed one is recorded soon.
        .filter(|placement| failed(observed.phase(placement)) && failed(&placement.phase))
        .map(|placement| (placement.id, Timestamp(placement.since.0.saturating_add(RETRY_MILLIS))))
}

struct View<'a> {
    state: &'a State,
    observed: &'a Observed,
    now: Timestamp,
    app: &'a AppRecord,
    /// What runs, after the steps so far.
    running: BTreeMap<(RevisionNumber, InstanceId), &'a Placement>,
    steps: Vec<Step>,
}

impl<'a> View<'a> {
    fn forget_stopped(&mut self, room: &mut Room) {
        for placement in self.state.placements_of(&self.app.id) {
            if placement.runs() {
                self.running.insert((placement.revision, placement.instance.clone()), placement);
            } else if matches!(self.observed.phase(placement), SeenPhase::Stopped | SeenPhase::Failed { .. }) {
                room.release(placement);
                self.steps.push(Step::Forget { placement: placement.id });
            }
        }
    }

    /// Why the wanted revision cannot run, if it was found out since it was last wished.
    fn failure(&self) -> Option<(String, String)> {
        let decisive = |placement: &&&Placement| placement.revision == self.app.wanted && placement.decided > self.app.version;
        let failed = self.running.values().filter(decisive).find_map(|placement| match self.observed.phase(placement) {
            SeenPhase::Failed { code, message } => Some((code.clone(), message.clone())),
            _ => None,
        });
        failed.filter(|_| self.app.rollout == Rollout::Progressing)
    }

    fn fail(&mut self, code: String, message: String) {
        let wanted = self.app.wanted;
        self.steps.push(Step::Fail { app: self.app.id.clone(), revision: wanted, code, message });
        if self.app.serving != Some(wanted) {
            self.stop_where(|placement| placement.revision == wanted, |_| format!("{wanted} failed"));
        }
    }

    fn roll(&mut self, room: &mut Room) {
        let wanted = self.app.wanted;
        let failed = matches!(self.app.rollout, Rollout::Failed { .. });
        let mut targets: Vec<RevisionNumber> = self.app.serving.into_iter().filter(|serving| *serving != wanted).collect();
        if !failed || targets.is_empty() {
            targets.push(wanted);
        }
        if self.app.serving.is_none() {
            self.steps.push(Step::Serve { app: self.app.id.clone(), revision: wanted });
        }
        let swapped = !failed && targets.len() == 2 && self.all_ready(wanted);
        if swapped {
            self.steps.push(Step::Serve { app: self.app.id.clone(), revision: wanted });
            targets = vec![wanted];
        }
        self.stop_unneeded(&targets, swapped);
        self.stop_failed();
        let waits = self.place_missing(&targets, room);
        self.tell_waits(waits);
        self.settle();
    }

    /// Ends a rollout that only nodes which do not report keep from its end. When all report, recording the last instance as ready ends it.
    fn settle(&mut self) {
        let app = self.app;
        let silent = || self.state.nodes().any(|node| node.is_worker() && self.observed.silent.contains(&node.id));
        let done = app.rollout == Rollout::Progressing && app.serving == Some(app.wanted) && silent();
        if done && self.all_ready(app.wanted) {
            self.steps.push(Step::Settle { app: app.id.clone(), revision: app.wanted });
        }
    }

    fn stop_unneeded(&mut self, targets: &[RevisionNumber], swapped: bool) {
        let (wanted, app) = (self.app.wanted, self.app);
        let why = |placement: &Placement| match app.serving {
            _ if swapped => format!("{wanted} has the traffic"),
            Some(serving) if placement.revision == wanted && serving != wanted => format!("{wanted} failed"),
            _ => format!("{wanted} is wished instead"),
        };
        self.stop_where(|placement| !targets.contains(&placement.revision), why);
    }

    /// Stops what failed and is to be tried again: because the app was wished anew since, or because its time has come.
    fn stop_failed(&mut self) {
        let due: BTreeSet<_> =
            retries(self.state, self.observed, self.app).filter(|(_, at)| *at <= self.now).map(|(placement, _)| placement).collect();
        let (observed, app) = (self.observed, self.app);
        let anew = |placement: &Placement| {
            app.rollout == Rollout::Progressing && placement.decided <= app.version && failed(observed.phase(placement))
        };
        self.stop_where(|placement| due.contains(&placement.id) || anew(placement), |_| "failed, and is tried again".to_owned());
    }

    /// Places every wished instance of `targets` that does not run, lowest numbers first; says which must wait.
    fn place_missing(&mut self, targets: &[RevisionNumber], room: &mut Room) -> BTreeMap<InstanceId, Waiting> {
        let mut waits = BTreeMap::new();
        for revision in targets {
            for Wished { component, instance, node } in self.wished_of(*revision) {
                if self.steps.len() >= STEPS_PER_PLAN_MAX {
                    return waits;
                }
                let silent = node.and_then(|node| self.silence(node));
                if silent.is_some() || self.running.contains_key(&(*revision, instance.clone())) {
                    waits.extend(silent.map(|silent| (instance, silent)));
                    continue;
                }
                let booked = node.ok_or(Waiting::Node).and_then(|node| room.book(node, component.instance_memory_bytes));
                match booked {
                    Ok(node) => self.steps.push(Step::Place { instance, revision: *revision, node }),
                    Err(lacking) => drop(waits.insert(instance, lacking)),
                }
            }
        }
        waits
    }

    /// Says what is waited for where the words changed, and what is waited for no longer. Placing an instance ends its wait by itself.
    fn tell_waits(&mut self, waits: BTreeMap<InstanceId, Waiting>) {
        let placed = |step: &Step| if let Step::Place { instance, .. } = step { Some(instance.clone()) } else { None };
        let placed: BTreeSet<_> = self.steps.iter().filter_map(placed).collect();
        for instance in self.app.waits.keys().filter(|instance| !waits.contains_key(*instance) && !placed.contains(*instance)) {
            self.steps.push(Step::Resume { instance: instance.clone() });
        }
        for (instance, waiting) in waits {
            let reason = waiting.to_string();
            if self.app.waits.get(&instance) != Some(&reason) {
                self.steps.push(Step::Wait { instance, reason });
            }
        }
    }

    fn stop_where(&mut self, which: impl Fn(&Placement) -> bool, why: impl Fn(&Placement) -> String) {
        let stopped: Vec<_> = self.running.iter().filter(|(_, placement)| which(placement)).map(|(key, _)| key.clone()).collect();
        for key in stopped {
            if let Some(placement) = self.running.remove(&key) {
                self.steps.push(Step::Stop { placement: placement.id, why: why(placement) });
            }
        }
    }

    /// Whether every instance on a node that reports is ready; not when there is none at all.
    fn all_ready(&self, revision: RevisionNumber) -> bool {
        let mut any = false;
        for Wished { instance, node, .. } in self.wished_of(revision) {
            let Some(node) = node else { return false };
            if self.silence(node).is_some() {
                continue;
            }
            let placement = self.running.get(&(revision, instance));
            if placement.is_none_or(|placement| *self.observed.phase(placement) != SeenPhase::Ready) {
                return false;
            }
            any = true;
        }
        any
    }

    fn silence(&self, node: &NodeRecord) -> Option<Waiting> {
        self.observed.silent.contains(&node.id).then(|| Waiting::SilentNode { node: node.name.clone() })
    }

    /// The instances `revision` should have: of every component one on every worker. When there is no worker yet, the first that will be.
    fn wished_of(&self, revision: RevisionNumber) -> Vec<Wished<'a>> {
        let app = self.app;
        let Some(spec) = self.state.revision(&app.id, revision).map(|revision| &revision.frozen.spec) else { return Vec::new() };
        let mut workers: Vec<Option<&'a NodeRecord>> = self.state.nodes().filter(|node| node.is_worker()).map(Some).collect();
        workers.sort_by_key(|node| node.map_or(0, |node| node.ordinal));
        if workers.is_empty() {
            workers.push(None);
        }
        let of = |component: &'a ComponentSpecV1| {
            let id = app.id.component(component.name.clone());
            let instance =
                move |node: &Option<&NodeRecord>| InstanceId { component: id.clone(), ordinal: node.map_or(1, |node| node.ordinal) };
            workers.iter().map(move |node| Wished { component, instance: instance(node), node: *node }).collect::<Vec<_>>()
        };
        spec.components.iter().flat_map(of).collect()
    }
}

/// An instance that should run.
struct Wished<'a> {
    component: &'a ComponentSpecV1,
    instance: InstanceId,
    /// Where; nowhere as long as there is no worker.
    node: Option<&'a NodeRecord>,
}

fn failed(phase: &SeenPhase) -> bool {
    matches!(phase, SeenPhase::Failed { .. })
}
