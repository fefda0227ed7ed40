//! Apply and plan. Owns their order: check everything, then write once.

use std::sync::Arc;

use api::v1::{ApplyAnswer, ApplyRequest, PlanAnswer, PlanRequest};
use axum::{Extension, extract::State};

use crate::{
    admit::Caller,
    api_error::ApiError,
    clock,
    core::Core,
    documents::{self, Sources},
    extract::{Answer, Json},
    permissions, planned, principal, spread,
    writer::{self, Wish},
};

pub(crate) async fn apply(
    State(core): State<Arc<Core>>,
    Extension(caller): Extension<Caller>,
    Json(request): Json<ApplyRequest>,
) -> Result<Answer<ApplyAnswer>, ApiError> {
    let sources = Sources { artifacts: &core.artifacts, told: None };
    spread::gather(&core, &request.documents).await;
    let checked = documents::check(request.documents, request.expect, sources).await?;
    let held = if request.accept_permissions { None } else { Some(permissions::hold(&core, &core.state(), &checked).await?) };
    checked.iter().try_for_each(|one| principal::within(&caller.principal, &one.app.metadata.namespace))?;
    spread::spread(&core, &checked).await?;
    let wish = Wish::changes(&caller, &request.by, clock::now(), planned::deploys(&checked)).holding(held);
    let written = core.writer.write(wish).await?;
    let viewer = core.viewer();
    let urls = |id: &_| planned::applied_app(&core, id).map(|app| viewer.urls(&app)).unwrap_or_default();
    Ok(Answer(ApplyAnswer { index: written.index, objects: planned::answers(&written, urls) }))
}

pub(crate) async fn plan(
    State(core): State<Arc<Core>>,
    Extension(caller): Extension<Caller>,
    Json(request): Json<PlanRequest>,
) -> Result<Answer<PlanAnswer>, ApiError> {
    let sources = Sources { artifacts: &core.artifacts, told: Some(&request.artifacts) };
    let checked = documents::check(request.documents, request.expect, sources).await?;
    checked.iter().try_for_each(|one| principal::within(&caller.principal, &one.app.metadata.namespace))?;
    let now = clock::now();
    let (before, observed) = (core.state(), core.observed());
    let decision = writer::decide(&before, &Wish::changes(&caller, "", now, planned::deploys(&checked))).map_err(ApiError::problems)?;
    let plan = scheduler::plan(&decision.state, &observed, now);
    Ok(Answer(planned::answer(&core, &before, &decision, &checked, &observed, &plan).await?))
}
