//! The worker's side of the node protocol. Owns the calls; must never keep what they return.

use http::Method;
use model::id::Digest;
use tokio::time::timeout;

use super::{ClientError, Lines, Server, Tied, connection, lines};
use crate::{
    limits::{CALL_MAX, JSON_BYTES_MAX},
    node::{ARTIFACTS_PATH, ASSIGNMENTS_PATH, AssignmentPart, REPORT_PATH, Report},
};

/// Calls the control plane on behalf of a worker.
#[derive(Debug, Clone)]
pub struct NodeClient {
    server: Server,
}

impl NodeClient {
    /// A client of the control plane at `server`. Nothing is dialed yet.
    pub fn new(server: Server) -> Self {
        Self { server }
    }

    /// The whole assignment at once, then what changes, in parts.
    ///
    /// # Errors
    /// Those of a call; the stream ends when the control plane stops.
    pub async fn assignments(&self) -> Result<Lines<AssignmentPart>, ClientError> {
        lines::open(&self.server, None, ASSIGNMENTS_PATH, CALL_MAX).await
    }

    /// Tells the control plane how everything is.
    ///
    /// # Errors
    /// Those of a call.
    pub async fn report(&self, report: &Report) -> Result<(), ClientError> {
        let body = serde_json::to_vec(report).expect("a report has string keys only");
        let (status, bytes) = connection::exchange(&self.server, Method::POST, REPORT_PATH, Some(body), CALL_MAX, JSON_BYTES_MAX).await?;
        if status.is_success() { Ok(()) } else { Err(ClientError::refused(&self.server, status, &bytes)) }
    }

    /// An artifact's bytes, to be checked against the digest by the caller, who also sets the deadline of the body.
    ///
    /// # Errors
    /// Those of a call; `Refused` with E0206 when the control plane does not have it.
    pub async fn artifact(&self, digest: &Digest) -> Result<Tied, ClientError> {
        let request = connection::request(&self.server, Method::GET, &format!("{ARTIFACTS_PATH}/{digest}"), None)?;
        let late = |_| ClientError::Deadline { server: self.server.clone(), after: CALL_MAX };
        let (head, body) = timeout(CALL_MAX, self.server.send(request)).await.map_err(late)??.into_parts();
        if head.status.is_success() {
            return Ok(body);
        }
        let whole = timeout(CALL_MAX, connection::read(&self.server, body, JSON_BYTES_MAX)).await.map_err(late)??;
        Err(ClientError::refused(&self.server, head.status, &whole))
    }
}
