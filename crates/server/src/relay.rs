//! Reports go to every server, because any of them may lead in a moment, and whoever reads of any of them wants to know. Owns passing them on; a report that
//! is lost on the way is no harm, as the next one says all of it again.

use std::sync::Arc;

use api::{node::Report, peer::REPORT_PATH};
use axum::{body::Body, http::Request};
use bytes::Bytes;

use crate::{core::Core, limits::RELAY_MAX, peers::Lane};

/// Passes `report` on to every other server, without waiting for them.
pub(crate) fn to_servers(core: &Arc<Core>, report: &Report) {
    let others: Vec<u64> = core.state().servers().map(|node| node.id.0).filter(|id| *id != core.node.0).collect();
    if others.is_empty() {
        return;
    }
    let body = Bytes::from(serde_json::to_vec(report).expect("a report has string keys only"));
    for other in others {
        let Ok(permit) = core.relays.clone().try_acquire_owned() else {
            tracing::debug!(node.id = other, "a report is not passed on: too many are under way");
            continue;
        };
        let request = Request::post(REPORT_PATH).header("content-type", "application/json").body(Body::from(body.clone()));
        let (request, core) = (request.expect("a constant path is one"), core.clone());
        // Bounded by the permits, and it ends by its own deadline.
        tokio::spawn(async move {
            if let Err(error) = core.peers.request(other, Lane::Calls, request, RELAY_MAX).await {
                tracing::debug!(node.id = other, error = %model::problem::chain(&error), "a report is not passed on");
            }
            drop(permit);
        });
    }
}
