//! Apply and plan. Owns their order: check everything, then write once.

use std::sync::Arc;

use api::v1::{ApplyAnswer, ApplyRequest, PlanAnswer, PlanRequest};
use axum::{Extension, extract::State};

use crate::{
    admit::Caller,
    api_error::{ApiError, chain},
    clock,
    core::Core,
    documents::{self, Sources},
    extract::{Answer, Json},
    forward::no_leader,
    limits::READ_BARRIER_MAX,
    permissions, planned, spread, wished,
    writer::{self, Wish},
};

pub(crate) async fn apply(
    State(core): State<Arc<Core>>,
    Extension(caller): Extension<Caller>,
    Json(request): Json<ApplyRequest>,
) -> Result<Answer<ApplyAnswer>, ApiError> {
    let sources = Sources { artifacts: &core.artifacts, told: None };
    spread::gather(&core, &request.documents).await;
    let asked = documents::check(request.documents, request.expect, sources).await?;
    wished::allow(&caller.principal, &asked)?;
    let held = if request.accept_permissions { None } else { Some(permissions::hold(&core, &core.state(), &asked.apps).await?) };
    spread::spread(&core, &asked.apps).await?;
    if asked.has_secrets() {
        // What a Secret has already is not written, and a leader that was replaced would find so what is so no more.
        core.consensus.read_barrier(READ_BARRIER_MAX).await.map_err(|error| no_leader(&chain(&error)))?;
    }
    let wished = wished::of(&core.cluster_key, &core.state(), &asked)?;
    let wish = Wish::documents(&caller, &request.by, clock::now(), wished.changes.clone()).holding(held);
    let written = core.writer.write(wish).await?;
    let viewer = core.viewer();
    let urls = |id: &_| planned::applied_app(&core, id).map(|app| viewer.urls(&app)).unwrap_or_default();
    let values = wished.answers(&written.applied);
    Ok(Answer(ApplyAnswer { index: written.index, objects: planned::answers(&written, urls), values }))
}

pub(crate) async fn plan(
    State(core): State<Arc<Core>>,
    Extension(caller): Extension<Caller>,
    Json(request): Json<PlanRequest>,
) -> Result<Answer<PlanAnswer>, ApiError> {
    let sources = Sources { artifacts: &core.artifacts, told: Some(&request.artifacts) };
    let asked = documents::check(request.documents, request.expect, sources).await?;
    wished::allow(&caller.principal, &asked)?;
    let now = clock::now();
    let (before, observed) = (core.state(), core.observed());
    let wished = wished::of(&core.cluster_key, &before, &asked)?;
    let decision = writer::decide(&before, &Wish::documents(&caller, "", now, wished.changes.clone())).map_err(ApiError::problems)?;
    let plan = scheduler::plan(&decision.state, &observed, now);
    let mut answer = planned::answer(&core, &before, &decision, &asked.apps, &observed, &plan).await?;
    answer.values = wished.planned(&decision.applied);
    Ok(Answer(answer))
}
