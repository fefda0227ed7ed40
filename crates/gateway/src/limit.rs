//! The layers that hold a request to the limits of its route: body size and time. Owns the early 413 and the 504; must never know who answers.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready as poll_ready},
    time::Duration,
};

use futures_util::future::{Either, Ready, ready};
use http_body::Body as _;
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep};
use tower::Service;

use crate::{body::RequestBody, exchange::Exchange, refusal::Refusal, stack::Routed};

/// See `stack.rs`.
#[derive(Debug, Clone)]
pub(crate) struct LimitBody<S> {
    pub(crate) inner: S,
}

impl<S, R> Service<Routed<Incoming>> for LimitBody<S>
where
    S: Service<Routed<RequestBody>, Response = R, Error = Refusal>,
{
    type Response = R;
    type Error = Refusal;
    type Future = Either<Ready<Result<R, Refusal>>, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, routed: Routed<Incoming>) -> Self::Future {
        let Routed { request, host, exchange, route, backend, deadline } = routed;
        let (max_bytes, idle) = (route.rule.max_body_bytes, route.rule.idle_timeout);
        // The lower bound is the Content-Length, when there is one.
        if request.body().size_hint().lower() > max_bytes {
            return Either::Left(ready(Err(Refusal::BodyTooLarge { max_bytes })));
        }
        let request = request.map(|body| RequestBody::new(body, exchange.clone(), max_bytes, idle));
        Either::Right(self.inner.call(Routed { request, host, exchange, route, backend, deadline }))
    }
}

/// See `stack.rs`.
#[derive(Debug, Clone)]
pub(crate) struct Deadline<S> {
    pub(crate) inner: S,
}

impl<S, R> Service<Routed<RequestBody>> for Deadline<S>
where
    S: Service<Routed<RequestBody>, Response = R, Error = Refusal>,
{
    type Response = R;
    type Error = Refusal;
    type Future = DeadlineFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, routed: Routed<RequestBody>) -> Self::Future {
        let rule = &routed.route.rule;
        let (after, max_bytes, idle) = (rule.timeout, rule.max_body_bytes, rule.idle_timeout);
        let has_body = !routed.request.body().is_end_stream();
        let exchange = has_body.then(|| routed.exchange.clone());
        let deadline = routed.deadline;
        DeadlineFuture { call: self.inner.call(routed), deadline, sleep: None, after, exchange, max_bytes, idle }
    }
}

pin_project! {
    /// The answer, or the first reason not to wait for it any longer: too much time, or a request body that broke.
    #[derive(Debug)]
    pub(crate) struct DeadlineFuture<F> {
        #[pin]
        call: F,
        deadline: Instant,
        // None until the answer has to be waited for.
        #[pin]
        sleep: Option<Sleep>,
        after: Duration,
        // Only of requests with a body.
        exchange: Option<Arc<Exchange>>,
        max_bytes: u64,
        idle: Duration,
    }
}

impl<F, R> Future for DeadlineFuture<F>
where
    F: Future<Output = Result<R, Refusal>>,
{
    type Output = Result<R, Refusal>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<R, Refusal>> {
        let mut this = self.project();
        if let Some(exchange) = this.exchange {
            exchange.watch_body(cx);
        }
        let answer = this.call.poll(cx);
        // Even when there is an answer: a component that answers 200 to half a body has not understood the request.
        if let Some(refusal) = this.exchange.as_ref().and_then(|exchange| exchange.body_refusal(*this.max_bytes, *this.idle)) {
            return Poll::Ready(Err(refusal));
        }
        if answer.is_ready() {
            return answer;
        }
        if this.sleep.is_none() {
            this.sleep.set(Some(tokio::time::sleep_until(*this.deadline)));
        }
        poll_ready!(this.sleep.as_pin_mut().map_or(Poll::Pending, |sleep| sleep.poll(cx)));
        Poll::Ready(Err(Refusal::Timeout { after: *this.after }))
    }
}
