//! What an apply would do, from the state before and after it. Owns the comparison; must never write.

use std::{collections::BTreeSet, sync::Arc};

use api::v1::{CompileNeed, ObjectAnswer, Outcome, PlanAnswer, PlannedFile, PlannedObject, PlannedPlacement, Waiting};
use model::{
    app::App,
    id::{AppId, Digest},
};
use scheduler::Observed;
use state::{
    AppRecord, Applied, DeployOutcome, State,
    command::{Plan, SeenPhase, Step},
};

use crate::{
    api_error::ApiError,
    artifacts::Artifacts,
    core::Core,
    documents::Checked,
    permissions,
    views::changes,
    writer::{Decision, Written},
};

/// What became of each app.
pub(crate) fn answers(written: &Written, urls: impl Fn(&AppId) -> Vec<String>) -> Vec<ObjectAnswer> {
    let answer = |applied: &Applied| {
        let (app, revision, version, outcome) = match applied {
            Applied::Deployed { app, revision, version, outcome } => (app, *revision, *version, outcome_of(*outcome)),
            Applied::Undone { app, revision, version, .. } => (app, *revision, *version, Outcome::Changed),
            _ => return None,
        };
        Some(ObjectAnswer { app: app.clone(), outcome, revision, version, urls: urls(app), warnings: Vec::new() })
    };
    written.applied.iter().filter_map(answer).collect()
}

fn outcome_of(outcome: DeployOutcome) -> Outcome {
    match outcome {
        DeployOutcome::Created => Outcome::Created,
        DeployOutcome::Revised | DeployOutcome::Retried => Outcome::Changed,
        DeployOutcome::Adjusted => Outcome::Scaled,
        DeployOutcome::Unchanged => Outcome::Unchanged,
    }
}

/// What `decision`, made on `before`, would do.
pub(crate) async fn answer(
    core: &Core,
    before: &State,
    decision: &Decision,
    checked: &[Checked],
    observed: &Observed,
    plan: &Plan,
) -> Result<PlanAnswer, ApiError> {
    let mut objects = Vec::new();
    let deployed = decision.applied.iter().filter_map(|applied| match applied {
        Applied::Deployed { app, revision, outcome, .. } => Some((app, revision, outcome)),
        _ => None,
    });
    for ((app, revision, outcome), checked) in deployed.zip(checked) {
        let record = before.app(app);
        let current = record.and_then(|record| current(core, before, record));
        let mut after = checked.app.clone();
        after.metadata.resource_version = None;
        objects.push(PlannedObject {
            app: app.clone(),
            outcome: outcome_of(*outcome),
            version: record.map(|record| record.version).unwrap_or_default(),
            revision: *revision,
            changes: changes(current.as_ref(), Some(&after)),
            placements: placements(before, app, plan),
            stops: stops(before, app, plan, record.is_some_and(|record| record.wanted != *revision)),
            compile: compile(before, &core.artifacts, observed, checked),
            files: files(&core.artifacts, checked),
            permissions: permissions::changes(core, current.as_ref(), checked).await?,
            warnings: Vec::new(),
        });
    }
    let waits = plan.steps.iter().filter_map(|step| match step {
        Step::Wait { instance, reason } => Some(Waiting { instance: instance.clone(), reason: reason.clone() }),
        _ => None,
    });
    Ok(PlanAnswer { index: before.index(), objects, values: Vec::new(), waits: waits.collect() })
}

/// The app as it is wished now, with the scale of now.
fn current(core: &Core, state: &State, record: &AppRecord) -> Option<App> {
    let mut app = App::clone(core.apps.of(state.revision(&record.id, record.wanted)?)?.as_ref());
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
fn compile(state: &State, artifacts: &Artifacts, observed: &Observed, checked: &Checked) -> Vec<CompileNeed> {
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
        let stored = artifacts.size(&digest);
        let size = stored.or_else(|| told.and_then(|facts| facts.as_ref().ok()).map(|facts| facts.size));
        Some(CompileNeed { component: name.clone(), digest, size, stored: stored.is_some() })
    });
    needs.collect()
}

/// The files of all components.
fn files(artifacts: &Artifacts, checked: &Checked) -> Vec<PlannedFile> {
    let components = checked.app.spec.components.iter();
    let files = components.flat_map(|(name, component)| component.files.iter().map(move |file| (name, file)));
    let planned = files.filter_map(|(name, file)| {
        let digest = file.source.digest()?;
        let stored = artifacts.size(&digest);
        let told = checked.told.iter().find(|(known, _)| *known == digest).map(|(_, size)| *size);
        Some(PlannedFile { component: name.clone(), to: file.to.clone(), digest, size: stored.or(told), stored: stored.is_some() })
    });
    planned.collect()
}

/// The app as applied, for its URLs.
pub(crate) fn applied_app(core: &Core, id: &AppId) -> Option<Arc<App>> {
    let state = core.state();
    let record = state.app(id)?;
    core.apps.of(state.revision(id, record.wanted)?)
}
