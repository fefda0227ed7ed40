//! Listening: hyper's own loop, because axum's has no timers. Owns connections from accept to their end; must never know a route.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    os::unix::net::UnixListener,
    sync::{Arc, OnceLock},
};

use axum::{
    Extension, Router,
    body::Body,
    http::{Request, StatusCode},
    response::{IntoResponse, Response},
    serve::Listener,
};
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use model::problem::chain;
use tokio::{sync::Semaphore, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use transport::{Acceptor, Protocol};

use crate::{
    admit::Via,
    api_error::ApiError,
    core::Core,
    guard::{Hosts, guard},
    handlers::peer::From,
    limits::{ACCEPT_REST, CONNECTIONS_MAX, HEADER_READ_MAX, KEEP_ALIVE_EVERY, KEEP_ALIVE_MAX, WINDOW_BYTES},
    routes,
};

/// The sockets of a control plane.
pub(crate) struct Sockets {
    /// Users' tools, over TCP: plain on loopback, over TLS elsewhere.
    pub(crate) api: TcpListener,
    /// Users' tools, on this machine.
    pub(crate) api_socket: UnixListener,
    /// This node's worker.
    pub(crate) control: UnixListener,
    /// Other nodes.
    pub(crate) peer: Option<TcpListener>,
    /// Prometheus.
    pub(crate) metrics: Option<TcpListener>,
}

/// What is answered on a listener: nothing but "starting" until the routes are there.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gate(Arc<OnceLock<Router>>);

/// One gate per kind of caller.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gates {
    /// Users' tools.
    pub(crate) public: Gate,
    /// Workers.
    pub(crate) node: Gate,
    /// Other nodes.
    pub(crate) peer: Gate,
    /// Prometheus.
    pub(crate) metrics: Gate,
}

impl Gates {
    /// Starts to listen on every socket.
    pub(crate) fn serve(
        &self,
        servers: &mut JoinSet<()>,
        sockets: Sockets,
        (hosts, acceptor): (&Hosts, &Acceptor),
        stop: &CancellationToken,
    ) -> io::Result<()> {
        let Sockets { api, api_socket, control, peer, metrics } = sockets;
        if api.local_addr()?.ip().is_loopback() {
            let public = self.public.router(Some(hosts)).layer(Extension(Via::Loopback));
            servers.spawn(serve(tcp(api)?, public, stop.clone()));
        } else {
            servers.spawn(serve_tls(tcp(api)?, acceptor.clone(), self.public.router(None), Door::Api, stop.clone()));
        }
        servers.spawn(serve(unix(api_socket)?, self.public.router(None).layer(Extension(Via::Socket)), stop.clone()));
        servers.spawn(serve(unix(control)?, self.node.router(None), stop.clone()));
        if let Some(peer) = peer {
            servers.spawn(serve_tls(tcp(peer)?, acceptor.clone(), self.peer.router(None), Door::Peer, stop.clone()));
        }
        if let Some(metrics) = metrics {
            servers.spawn(serve(tcp(metrics)?, self.metrics.router(None), stop.clone()));
        }
        Ok(())
    }

    /// From here on requests meet their routes.
    pub(crate) fn open(&self, core: &Arc<Core>) {
        self.public.open(routes::public(core));
        self.node.open(routes::node(core));
        self.metrics.open(routes::metrics(core));
    }

    /// From here on other nodes meet theirs: consensus talks to them before the state is there.
    pub(crate) fn open_to_peers(&self, core: &Arc<Core>) {
        self.peer.open(routes::peer(core));
    }
}

/// Who is expected behind a listener that speaks TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Door {
    /// Users' tools.
    Api,
    /// Other nodes.
    Peer,
}

impl Gate {
    fn open(&self, router: Router) {
        self.0.set(router).expect("a gate is opened once");
    }

    /// The routes behind the gate, behind the checks of `hosts`.
    fn router(&self, hosts: Option<&Hosts>) -> Router {
        let gate = self.clone();
        let router = Router::new().fallback(move |request: Request<Body>| gate.answer(request));
        match hosts {
            Some(hosts) => router.layer(axum::middleware::from_fn_with_state(hosts.clone(), guard)),
            None => router,
        }
    }

    async fn answer(self, request: Request<Body>) -> Response {
        match self.0.get() {
            Some(router) => router.clone().oneshot(request).await.unwrap_or_else(|never| match never {}),
            None => starting(request.uri().path()),
        }
    }
}

/// What is said while the log is replayed.
fn starting(path: &str) -> Response {
    let waits_for = "the log to be read";
    match path {
        "/healthz" => "alive\n".into_response(),
        "/readyz" => {
            let view = serde_json::json!({"ready": false, "waitsFor": [waits_for], "uptime": 0});
            (StatusCode::SERVICE_UNAVAILABLE, axum::Json(view)).into_response()
        }
        _ => {
            // As without a leader: nothing was begun, so whoever asks may ask again, or another server.
            let message = format!("the control plane starts: it waits for {waits_for}");
            ApiError::new("E0422", message, "try again in a moment").into_response()
        }
    }
}

fn tcp(listener: TcpListener) -> io::Result<tokio::net::TcpListener> {
    listener.set_nonblocking(true)?;
    tokio::net::TcpListener::from_std(listener)
}

fn unix(listener: UnixListener) -> io::Result<tokio::net::UnixListener> {
    listener.set_nonblocking(true)?;
    tokio::net::UnixListener::from_std(listener)
}

/// Accepts until `stop`, then lets the requests under way finish.
async fn serve<L: Listener>(mut listener: L, router: Router, stop: CancellationToken) {
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
                let router = router.clone();
                let service = hyper::service::service_fn(move |request: Request<Incoming>| router.clone().oneshot(request));
                let connection = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEADER_READ_MAX)
                    .serve_connection(TokioIo::new(stream), service);
                let watched = graceful.watch(connection);
                connections.spawn(async move {
                    if let Err(error) = watched.await {
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

/// The same over TLS: who calls is known before the first request is read.
async fn serve_tls(listener: tokio::net::TcpListener, acceptor: Acceptor, router: Router, door: Door, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let place = places.clone().acquire_owned();
        let accepted = async {
            let place = place.await.expect("the places are never closed");
            (listener.accept().await, place)
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => {}
            (stream, place) = accepted => match stream {
                Ok((stream, from)) => {
                    let (acceptor, router, stop) = (acceptor.clone(), router.clone(), stop.clone());
                    connections.spawn(async move {
                        if let Err(error) = converse(stream, from, &acceptor, router, door, stop).await {
                            tracing::debug!(client.addr = %from, error = %chain(error.as_ref()), "a connection ended with an error");
                        }
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(error = %error, "a connection cannot be accepted");
                    tokio::time::sleep(ACCEPT_REST).await;
                }
            },
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// One connection from its handshake to its end.
async fn converse(
    stream: tokio::net::TcpStream,
    from: SocketAddr,
    acceptor: &Acceptor,
    router: Router,
    door: Door,
    stop: CancellationToken,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let accepted = acceptor.accept_tcp(stream, from).await?;
    let router = match door {
        Door::Api => router.layer(Extension(Via::Tls(from))),
        Door::Peer => router.layer(Extension(From(accepted.caller))).layer(Extension(Via::Server)),
    };
    let service = hyper::service::service_fn(move |request: Request<Incoming>| router.clone().oneshot(request));
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
            builder.initial_stream_window_size(WINDOW_BYTES).initial_connection_window_size(WINDOW_BYTES);
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
