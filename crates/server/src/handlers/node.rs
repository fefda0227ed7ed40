//! What this node's worker asks: its assignment, to take its report.

use std::sync::Arc;

use api::node::Report;
use axum::{extract::State, http::StatusCode, response::Response};

use crate::{
    api_error::ApiError,
    assignment, clock,
    core::Core,
    extract::Json,
    limits::REPORTED_MAX,
    streams::{self, Next, Wakes},
};

pub(crate) async fn assignments(State(core): State<Arc<Core>>) -> Response {
    let mut told = assignment::Told::default();
    streams::lines(&core, Wakes::State, move |core| match told.next(&core.state(), core.node, |revision| core.apps.of(revision)) {
        None => Next::Nothing,
        Some(part) if told.is_under_way() => Next::Begun(vec![part]),
        Some(part) => Next::Lines(vec![part]),
    })
}

pub(crate) async fn report(State(core): State<Arc<Core>>, Json(report): Json<Report>) -> Result<StatusCode, ApiError> {
    if report.node != core.node {
        let message = format!("the report of {} came to {}", report.node, core.node);
        return Err(ApiError::new("E0403", message, "start the worker anew: its assignment is of another cluster"));
    }
    if report.placements.len() > REPORTED_MAX {
        return Err(ApiError::new("E0405", format!("a report has more than {REPORTED_MAX} placements"), ""));
    }
    core.live.report(report, clock::now());
    Ok(StatusCode::NO_CONTENT)
}
