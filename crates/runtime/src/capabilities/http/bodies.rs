//! The two bodies of an outgoing request: what the guest sends and what comes back. Owns their progress and their time; must never hold more than one
//! piece of either.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, Sleep, sleep},
};
use wasmtime_wasi_http::{Error, WasiBody};

use super::errors;

/// The guest's request body. The connection reads it through [`Upload`]; when there will be none, it can still be read to its end, so that the guest
/// sees what went wrong instead of a broken pipe.
#[derive(Clone)]
pub(super) struct Sent(Arc<Mutex<Sending>>);

struct Sending {
    body: WasiBody,
    moved_at: Instant,
}

/// What a connection reads.
pub(super) struct Upload(Sent);

/// What the guest reads.
pub(super) struct Download {
    incoming: Incoming,
    /// Longest silence while the guest waits.
    silence: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    _permits: [OwnedSemaphorePermit; 2],
}

impl Sent {
    pub(super) fn new(body: WasiBody) -> Self {
        Self(Arc::new(Mutex::new(Sending { body, moved_at: Instant::now() })))
    }

    pub(super) fn upload(&self) -> Upload {
        Upload(self.clone())
    }

    /// When a piece of it was last taken.
    pub(super) fn moved_at(&self) -> Instant {
        self.lock().moved_at
    }

    /// Reads the rest and throws it away.
    pub(super) async fn drain(self) {
        let mut rest = Upload(self);
        while let Some(Ok(_)) = rest.frame().await {}
    }

    fn lock(&self) -> MutexGuard<'_, Sending> {
        // A body that panicked is asked again and may do what it likes: it is the guest's own.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let mut sending = self.0.lock();
        let frame = ready!(Pin::new(&mut sending.body).poll_frame(context));
        sending.moved_at = Instant::now();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.0.lock().body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.lock().body.size_hint()
    }
}

impl Download {
    pub(super) fn new(incoming: Incoming, silence: Duration, permits: [OwnedSemaphorePermit; 2]) -> Self {
        Self { incoming, silence, timer: None, _permits: permits }
    }
}

impl Body for Download {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.incoming).poll_frame(context) {
            this.timer = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(|error| errors::of_body(&error))));
        }
        let silence = this.silence;
        let timer = this.timer.get_or_insert_with(|| Box::pin(sleep(silence)));
        ready!(timer.as_mut().poll(context));
        Poll::Ready(Some(Err(Error::ConnectionReadTimeout)))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
