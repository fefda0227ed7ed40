//! Apps: list, read, watch, delete, revisions, undo.

use std::sync::Arc;

use api::v1::{AppView, DeleteAnswer, List, ObjectAnswer, RevisionView, UndoRequest, WatchEvent};
use axum::{extract::State, response::Response};
use model::id::{AppId, Name};
use serde::Deserialize;
use state::command::{Delete, Undo};
use utoipa::ToSchema;

use crate::{
    api_error::ApiError,
    clock,
    core::Core,
    extract::{Answer, AppPath, Json, Query},
    planned,
    streams::{self, Next, Wakes},
    writer::Wish,
};

/// Which apps.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Selection {
    /// Only those of this namespace.
    #[schema(value_type = Option<String>)]
    pub(crate) namespace: Option<Name>,
}

/// Who asks.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct By {
    /// As the history shows it.
    #[serde(default)]
    pub(crate) by: String,
}

pub(crate) async fn list(State(core): State<Arc<Core>>, Query(selection): Query<Selection>) -> Answer<List<AppView>> {
    let viewer = core.viewer();
    let wanted = |app: &AppView| selection.namespace.as_ref().is_none_or(|namespace| app.metadata.namespace == *namespace);
    Answer(List { resource_version: viewer.state.index(), items: viewer.apps().filter(wanted).collect() })
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
    AppPath(app): AppPath,
    Query(By { by }): Query<By>,
) -> Result<Answer<DeleteAnswer>, ApiError> {
    let written = core.writer.write(Wish::Delete(Delete { at: clock::now(), by, app: app.clone() })).await?;
    let instances = core.state().placements_of(&app).count();
    Ok(Answer(DeleteAnswer { index: written.index, app, instances }))
}

pub(crate) async fn revisions(State(core): State<Arc<Core>>, AppPath(id): AppPath) -> Result<Answer<List<RevisionView>>, ApiError> {
    let viewer = core.viewer();
    let record = viewer.state.app(&id).ok_or_else(|| unknown(&id))?;
    Ok(Answer(List { resource_version: viewer.state.index(), items: viewer.revisions(record) }))
}

pub(crate) async fn undo(
    State(core): State<Arc<Core>>,
    AppPath(app): AppPath,
    Json(request): Json<UndoRequest>,
) -> Result<Answer<ObjectAnswer>, ApiError> {
    let wish = Wish::Undo(Undo { at: clock::now(), by: request.by, app: app.clone(), to: request.to });
    let written = core.writer.write(wish).await?;
    let viewer = core.viewer();
    let urls = |id: &_| planned::applied_app(&core, id).map(|app| viewer.urls(&app)).unwrap_or_default();
    planned::answers(&written, urls).into_iter().next().map(Answer).ok_or_else(|| unknown(&app))
}

fn unknown(app: &AppId) -> ApiError {
    ApiError::not_found(&format!("app `{app}`"))
}
