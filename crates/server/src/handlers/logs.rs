//! Logs: asked of every worker, passed on as one stream.

use std::sync::Arc;

use api::v1::LogQuery;
use axum::{
    Extension,
    extract::{RawQuery, State},
    response::Response,
};
use wishes::{caller::Caller, principal};

use crate::{api_error::ApiError, core::Core, extract::Query, log_lines};

pub(crate) async fn logs(
    State(core): State<Arc<Core>>,
    Extension(caller): Extension<Caller>,
    Query(question): Query<LogQuery>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    if caller.principal.namespace.is_some() {
        let app = question.app.as_ref().ok_or_else(|| principal::too_wide(&caller.principal, "logs of every app", "name an app"))?;
        principal::within(&caller.principal, &app.namespace)?;
    }
    log_lines::gather(&core, &question, query.as_deref().unwrap_or_default()).await
}
