//! The layer that gives each request a place at an endpoint. Owns holding: until there is room, until an endpoint is ready, until a new table changes
//! where the request goes; must never know what an endpoint does with the request.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::Response;
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower::{Service, ServiceExt as _};

use crate::{
    body::{GuestBody, RequestBody},
    live::Backend,
    queue::{Entry, Permit, Ticket},
    refusal::Refusal,
    route,
    stack::{Admitted, BoxError, Routed},
};

/// See `stack.rs`.
#[derive(Debug, Clone)]
pub(crate) struct Admit<S> {
    pub(crate) inner: S,
}

impl<S, B> Service<Routed<RequestBody>> for Admit<S>
where
    S: Service<Admitted, Response = Response<B>, Error = Refusal> + Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<GuestBody<B>>;
    type Error = Refusal;
    type Future = AdmitFuture<S::Future, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, routed: Routed<RequestBody>) -> Self::Future {
        let idle = routed.route.rule.idle_timeout;
        if let Some(permit) = routed.backend.component.try_enter(&routed.backend.endpoints) {
            let call = self.inner.call(admitted(routed, &permit));
            return AdmitFuture::At { call, permit: Some(permit), idle };
        }
        let inner = self.inner.clone();
        AdmitFuture::Held { call: Box::pin(held(inner, routed, idle)) }
    }
}

fn admitted(routed: Routed<RequestBody>, permit: &Permit) -> Admitted {
    let Routed { request, exchange, route, deadline, .. } = routed;
    let target = permit.endpoint().target.clone();
    let _ = exchange.target.set(target.clone());
    Admitted { request, exchange, route, target, deadline }
}

/// Waits for a place and then goes the same way as everybody.
async fn held<S, B>(inner: S, mut routed: Routed<RequestBody>, idle: Duration) -> Result<Response<GuestBody<B>>, Refusal>
where
    S: Service<Admitted, Response = Response<B>, Error = Refusal>,
{
    let since = Instant::now();
    let permit = wait(&mut routed, since).await;
    // Whoever left meanwhile is not counted: nobody waited to the end of that.
    routed.backend.component.metrics.waited(since.elapsed());
    let permit = permit?;
    let response = inner.oneshot(admitted(routed, &permit)).await?;
    Ok(response.map(|body| GuestBody::new(body, permit, idle)))
}

/// Holds the request until it may go, or tells why it may not. `routed` then names the route and component of the newest table.
async fn wait(routed: &mut Routed<RequestBody>, since: Instant) -> Result<Permit, Refusal> {
    let gateway = routed.exchange.connection.gateway.clone();
    // Subscribed before the first look: a table published between the two is not missed.
    let mut changes = gateway.publisher.changes();
    let mut ticket: Option<Ticket> = None;
    loop {
        let (route, backend) = route::find(&gateway.publisher.live(), &routed.host, &routed.request)?;
        (routed.route, routed.backend) = (route, backend);
        let backend = &routed.backend;
        if backend.endpoints.is_empty() && gateway.draining.load(Ordering::Relaxed) {
            return Err(Refusal::Draining);
        }
        let mut place = match ticket.take().filter(|ticket| Arc::ptr_eq(ticket.component(), &backend.component)) {
            Some(ticket) => {
                ticket.retarget(backend.revision);
                ticket
            }
            None => match backend.component.enter(backend.revision, backend.queue_length) {
                Entry::Now(permit) => return Ok(permit),
                Entry::Full => return Err(if backend.endpoints.is_empty() { no_endpoint(since) } else { Refusal::QueueFull }),
                Entry::Wait(ticket) => {
                    backend.component.metrics.held.fetch_add(1, Ordering::Relaxed);
                    ticket
                }
            },
        };
        tokio::select! {
            biased;
            permit = place.turn() => {
                // The place may be one of a table newer than the route.
                let (route, backend) = route::find(&gateway.publisher.live(), &routed.host, &routed.request)?;
                let same = Arc::ptr_eq(&backend.component, &routed.backend.component);
                (routed.route, routed.backend) = (route, backend);
                if same {
                    return Ok(permit);
                }
            }
            _ = changes.changed() => ticket = Some(place),
            () = tokio::time::sleep_until(since + backend.queue_wait) => return Err(too_long(backend, since)),
        }
    }
}

fn too_long(backend: &Backend, since: Instant) -> Refusal {
    if backend.endpoints.is_empty() { no_endpoint(since) } else { Refusal::QueueWait { waited: since.elapsed() } }
}

fn no_endpoint(since: Instant) -> Refusal {
    Refusal::NoEndpoint { waited: since.elapsed() }
}

pin_project! {
    /// The answer of an endpoint, at once or after being held.
    #[project = AdmitProjection]
    pub(crate) enum AdmitFuture<F, B> {
        At {
            #[pin]
            call: F,
            permit: Option<Permit>,
            idle: Duration,
        },
        Held {
            call: Pin<Box<dyn Future<Output = Result<Response<GuestBody<B>>, Refusal>> + Send>>,
        },
    }
}

impl<F, B> Future for AdmitFuture<F, B>
where
    F: Future<Output = Result<Response<B>, Refusal>>,
{
    type Output = Result<Response<GuestBody<B>>, Refusal>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            AdmitProjection::At { call, permit, idle } => {
                let response = ready!(call.poll(cx))?;
                let permit = permit.take().expect("a future is not polled again after it was ready");
                Poll::Ready(Ok(response.map(|body| GuestBody::new(body, permit, *idle))))
            }
            AdmitProjection::Held { call } => call.as_mut().poll(cx),
        }
    }
}
