//! Asking workers: logs, why, figures, metrics. Owns the way to each of them; must never read what it passes on.

use std::{path::PathBuf, sync::Arc};

use api::{
    client::{ClientError, Server, empty},
    v1::ErrorBody,
};
use axum::{
    body::Body,
    http::{Method, Request, StatusCode},
};
use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use model::{id::NodeId, problem::chain};
use state::State;
use tokio::time::timeout;

use crate::{
    api_error::ApiError,
    limits::{MESH_BYTES_MAX, MESH_MAX},
    peers::{Lane, Peers},
};

/// The way to workers.
#[derive(Debug, Clone)]
pub(crate) struct Mesh {
    /// The worker of this node.
    own: Server,
    node: NodeId,
    peers: Arc<Peers>,
}

/// A node whose worker can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    /// Its id.
    pub(crate) id: NodeId,
    /// Its name.
    pub(crate) name: String,
}

impl Mesh {
    /// The worker of `node`, this one, listens at `socket`; the others are reached as peers.
    pub(crate) fn new(socket: PathBuf, node: NodeId, peers: Arc<Peers>) -> Self {
        Self { own: Server::Socket(socket), node, peers }
    }

    /// Every worker that can be asked from here, this node's own first.
    pub(crate) fn workers(&self, state: &State) -> Vec<Asked> {
        let reached = state.nodes().filter(|node| node.is_worker() && (node.id == self.node || !node.addresses.mesh.is_empty()));
        let mut workers: Vec<_> = reached.map(|node| Asked { id: node.id, name: node.name.clone() }).collect();
        workers.sort_by_key(|worker| (worker.id != self.node, worker.id));
        workers
    }

    /// The whole of a short answer of `worker`.
    pub(crate) async fn read(&self, worker: &Asked, path: &str, query: &str) -> Result<Bytes, ApiError> {
        let body = self.stream(worker, path, query).await?;
        let late = |_| away(worker, "it gave no answer in time");
        let whole = timeout(MESH_MAX, Limited::new(body, MESH_BYTES_MAX).collect()).await.map_err(late)?;
        Ok(whole.map_err(|error| away(worker, &error.to_string()))?.to_bytes())
    }

    /// The answer of `worker` as it comes.
    pub(crate) async fn stream(&self, worker: &Asked, path: &str, query: &str) -> Result<Body, ApiError> {
        let uri = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
        let builder = Request::builder().method(Method::GET).uri(uri);
        let wrong = |error| ApiError::new("E0408", format!("the question cannot be passed on: {error}"), "");
        let late = |_| away(worker, "it gave no answer in time");
        let (status, body) = if worker.id == self.node {
            let request = builder.body(empty()).map_err(wrong)?;
            let unreached = |error: ClientError| away(worker, &chain(&error));
            let (head, body) = timeout(MESH_MAX, self.own.send(request)).await.map_err(late)?.map_err(unreached)?.into_parts();
            (head.status, Body::new(body))
        } else {
            let request = builder.body(Body::empty()).map_err(wrong)?;
            let answer = self.peers.request(worker.id.0, Lane::Mesh, request, MESH_MAX).await;
            let (head, body) = answer.map_err(|error| away(worker, &chain(&error)))?.into_parts();
            (head.status, Body::new(body))
        };
        if status.is_success() {
            return Ok(body);
        }
        let whole = timeout(MESH_MAX, Limited::new(body, MESH_BYTES_MAX).collect()).await.map_err(late)?;
        let whole = whole.map_err(|error| away(worker, &error.to_string()))?.to_bytes();
        Err(match serde_json::from_slice::<ErrorBody>(&whole) {
            Ok(ErrorBody { error }) => ApiError::new(&error.code, error.message, error.help).status(status),
            Err(_) => {
                ApiError::new("E0407", format!("the worker of {} answered {status}", worker.name), "").status(StatusCode::BAD_GATEWAY)
            }
        })
    }
}

fn away(worker: &Asked, why: &str) -> ApiError {
    let message = format!("the worker of node {} does not answer: {why}", worker.name);
    ApiError::new("E0407", message, "it is started again at once; try again in a moment")
}
