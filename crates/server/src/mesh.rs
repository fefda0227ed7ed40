//! Asking this node's worker: logs, why, metrics. Owns the way there; must never read what it passes on.

use std::path::PathBuf;

use api::{
    client::{ClientError, Server, Tied, empty},
    v1::ErrorBody,
};
use axum::{
    body::Body,
    http::{HeaderValue, Method, Request, StatusCode, header},
    response::Response,
};
use bytes::Bytes;
use futures_util::StreamExt;
use http_body_util::{BodyExt, Limited};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::{
    api_error::{ApiError, chain},
    limits::{MESH_BYTES_MAX, MESH_MAX},
};

/// The way to the worker.
#[derive(Debug, Clone)]
pub(crate) struct Mesh {
    worker: Server,
    stop: CancellationToken,
}

impl Mesh {
    /// The worker that listens at `socket`.
    pub(crate) fn new(socket: PathBuf, stop: CancellationToken) -> Self {
        Self { worker: Server::Socket(socket), stop }
    }

    /// Passes a stream on as it comes, until either side ends it or the process stops.
    pub(crate) async fn stream(&self, path: &str, query: &str) -> Result<Response, ApiError> {
        let body = self.send(path, query).await?;
        let mut response = Response::new(Body::from_stream(body.into_data_stream().take_until(self.stop.clone().cancelled_owned())));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
        Ok(response)
    }

    /// The whole of a short answer.
    pub(crate) async fn read(&self, path: &str, query: &str) -> Result<Bytes, ApiError> {
        let body = self.send(path, query).await?;
        let late = |_| away("it gave no answer in time");
        let whole = timeout(MESH_MAX, Limited::new(body, MESH_BYTES_MAX).collect()).await.map_err(late)?;
        Ok(whole.map_err(|error| away(&error.to_string()))?.to_bytes())
    }

    async fn send(&self, path: &str, query: &str) -> Result<Tied, ApiError> {
        let uri = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
        let request = Request::builder().method(Method::GET).uri(uri).body(empty());
        let request = request.map_err(|error| ApiError::new("E0408", format!("the question cannot be passed on: {error}"), ""))?;
        let late = |_| away("it gave no answer in time");
        let (head, body) = timeout(MESH_MAX, self.worker.send(request)).await.map_err(late)?.map_err(unreached)?.into_parts();
        if head.status.is_success() {
            return Ok(body);
        }
        let whole = timeout(MESH_MAX, Limited::new(body, MESH_BYTES_MAX).collect()).await.map_err(late)?;
        let whole = whole.map_err(|error| away(&error.to_string()))?.to_bytes();
        Err(match serde_json::from_slice::<ErrorBody>(&whole) {
            Ok(ErrorBody { error }) => ApiError::new(&error.code, error.message, error.help).status(head.status),
            Err(_) => ApiError::new("E0407", format!("the worker answered {}", head.status), "").status(StatusCode::BAD_GATEWAY),
        })
    }
}

fn unreached(error: ClientError) -> ApiError {
    away(&chain(&error))
}

fn away(why: &str) -> ApiError {
    ApiError::new("E0407", format!("the worker of this node does not answer: {why}"), "it is started again at once; try again in a moment")
}
