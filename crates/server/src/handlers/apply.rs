//! Apply and plan. Owns their order: check everything, then write once.

use std::sync::Arc;

use api::v1::{ApplyAnswer, ApplyRequest, PlanAnswer, PlanRequest};
use axum::extract::State;

use crate::{
    api_error::ApiError,
    clock,
    core::Core,
    documents::{self, Sources},
    extract::{Answer, Json},
    permissions, planned,
    writer::{self, Wish},
};

pub(crate) async fn apply(State(core): State<Arc<Core>>, Json(request): Json<ApplyRequest>) -> Result<Answer<ApplyAnswer>, ApiError> {
    let sources = Sources { artifacts: &core.artifacts, told: None };
    let checked = documents::check(request.documents, request.expect, sources).await?;
    let held = if request.accept_permissions { None } else { Some(permissions::hold(&core, &core.state(), &checked).await?) };
    let wish = Wish::Deploy(planned::deploys(&checked, clock::now(), &request.by), held);
    let written = core.writer.write(wish).await?;
    let viewer = core.viewer();
    let urls = |id: &_| planned::applied_app(&core, id).map(|app| viewer.urls(&app)).unwrap_or_default();
    Ok(Answer(ApplyAnswer { index: written.index, objects: planned::answers(&written, urls) }))
}

pub(crate) async fn plan(State(core): State<Arc<Core>>, Json(request): Json<PlanRequest>) -> Result<Answer<PlanAnswer>, ApiError> {
    let sources = Sources { artifacts: &core.artifacts, told: Some(&request.artifacts) };
    let checked = documents::check(request.documents, request.expect, sources).await?;
    let now = clock::now();
    let (before, observed) = (core.state(), core.observed());
    let decision = writer::decide(&before, &Wish::Deploy(planned::deploys(&checked, now, ""), None)).map_err(ApiError::problems)?;
    let plan = scheduler::plan(&decision.state, &observed, now);
    Ok(Answer(planned::answer(&core, &before, &decision, &checked, &observed, &plan).await?))
}
