//! Events: the list, and the stream that goes on from there.

use std::sync::Arc;

use api::v1::{EventQuery, EventView, List};
use axum::{
    Extension,
    extract::State,
    response::{IntoResponse, Response},
};
use model::id::{AppId, Name};
use wishes::{caller::Caller, principal};

use crate::{
    api_error::ApiError,
    core::Core,
    extract::{Answer, Query},
    streams::{self, Next, Wakes},
};

pub(crate) async fn events(
    State(core): State<Arc<Core>>,
    Extension(caller): Extension<Caller>,
    Query(question): Query<EventQuery>,
) -> Result<Response, ApiError> {
    let app: Option<AppId> = question
        .app
        .map(|app| app.parse())
        .transpose()
        .map_err(|error: model::id::InvalidId| ApiError::new("E0408", error.to_string(), "write `app` as NAME or NAMESPACE/NAME"))?;
    if let Some(app) = &app {
        principal::within(&caller.principal, &app.namespace)?;
    }
    let only = caller.principal.namespace.clone();
    let mut after = question.after.unwrap_or(0);
    if question.watch {
        return Ok(streams::lines(&core, Wakes::State, move |core| {
            let state = core.state();
            let lines = select(&state, after, app.as_ref(), only.as_ref());
            after = after.max(state.newest_event());
            Next::Lines(lines)
        }));
    }
    let state = core.state();
    let items = select(&state, after, app.as_ref(), only.as_ref());
    Ok(Answer(List { resource_version: state.index(), items, next: None }).into_response())
}

/// Those after `after`, of one app or of one namespace when that is wanted. What belongs to no app is for those who may see all of them.
fn select(state: &state::State, after: u64, app: Option<&AppId>, only: Option<&Name>) -> Vec<EventView> {
    let of_app = |event: &&state::Event| app.is_none_or(|app| event.app.as_ref() == Some(app));
    let within = |event: &&state::Event| only.is_none_or(|only| event.app.as_ref().is_some_and(|app| app.namespace == *only));
    state.events_after(after).filter(of_app).filter(within).map(views::viewer::event).collect()
}
