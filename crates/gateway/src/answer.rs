//! The two outermost layers: errors become responses, and every exchange is recorded once, when its last byte is gone. Owns the response headers the
//! gateway adds and removes; must never decide whether a request is answered.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower::Service;

use crate::{
    access::AccessRecord,
    body::{GuestBody, GuestBodyError},
    exchange::Exchange,
    forward,
    limits::ACCESS_PATH_BYTES_MAX,
    refusal::Refusal,
    respond,
    stack::{Answered, Arrived, BoxError, CallError, CallErrorKind},
    stall,
};

/// See `stack.rs`.
#[derive(Debug, Clone)]
pub(crate) struct Answer<S> {
    pub(crate) inner: S,
}

impl<S, B> Service<Arrived> for Answer<S>
where
    S: Service<Arrived, Response = Response<GuestBody<B>>, Error = Refusal>,
{
    type Response = (Answered<B>, Option<&'static str>);
    type Error = Infallible;
    type Future = AnswerFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // No layer of the stack refuses here; if one did, the request that follows would find out.
        self.inner.poll_ready(cx).map(|_| Ok(()))
    }

    fn call(&mut self, arrived: Arrived) -> Self::Future {
        let exchange = arrived.exchange.clone();
        AnswerFuture { call: self.inner.call(arrived), exchange }
    }
}

pin_project! {
    /// A response, whatever happens, and why when it is not the component's.
    #[derive(Debug)]
    pub(crate) struct AnswerFuture<F> {
        #[pin]
        call: F,
        exchange: Arc<Exchange>,
    }
}

impl<F, B> Future for AnswerFuture<F>
where
    F: Future<Output = Result<Response<GuestBody<B>>, Refusal>>,
{
    type Output = Result<(Answered<B>, Option<&'static str>), Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        Poll::Ready(Ok(match ready!(this.call.poll(cx)).and_then(final_status) {
            Ok(response) => (response.map(|inner| AnswerBody::Guest { inner }), None),
            Err(refusal) => {
                tracing::debug!(request.id = %this.exchange.id, error = &refusal as &dyn std::error::Error, "request refused");
                this.exchange.connection.gateway.metrics.refused(refusal.code());
                if let (Some(reason), Some(component)) = (refusal.reason(), this.exchange.component.get()) {
                    component.metrics.refuse(reason);
                }
                let response = respond::respond(&refusal, this.exchange);
                (response.map(|inner| AnswerBody::Own { inner }), Some(refusal.logged_code()))
            }
        }))
    }
}

/// A component's answer is a final one: an informational status (a 101 that switches protocols among them) is none.
fn final_status<B>(response: Response<B>) -> Result<Response<B>, Refusal> {
    if !response.status().is_informational() {
        return Ok(response);
    }
    let message = format!("the component answered with the informational status {}", response.status());
    Err(Refusal::Failed(CallError { kind: CallErrorKind::Failed, code: "E0307", message }))
}

/// See `stack.rs`.
#[derive(Debug, Clone)]
pub(crate) struct Record<S> {
    pub(crate) inner: S,
}

impl<S, B> Service<Arrived> for Record<S>
where
    S: Service<Arrived, Response = (Answered<B>, Option<&'static str>), Error = Infallible>,
{
    type Response = Response<RecordedBody<B>>;
    type Error = Infallible;
    type Future = RecordFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, arrived: Arrived) -> Self::Future {
        let recorder = Recorder::new(arrived.exchange.clone());
        RecordFuture { call: self.inner.call(arrived), recorder: Some(recorder) }
    }
}

pin_project! {
    /// The response with the headers every response has, its body watched to the end.
    #[derive(Debug)]
    pub(crate) struct RecordFuture<F> {
        #[pin]
        call: F,
        recorder: Option<Recorder>,
    }
}

impl<F, B> Future for RecordFuture<F>
where
    F: Future<Output = Result<(Answered<B>, Option<&'static str>), Infallible>>,
{
    type Output = Result<Response<RecordedBody<B>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Ok((mut response, error)) = ready!(this.call.poll(cx));
        let mut recorder = this.recorder.take().expect("a future is not polled again after it was ready");
        recorder.status = response.status();
        recorder.error = error;
        finish_headers(response.headers_mut(), error.is_some(), &recorder.exchange);
        Poll::Ready(Ok(response.map(|answer| RecordedBody { answer, recorder })))
    }
}

