//! What is answered while the machine waits: to the others how it stands, when they prove that they have the token; to everybody else that it waits, and for what.
//! Owns connections from accept to their end; must never let anybody join or speak consensus.

use std::{
    convert::Infallible,
    io,
    net::{SocketAddr, TcpListener},
    os::unix::net::UnixListener,
    sync::Arc,
};

use api::{
    peer::{FORM_PATH, FormRequest, PROOF_HEADER},
    v1::{Details, ErrorBody, ErrorDetail, ReadyView},
};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use model::quantity::Millis;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::timeout,
};
use transport::Protocol;

use crate::{
    error::FormError,
    limits::{ACCEPT_REST, CONNECTION_MAX, CONNECTIONS_MAX, MESSAGE_BYTES_MAX},
    machine::Machine,
};

/// The sockets of a server that waits; its control plane takes them over.
#[derive(Debug)]
pub struct Doors {
    /// Where the others reach it.
    pub peer: TcpListener,
    /// The API over TCP.
    pub api: TcpListener,
    /// The API for programs on this machine.
    pub api_socket: UnixListener,
    /// Prometheus.
    pub metrics: Option<TcpListener>,
}

/// Who is expected at a socket, and how they speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Door {
    /// The others, over TLS.
    Peer,
    /// Users' tools, and whoever looks whether the node is ready, over TLS.
    Secure,
    /// The same, in the open.
    Open,
}

impl Doors {
    /// Serves all of them until the tasks are dropped.
    ///
    /// # Errors
    /// A socket cannot be used.
    pub(crate) fn serve(self, machine: &Arc<Machine>) -> Result<JoinSet<()>, FormError> {
        let mut tasks = JoinSet::new();
        self.listen(machine, &mut tasks).map_err(FormError::Listen)?;
        Ok(tasks)
    }

    fn listen(self, machine: &Arc<Machine>, tasks: &mut JoinSet<()>) -> io::Result<()> {
        // As the control plane does: in the open on this machine, over TLS elsewhere.
        let api = if self.api.local_addr()?.ip().is_loopback() { Door::Open } else { Door::Secure };
        tasks.spawn(serve(tcp(self.peer)?, machine.clone(), Door::Peer));
        tasks.spawn(serve(tcp(self.api)?, machine.clone(), api));
        if let Some(metrics) = self.metrics {
            tasks.spawn(serve(tcp(metrics)?, machine.clone(), Door::Open));
        }
        self.api_socket.set_nonblocking(true)?;
        tasks.spawn(serve_socket(tokio::net::UnixListener::from_std(self.api_socket)?, machine.clone()));
        Ok(())
    }
}

fn tcp(listener: TcpListener) -> io::Result<tokio::net::TcpListener> {
    listener.set_nonblocking(true)?;
    tokio::net::TcpListener::from_std(listener)
}

/// The connections of one socket; all of them end with it.
#[derive(Debug)]
struct Guests {
    places: Arc<Semaphore>,
    tasks: JoinSet<()>,
}

impl Guests {
    fn new() -> Self {
        Self { places: Arc::new(Semaphore::new(CONNECTIONS_MAX)), tasks: JoinSet::new() }
    }

    /// The next connection waits in the accept queue until there is a place for it.
    async fn place(&mut self) -> OwnedSemaphorePermit {
        while self.tasks.try_join_next().is_some() {}
        self.places.clone().acquire_owned().await.expect("the places are never closed")
    }

    fn take(&mut self, place: OwnedSemaphorePermit, conversation: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(async move {
            if timeout(CONNECTION_MAX, conversation).await.is_err() {
                tracing::debug!("a connection took too long");
            }
            drop(place);
        });
    }
}

async fn serve(listener: tokio::net::TcpListener, machine: Arc<Machine>, door: Door) {
    let mut guests = Guests::new();
    loop {
        let place = guests.place().await;
        match listener.accept().await {
            Ok((stream, from)) => guests.take(place, converse(stream, from, machine.clone(), door)),
            Err(error) => rest(&error).await,
        }
    }
}

async fn serve_socket(listener: tokio::net::UnixListener, machine: Arc<Machine>) {
    let mut guests = Guests::new();
    loop {
        let place = guests.place().await;
        match listener.accept().await {
            Ok((stream, _)) => guests.take(place, speak(stream, Protocol::Http1, machine.clone(), Door::Open)),
            Err(error) => rest(&error).await,
        }
    }
}

