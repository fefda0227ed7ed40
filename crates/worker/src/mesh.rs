//! What a worker answers its control plane: logs, metrics, why, status. Owns these handlers; must never change anything.

use std::{
    collections::VecDeque,
    convert::Infallible,
    net::SocketAddr,
    process,
    sync::Arc,
    time::{Duration, Instant},
};

use api::{
    mesh::{FIGURES_PATH, FiguresQuery, InstanceLoad, LOGS_PATH, METRICS_PATH, STATUS_PATH, WHY_PATH, WorkerFigures, WorkerStatus},
    v1::{Details, ErrorBody, ErrorDetail, LogQuery, WhyAnswer, WhyQuery, WhyState, WhyStep},
};
use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{Query, State},
    http::{Method, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use futures_util::{StreamExt, stream};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use model::{problem::chain, quantity::Millis};
use prometheus_client::registry::Registry;
use tokio::{
    sync::{Semaphore, watch},
    task::{AbortHandle, JoinSet},
    time::timeout,
};
use tower::ServiceExt;
use transport::{Accepted, Acceptor, Caller, Known, Peer, Protocol, Role};

use crate::{
    agent::Seat,
    figures::Read,
    limits::{
        MESH_CONNECTIONS_MAX, MESH_HANDSHAKES_MAX, MESH_HEADER_MAX, MESH_KEEP_ALIVE_EVERY, MESH_KEEP_ALIVE_MAX,
        METRICS_CONNECTION_LIFE_MAX, METRICS_CONNECTIONS_MAX, METRICS_HEADER_MAX, RETRY_WAIT_MIN,
    },
    logs::{Filter, LogStore},
};

/// What the handlers read.
#[derive(Clone)]
pub struct Mesh {
    /// The logs.
    pub logs: Arc<LogStore>,
    /// Every metric of this process.
    pub registry: Arc<Registry>,
    /// The agent as others see it.
    pub seat: watch::Receiver<Seat>,
    /// Whether the control plane's stream is up.
    pub connected: watch::Receiver<bool>,
    /// The gateway.
    pub gateway: gateway::Handle,
    /// Reads everything that is counted.
    pub figures: Read,
    /// When the worker started.
    pub started_at: Instant,
}

/// Answers the control plane for as long as the worker lives.
pub async fn serve(listener: tokio::net::UnixListener, mesh: Mesh) {
    if let Err(error) = axum::serve(listener, router(mesh)).await {
        tracing::error!(error = %error, "the mesh listener ended");
    }
}

/// Answers the control planes of other nodes: whoever shows the certificate of a server. Who says nothing has no place: of those, the oldest makes room.
pub async fn serve_servers(listener: tokio::net::TcpListener, acceptor: Acceptor, known: Known, mesh: Mesh) {
    let (places, router) = (Arc::new(Semaphore::new(MESH_CONNECTIONS_MAX)), router(mesh));
    let (mut handshakes, mut connections) = (JoinSet::new(), JoinSet::new());
    let mut begun: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        tokio::select! {
            biased;
            Some(_) = connections.join_next() => {}
            Some(ended) = handshakes.join_next() => if let Ok(Some((accepted, server, from))) = ended {
                let Ok(place) = places.clone().try_acquire_owned() else {
                    tracing::warn!(client.addr = %from, connections.max = MESH_CONNECTIONS_MAX, "there is no room for a connection of a server");
                    continue;
                };
                let conversation = converse(accepted, server, known.clone(), router.clone());
                connections.spawn(async move {
                    if let Err(error) = conversation.await {
                        tracing::debug!(client.addr = %from, error = %error, "a connection of a server ended with an error");
                    }
                    drop(place);
                });
            },
            accepted = listener.accept() => match accepted {
                Ok((stream, from)) => {
                    begun.retain(|handshake| !handshake.is_finished());
                    if begun.len() >= MESH_HANDSHAKES_MAX {
                        begun.pop_front().inspect(AbortHandle::abort);
                    }
                    begun.push_back(handshakes.spawn(shake(acceptor.clone(), stream, from)));
                }
                Err(error) => {
                    tracing::warn!(error = %error, "a connection cannot be accepted");
                    tokio::time::sleep(RETRY_WAIT_MIN).await;
                }
            },
        }
    }
}

