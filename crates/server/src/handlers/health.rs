//! Alive, ready, metrics, the API's own description.

use std::sync::Arc;

use api::{
    openapi,
    v1::{NodeState, ReadyView},
};
use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use consensus::Health;

use crate::{clock, core::Core, extract::Answer, metrics, routes};

pub(crate) async fn alive() -> &'static str {
    "alive\n"
}

pub(crate) async fn ready(State(core): State<Arc<Core>>) -> Response {
    let worker = core.live.state_of(core.node, clock::now());
    let view = readiness(&core.consensus.health().borrow(), core.stop.is_cancelled(), worker, core.started.uptime());
    let unsaved =
        core.consensus.snapshot_error().map(|error| format!("no snapshot can be written, and the log grows until one can: {error}"));
    let view = ReadyView { trouble: unsaved.into_iter().collect(), ..view };
    let status = if view.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Answer(view)).into_response()
}

/// Reads and writes are answered when the log works and nobody has asked to stop.
fn readiness(log: &Health, stopping: bool, worker: NodeState, uptime: model::quantity::Millis) -> ReadyView {
    let mut waits_for = match log {
        Health::Working => Vec::new(),
        Health::Refusing { message } | Health::Failed { message } => vec![format!("the log to be writable: {message}")],
        Health::Stopped => vec!["a restart: the log is closed".to_owned()],
    };
    if stopping {
        waits_for.push("a restart: the control plane is stopping".to_owned());
    }
    ReadyView { ready: waits_for.is_empty(), waits_for, trouble: Vec::new(), worker: Some(worker), uptime }
}

pub(crate) async fn metrics(State(core): State<Arc<Core>>) -> Response {
    let page = metrics::page(&core).await;
    ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], page).into_response()
}

pub(crate) async fn openapi() -> Answer<serde_json::Value> {
    Answer(openapi::document(routes::public_endpoints().iter().map(|endpoint| &endpoint.operation)))
}

#[cfg(test)]
mod tests {
    use model::quantity::Millis;

    use super::*;

    #[test]
    fn what_is_not_ready_says_what_it_waits_for() {
        let check = |log: Health, stopping, ready| {
            let view = readiness(&log, stopping, NodeState::Silent, Millis(1));
            assert_eq!(view.ready, ready, "{log:?}");
            assert_eq!(view.waits_for.is_empty(), ready, "{log:?}");
        };
        check(Health::Working, false, true);
        check(Health::Working, true, false);
        check(Health::Refusing { message: "no space".into() }, false, false);
        check(Health::Failed { message: "broken".into() }, false, false);
        check(Health::Stopped, false, false);
    }
}
