//! Apply and plan. Owns their order: check everything, then write once; and what must be known of artifacts for that.

use std::{collections::BTreeSet, sync::Arc};

use api::v1::{ApplyAnswer, ApplyRequest, PlanAnswer, PlanRequest};
use axum::{Extension, extract::State};
use model::{id::Digest, problem::chain};
use wishes::{
    caller::Caller,
    decision::{self, Wish},
    documents::{self, Request, Sources, Stored},
    permissions,
    planned::{self, Look},
    route_certificates::Known,
    wished,
};

use crate::{
    api_error::ApiError,
    clock,
    core::Core,
    extract::{Answer, Json},
    forward::no_leader,
    limits::READ_BARRIER_MAX,
    spread,
};

pub(crate) async fn apply(
    State(core): State<Arc<Core>>,
    Extension(caller): Extension<Caller>,
    Json(request): Json<ApplyRequest>,
) -> Result<Answer<ApplyAnswer>, ApiError> {
    let documents = documents::read(request.documents)?;
    spread::gather(&core, &caller.principal, &documents).await;
    let mut stored = stored(&core, &documents).await?;
    let asked = documents.check(request.expect, Sources { stored: &stored, told: None })?;
    wished::allow(&caller.principal, &asked)?;
    let parsed = |revision: &_| core.apps.of(revision);
    let held = if request.accept_permissions {
        None
    } else {
        let state = core.state();
        know(&core, &mut stored, permissions::replaced(&state, &asked.apps, &parsed)).await;
        Some(permissions::hold(&stored, &state, &asked.apps, &parsed)?)
    };
    spread::spread(&core, &asked.apps).await?;
    if asked.has_secrets() {
        // What a Secret has already is not written, and a leader that was replaced would find so what is so no more.
        core.consensus.read_barrier(READ_BARRIER_MAX).await.map_err(|error| no_leader(&chain(&error)))?;
    }
    let (state, now) = (core.state(), clock::now());
    let wished = wished::of(&core.cluster_key, &state, &asked, caller.key.as_deref())?;
    Known { state: &state, parsed: &parsed, key: &core.cluster_key, now }.check(&asked)?;
    let wish = Wish::documents(&caller, &request.by, now, wished.changes.clone(), &wished.keys).holding(held);
    let written = core.writer.write(wish).await?;
    let viewer = core.viewer();
    let values = wished.answers(&written.applied);
    let objects = planned::answers(&written.applied, |app| viewer.urls_of(app));
    Ok(Answer(ApplyAnswer { index: written.index, objects, values }))
}

pub(crate) async fn plan(
    State(core): State<Arc<Core>>,
    Extension(caller): Extension<Caller>,
    Json(request): Json<PlanRequest>,
) -> Result<Answer<PlanAnswer>, ApiError> {
    let documents = documents::read(request.documents)?;
    let mut stored = stored(&core, &documents).await?;
    let asked = documents.check(request.expect, Sources { stored: &stored, told: Some(&request.artifacts) })?;
    wished::allow(&caller.principal, &asked)?;
    let now = clock::now();
    let (before, observed) = (core.state(), core.observed());
    let wished = wished::of(&core.cluster_key, &before, &asked, None)?;
    let parsed = |revision: &_| core.apps.of(revision);
    Known { state: &before, parsed: &parsed, key: &core.cluster_key, now }.check(&asked)?;
    let wish = Wish::documents(&caller, "", now, wished.changes.clone(), &wished.keys);
    let decision = decision::decide(&before, &wish).map_err(ApiError::problems)?;
    let plan = scheduler::plan(&decision.state, &observed, now);
    know(&core, &mut stored, permissions::replaced(&before, &asked.apps, &parsed)).await;
    let look = Look { before: &before, observed: &observed, stored: &stored, parsed: &parsed };
    let mut answer = planned::answer(look, &asked.apps, &decision.applied, &plan);
    answer.values = wished.planned(&decision.applied);
    Ok(Answer(answer))
}

/// What is known here of the artifacts that `documents` name. Whoever asks needs them, so they stay for a while.
///
/// # Errors
/// E0406 when one is here and cannot be read.
async fn stored(core: &Core, documents: &Request) -> Result<Stored, ApiError> {
    let mut stored = Stored::default();
    for digest in documents.components().collect::<BTreeSet<_>>() {
        let facts = core.artifacts.facts(&digest).await;
        let facts = facts.map_err(|error| ApiError::new("E0406", format!("cannot read artifact {digest}: {error}"), ""))?;
        stored.facts.extend(facts.map(|facts| (digest, facts)));
        stored.sizes.extend(core.artifacts.size(&digest).map(|size| (digest, size)));
    }
    for digest in documents.files().collect::<BTreeSet<_>>() {
        core.artifacts.touch(&digest);
        stored.sizes.extend(core.artifacts.size(&digest).map(|size| (digest, size)));
    }
    Ok(stored)
}

/// Adds what `digests` are; of one that cannot be read nothing is known.
async fn know(core: &Core, stored: &mut Stored, digests: BTreeSet<Digest>) {
    for digest in digests {
        if let Ok(Some(facts)) = core.artifacts.facts(&digest).await {
            stored.facts.insert(digest, facts);
        }
    }
}