/// The handshake with a server; none when it is none.
async fn shake(
    acceptor: Acceptor,
    stream: tokio::net::TcpStream,
    from: SocketAddr,
) -> Option<(Accepted<tokio::net::TcpStream>, Peer, SocketAddr)> {
    let accepted = match acceptor.accept_tcp(stream, from).await {
        Ok(accepted) => accepted,
        Err(error) => {
            tracing::debug!(client.addr = %from, error = %chain(&error), "a handshake failed");
            return None;
        }
    };
    match accepted.caller {
        Caller::Node(peer) if peer.identity.role == Role::Server => Some((accepted, peer, from)),
        _ => {
            tracing::debug!(client.addr = %from, "only servers may ask a worker");
            None
        }
    }
}

/// One connection of `server`, from its handshake to its end.
async fn converse(
    accepted: Accepted<tokio::net::TcpStream>,
    server: Peer,
    known: Known,
    router: Router,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let service = hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| {
        // The connection may be older than its removal.
        let (is_known, router) = (known.admits(&server), router.clone());
        async move { if is_known { router.oneshot(request).await } else { Ok(StatusCode::FORBIDDEN.into_response()) } }
    });
    let io = TokioIo::new(accepted.stream);
    match accepted.protocol {
        Protocol::Http1 => {
            let mut builder = hyper::server::conn::http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(MESH_HEADER_MAX);
            Ok(builder.serve_connection(io, service).await?)
        }
        Protocol::Http2 => {
            let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            builder.timer(TokioTimer::new()).keep_alive_interval(MESH_KEEP_ALIVE_EVERY).keep_alive_timeout(MESH_KEEP_ALIVE_MAX);
            Ok(builder.serve_connection(io, service).await?)
        }
    }
}

/// Answers Prometheus, where no control plane does. Anybody may call here, so that connections are few and short.
pub async fn serve_metrics(listener: tokio::net::TcpListener, mesh: Mesh) {
    let router = Router::new().route("/metrics", get(metrics)).with_state(mesh);
    let bounds = MetricsBounds { connections: METRICS_CONNECTIONS_MAX, life: METRICS_CONNECTION_LIFE_MAX };
    serve_few(listener, router, bounds).await;
}

/// How many connections there are at once, and for how long each.
#[derive(Debug, Clone, Copy)]
struct MetricsBounds {
    connections: usize,
    life: Duration,
}

async fn serve_few(listener: tokio::net::TcpListener, router: Router, bounds: MetricsBounds) {
    let places = Arc::new(Semaphore::new(bounds.connections));
    let mut connections = JoinSet::new();
    loop {
        let place = places.clone().acquire_owned().await.expect("the places are never closed");
        tokio::select! {
            biased;
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let router = router.clone();
                    connections.spawn(async move {
                        let service = hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| router.clone().oneshot(request));
                        let mut builder = hyper::server::conn::http1::Builder::new();
                        builder.timer(TokioTimer::new()).header_read_timeout(METRICS_HEADER_MAX);
                        // How it ends matters to nobody: the next scrape connects anew.
                        let _ = timeout(bounds.life, builder.serve_connection(TokioIo::new(stream), service)).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(error = %error, "a connection cannot be accepted");
                    tokio::time::sleep(RETRY_WAIT_MIN).await;
                }
            },
        }
    }
}

/// All routes.
fn router(mesh: Mesh) -> Router {
    Router::new()
        .route(LOGS_PATH, get(logs))
        .route(METRICS_PATH, get(metrics))
        .route(WHY_PATH, get(why))
        .route(STATUS_PATH, get(status))
        .route(FIGURES_PATH, get(figures))
        .with_state(mesh)
}

