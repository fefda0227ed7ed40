//! One client connection: which protocol it speaks, when it is idle, how it ends. Owns hyper's builders and their settings; must never know what a
//! request is answered with.

use std::{
    convert::Infallible,
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    task::{Context, Waker},
    time::{Duration, SystemTime},
};

use bytes::BytesMut;
use http::{HeaderValue, Request, Response};
use hyper::{
    body::Incoming,
    rt::Executor,
    server::conn::{http1, http2},
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite},
    net::TcpStream,
    time::Instant,
};
use tower::{Service, ServiceExt as _, util::Oneshot};

use crate::{
    answer::RecordedBody,
    exchange::Exchange,
    forward::X_REQUEST_ID,
    guarded_io::GuardedIo,
    head_scan::{HeadFacts, HeadFault},
    limits,
    refusal::BadRequest,
    request_id::RequestId,
    run::Shared,
    stack::{Arrived, Bottom, stack},
    stall,
    tls::{Secured, Tls},
};

/// The first bytes of an HTTP/2 connection (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// hyper calls the service once per head, and gets heads from the scanner only. Should the two ever disagree about where a head ends, that is the very
/// ambiguity the scanner is there for.
const DISAGREED: HeadFacts = HeadFacts { fault: Some(HeadFault::Bad(BadRequest::RequestLine)) };

/// What the parts of one connection share.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) gateway: Arc<Shared>,
    pub(crate) peer: SocketAddr,
    pub(crate) peer_text: HeaderValue,
    /// The peer is a proxy whose forwarding headers and request ids are believed.
    pub(crate) peer_trusted: bool,
    /// The version of TLS, when there is any.
    pub(crate) tls: Option<&'static str>,
    is_h1: std::sync::OnceLock<bool>,
    facts: Mutex<Facts>,
    /// Requests whose response body has not ended.
    busy: AtomicU32,
    /// When the last one ended, in milliseconds since `opened`.
    quiet_since_ms: AtomicU64,
    opened: Instant,
}

/// The facts of the one head that was released to hyper and not yet taken by the service, and who waits to release the next.
#[derive(Debug, Default)]
struct Facts {
    of_next: Option<HeadFacts>,
    waker: Option<Waker>,
}

impl Connection {
    pub(crate) fn new(gateway: Arc<Shared>, peer: SocketAddr) -> Self {
        // A dual-stack socket shows IPv4 clients as ::ffff:a.b.c.d; lists of proxies are written the plain way.
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let peer_trusted = gateway.trusted_proxies.iter().any(|proxies| proxies.contains(&peer.ip()));
        let peer_text = HeaderValue::from_str(&peer.ip().to_string()).expect("an address is ASCII");
        Self {
            gateway,
            peer,
            peer_text,
            peer_trusted,
            tls: None,
            is_h1: std::sync::OnceLock::new(),
            facts: Mutex::default(),
            busy: 0.into(),
            quiet_since_ms: 0.into(),
            opened: Instant::now(),
        }
    }

    pub(crate) fn is_h1(&self) -> bool {
        self.is_h1.get().copied().unwrap_or(true)
    }

    /// Whether the next head may be released; if not, `cx` is woken when it may.
    pub(crate) fn facts_wanted(&self, cx: &Context<'_>) -> bool {
        let mut facts = self.facts.lock().unwrap_or_else(PoisonError::into_inner);
        if facts.of_next.is_some() {
            facts.waker = Some(cx.waker().clone());
        }
        facts.of_next.is_none()
    }

    /// Says what was seen of the head that hyper reads next.
    pub(crate) fn put_facts(&self, facts: HeadFacts) {
        let before = self.facts.lock().unwrap_or_else(PoisonError::into_inner).of_next.replace(facts);
        debug_assert!(before.is_none(), "a head was released before the service took the last one");
    }

    /// What was seen of the head that hyper just read.
    pub(crate) fn take_facts(&self) -> Option<HeadFacts> {
        let mut facts = self.facts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(waker) = facts.waker.take() {
            waker.wake();
        }
        facts.of_next.take()
    }

    pub(crate) fn enter(&self) {
        self.busy.fetch_add(1, Ordering::Relaxed);
    }

    /// A request ended at `now`.
    pub(crate) fn leave(&self, now: Instant) {
        let quiet = u64::try_from(now.saturating_duration_since(self.opened).as_millis()).unwrap_or(u64::MAX);
        self.quiet_since_ms.store(quiet, Ordering::Relaxed);
        self.busy.fetch_sub(1, Ordering::Relaxed);
    }