/// What every response carries or must not carry.
fn finish_headers(headers: &mut HeaderMap, ours: bool, exchange: &Exchange) {
    if !ours {
        forward::strip_hop_by_hop(headers);
        forward::strip_forged_status(headers);
    }
    headers.insert(forward::X_REQUEST_ID, exchange.id.header().clone());
    if exchange.connection.is_h1() && exchange.connection.gateway.draining.load(Ordering::Relaxed) {
        headers.insert(header::CONNECTION, http::HeaderValue::from_static("close"));
    }
}

pin_project! {
    /// A response body of the component, or of our own.
    #[project = AnswerBodyProjection]
    #[derive(Debug)]
    pub(crate) enum AnswerBody<B> {
        Guest { #[pin] inner: GuestBody<B> },
        Own { #[pin] inner: Full<Bytes> },
    }
}

impl<B> Body for AnswerBody<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = GuestBodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, GuestBodyError>>> {
        match self.project() {
            AnswerBodyProjection::Guest { inner } => inner.poll_frame(cx),
            AnswerBodyProjection::Own { inner } => inner.poll_frame(cx).map_err(|never| match never {}),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Guest { inner } => inner.is_end_stream(),
            Self::Own { inner } => inner.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Guest { inner } => inner.size_hint(),
            Self::Own { inner } => inner.size_hint(),
        }
    }
}

pin_project! {
    /// A response body on its way to the client.
    #[derive(Debug)]
    pub(crate) struct RecordedBody<B> {
        #[pin]
        answer: AnswerBody<B>,
        recorder: Recorder,
    }
}

impl<B> Body for RecordedBody<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = GuestBodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, GuestBodyError>>> {
        let this = self.project();
        let said = this.answer.poll_frame(cx);
        stall::note(&said);
        let frame = ready!(said);
        match &frame {
            Some(Ok(frame)) => this.recorder.bytes_out += frame.data_ref().map_or(0, |data| data.len() as u64),
            Some(Err(error)) => this.recorder.error = Some(error.code()),
            None => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.answer.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.answer.size_hint()
    }
}

/// Status of an access record whose client left before there was an answer, as nginx writes it.
fn client_left() -> StatusCode {
    StatusCode::from_u16(499).expect("499 is a status code")
}

/// Counts and logs one exchange when it is dropped: with the body, or with the future when the client left before.
#[derive(Debug)]
struct Recorder {
    exchange: Arc<Exchange>,
    status: StatusCode,
    bytes_out: u64,
    error: Option<&'static str>,
}

impl Recorder {
    fn new(exchange: Arc<Exchange>) -> Self {
        exchange.connection.enter();
        Self { exchange, status: client_left(), bytes_out: 0, error: None }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let exchange = &*self.exchange;
        let now = Instant::now();
        let elapsed = now.saturating_duration_since(exchange.started);
        let bytes_in = exchange.bytes_in.load(Ordering::Relaxed);
        let component = exchange.component.get();
        if let Some(component) = component {
            component.metrics.finish(self.status, elapsed, bytes_in, self.bytes_out);
        }
        let target = exchange.target.get();
        let path = exchange.uri.path();
        exchange.connection.gateway.access_log.record(&AccessRecord {
            time: exchange.time,
            request_id: exchange.id.text(),
            component: component.map(|component| &component.id),
            revision: target.map(|target| target.revision),
            instance: target.map(|target| target.ordinal),
            method: &exchange.method,
            host: exchange.host_text(),
            path: &path[..path.floor_char_boundary(ACCESS_PATH_BYTES_MAX)],
            protocol: exchange.protocol(),
            tls: exchange.connection.tls,
            trace: exchange.trace,
            status: self.status,
            bytes_in,
            bytes_out: self.bytes_out,
            duration_us: u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX),
            peer: exchange.peer(),
            error: self.error,
        });
        exchange.connection.leave(now);
    }
}
