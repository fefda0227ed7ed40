//! Bodies on their way through. Owns counting, the idle limit between frames and the size limit; must never know what a body means.

use std::{
    future::Future as _,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep};

use crate::{
    exchange::{BodyFault, Exchange},
    forward,
    queue::Permit,
    stack::{BoxError, CallError},
};

/// Why the rest of a request body does not come.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// More bytes than the route allows.
    #[error("the request body is larger than {max_bytes} bytes")]
    TooLarge {
        /// The route's limit.
        max_bytes: u64,
    },
    /// No byte for too long.
    #[error("no data of the request body for {after:?}")]
    Idle {
        /// The route's limit.
        after: Duration,
    },
    /// The client left, or broke the rules of HTTP.
    #[error("reading the request body")]
    Read(#[source] hyper::Error),
}

/// A request body as the component gets it. Stops with an error at the limits of its route.
#[derive(Debug)]
pub struct RequestBody {
    inner: Incoming,
    exchange: Arc<Exchange>,
    max_bytes: u64,
    taken_bytes: u64,
    idle: Idle,
}

impl RequestBody {
    pub(crate) fn new(inner: Incoming, exchange: Arc<Exchange>, max_bytes: u64, idle: Duration) -> Self {
        Self { inner, exchange, max_bytes, taken_bytes: 0, idle: Idle::new(idle) }
    }

    fn take(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, BodyError> {
        let Some(data) = frame.data_ref() else {
            return Ok(match frame.into_trailers() {
                Ok(mut trailers) => {
                    forward::strip_trailers(&mut trailers);
                    Frame::trailers(trailers)
                }
                Err(frame) => frame,
            });
        };
        self.taken_bytes += data.len() as u64;
        if self.taken_bytes > self.max_bytes {
            self.exchange.fail_body(BodyFault::TooLarge);
            return Err(BodyError::TooLarge { max_bytes: self.max_bytes });
        }
        self.exchange.bytes_in.store(self.taken_bytes, Ordering::Relaxed);
        Ok(frame)
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match Pin::new(&mut self.inner).poll_frame(cx) {
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Ready(Some(Ok(frame))) => {
                self.idle.rest();
                Poll::Ready(Some(self.take(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                if is_malformed(&error) {
                    self.exchange.fail_body(BodyFault::Malformed);
                }
                Poll::Ready(Some(Err(BodyError::Read(error))))
            }
            Poll::Pending => {
                ready!(self.idle.poll(cx));
                self.exchange.fail_body(BodyFault::Idle);
                Poll::Ready(Some(Err(BodyError::Idle { after: self.idle.limit })))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Whether the client broke the framing, rather than just left.
fn is_malformed(error: &hyper::Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            return matches!(io.kind(), std::io::ErrorKind::InvalidData | std::io::ErrorKind::InvalidInput);
        }
        cause = error.source();
    }
    false
}

pin_project! {
    /// A component's response body. Holds the component's place until the last byte, and gives up when the component says nothing for too long.
    #[derive(Debug)]
    pub(crate) struct GuestBody<B> {
        #[pin]
        inner: B,
        permit: Option<Permit>,
        idle: Idle,
        // What ended the body, until the connection had a turn to send what came before.
        failed: Option<GuestBodyError>,
    }
}

impl<B> GuestBody<B> {
    pub(crate) fn new(inner: B, permit: Permit, idle: Duration) -> Self {
        Self { inner, permit: Some(permit), idle: Idle::new(idle), failed: None }
    }
}

/// The component's body stopped before its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GuestBodyError {
    #[error("no data of the response body for {after:?}")]
    Idle { after: Duration },
    #[error("the component's response body broke off")]
    Broken(#[source] BoxError),
}

impl GuestBodyError {
    /// What the access log says.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Idle { .. } => "E0511",
            Self::Broken(error) => error.downcast_ref::<CallError>().map_or("E0510", |error| error.code),
        }
    }
}

impl<B> Body for GuestBody<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = GuestBodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, GuestBodyError>>> {
        let this = self.project();
        if let Some(error) = this.failed.take() {
            return Poll::Ready(Some(Err(error)));
        }
        match this.inner.poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                this.idle.rest();
                Poll::Ready(Some(Ok(checked(frame))))
            }
            Poll::Ready(None) => {
                *this.permit = None;
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => {
                *this.permit = None;
                *this.failed = Some(GuestBodyError::Broken(error.into()));
                // A connection that hears of a failure throws away what it has not sent yet, the head included: it sends when there is nothing to do.
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Pending => {
                ready!(this.idle.poll(cx));
                *this.permit = None;
                Poll::Ready(Some(Err(GuestBodyError::Idle { after: this.idle.limit })))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Trailers without what they must not say; any other frame as it is.
fn checked(frame: Frame<Bytes>) -> Frame<Bytes> {
    if frame.is_data() {
        return frame;
    }
    match frame.into_trailers() {
        Ok(mut trailers) => {
            forward::strip_response_trailers(&mut trailers);
            Frame::trailers(trailers)
        }
        Err(frame) => frame,
    }
}

/// The time since the last frame. Costs nothing until a body has to be waited for.
#[derive(Debug)]
struct Idle {
    limit: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
    waiting: bool,
}

impl Idle {
    fn new(limit: Duration) -> Self {
        Self { limit, sleep: None, waiting: false }
    }

    /// A frame came.
    fn rest(&mut self) {
        self.waiting = false;
    }

    /// Ready when nothing came for the limit.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let limit = self.limit;
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        if !self.waiting {
            self.waiting = true;
            sleep.as_mut().reset(Instant::now() + limit);
        }
        sleep.as_mut().poll(cx)
    }
}