    /// How long there was no request; `None` while there is one.
    fn quiet_for(&self) -> Option<Duration> {
        let since = Duration::from_millis(self.quiet_since_ms.load(Ordering::Relaxed));
        (self.busy.load(Ordering::Relaxed) == 0).then(|| self.opened.elapsed().saturating_sub(since))
    }
}

/// Serves one connection in the clear until it ends, by itself or because the gateway drains.
pub(crate) async fn serve_plain<S: Bottom>(stream: TcpStream, connection: Connection, bottom: S) {
    no_delay(&stream);
    serve(stream, None, Arc::new(connection), bottom).await;
}

/// The same over TLS.
pub(crate) async fn serve_tls<S: Bottom>(stream: TcpStream, tls: &Tls, mut connection: Connection, bottom: S) {
    no_delay(&stream);
    let secured = tokio::select! {
        biased;
        secured = tls.accept(stream) => secured,
        () = quiet_in_drain(&connection) => return,
    };
    connection.gateway.metrics.handshake(&secured);
    match secured {
        Ok(Secured { stream, is_h2, version, .. }) => {
            connection.tls = Some(version);
            serve(stream, Some(is_h2), Arc::new(connection), bottom).await;
        }
        Err(fault) => tracing::debug!(client.addr = %connection.peer, reason = fault.word(), "TLS handshake failed"),
    }
}

/// Answers are written whole; waiting for more to send with them only costs time. Fails only on a dead socket, which the next read tells.
fn no_delay(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
}

/// Serves what a client says from its first byte on. `agreed` is what TLS settled on: HTTP/2 or not.
async fn serve<S, T>(mut stream: T, agreed: Option<bool>, connection: Arc<Connection>, bottom: S)
where
    S: Bottom,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let limits = &connection.gateway.limits;
    let peeked = tokio::select! {
        biased;
        peeked = tokio::time::timeout(limits.head_timeout, peek(&mut stream)) => peeked,
        () = quiet_in_drain(&connection) => return,
    };
    let Ok(Ok((looks_h2, input))) = peeked else {
        return;
    };
    if agreed == Some(true) && !looks_h2 {
        tracing::debug!(client.addr = %connection.peer, "the client agreed on HTTP/2 and speaks something else");
        return;
    }
    // What agreed on HTTP/1.1 and speaks HTTP/2 is read as the HTTP/1.1 it said it is, and refused as that.
    let is_h2 = agreed.unwrap_or(looks_h2);
    let _ = connection.is_h1.set(!is_h2);
    let service = Stacked { stack: stack(bottom), connection: connection.clone() };
    let outcome = if is_h2 {
        let io = TokioIo::new(GuardedIo::h2(stream, connection.clone(), input));
        let streams = Streams { connection: connection.clone() };
        supervise(h2_builder(streams).serve_connection(io, service), &connection).await
    } else {
        let io = TokioIo::new(GuardedIo::h1(stream, connection.clone(), input));
        supervise(h1_builder().serve_connection(io, service), &connection).await
    };
    if let Err(error) = outcome {
        tracing::debug!(client.addr = %connection.peer, error = &error as &dyn std::error::Error, "connection broke");
    }
}

/// Reads until the first bytes tell HTTP/1 from HTTP/2. The bytes belong to what follows.
async fn peek(stream: &mut (impl AsyncRead + Unpin)) -> std::io::Result<(bool, BytesMut)> {
    let mut input = BytesMut::with_capacity(1024);
    loop {
        if stream.read_buf(&mut input).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let seen = input.len().min(PREFACE.len());
        if input[..seen] != PREFACE[..seen] {
            return Ok((false, input));
        }
        if seen == PREFACE.len() {
            return Ok((true, input));
        }
    }
}

fn h1_builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        // No timer: heads reach hyper whole, ours times them, and `quiet_too_long` the time between requests, with one timer for all of them.
        // Checked before by the scanner; here in case it is ever wrong. The default of 100 header fields costs nothing, setting it would.
        .max_header_size(limits::HEAD_BYTES_MAX)
        .max_buf_size(limits::CONNECTION_BUFFER_BYTES_MAX);
    builder
}

