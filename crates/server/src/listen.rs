//! Listening: hyper's own loop, because axum's has no timers. Owns connections from accept to their end; must never know a route.

use std::{
    io,
    net::TcpListener,
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
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use tokio::{sync::Semaphore, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use transport::Acceptor;

use crate::{
    api_error::ApiError,
    behind::Behind,
    core::Core,
    doors::Door,
    guard::{Hosts, guard},
    limits::{CONNECTIONS_MAX, HEADER_READ_MAX},
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
    /// Starts to listen on every socket, until `stop`; for other nodes until `gone`: a leader that stops must hear who leads after it.
    pub(crate) fn serve(
        &self,
        servers: &mut JoinSet<()>,
        sockets: Sockets,
        (hosts, acceptor): (&Hosts, &Acceptor),
        (stop, gone): (&CancellationToken, &CancellationToken),
    ) -> io::Result<()> {
        let Sockets { api, api_socket, control, peer, metrics } = sockets;
        if api.local_addr()?.ip().is_loopback() {
            servers.spawn(serve((tcp(api)?, Behind::loopback), self.public.router(Some(hosts)), stop.clone()));
        } else {
            servers.spawn(Door::api(acceptor.clone(), self.public.router(None)).serve(tcp(api)?, stop.clone()));
        }
        servers.spawn(serve((unix(api_socket)?, Behind::socket), self.public.router(None), stop.clone()));
        servers.spawn(serve((unix(control)?, |_: &_| Behind::Anyone), self.node.router(None), stop.clone()));
        if let Some(peer) = peer {
            servers.spawn(Door::peer(acceptor.clone(), self.peer.router(None)).serve(tcp(peer)?, gone.clone()));
        }
        if let Some(metrics) = metrics {
            servers.spawn(serve((tcp(metrics)?, |_: &_| Behind::Anyone), self.metrics.router(None), stop.clone()));
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

/// Accepts until `stop`, then lets the requests under way finish. `behind` says what is to be found out about a caller before its first request.
async fn serve<L: Listener>((mut listener, behind): (L, impl Fn(&L::Io) -> Behind), router: Router, stop: CancellationToken) {
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