async fn rest(error: &io::Error) {
    tracing::warn!(error = %error, "a connection cannot be accepted");
    tokio::time::sleep(ACCEPT_REST).await;
}

async fn converse(stream: tokio::net::TcpStream, from: SocketAddr, machine: Arc<Machine>, door: Door) {
    if door == Door::Open {
        return speak(stream, Protocol::Http1, machine, door).await;
    }
    match machine.acceptor.accept_tcp(stream, from).await {
        Ok(accepted) => speak(accepted.stream, accepted.protocol, machine, door).await,
        Err(error) => tracing::debug!(client.addr = %from, error = %error, "a handshake failed"),
    }
}

async fn speak<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S, protocol: Protocol, machine: Arc<Machine>, door: Door) {
    let service = service_fn(move |request| {
        let machine = machine.clone();
        async move { Ok::<_, Infallible>(respond(&machine, door, request).await) }
    });
    let stream = TokioIo::new(stream);
    let ended = match protocol {
        Protocol::Http1 => http1::Builder::new().timer(TokioTimer::new()).serve_connection(stream, service).await,
        Protocol::Http2 => http2::Builder::new(TokioExecutor::new()).timer(TokioTimer::new()).serve_connection(stream, service).await,
    };
    if let Err(error) = ended {
        tracing::debug!(error = %error, "a connection ended with an error");
    }
}

async fn respond(machine: &Machine, door: Door, request: Request<Incoming>) -> Response<Full<Bytes>> {
    if door == Door::Peer && request.method() == Method::POST && request.uri().path() == FORM_PATH {
        return stand(machine, request).await.unwrap_or_else(|refused| refused);
    }
    match request.uri().path() {
        "/healthz" => text(StatusCode::OK, "alive\n"),
        "/readyz" => {
            let waits_for = machine.waits.borrow().iter().map(ToString::to_string).collect();
            let uptime = Millis(u64::try_from(machine.started.elapsed().as_millis()).unwrap_or(u64::MAX));
            json(StatusCode::SERVICE_UNAVAILABLE, &ReadyView { ready: false, waits_for, trouble: Vec::new(), worker: None, uptime })
        }
        _ => {
            let waits: Vec<String> = machine.waits.borrow().iter().map(ToString::to_string).collect();
            let message = format!("this server has no cluster yet: it waits for {}", waits.join("; "));
            refusal(StatusCode::SERVICE_UNAVAILABLE, "E0622", message, "it forms one with the others of --peers; mend what it waits for")
        }
    }
}

/// How this machine stands, for another one with the same token.
async fn stand(machine: &Machine, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Response<Full<Bytes>>> {
    let proof = request.headers().get(PROOF_HEADER).and_then(|proof| proof.to_str().ok()).unwrap_or_default().to_owned();
    let malformed = |why: String| refusal(StatusCode::BAD_REQUEST, "E0408", format!("a question about forming a cluster {why}"), "");
    let body = Limited::new(request.into_body(), MESSAGE_BYTES_MAX).collect().await;
    let body = body.map_err(|error| malformed(format!("broke off: {error}")))?.to_bytes();
    if !machine.token.prove_question(machine.shown, &body).is(&proof) {
        let message = "the machine that was asked has another formation token than the one that asks";
        return Err(refusal(StatusCode::FORBIDDEN, "E0619", message.to_owned(), "give every machine the same token"));
    }
    let question: FormRequest = serde_json::from_slice(&body).map_err(|error| malformed(format!("is not understood: {error}")))?;
    let answer = machine.answer(&question).map_err(|error| {
        tracing::error!(error = %error, "this machine cannot bind itself to the cluster");
        refusal(StatusCode::INTERNAL_SERVER_ERROR, "E0607", error.to_string(), "")
    })?;
    let answer = serde_json::to_vec(&answer).expect("an answer holds text only");
    let proof = machine.token.prove_answer(machine.shown, &body, &answer).to_string();
    let mut response = Response::new(Full::from(answer));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(PROOF_HEADER, HeaderValue::from_str(&proof).expect("a proof has letters and digits only"));
    Ok(response)
}

fn refusal(status: StatusCode, code: &str, message: String, help: &str) -> Response<Full<Bytes>> {
    let error = ErrorDetail { code: code.to_owned(), message, help: help.to_owned(), details: Details::default() };
    json(status, &ErrorBody { error })
}

fn json(status: StatusCode, value: &impl serde::Serialize) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(serde_json::to_vec(value).expect("wire types have string keys only")));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

fn text(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response
}