fn h2_builder(streams: Streams) -> http2::Builder<Streams> {
    let mut builder = http2::Builder::new(streams);
    builder
        .timer(TokioTimer::new())
        // Only so that a WebSocket over HTTP/2 is refused with the reason, as one over HTTP/1.1 is.
        .enable_connect_protocol()
        .max_concurrent_streams(limits::H2_STREAMS_MAX)
        .initial_stream_window_size(limits::H2_STREAM_WINDOW_BYTES)
        .initial_connection_window_size(limits::H2_CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(limits::H2_SEND_BUFFER_BYTES_MAX)
        .max_header_list_size(limits::HEAD_BYTES_MAX as u32)
        .max_pending_accept_reset_streams(limits::H2_PENDING_RESETS_MAX)
        .max_local_error_reset_streams(limits::H2_LOCAL_RESETS_MAX)
        .keep_alive_interval(limits::H2_PING_EVERY)
        .keep_alive_timeout(limits::H2_PING_EVERY);
    builder
}

/// A connection of either protocol.
trait Served: Future<Output = Result<(), hyper::Error>> {
    /// No further requests; those under way finish.
    fn finish(self: Pin<&mut Self>);
}

impl<T, S, B> Served for http1::Connection<TokioIo<GuardedIo<T>>, S>
where
    T: AsyncRead + AsyncWrite + Unpin + 'static,
    S: hyper::service::HttpService<Incoming, ResBody = B>,
    S::Error: Into<crate::stack::BoxError>,
    B: http_body::Body + 'static,
    B::Error: Into<crate::stack::BoxError>,
{
    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<T, S, B> Served for http2::Connection<TokioIo<GuardedIo<T>>, S, Streams>
where
    T: AsyncRead + AsyncWrite + Unpin + 'static,
    S: hyper::service::HttpService<Incoming, ResBody = B>,
    S::Error: Into<crate::stack::BoxError>,
    B: http_body::Body + 'static,
    B::Error: Into<crate::stack::BoxError>,
    Streams: hyper::rt::bounds::Http2ServerConnExec<S::Future, B>,
{
    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// Drives a connection, and finishes it when it is idle too long or the gateway drains.
async fn supervise(served: impl Served, connection: &Connection) -> Result<(), hyper::Error> {
    let limits = &connection.gateway.limits;
    let mut served = std::pin::pin!(served);
    tokio::select! {
        biased;
        outcome = &mut served => return outcome,
        () = quiet_in_drain(connection) => {}
        () = quiet_too_long(connection, limits.keep_alive) => {}
    }
    served.as_mut().finish();
    served.await
}

/// Ready when the gateway drains and this connection need not be waited for. HTTP/1 cannot say "no further requests" to an idle client without losing the
/// one it may just be sending: its next answer says it, and only clients that stay quiet are cut off. HTTP/2 can, by GOAWAY.
async fn quiet_in_drain(connection: &Connection) {
    connection.gateway.drain.cancelled().await;
    if connection.is_h1() {
        tokio::time::sleep(connection.gateway.limits.drain_idle).await;
    }
}

/// Ready when there was no request for `limit`. One timer per connection, however many requests there are.
async fn quiet_too_long(connection: &Connection, limit: Duration) {
    let mut next = limit;
    loop {
        tokio::time::sleep(next).await;
        next = match connection.quiet_for() {
            Some(quiet) if quiet >= limit => return,
            Some(quiet) => limit - quiet,
            None => limit,
        };
    }
}

/// Where the streams of an HTTP/2 connection run: in the gateway's one set of tasks, ended with it.
#[derive(Debug, Clone)]
struct Streams {
    connection: Arc<Connection>,
}

impl<F> Executor<F> for Streams
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let gateway = &self.connection.gateway;
        let (cut, limit) = (gateway.cut.clone(), gateway.limits.write_stall);
        gateway.tasks.spawn(async move { cut.run_until_cancelled(stall::watched(stream, limit)).await });
    }
}

/// The stack as hyper calls it.
struct Stacked<T> {
    stack: T,
    connection: Arc<Connection>,
}

impl<T, B> hyper::service::Service<Request<Incoming>> for Stacked<T>
where
    T: Service<Arrived, Response = Response<RecordedBody<B>>, Error = Infallible> + Clone,
{
    type Response = Response<RecordedBody<B>>;
    type Error = Infallible;
    type Future = Oneshot<T, Arrived>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let connection = &self.connection;
        let facts = if connection.is_h1() { connection.take_facts().unwrap_or(DISAGREED) } else { HeadFacts::default() };
        let given = request.headers().get(X_REQUEST_ID).filter(|_| connection.peer_trusted);
        let time = SystemTime::now();
        let id = given.and_then(RequestId::accept).unwrap_or_else(|| RequestId::new(time));
        let (parts, body) = request.into_parts();
        let exchange = Arc::new(Exchange::new(id, time, connection.clone(), &parts));
        let request = Request::from_parts(parts, body);
        self.stack.clone().oneshot(Arrived { request, facts, exchange })
    }
}
