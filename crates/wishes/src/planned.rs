//! What an apply would do, from the state before and after it. Owns the comparison; must never write.

use std::{collections::BTreeSet, sync::Arc};

use api::v1::{Change, CompileNeed, ObjectAnswer, Outcome, PlanAnswer, PlannedFile, PlannedObject, PlannedPlacement, Waiting};
use model::{
    app::App,
    difference,
    id::{AppId, Digest},
};
use scheduler::Observed;
use state::{
    AppRecord, Applied, DeployOutcome, Revision, State,
    command::{Plan, SeenPhase, Step},
};

use crate::{
    documents::{Checked, Stored},
    permissions,
};

/// From a revision to the app it froze; none when it cannot be read.
pub type Parsed<'a> = &'a (dyn Fn(&Revision) -> Option<Arc<App>> + Sync);

/// What became of each app.
pub fn answers(applied: &[Applied], urls: impl Fn(&AppId) -> Vec<String>) -> Vec<ObjectAnswer> {
    let answer = |applied: &Applied| {
        let (app, revision, version, outcome) = match applied {
            Applied::Deployed { app, revision, version, outcome } => (app, *revision, *version, outcome_of(*outcome)),
            Applied::Undone { app, revision, version, .. } => (app, *revision, *version, Outcome::Changed),
            _ => return None,
        };
        Some(ObjectAnswer { app: app.clone(), outcome, revision, version, urls: urls(app), warnings: Vec::new() })
    };
    applied.iter().filter_map(answer).collect()
}

fn outcome_of(outcome: DeployOutcome) -> Outcome {
    match outcome {
        DeployOutcome::Created => Outcome::Created,
        DeployOutcome::Revised | DeployOutcome::Retried => Outcome::Changed,
        DeployOutcome::Adjusted => Outcome::Scaled,
        DeployOutcome::Unchanged => Outcome::Unchanged,
    }
}

/// What a plan looks at.
#[derive(Clone, Copy)]
pub struct Look<'a> {
    /// The state before.
    pub before: &'a State,
    /// What workers said last.
    pub observed: &'a Observed,
    /// What is known of artifacts, those of components that are replaced among them.
    pub stored: &'a Stored,
    /// Frozen apps.
    pub parsed: Parsed<'a>,
}

/// What deploying `checked` would do when it comes to `applied`, and to `plan` after that.
pub fn answer(look: Look<'_>, checked: &[Checked], applied: &[Applied], plan: &Plan) -> PlanAnswer {
    let Look { before, observed, stored, parsed } = look;
    let mut objects = Vec::new();
    let deployed = applied.iter().filter_map(|applied| match applied {
        Applied::Deployed { app, revision, outcome, .. } => Some((app, revision, outcome)),
        _ => None,
    });
    for ((app, revision, outcome), checked) in deployed.zip(checked) {
        let record = before.app(app);
        let current = record.and_then(|record| current(parsed, before, record));
        let mut after = checked.app.clone();
        after.metadata.resource_version = None;
        objects.push(PlannedObject {
            app: app.clone(),
            outcome: outcome_of(*outcome),
            version: record.map(|record| record.version).unwrap_or_default(),
            revision: *revision,
            changes: difference::between(current.as_ref(), Some(&after)).into_iter().map(Change::from).collect(),
            placements: placements(before, app, plan),
            stops: stops(before, app, plan, record.is_some_and(|record| record.wanted != *revision)),
            compile: compile(before, stored, observed, checked),
            files: files(stored, checked),
            permissions: permissions::changes(stored, current.as_ref(), checked),
            warnings: Vec::new(),
        });
    }
    // The scheduler plans for everybody; who asked about some apps hears of those.
    let asked: BTreeSet<AppId> = checked.iter().map(|one| one.app.id()).collect();
    let waits = plan.steps.iter().filter_map(|step| match step {
        Step::Wait { instance, reason } if asked.contains(&instance.component.app) => {
            Some(Waiting { instance: instance.clone(), reason: reason.clone() })
        }
        _ => None,
    });
    PlanAnswer { index: before.index(), objects, values: Vec::new(), waits: waits.collect() }
}

/// The app as it is wished now, with the scale of now.
fn current(parsed: Parsed<'_>, state: &State, record: &AppRecord) -> Option<App> {
    let mut app = App::clone(parsed(state.revision(&record.id, record.wanted)?)?.as_ref());
    for (name, component) in &mut app.spec.components {
        component.scale.replicas = record.replicas.get(name).copied().unwrap_or(component.scale.replicas);
    }
    app.metadata.protected = record.protected;
    Some(app)
}

fn placements(state: &State, app: &AppId, plan: &Plan) -> Vec<PlannedPlacement> {
    let placed = plan.steps.iter().filter_map(|step| match step {
        Step::Place { instance, node, .. } if instance.component.app == *app => {
            let node = state.node(*node).map(|node| node.name.clone()).unwrap_or_default();
            Some(PlannedPlacement { instance: instance.clone(), node })
        }
        _ => None,
    });
    placed.collect()
}

/// What the plan stops, and, with a new revision, what stops once that serves.
fn stops(state: &State, app: &AppId, plan: &Plan, revised: bool) -> Vec<model::id::InstanceId> {
    let stopped = plan.steps.iter().filter_map(|step| match step {
        Step::Stop { placement, .. } => Some(*placement),
        _ => None,
    });
    let stopped: BTreeSet<_> = stopped.collect();
    let placements = state.placements_of(app).filter(|placement| placement.runs() && (revised || stopped.contains(&placement.id)));
    placements.map(|placement| placement.instance.clone()).collect()
}

/// Artifacts that no node is known to have compiled.
fn compile(state: &State, stored: &Stored, observed: &Observed, checked: &Checked) -> Vec<CompileNeed> {
    let running: BTreeSet<Digest> = state
        .placements()
        .filter(|placement| *observed.phase(placement) == SeenPhase::Ready)
        .filter_map(|placement| {
            let component = &placement.instance.component;
            let revision = state.revision(&component.app, placement.revision)?;
            revision.component(component.component.as_str()).map(|spec| spec.digest)
        })
        .collect();
    let needs = checked.app.spec.components.iter().filter_map(|(name, component)| {
        let digest = component.source.digest().filter(|digest| !running.contains(digest))?;
        let told = checked.facts.iter().find(|(known, _)| known == name).and_then(|(_, facts)| facts.as_deref());
        let known = stored.sizes.get(&digest).copied();
        let size = known.or_else(|| told.and_then(|facts| facts.as_ref().ok()).map(|facts| facts.size));
        Some(CompileNeed { component: name.clone(), digest, size, stored: known.is_some() })
    });
    needs.collect()
}

/// The files of all components.
fn files(stored: &Stored, checked: &Checked) -> Vec<PlannedFile> {
    let components = checked.app.spec.components.iter();
    let files = components.flat_map(|(name, component)| component.files.iter().map(move |file| (name, file)));
    let planned = files.filter_map(|(name, file)| {
        let digest = file.source.digest()?;
        let known = stored.sizes.get(&digest).copied();
        let told = checked.told.iter().find(|(known, _)| *known == digest).map(|(_, size)| *size);
        Some(PlannedFile { component: name.clone(), to: file.to.clone(), digest, size: known.or(told), stored: known.is_some() })
    });
    planned.collect()
}
