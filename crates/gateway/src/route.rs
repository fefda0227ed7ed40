//! The layer that finds a request's route in the table in use. Owns turning "nothing" into 404 and "other methods" into 405, and what a route says of a request
//! before anybody waits for it: that it wants TLS, or that there are no upgrades. Must never wait.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::future::{Either, Ready, ready};
use http::Request;
use hyper::body::Incoming;
use tower::Service;

use crate::{
    https,
    live::{Backend, Live},
    normalize,
    refusal::Refusal,
    stack::{Normal, Routed},
    table::{Answer, Ask, Route},
};

/// See `stack.rs`.
#[derive(Debug, Clone)]
pub(crate) struct FindRoute<S> {
    pub(crate) inner: S,
}

impl<S, R> Service<Normal> for FindRoute<S>
where
    S: Service<Routed<Incoming>, Response = R, Error = Refusal>,
{
    type Response = R;
    type Error = Refusal;
    type Future = Either<Ready<Result<R, Refusal>>, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, normal: Normal) -> Self::Future {
        let Normal { request, host, exchange } = normal;
        let found = find(&exchange.connection.gateway.publisher.live(), &host, &request);
        let (route, backend) = match found {
            Ok(found) => found,
            Err(refusal) => return Either::Left(ready(Err(refusal))),
        };
        let _ = exchange.component.set(backend.component.clone());
        // First where it goes: a WebSocket that is to come back with TLS is refused there.
        if let Err(refusal) = https::check(&route, &request, &exchange).and_then(|()| normalize::check_upgrade(&request)) {
            return Either::Left(ready(Err(refusal)));
        }
        let deadline = exchange.started + route.rule.timeout;
        Either::Right(self.inner.call(Routed { request, host, exchange, route, backend, deadline }))
    }
}

/// The route of `request` in `live`, and who answers.
pub(crate) fn find<B>(live: &Live, host: &str, request: &Request<B>) -> Result<(Arc<Route>, Arc<Backend>), Refusal> {
    let ask = Ask { host, path: request.uri().path(), method: request.method(), headers: request.headers() };
    match live.table.answer(ask) {
        Answer::Route(route) => Ok((route.clone(), live.backend(route).clone())),
        Answer::Methods(methods) => Err(Refusal::MethodNotAllowed(methods)),
        Answer::Nothing => Err(Refusal::NoRoute),
    }
}
