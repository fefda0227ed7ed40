//! The bottom of the request path: a request that was given a place at an instance of this node meets a sandbox, in the same process and task. Must
//! never choose an instance.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use gateway::{CallError, CallErrorKind, LocalRequest};
use http::Response;
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, combinators::MapErr};
use pin_project_lite::pin_project;
use runtime::{Call, Program, RequestUsage, SandboxBody, SandboxError, Scheme};
use tokio::time::Instant;
use tower::Service;

use crate::{
    engine::{Again, Engine, Failure},
    programs::{Found, Programs},
    roster::ProgramKey,
    spans::{SandboxSpan, Spans},
};

/// Something that answers requests: a [`Program`], or in tests whatever is simpler.
pub trait Answers: Send + Sync + Sized + 'static {
    /// Its response body.
    type Body: Body<Data = Bytes, Error = CallError> + Send + 'static;

    /// Answers `request`; what that uses is told to `usage`.
    fn answer(
        self: Arc<Self>,
        request: LocalRequest,
        usage: Option<Arc<RequestUsage>>,
    ) -> impl Future<Output = Result<Response<Self::Body>, CallError>> + Send;
}

/// Calls programs of this node.
pub struct Bottom<E: Engine> {
    programs: Arc<Programs<E>>,
    spans: Option<Spans>,
}

impl<E: Engine> Bottom<E> {
    /// Calls `programs`, and tells `spans` how long each took.
    pub fn new(programs: Arc<Programs<E>>, spans: Option<Spans>) -> Self {
        Self { programs, spans }
    }
}

impl<E: Engine> Clone for Bottom<E> {
    fn clone(&self) -> Self {
        Self { programs: self.programs.clone(), spans: self.spans.clone() }
    }
}

impl<E: Engine<Program: Answers>> Service<LocalRequest> for Bottom<E> {
    type Response = Response<SpannedBody<<E::Program as Answers>::Body>>;
    type Error = CallError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, CallError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: LocalRequest) -> Self::Future {
        let target = &request.target;
        let key = ProgramKey { component: target.component.clone(), revision: target.revision };
        match self.programs.find(&key) {
            Some(found) => {
                let span = self.spans.as_ref().and_then(|spans| spans.sandbox(request.trace, target));
                let usage = span.as_ref().map(|span| span.usage().clone());
                match found {
                    Found::Loaded(program) => Box::pin(async move { spanned(program.answer(request, usage).await, span) }),
                    Found::Unloaded(slot) => {
                        let programs = self.programs.clone();
                        // The gateway drops this at the request's deadline; the code is opened all the same, for the next one.
                        Box::pin(async move {
                            let answered = match programs.open(key, slot).await {
                                Ok(program) => program.answer(request, usage).await,
                                Err(failure) => Err(unopened(failure)),
                            };
                            spanned(answered, span)
                        })
                    }
                }
            }
            None => {
                let message = format!("{}.{} of {} is not on this node any more", key.component, target.ordinal, key.revision);
                Box::pin(std::future::ready(Err(CallError { kind: CallErrorKind::Gone, code: "E0503", message })))
            }
        }
    }
}

fn spanned<B>(answered: Result<Response<B>, CallError>, mut span: Option<SandboxSpan>) -> Result<Response<SpannedBody<B>>, CallError> {
    if let (Err(error), Some(span)) = (&answered, &mut span) {
        span.failed(error.code);
    }
    answered.map(|response| response.map(|inner| SpannedBody { inner, span }))
}

pin_project! {
    /// A response body, and the span that ends with it.
    #[derive(Debug)]
    pub struct SpannedBody<B> {
        #[pin]
        inner: B,
        span: Option<SandboxSpan>,
    }
}

impl<B: Body<Error = CallError>> Body for SpannedBody<B> {
    type Data = B::Data;
    type Error = CallError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, CallError>>> {
        let this = self.project();
        let said = this.inner.poll_frame(cx);
        if let (Poll::Ready(Some(Err(error))), Some(span)) = (&said, this.span) {
            span.failed(error.code);
        }
        said
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Unloaded code that cannot be opened, nor made anew.
fn unopened(failure: Failure) -> CallError {
    let kind = if failure.again == Again::Never { CallErrorKind::Failed } else { CallErrorKind::Overloaded };
    let code = match failure.code {
        std::borrow::Cow::Borrowed(code) => code,
        std::borrow::Cow::Owned(_) => "E0302",
    };
    CallError { kind, code, message: failure.message }
}

impl Answers for Program {
    type Body = MapErr<SandboxBody, fn(SandboxError) -> CallError>;

    async fn answer(self: Arc<Self>, request: LocalRequest, usage: Option<Arc<RequestUsage>>) -> Result<Response<Self::Body>, CallError> {
        let LocalRequest { request, target, request_id, scheme, deadline, .. } = request;
        let scheme = if scheme == http::uri::Scheme::HTTPS { Scheme::Https } else { Scheme::Http };
        let left = deadline.saturating_duration_since(Instant::now());
        let traceparent = request.headers().get("traceparent").cloned();
        let call = Call { request_id: request_id.text().clone(), scheme, timeout: Some(left), ordinal: target.ordinal, traceparent, usage };
        let answered = self.handle(request, call).await;
        answered.map(|response| response.map(|body| body.map_err(failed as _))).map_err(failed)
    }
}

fn failed(error: SandboxError) -> CallError {
    let kind = match &error {
        SandboxError::Timeout { .. } => CallErrorKind::Timeout,
        error if error.is_passing() => CallErrorKind::Overloaded,
        _ => CallErrorKind::Failed,
    };
    CallError { kind, code: error.code(), message: error.to_string() }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Goal: what passes by itself is worth another try, what the component did is not.
    #[test]
    fn every_way_to_fail_is_told_as_what_it_is() {
        let check = |error: SandboxError, kind, code| {
            let error = failed(error);
            assert_eq!((error.kind, error.code), (kind, code), "{error}");
        };
        let after = Duration::from_secs(1);
        check(SandboxError::Timeout { after }, CallErrorKind::Timeout, "E0306");
        check(SandboxError::Exhausted { slots: 4 }, CallErrorKind::Overloaded, "E0308");
        check(SandboxError::InstanceMemory { limit_bytes: 2, held_bytes: 1 }, CallErrorKind::Overloaded, "E0311");
        check(SandboxError::CpuTime { limit: after }, CallErrorKind::Failed, "E0310");
        check(SandboxError::HostLimit { reason: "handles".into() }, CallErrorKind::Failed, "E0312");
        check(SandboxError::Ended { reason: "another request trapped" }, CallErrorKind::Failed, "E0314");
        check(SandboxError::Memory { limit_bytes: 1, wanted_bytes: 2 }, CallErrorKind::Failed, "E0305");
    }
}
