//! The doors to the network: TLS, and how much room those have who have not shown yet that they may come in. Owns connections from accept to their end; must
//! never know a route.
//!
//! Nobody who shows no certificate and no token keeps out those who do: handshakes and strangers have few places of their own, and whoever comes last takes the
//! one of whoever has been there longest. An honest handshake is over in milliseconds, and an honest stranger asks one thing.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{Extension, Router};
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use model::problem::chain;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::{AbortHandle, JoinSet},
    time::sleep,
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use transport::{Accepted, Acceptor, Caller, Protocol};

use crate::{
    limits::{
        ACCEPT_REST, API_STRANGER_MAX, API_STRANGERS_MAX, CONNECTIONS_MAX, HANDSHAKES_MAX, HEADER_READ_MAX, KEEP_ALIVE_EVERY,
        KEEP_ALIVE_MAX, MEMBER_CONNECTIONS_MAX, PEER_STRANGER_MAX, PEER_STRANGERS_MAX, STRANGER_STREAMS_MAX, STRANGER_WINDOW_BYTES,
        WINDOW_BYTES,
    },
    via::Via,
};

/// A listener that speaks TLS.
pub struct Door {
    acceptor: Acceptor,
    router: Router,
    kind: Kind,
    bounds: Bounds,
}

/// Who is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Users' tools: known once a request of theirs was let in.
    Api,
    /// Other nodes: known by their certificate. Whoever has none may ask to join.
    Peer,
}

/// How much room there is.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    /// Connections together.
    connections: usize,
    /// Of them, those of strangers.
    strangers: usize,
    /// Handshakes at once.
    handshakes: usize,
    /// How long a stranger may stay one.
    patience: Duration,
}

/// Whether a connection is of somebody who may come in. Travels with each of its requests.
#[derive(Debug, Clone, Default)]
pub struct Admitted(Arc<AtomicBool>);

/// Connections of those who have not shown who they are, the oldest first.
#[derive(Debug, Default)]
struct Strangers(VecDeque<(AbortHandle, Admitted)>);

impl Door {
    /// Where users' tools come in. Their requests carry an [`Admitted`], for whoever learns who they are.
    pub fn api(acceptor: Acceptor, router: Router) -> Self {
        let bounds =
            Bounds { connections: CONNECTIONS_MAX, strangers: API_STRANGERS_MAX, handshakes: HANDSHAKES_MAX, patience: API_STRANGER_MAX };
        Self { acceptor, router, kind: Kind::Api, bounds }
    }

    /// Where other nodes come in. Their requests carry the [`Caller`] that the handshake showed.
    pub fn peer(acceptor: Acceptor, router: Router) -> Self {
        let bounds = Bounds {
            connections: MEMBER_CONNECTIONS_MAX,
            strangers: PEER_STRANGERS_MAX,
            handshakes: HANDSHAKES_MAX,
            patience: PEER_STRANGER_MAX,
        };
        Self { acceptor, router, kind: Kind::Peer, bounds }
    }

