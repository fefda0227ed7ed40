//! Apps: list, read, watch, delete, revisions, undo.

use std::sync::Arc;

use api::v1::{AppView, DeleteAnswer, List, ObjectAnswer, RevisionView, UndoRequest, WatchEvent};
use axum::{Extension, extract::State, response::Response};
use model::id::{AppId, Name, Timestamp};
use serde::Deserialize;
use state::{
    AppRecord, Applied,
    command::{Change, Delete, Undo},
};
use utoipa::ToSchema;
use wishes::{
    caller::Caller,
    decision::{self, Wish},
    planned, principal,
    route_certificates::Known,
};

use crate::{
    api_error::ApiError,
    clock,
    core::Core,
    extract::{Answer, AppPath, Json, Query},
    limits::{APPS_PER_PAGE_MAX, PAGE_BYTES},
    streams::{self, Next, Wakes},
};

/// Which apps.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Selection {
    /// Only those of this namespace.
    #[schema(value_type = Option<String>)]
    pub(crate) namespace: Option<Name>,
}

/// Which apps of them.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Page {
    /// Only those of this namespace.
    #[schema(value_type = Option<String>)]
    pub(crate) namespace: Option<Name>,
    /// Only those that come after this app, in order of namespace and name: what the page before said as `next`.
    #[schema(value_type = Option<String>)]
    pub(crate) after: Option<AppId>,
}

/// Who asks.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct By {
    /// As the history shows it.
    #[serde(default)]
    pub(crate) by: String,
}

pub(crate) async fn list(
    State(core): State<Arc<Core>>,
    Extension(caller): Extension<Caller>,
    Query(page): Query<Page>,
) -> Result<Answer<List<AppView>>, ApiError> {
    let namespace = principal::listed(&caller.principal, page.namespace)?;
    let viewer = core.viewer();
    let (mut items, mut bytes, mut next, mut last) = (Vec::new(), 0, None, None);
    let after = |record: &&AppRecord| page.after.as_ref().is_none_or(|after| record.id > *after);
    let within = |record: &&AppRecord| namespace.as_ref().is_none_or(|namespace| record.id.namespace == *namespace);
    for record in viewer.state.apps().filter(after).filter(within) {
        if items.len() >= APPS_PER_PAGE_MAX || bytes >= PAGE_BYTES {
            next = last;
            break;
        }
        items.extend(viewer.app(&record.id));
        bytes += viewer.state.revision(&record.id, record.wanted).map_or(0, |revision| revision.frozen.canonical.len());
        last = Some(record.id.clone());
    }
    Ok(Answer(List { resource_version: viewer.state.index(), items, next }))
}

pub(crate) async fn read(State(core): State<Arc<Core>>, AppPath(id): AppPath) -> Result<Answer<AppView>, ApiError> {
    core.viewer().app(&id).map(Answer).ok_or_else(|| unknown(&id))
}

pub(crate) async fn watch(State(core): State<Arc<Core>>, AppPath(id): AppPath) -> Result<Response, ApiError> {
    if core.state().app(&id).is_none() {
        return Err(unknown(&id));
    }
    let mut last = None;
    Ok(streams::lines(&core, Wakes::StateAndReports, move |core| {
        let viewer = core.viewer();
        let index = viewer.state.index();
        let Some(app) = viewer.app(&id) else { return Next::Last(WatchEvent::Deleted { index }) };
        if last.as_ref() == Some(&app) {
            return Next::Nothing;
        }
        last = Some(app.clone());
        Next::Lines(vec![WatchEvent::Status { index, app: Box::new(app) }])
    }))
}

pub(crate) async fn delete(
    State(core): State<Arc<Core>>,
    Extension(caller): Extension<Caller>,
    AppPath(app): AppPath,
    Query(By { by }): Query<By>,
) -> Result<Answer<DeleteAnswer>, ApiError> {
    let wish = Wish::change(&caller, &by, clock::now(), Change::Delete(Delete { app: app.clone() }));
    let written = core.writer.write(wish).await?;
    let instances = core.state().placements_of(&app).count();
    Ok(Answer(DeleteAnswer { index: written.index, app, instances }))
}

pub(crate) async fn revisions(State(core): State<Arc<Core>>, AppPath(id): AppPath) -> Result<Answer<List<RevisionView>>, ApiError> {
    let viewer = core.viewer();
    let record = viewer.state.app(&id).ok_or_else(|| unknown(&id))?;
    Ok(Answer(List { resource_version: viewer.state.index(), items: viewer.revisions(record), next: None }))
}

pub(crate) async fn undo(
    State(core): State<Arc<Core>>,
    Extension(caller): Extension<Caller>,
    AppPath(app): AppPath,
    Json(request): Json<UndoRequest>,
) -> Result<Answer<ObjectAnswer>, ApiError> {
    let now = clock::now();
    let wish = Wish::change(&caller, &request.by, now, Change::Undo(Undo { app: app.clone(), to: request.to }));
    refuse_without_certificates(&core, &app, &wish, now)?;
    let written = core.writer.write(wish).await?;
    let viewer = core.viewer();
    planned::answers(&written.applied, |app| viewer.urls_of(app)).into_iter().next().map(Answer).ok_or_else(|| unknown(&app))
}

/// The Secrets whose certificates the earlier revision answers with may be others by now.
fn refuse_without_certificates(core: &Core, app: &AppId, wish: &Wish, now: Timestamp) -> Result<(), ApiError> {
    let state = core.state();
    // What the state refuses it refuses with its own words when it is written.
    let Ok(decided) = decision::decide(&state, wish) else { return Ok(()) };
    let Some(Applied::Undone { of, .. }) = decided.applied.first() else { return Ok(()) };
    let parsed = |revision: &_| core.apps.of(revision);
    let Some(earlier) = state.revision(app, *of).and_then(parsed) else { return Ok(()) };
    Ok(Known { state: &state, parsed: &parsed, key: &core.cluster_key, now }.check_return(&earlier)?)
}

fn unknown(app: &AppId) -> ApiError {
    ApiError::not_found(&format!("app `{app}`"))
}
