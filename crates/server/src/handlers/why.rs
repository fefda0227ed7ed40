//! Why: a URL and a request are asked of the worker, an app is looked up here.

use std::sync::Arc;

use api::{
    mesh::{LOGS_PATH, WHY_PATH},
    v1::{LogEntry, WhyQuery},
};
use axum::{
    body::Body,
    extract::{RawQuery, State},
    http::header,
    response::{IntoResponse, Response},
};

use crate::{
    api_error::ApiError,
    core::Core,
    extract::{Answer, Query},
    why,
};

pub(crate) async fn why(
    State(core): State<Arc<Core>>,
    Query(question): Query<WhyQuery>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    match (&question.url, &question.app, &question.request) {
        (Some(_), None, None) => {
            let answer = core.mesh.read(WHY_PATH, query.as_deref().unwrap_or_default()).await?;
            Ok(([(header::CONTENT_TYPE, "application/json")], Body::from(answer)).into_response())
        }
        (None, Some(subject), None) => Ok(Answer(why::of_app(&core.viewer(), subject)?).into_response()),
        (None, None, Some(request)) => {
            let lines = core.mesh.read(LOGS_PATH, &why::log_query(request)?).await?;
            let entries: Vec<LogEntry> = lines.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
            Ok(Answer(why::of_request(request, &entries)).into_response())
        }
        _ => Err(ApiError::new("E0408", "ask about exactly one of `url`, `app` and `request`", "")),
    }
}