    /// Accepts until `stop`, then lets the requests under way finish.
    pub async fn serve(self, listener: TcpListener, stop: CancellationToken) {
        let places = Arc::new(Semaphore::new(self.bounds.connections));
        let (mut handshakes, mut connections) = (JoinSet::new(), JoinSet::new());
        let (mut begun, mut strangers) = (Strangers::default(), Strangers::default());
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(_) = connections.join_next() => {}
                // A handshake that gave way to a newer one has no result.
                Some(ended) = handshakes.join_next() => if let Ok(Some((accepted, from))) = ended {
                    let Ok(place) = places.clone().try_acquire_owned() else {
                        tracing::warn!(client.addr = %from, connections.max = self.bounds.connections, "there is no room for a connection");
                        continue;
                    };
                    let admitted = self.known(&accepted);
                    let conversation = self.converse(accepted, from, admitted.clone(), stop.clone());
                    let task = connections.spawn(async move {
                        conversation.await;
                        drop(place);
                    });
                    strangers.add(task, admitted, self.bounds.strangers);
                },
                accepted = listener.accept() => match accepted {
                    Ok((stream, from)) => {
                        let task = handshakes.spawn(shake(self.acceptor.clone(), stream, from));
                        begun.add(task, Admitted::default(), self.bounds.handshakes);
                    }
                    Err(error) => {
                        tracing::warn!(error = %error, "a connection cannot be accepted");
                        sleep(ACCEPT_REST).await;
                    }
                },
            }
        }
        drop(listener);
        handshakes.shutdown().await;
        while connections.join_next().await.is_some() {}
    }

    /// Whether the handshake says who it is.
    fn known(&self, accepted: &Accepted<TcpStream>) -> Admitted {
        let is_node = self.kind == Kind::Peer && matches!(accepted.caller, Caller::Node(_));
        Admitted(Arc::new(AtomicBool::new(is_node)))
    }

    /// One connection from its handshake to its end.
    fn converse(
        &self,
        accepted: Accepted<TcpStream>,
        from: SocketAddr,
        admitted: Admitted,
        stop: CancellationToken,
    ) -> impl Future<Output = ()> + use<> {
        let router = match self.kind {
            Kind::Api => self.router.clone().layer(Extension(Via::Tls(from))).layer(Extension(admitted.clone())),
            Kind::Peer => self.router.clone().layer(Extension(accepted.caller)).layer(Extension(Via::Server)),
        };
        let patience = self.bounds.patience;
        // Who shows a certificate sends artifacts; who asks to join, a page.
        let is_bounded = self.kind == Kind::Peer && !admitted.holds();
        async move {
            let over = async {
                sleep(patience).await;
                if admitted.holds() {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                ended = speak(accepted, router, is_bounded, stop) => if let Err(error) = ended {
                    tracing::debug!(client.addr = %from, error = %chain(error.as_ref()), "a connection ended with an error");
                },
                () = over => tracing::debug!(client.addr = %from, "a stranger stayed too long"),
            }
        }
    }
}

async fn shake(acceptor: Acceptor, stream: TcpStream, from: SocketAddr) -> Option<(Accepted<TcpStream>, SocketAddr)> {
    match acceptor.accept_tcp(stream, from).await {
        Ok(accepted) => Some((accepted, from)),
        Err(error) => {
            tracing::debug!(client.addr = %from, error = %chain(&error), "a handshake failed");
            None
        }
    }
}

/// Answers requests until the connection ends, or until `stop` and the end of what is under way.
async fn speak(
    accepted: Accepted<TcpStream>,
    router: Router,
    is_bounded: bool,
    stop: CancellationToken,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| router.clone().oneshot(request));
    let io = TokioIo::new(accepted.stream);
    match accepted.protocol {
        Protocol::Http1 => {
            let builder = http1::Builder::new().timer(TokioTimer::new()).header_read_timeout(HEADER_READ_MAX).serve_connection(io, service);
            tokio::pin!(builder);
            tokio::select! {
                ended = builder.as_mut() => return Ok(ended?),
                () = stop.cancelled() => builder.as_mut().graceful_shutdown(),
            }
            Ok(builder.await?)
        }
        Protocol::Http2 => {
            let mut builder = http2::Builder::new(TokioExecutor::new());
            builder.timer(TokioTimer::new()).keep_alive_interval(KEEP_ALIVE_EVERY).keep_alive_timeout(KEEP_ALIVE_MAX);
            let window = if is_bounded { STRANGER_WINDOW_BYTES } else { WINDOW_BYTES };
            builder.initial_stream_window_size(window).initial_connection_window_size(window);
            if is_bounded {
                builder.max_concurrent_streams(STRANGER_STREAMS_MAX);
            }
            let connection = builder.serve_connection(io, service);
            tokio::pin!(connection);
            tokio::select! {
                ended = connection.as_mut() => return Ok(ended?),
                () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
            }
            Ok(connection.await?)
        }
    }
}

impl Admitted {
    /// Whoever is at the other end is no stranger any more.
    pub fn let_in(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether somebody was let in.
    pub fn holds(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Strangers {
    /// Adds one, unless it is known already; when there are `max`, the oldest goes.
    fn add(&mut self, task: AbortHandle, admitted: Admitted, max: usize) {
        if admitted.holds() {
            return;
        }
        self.0.retain(|(task, admitted)| !task.is_finished() && !admitted.holds());
        while self.0.len() >= max {
            let Some((oldest, _)) = self.0.pop_front() else { break };
            oldest.abort();
        }
        self.0.push_back((task, admitted));
    }
}

#[cfg(test)]
mod tests;
