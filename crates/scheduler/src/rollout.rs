//! What to do for one app. Owns the order of a rollout; must never stop what serves before what follows it is ready.
//!
//! - The first revision serves at once: there is nothing to protect, and requests wait for it instead of finding nothing.
//! - Another wanted revision is placed beside the one that serves. When every instance of it is ready it gets the traffic, and then the old one is stopped.
//! - Until then the old revision keeps the instances it has: a failed one is replaced, but none is added or removed, whatever scale is wished.
//! - If an instance of the new one fails, the rollout has failed: its instances are stopped, and the old revision keeps the traffic.
//! - An instance of a serving revision that fails later is replaced after a while.

use std::collections::{BTreeMap, BTreeSet};

use model::{
    frozen::ComponentSpecV1,
    id::{InstanceId, PlacementId, RevisionNumber, Timestamp},
};
use state::{
    AppRecord, Placement, Rollout, State,
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
    let mut view = View { state, observed, now, app, running: BTreeMap::new(), kept: BTreeSet::new(), steps: Vec::new() };
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
        let component = revision.component(placement.instance.component.component.as_str());
        let wished = component.is_some_and(|component| (1..=app.wished(component)).contains(&placement.instance.ordinal));
        let well = !observed.silent.contains(&placement.node) && !failed(observed.phase(placement));
        if !(placement.runs() && placement.revision == app.wanted && wished && well) {
            return false;
        }
        running += 1;
    }
    running == revision.frozen.spec.components.iter().map(|component| u64::from(app.wished(component))).sum::<u64>()
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
    /// What the revision that serves, and is no longer wanted, has.
    kept: BTreeSet<InstanceId>,
    steps: Vec<Step>,
}

impl<'a> View<'a> {
    fn forget_stopped(&mut self, room: &mut Room) {
        for placement in self.state.placements_of(&self.app.id) {
            if placement.runs() {
                self.running.insert((placement.revision, placement.instance.clone()), placement);
                if self.app.serving == Some(placement.revision) && self.app.wanted != placement.revision {
                    self.kept.insert(placement.instance.clone());
                }
            } else if matches!(self.observed.phase(placement), SeenPhase::Stopped | SeenPhase::Failed { .. }) {
                room.release(placement);
                self.steps.push(Step::Forget { placement: placement.id });
            }
        }
    }

    /// Why the wanted revision cannot run, if it was found out since it was last wished.
    fn failure(&self) -> Option<(String, String)> {
        let decisive = |placement: &&&Placement| {
            placement.revision == self.app.wanted && placement.decided > self.app.version && self.wishes(placement)
        };
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
    }

    fn stop_unneeded(&mut self, targets: &[RevisionNumber], swapped: bool) {
        let (wanted, app) = (self.app.wanted, self.app);
        let why = |placement: &Placement| match app.serving {
            _ if swapped => format!("{wanted} has the traffic"),
            Some(serving) if placement.revision == wanted && serving != wanted => format!("{wanted} failed"),
            _ => format!("{wanted} is wished instead"),
        };
        self.stop_where(|placement| !targets.contains(&placement.revision), why);
        let unwished: BTreeSet<_> =
            self.running.values().filter(|placement| !self.wishes(placement)).map(|placement| placement.id).collect();
        self.stop_where(|placement| unwished.contains(&placement.id), |_| "scaled down".to_owned());
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
            for (component, instance) in self.wished_of(*revision) {
                if self.steps.len() >= STEPS_PER_PLAN_MAX {
                    return waits;
                }
                if let Some(placement) = self.running.get(&(*revision, instance.clone())) {
                    waits.extend(self.silence(placement).map(|silent| (instance, silent)));
                    continue;
                }
                match room.book(&instance.component, *revision, component.instance_memory_bytes) {
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

    fn all_ready(&self, revision: RevisionNumber) -> bool {
        self.wished_of(revision).into_iter().all(|(_, instance)| {
            let placement = self.running.get(&(revision, instance));
            placement.is_some_and(|placement| *self.observed.phase(placement) == SeenPhase::Ready && self.silence(placement).is_none())
        })
    }

    fn silence(&self, placement: &Placement) -> Option<Waiting> {
        let silent = self.observed.silent.contains(&placement.node);
        let node = || self.state.node(placement.node).map(|node| node.name.clone()).unwrap_or_default();
        silent.then(|| Waiting::SilentNode { node: node() })
    }

    /// The instances `revision` should have: the wished ones if it is wanted, and those it has if it only serves still.
    fn wished_of(&self, revision: RevisionNumber) -> Vec<(&'a ComponentSpecV1, InstanceId)> {
        let app = self.app;
        let Some(spec) = self.state.revision(&app.id, revision).map(|revision| &revision.frozen.spec) else { return Vec::new() };
        let of = |component: &'a ComponentSpecV1| {
            let id = app.id.component(component.name.clone());
            let wished = 1..=app.wished(component);
            let kept = self.kept.iter().filter(|instance| instance.component == id).map(|instance| instance.ordinal);
            let ordinals: Vec<u32> = if revision == app.wanted { wished.collect() } else { kept.collect() };
            ordinals.into_iter().map(move |ordinal| (component, InstanceId { component: id.clone(), ordinal }))
        };
        spec.components.iter().flat_map(of).collect()
    }

    fn wishes(&self, placement: &Placement) -> bool {
        let instance = &placement.instance;
        if placement.revision != self.app.wanted {
            return self.kept.contains(instance);
        }
        let revision = self.state.revision(&self.app.id, placement.revision);
        let component = revision.and_then(|revision| revision.component(instance.component.component.as_str()));
        component.is_some_and(|component| (1..=self.app.wished(component)).contains(&instance.ordinal))
    }
}

fn failed(phase: &SeenPhase) -> bool {
    matches!(phase, SeenPhase::Failed { .. })
}
