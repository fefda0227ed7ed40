//! Why: a URL and a request are asked of the worker, an app is looked up here.

use std::sync::Arc;

use api::{
    mesh::{LOGS_PATH, WHY_PATH},
    v1::{LogEntry, WhyQuery},
};
use axum::{
    Extension,
    body::Body,
    extract::{RawQuery, State},
    http::header,
    response::{IntoResponse, Response},
};

use model::id::Name;
use views::why;
use wishes::{caller::Caller, principal};

use crate::{
    api_error::ApiError,
    core::Core,
    extract::{Answer, Query},
    mesh::Asked,
};

pub(crate) async fn why(
    State(core): State<Arc<Core>>,
    Extension(caller): Extension<Caller>,
    Query(question): Query<WhyQuery>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    if caller.principal.namespace.is_some() && question.app.is_none() {
        return Err(principal::too_wide(&caller.principal, "why a URL or a request is answered as it is", "ask about an app").into());
    }
    match (&question.url, &question.app, &question.request) {
        (Some(_), None, None) => {
            let worker = first_worker(&core)?;
            let answer = core.mesh.read(&worker, WHY_PATH, query.as_deref().unwrap_or_default()).await?;
            Ok(([(header::CONTENT_TYPE, "application/json")], Body::from(answer)).into_response())
        }
        (None, Some(subject), None) => {
            let may = |namespace: &Name| principal::within(&caller.principal, namespace);
            Ok(Answer(why::of_app(&core.viewer(), subject, may)?).into_response())
        }
        (None, None, Some(request)) => {
            let mut entries: Vec<LogEntry> = Vec::new();
            // Nobody knows which gateway answered it; a worker that is away may be the one.
            for worker in core.mesh.workers(&core.state()) {
                let Ok(lines) = core.mesh.read(&worker, LOGS_PATH, &why::log_query(request)?).await else { continue };
                entries.extend(lines.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()));
            }
            Ok(Answer(why::of_request(request, &entries)).into_response())
        }
        _ => Err(ApiError::new("E0408", "ask about exactly one of `url`, `app` and `request`", "")),
    }
}

/// The worker whose gateway is asked about a URL: this node's own where there is one; every gateway routes alike.
fn first_worker(core: &Core) -> Result<Asked, ApiError> {
    let workers = core.mesh.workers(&core.state());
    workers.into_iter().next().ok_or_else(|| ApiError::new("E0402", "no node of the cluster has a gateway", "join a worker"))
}
