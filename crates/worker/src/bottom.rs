//! The bottom of the request path: a request that was given a place at an instance of this node meets a sandbox, in the same process and task. Must
//! never choose an instance.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use gateway::{BoxError, CallError, CallErrorKind, LocalRequest};
use http::Response;
use http_body::Body;
use runtime::{Call, Program, SandboxBody, SandboxError, Scheme};
use tokio::time::Instant;
use tower::Service;

use crate::{programs::Programs, roster::ProgramKey};

/// Something that answers requests: a [`Program`], or in tests whatever is simpler.
pub trait Answers: Send + Sync + Sized + 'static {
    /// Its response body.
    type Body: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static;

    /// Answers `request`.
    fn answer(self: Arc<Self>, request: LocalRequest) -> impl Future<Output = Result<Response<Self::Body>, CallError>> + Send;
}

/// Calls programs of this node.
#[derive(Debug)]
pub struct Bottom<P> {
    programs: Arc<Programs<P>>,
}

impl<P> Bottom<P> {
    /// Calls `programs`.
    pub fn new(programs: Arc<Programs<P>>) -> Self {
        Self { programs }
    }
}

impl<P> Clone for Bottom<P> {
    fn clone(&self) -> Self {
        Self { programs: self.programs.clone() }
    }
}

impl<P: Answers> Service<LocalRequest> for Bottom<P> {
    type Response = Response<P::Body>;
    type Error = CallError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, CallError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: LocalRequest) -> Self::Future {
        let target = &request.target;
        let key = ProgramKey { component: target.component.clone(), revision: target.revision };
        match self.programs.find(&key) {
            Some(program) => Box::pin(program.answer(request)),
            None => {
                let message = format!("{}.{} of {} is not on this node any more", key.component, target.ordinal, key.revision);
                Box::pin(std::future::ready(Err(CallError { kind: CallErrorKind::Gone, code: "E0503", message })))
            }
        }
    }
}

impl Answers for Program {
    type Body = SandboxBody;

    async fn answer(self: Arc<Self>, request: LocalRequest) -> Result<Response<SandboxBody>, CallError> {
        let LocalRequest { request, target, request_id, scheme, deadline, .. } = request;
        let scheme = if scheme == http::uri::Scheme::HTTPS { Scheme::Https } else { Scheme::Http };
        let left = deadline.saturating_duration_since(Instant::now());
        let traceparent = request.headers().get("traceparent").cloned();
        let call = Call { request_id: request_id.text().clone(), scheme, timeout: Some(left), ordinal: target.ordinal, traceparent };
        self.handle(request, call).await.map_err(|error| failed(&error))
    }
}

fn failed(error: &SandboxError) -> CallError {
    let kind = match error {
        SandboxError::Timeout { .. } => CallErrorKind::Timeout,
        SandboxError::Exhausted { .. } | SandboxError::InstanceMemory { .. } => CallErrorKind::Overloaded,
        _ => CallErrorKind::Failed,
    };
    CallError { kind, code: error.code(), message: error.to_string() }
}
