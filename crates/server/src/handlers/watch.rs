//! Watching objects: where a watch begins, and whether it may. Owns the refusals; what is told is `crate::watch`'s.

use std::sync::Arc;

use api::{
    limits::KEEP_ALIVE,
    v1::{ObjectQuery, Position},
};
use axum::{
    Extension,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response, Sse},
};
use futures_util::StreamExt;
use state::OBJECT_KINDS;
use views::watched::Selection;
use wishes::{caller::Caller, principal};

use crate::{
    api_error::ApiError,
    core::Core,
    extract::Query,
    watch::{self, Watch},
};

pub(crate) async fn watch(
    State(core): State<Arc<Core>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    Query(question): Query<ObjectQuery>,
) -> Result<Response, ApiError> {
    let namespace = principal::listed(&caller.principal, question.namespace)?;
    let kinds = kinds(question.kind.as_deref().unwrap_or_default())?;
    let state = core.state();
    let at = match last_seen(&headers)? {
        Some(seen) => seen,
        None => question.after.unwrap_or(Position::after(state.index())),
    };
    if let Err(compacted) = state.changes_after(at.index) {
        let error = ApiError::new("E0428", compacted.to_string(), "list again, and watch from the `resourceVersion` of that list");
        return Err(error.status(StatusCode::GONE));
    }
    let selection = Selection { kinds, namespace, principal: caller.principal.clone() };
    let watch = Watch { caller, selection, at, silence_max: KEEP_ALIVE };
    Ok(Sse::new(watch::events(&core, watch).map(|event| watch::sent(&event))).into_response())
}

/// Where a browser or another client of server-sent events was cut off.
fn last_seen(headers: &HeaderMap) -> Result<Option<Position>, ApiError> {
    let Some(value) = headers.get("last-event-id") else { return Ok(None) };
    let position = value.to_str().unwrap_or_default().parse();
    position.map(Some).map_err(|error: api::v1::InvalidPosition| ApiError::new("E0408", error.to_string(), ""))
}

fn kinds(text: &str) -> Result<Vec<String>, ApiError> {
    let wanted = text.split(',').map(str::trim).filter(|kind| !kind.is_empty());
    let known = |kind: &str| match OBJECT_KINDS.contains(&kind) {
        true => Ok(kind.to_owned()),
        false => {
            Err(ApiError::new("E0408", format!("`{kind}` is no kind that can be watched"), format!("one of {}", OBJECT_KINDS.join(", "))))
        }
    };
    wanted.map(known).collect()
}
