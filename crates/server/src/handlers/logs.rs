//! Logs: asked of every worker, passed on as one stream.

use std::sync::Arc;

use api::v1::LogQuery;
use axum::{
    extract::{RawQuery, State},
    response::Response,
};

use crate::{api_error::ApiError, core::Core, extract::Query, log_lines};

pub(crate) async fn logs(
    State(core): State<Arc<Core>>,
    Query(question): Query<LogQuery>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    log_lines::gather(&core, &question, query.as_deref().unwrap_or_default()).await
}