async fn logs(State(mesh): State<Mesh>, Query(query): Query<LogQuery>) -> Response {
    let filter = match Filter::try_from(query) {
        Ok(filter) => filter,
        Err(error) => return refusal(StatusCode::BAD_REQUEST, "E0408", error.to_string()),
    };
    let Some(chunks) = mesh.logs.query(filter).await else {
        return refusal(StatusCode::SERVICE_UNAVAILABLE, "E0405", "too many log queries wait on this node".into());
    };
    let chunks = stream::unfold(chunks, |mut chunks| async move { Some((chunks.recv().await?, chunks)) });
    let body = Body::from_stream(chunks.map(Ok::<Bytes, Infallible>));
    ([(CONTENT_TYPE, "application/x-ndjson")], body).into_response()
}

async fn metrics(State(mesh): State<Mesh>) -> Response {
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &mesh.registry) {
        Ok(()) => ([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response(),
        Err(error) => refusal(StatusCode::INTERNAL_SERVER_ERROR, "E0407", error.to_string()),
    }
}

async fn why(State(mesh): State<Mesh>, Query(query): Query<WhyQuery>) -> Response {
    let Some(url) = query.url else {
        return refusal(StatusCode::BAD_REQUEST, "E0408", "a worker knows the way of a URL only: ask with `url`".into());
    };
    let method = query.method.as_deref().map_or(Ok(Method::GET), |method| Method::from_bytes(method.as_bytes()));
    let Ok(method) = method else {
        return refusal(StatusCode::BAD_REQUEST, "E0408", "`method` is not a method".into());
    };
    Json(explain(url.clone(), mesh.gateway.why(&method, &url))).into_response()
}

async fn figures(State(mesh): State<Mesh>, Query(query): Query<FiguresQuery>) -> Json<WorkerFigures> {
    Json((mesh.figures)(&query, &mesh.seat.borrow().roster))
}

async fn status(State(mesh): State<Mesh>) -> Json<WorkerStatus> {
    let roster = mesh.seat.borrow().roster.clone();
    let instances = roster.placements().iter().map(|(placement, held)| InstanceLoad {
        placement: *placement,
        component: held.key.component.clone(),
        revision: held.key.revision,
        ordinal: held.ordinal,
        phase: held.seen.phase(),
        in_flight: mesh.gateway.in_flight(&held.target()),
    });
    Json(WorkerStatus {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: process::id(),
        uptime: Millis(u64::try_from(mesh.started_at.elapsed().as_millis()).unwrap_or(u64::MAX)),
        generation: roster.node().map(|_| roster.generation()),
        connected: *mesh.connected.borrow(),
        instances: instances.collect(),
    })
}

/// The gateway's walk in the words of the API.
fn explain(subject: String, walk: gateway::WhyAnswer) -> WhyAnswer {
    let gateway::WhyAnswer { steps, ok: works, mut code, component, revision } = walk;
    let verdict = match (works, &component, revision, steps.last()) {
        (true, Some(component), Some(revision), _) => format!("{component} answers it, {revision}"),
        (_, _, _, Some(last)) => last.message.clone(),
        _ => "nothing is known about it".to_owned(),
    };
    let steps = steps.into_iter().map(|step| WhyStep {
        name: step.step,
        state: if step.ok { WhyState::Passes } else { WhyState::Blocks },
        text: step.message,
        code: if step.ok { None } else { code.take() },
        help: None,
    });
    WhyAnswer { subject, verdict, works, steps: steps.collect() }
}

fn refusal(status: StatusCode, code: &str, message: String) -> Response {
    let error = ErrorDetail { code: code.to_owned(), message, help: String::new(), details: Details::default() };
    (status, Json(ErrorBody { error })).into_response()
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
    };

    use super::*;

    /// Goal: silent callers hold the few places for as long as they may, and no longer; whoever waits is answered then.
    #[tokio::test]
    async fn silent_callers_give_their_places_back() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let bounds = MetricsBounds { connections: 2, life: Duration::from_secs(1) };
        let _serving = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(serve_few(
            listener,
            Router::new().route("/metrics", get(|| async { "figures" })),
            bounds,
        )));
        let _silent = [TcpStream::connect(address).await.unwrap(), TcpStream::connect(address).await.unwrap()];
        let asked = async {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        };
        let answer = timeout(Duration::from_secs(20), asked).await.expect("a place comes free");
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("figures"), "{answer}");
    }
}
