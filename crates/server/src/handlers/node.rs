//! What workers ask, of this node over its socket and of others over the peer port: their assignment, to take their report.

use std::sync::Arc;

use api::{
    node::{KnownServer, Report, ReportAnswer},
    peer::{Certified, NodeRole, RenewRequest},
};
use axum::{Extension, body::Body, extract::State, http::StatusCode, response::Response};
use futures_util::StreamExt;
use model::id::{Digest, NodeId};
use state::NodeRecord;
use views::assignment;

use crate::{
    api_error::ApiError,
    clock, contact,
    core::Core,
    extract::{Answer, Json},
    forward::no_leader,
    handlers::peer,
    limits::REPORTED_MAX,
    relay,
    streams::{self, Next, Wakes},
};

/// Whose worker calls: its certificate says so, or that it is on this machine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Worker(pub(crate) NodeId);

pub(crate) async fn assignments(State(core): State<Arc<Core>>, Extension(Worker(node)): Extension<Worker>) -> Result<Response, ApiError> {
    let is_elsewhere = node != core.node;
    if is_elsewhere {
        contact::check(&core)?;
        if core.state().node(node).is_none() {
            return Err(no_leader(&format!("the server that was asked has not heard of {node} yet")));
        }
    }
    let mut told = assignment::Told::default();
    let response = streams::lines(&core, Wakes::State, move |core| {
        let state = core.state();
        if state.node(node).is_none() {
            // A server that has not caught up does not know the node yet, and one that was removed has nothing to do: nobody says it has nothing to run.
            return Next::Nothing;
        }
        match told.next(&state, node, core.as_ref()) {
            None => Next::Nothing,
            Some(part) if told.is_under_way() => Next::Begun(vec![part]),
            Some(part) => Next::Lines(vec![part]),
        }
    });
    // The worker of this node has no other way: what runs there stays either way.
    if is_elsewhere {
        return Ok(response.map(|body| Body::from_stream(body.into_data_stream().take_until(contact::lost(core)))));
    }
    Ok(response)
}

pub(crate) async fn report(
    State(core): State<Arc<Core>>,
    Extension(Worker(node)): Extension<Worker>,
    Json(report): Json<Report>,
) -> Result<Answer<ReportAnswer>, ApiError> {
    if report.node != node {
        let message = format!("the report of {} came from {node}", report.node);
        return Err(ApiError::new("E0403", message, "start the worker anew: its assignment is of another cluster"));
    }
    if report.placements.len() > REPORTED_MAX {
        return Err(ApiError::new("E0405", format!("a report has more than {REPORTED_MAX} placements"), ""));
    }
    if node != core.node {
        contact::check(&core)?;
    }
    relay::to_servers(&core, &report);
    let own = core.identity.current();
    let news = report.authorities.as_ref().is_some_and(|held| held.version < own.authorities().version());
    core.live.report(report, clock::now());
    let state = core.state();
    let server = |node: &NodeRecord| {
        let key = Digest(node.keys.server?);
        Some(KnownServer { node: node.id, peer: node.addresses.peer.clone(), key })
    };
    let closed = state.servers().flat_map(|node| [&node.addresses.api, &node.addresses.peer, &node.addresses.mesh]);
    let closed = closed.filter(|address| !address.is_empty()).cloned().collect();
    let authorities = news.then(|| own.authorities().to_list());
    let servers = state.servers().filter_map(server).collect();
    let (complete_to, wished) = (NodeId(state.index().0), state.wished_per_worker());
    Ok(Answer(ReportAnswer { servers, complete_to, closed, authorities, wished }))
}

pub(crate) async fn renew(
    State(core): State<Arc<Core>>,
    Extension(Worker(node)): Extension<Worker>,
    Json(request): Json<RenewRequest>,
) -> Result<Answer<Certified>, ApiError> {
    if request.request.role != NodeRole::Worker {
        return Err(ApiError::new("E0421", "a worker renews its own certificate only", "").status(StatusCode::FORBIDDEN));
    }
    peer::renew_of(&core, RenewRequest { node: Some(node), ..request }).await.map(Answer)
}
