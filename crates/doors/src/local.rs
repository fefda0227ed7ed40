//! Doors without TLS, for callers within this machine: hyper's own loop, because axum's has no timers. Owns connections from accept to their end; must never
//! know a route.

use std::sync::Arc;

use axum::{Extension, Router, http::Request, serve::Listener};
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use tokio::{sync::Semaphore, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::{
    behind::Behind,
    limits::{CONNECTIONS_MAX, HEADER_READ_MAX},
};

/// Accepts until `stop`, then lets the requests under way finish. `behind` says what is to be found out about a caller before its first request.
pub async fn serve<L: Listener>((mut listener, behind): (L, impl Fn(&L::Io) -> Behind), router: Router, stop: CancellationToken) {
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        // The next connection waits in the accept queue until there is a place for it.
        let place = places.clone().acquire_owned();
        let accepted = async {
            let place = place.await.expect("the places are never closed");
            (listener.accept().await.0, place)
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => {}
            (stream, place) = accepted => {
                let (router, behind, watcher) = (router.clone(), behind(&stream), graceful.watcher());
                connections.spawn(async move {
                    let router = match behind.via().await {
                        Some(via) => router.layer(Extension(via)),
                        None => router,
                    };
                    let service = hyper::service::service_fn(move |request: Request<Incoming>| router.clone().oneshot(request));
                    let connection = http1::Builder::new()
                        .timer(TokioTimer::new())
                        .header_read_timeout(HEADER_READ_MAX)
                        .serve_connection(TokioIo::new(stream), service);
                    if let Err(error) = watcher.watch(connection).await {
                        tracing::debug!(error = %error, "a connection ended with an error");
                    }
                    drop(place);
                });
            }
        }
    }
    drop(listener);
    graceful.shutdown().await;
    while connections.join_next().await.is_some() {}
}
