//! Logs: asked of the worker, passed on as they come.

use std::sync::Arc;

use api::{mesh::LOGS_PATH, v1::LogQuery};
use axum::{
    extract::{RawQuery, State},
    response::Response,
};

use crate::{api_error::ApiError, core::Core, extract::Query};

pub(crate) async fn logs(
    State(core): State<Arc<Core>>,
    Query(_checked): Query<LogQuery>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    core.mesh.stream(LOGS_PATH, query.as_deref().unwrap_or_default()).await
}
