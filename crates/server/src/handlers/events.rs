//! Events: the list, and the stream that goes on from there.

use std::sync::Arc;

use api::v1::{EventQuery, EventView, List};
use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use model::id::AppId;

use crate::{
    api_error::ApiError,
    core::Core,
    extract::{Answer, Query},
    streams::{self, Next, Wakes},
    views,
};

pub(crate) async fn events(State(core): State<Arc<Core>>, Query(question): Query<EventQuery>) -> Result<Response, ApiError> {
    let app: Option<AppId> = question
        .app
        .map(|app| app.parse())
        .transpose()
        .map_err(|error: model::id::InvalidId| ApiError::new("E0408", error.to_string(), "write `app` as NAME or NAMESPACE/NAME"))?;
    let mut after = question.after.unwrap_or(0);
    if question.watch {
        return Ok(streams::lines(&core, Wakes::State, move |core| {
            let state = core.state();
            let lines = select(&state, after, app.as_ref());
            after = after.max(state.newest_event());
            Next::Lines(lines)
        }));
    }
    let state = core.state();
    let items = select(&state, after, app.as_ref());
    Ok(Answer(List { resource_version: state.index(), items, next: None }).into_response())
}

fn select(state: &state::State, after: u64, app: Option<&AppId>) -> Vec<EventView> {
    let events = state.events_after(after).filter(|event| app.is_none() || event.app.as_ref() == app);
    events.map(views::event).collect()
}
