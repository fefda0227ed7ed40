//! A gateway on a free port, a stub that answers for instances, and a client that says exactly the bytes it is told to.

use std::{
    convert::Infallible,
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use gateway::{
    AccessLog, AccessRecord, BoxError, Builder, CallError, CallErrorKind, CertificateSet, Config, Drained, Endpoint, Handle, Instances,
    Limits, LocalRequest, Metrics, RouteRule, RoutingTable, TlsConfig,
};
use http::Response;
use http_body_util::{BodyExt as _, Full, channel::Channel, combinators::UnsyncBoxBody};
use model::{app::Https, id::RevisionNumber};
use prometheus_client::registry::Registry;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::{Semaphore, mpsc, oneshot, watch},
    task::JoinHandle,
};

/// No event a test waits for takes longer on a machine that is alive.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Waits for `event`, or fails the test with its name.
pub async fn soon<T>(what: &str, event: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, event).await.unwrap_or_else(|_| panic!("{what} did not happen"))
}

/// Waits until `check` holds; for what nobody sends an event of.
pub async fn until(what: &str, check: impl Fn() -> bool) {
    soon(what, async {
        while !check() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

pub type StubBody = UnsyncBoxBody<Bytes, BoxError>;

/// What the stub does, and what it saw.
#[derive(Default)]
pub struct Stub {
    /// Calls that reached it.
    pub calls: AtomicUsize,
    /// Calls that were dropped before they were answered.
    pub dropped: AtomicUsize,
    /// `/wait` answers once it gets a permit here.
    pub gate: Option<Semaphore>,
    /// `/stream` takes its frames from here.
    pub frames: Mutex<Option<mpsc::Receiver<Bytes>>>,
}

/// The bottom service: what it does is chosen by the path.
#[derive(Clone)]
pub struct Bottom(pub Arc<Stub>);

impl tower::Service<LocalRequest> for Bottom {
    type Response = Response<StubBody>;
    type Error = CallError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, CallError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, local: LocalRequest) -> Self::Future {
        self.0.calls.fetch_add(1, Ordering::SeqCst);
        Box::pin(answer(self.0.clone(), local))
    }
}

fn text(text: impl Into<Bytes>) -> StubBody {
    Full::new(text.into()).map_err(|never: Infallible| match never {}).boxed_unsync()
}

async fn answer(stub: Arc<Stub>, local: LocalRequest) -> Result<Response<StubBody>, CallError> {
    let (parts, body) = local.request.into_parts();
    let fail = |kind, code, message: &str| Err(CallError { kind, code, message: message.to_owned() });
    let reply = match parts.uri.path() {
        "/see" => Response::new(text(format!("{}scheme {}\n", seen(&parts), local.scheme))),
        "/who" => Response::new(text(format!("{}.{} {}", local.target.component, local.target.ordinal, local.target.revision))),
        "/echo" => {
            let mut response = Response::new(body.map_err(BoxError::from).boxed_unsync());
            if let Some(names) = parts.headers.get("trailer") {
                response.headers_mut().insert("trailer", names.clone());
            }
            response
        }
        "/read" => match body.collect().await {
            Ok(whole) => {
                let trailers = whole.trailers().map(|trailers| format!("{trailers:?}")).unwrap_or_default();
                Response::new(text(format!("{} {trailers}", whole.to_bytes().len())))
            }
            // What a component makes of a body that broke is its own affair; the gateway must not pass it on.
            Err(_) => Response::new(text("broken, but fine")),
        },
        "/wait" => {
            let mut dropped = CountDrop(Some(&stub.dropped));
            let gate = stub.gate.as_ref().expect("the test gave a gate");
            gate.acquire().await.expect("gates are not closed").forget();
            dropped.0 = None;
            Response::new(text("waited"))
        }
        "/stream" => {
            let mut frames = stub.frames.lock().expect("no test panics while it holds this").take().expect("the test gave frames");
            let (mut sender, body) = Channel::<Bytes, BoxError>::new(1);
            tokio::spawn(async move {
                while let Some(frame) = frames.recv().await {
                    if sender.send_data(frame).await.is_err() {
                        return;
                    }
                }
            });
            Response::new(body.boxed_unsync())
        }
        "/trap" => return fail(CallErrorKind::Failed, "E0304", "wasm trap: the guest's secret"),
        "/late" => return fail(CallErrorKind::Timeout, "E0306", "epoch deadline"),
        "/busy" => return fail(CallErrorKind::Overloaded, "E0308", "no slot"),
        "/full" => return fail(CallErrorKind::Overloaded, "E0311", "the instance's memory"),
        "/switch" => Response::builder().status(101).body(text("")).expect("a response"),
        "/forge" => Response::builder()
            .header("proxy-status", "shoal; error=destination_unavailable")
            .header("x-request-id", "forged")
            .header("connection", "x-mine")
            .header("x-mine", "1")
            .header("keep-alive", "timeout=1")
            .body(text("forged"))
            .expect("a response"),
        "/forge-trailers" => Response::new(forged_trailers()),
        "/half" => Response::new(half()),
        _ => Response::new(text("hello\n")),
    };
    Ok(reply)
}

/// The head of a request as the component sees it.
fn seen(parts: &http::request::Parts) -> String {
    let mut lines: Vec<_> = parts.headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap_or("?"))).collect();
    lines.sort();
    format!("{} {} {:?}\n{}\n", parts.method, parts.uri, parts.version, lines.join("\n"))
}

/// Nothing but trailers, most of which are not a component's to set.
fn forged_trailers() -> StubBody {
    let forged = [("proxy-status", "shoal; error=x"), ("connection", "close"), ("content-length", "1"), ("grpc-status", "0")];
    let forged = forged.map(|(name, value)| (http::HeaderName::from_static(name), http::HeaderValue::from_static(value)));
    let frame = Ok::<_, BoxError>(http_body::Frame::trailers(forged.into_iter().collect()));
    http_body_util::StreamBody::new(futures_util::stream::iter([frame])).boxed_unsync()
}

/// A body that breaks off.
fn half() -> StubBody {
    let frames = [Ok(http_body::Frame::data(Bytes::from_static(b"half"))), Err(BoxError::from("trap in the middle"))];
    http_body_util::StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync()
}

struct CountDrop<'a>(Option<&'a AtomicUsize>);

impl Drop for CountDrop<'_> {
    fn drop(&mut self) {
        if let Some(count) = self.0 {
            count.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// An access log as lines.
#[derive(Default)]
pub struct Log {
    lines: Mutex<Vec<String>>,
    /// Path and protocol of each.
    protocols: Mutex<Vec<(String, String)>>,
}

impl AccessLog for Log {
    fn record(&self, record: &AccessRecord<'_>) {
        let component = record.component.map_or_else(|| "-".to_owned(), ToString::to_string);
        let instance = record.instance.map_or_else(|| "-".to_owned(), |ordinal| ordinal.to_string());
        let (method, host, path, status) = (record.method, record.host, record.path, record.status.as_u16());
        let (bytes_in, bytes_out, error) = (record.bytes_in, record.bytes_out, record.error.unwrap_or("-"));
        assert!(!record.request_id.is_empty());
        let line = format!("{method} {host} {path} {component}.{instance} {status} in={bytes_in} out={bytes_out} {error}");
        self.lines.lock().expect("no test panics while it holds this").push(line);
        let protocol = record.tls.map_or_else(|| record.protocol.to_owned(), |tls| format!("{} {tls}", record.protocol));
        self.protocols.lock().expect("no test panics while it holds this").push((path.to_owned(), protocol));
    }
}

impl Log {
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().expect("no test panics while it holds this").clone()
    }

    pub async fn wait_for_protocol(&self, path: &str, protocol: &str) {
        let wanted = (path.to_owned(), protocol.to_owned());
        until(protocol, || self.protocols.lock().expect("no test panics while it holds this").contains(&wanted)).await;
    }

    /// Waits for the record that comes when a body is dropped, which may be after the client has read it.
    pub async fn wait_for(&self, line: &str) {
        soon(line, async {
            while !self.lines().iter().any(|has| has == line) {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

/// A running gateway.
pub struct Bench {
    pub handle: Handle,
    pub stub: Arc<Stub>,
    pub log: Arc<Log>,
    /// Where TLS is spoken, when it is.
    pub https: Option<SocketAddr>,
    registry: Registry,
    stop: oneshot::Sender<()>,
    running: JoinHandle<Drained>,
}

/// What a test may want otherwise.
pub struct Wish {
    pub limits: Limits,
    pub stub: Stub,
    pub trusted: Vec<gateway::Cidr>,
    pub table: Arc<RoutingTable>,
    pub own_spans: Option<gateway::Sampling>,
    /// With these the gateway has a TLS listener.
    pub certificates: Option<watch::Receiver<Arc<CertificateSet>>>,
}

impl Default for Wish {
    fn default() -> Self {
        Self {
            limits: Limits::standard(),
            stub: Stub::default(),
            trusted: Vec::new(),
            table: table(&one(100), |_| {}),
            own_spans: None,
            certificates: None,
        }
    }
}

/// One endpoint of `capacity`.
pub fn one(capacity: u32) -> Vec<Endpoint> {
    vec![Endpoint { ordinal: 1, capacity, local: true }]
}

/// A route of `host` and everything below `/`.
pub fn rule(component: &str, revision: u64) -> RouteRule {
    RouteRule {
        component: component.parse().expect("a valid id"),
        revision: RevisionNumber(revision),
        host: "hello.localhost".to_owned(),
        path: "/".to_owned(),
        exact: false,
        methods: Vec::new(),
        headers: Vec::new(),
        rewrite: None,
        timeout: DEADLINE,
        idle_timeout: DEADLINE,
        max_body_bytes: 1024 * 1024,
        https: Https::Both,
    }
}

/// The usual table: `hello.localhost/` to `hello/web` at these endpoints, with a queue of two.
pub fn table(endpoints: &[Endpoint], change: impl FnOnce(&mut RouteRule)) -> Arc<RoutingTable> {
    table_of(1, endpoints, change)
}

pub fn table_of(revision: u64, endpoints: &[Endpoint], change: impl FnOnce(&mut RouteRule)) -> Arc<RoutingTable> {
    let mut rule = rule("hello/web", revision);
    change(&mut rule);
    let mut builder = Builder::new();
    builder.instances(Instances {
        component: rule.component.clone(),
        revision: rule.revision,
        queue_length: 2,
        queue_wait: DEADLINE,
        endpoints: endpoints.to_vec(),
    });
    builder.route(rule).expect("a valid route");
    builder.build()
}

impl Bench {
    pub fn start() -> Self {
        Self::with(Wish::default())
    }

    pub fn with(wish: Wish) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let tls = wish.certificates.map(|certificates| {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
            TlsConfig { listener, certificates, advertised_port: None }
        });
        let https = tls.as_ref().map(|tls| tls.listener.local_addr().expect("a bound socket"));
        let mut registry = Registry::default();
        let (stub, log) = (Arc::new(wish.stub), Arc::new(Log::default()));
        let config = Config {
            listener,
            tls,
            bottom: Bottom(stub.clone()),
            trusted_proxies: wish.trusted,
            limits: wish.limits,
            own_spans: wish.own_spans,
            access_log: log.clone(),
            metrics: Metrics::register(&mut registry),
        };
        let (gateway, handle) = config.bind().expect("a fresh socket");
        handle.publish(wish.table);
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(gateway.run(async {
            let _ = stopped.await;
        }));
        Self { handle, stub, log, https, registry, stop, running }
    }

    pub fn address(&self) -> SocketAddr {
        self.handle.address()
    }

    pub fn calls(&self) -> usize {
        self.stub.calls.load(Ordering::SeqCst)
    }

    pub async fn connect(&self) -> Raw {
        Raw::connect(self.address()).await
    }

    /// One request on a connection of its own.
    pub async fn ask(&self, request: &str) -> Reply {
        let mut raw = self.connect().await;
        raw.send(request).await;
        raw.reply().await
    }

    /// `GET path` on a connection of its own.
    pub async fn get(&self, path: &str) -> Reply {
        self.ask(&get(path)).await
    }

    /// The value of a metric, by the whole text before it.
    pub fn metric(&self, series: &str) -> Option<f64> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).expect("a string takes any text");
        text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
    }

    pub async fn stop(self) -> Drained {
        let _ = self.stop.send(());
        soon("the end of the drain", self.running).await.expect("the gateway does not panic")
    }
}

/// `GET path` as text.
pub fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: hello.localhost\r\n\r\n")
}

/// A response as it came.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(has, _)| has == name).map(|(_, value)| value.as_str())
    }

    /// `status E05xx`, or the status alone of a component's own answer.
    pub fn verdict(&self) -> String {
        match self.header("proxy-status").and_then(|status| status.split("details=\"").nth(1)) {
            Some(details) => format!("{} {}", self.status, details.trim_end_matches('"')),
            None => self.status.to_string(),
        }
    }
}

/// A client that sends what it is told.
pub struct Raw {
    pub stream: TcpStream,
    input: Vec<u8>,
}

impl Raw {
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = soon("a connection", TcpStream::connect(address)).await.expect("the gateway listens");
        Self { stream, input: Vec::new() }
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        soon("room to write", self.stream.write_all(bytes.as_ref())).await.expect("the gateway reads");
    }

    /// Sends as much as the gateway takes; for what it need not read.
    pub async fn offer(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = soon("room to write, or an end", self.stream.write_all(bytes.as_ref())).await;
    }

    /// The next response, its body whole.
    pub async fn reply(&mut self) -> Reply {
        let head = self.read_to(b"\r\n\r\n").await;
        let head = String::from_utf8(head).expect("heads are ASCII");
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|status| status.parse().ok());
        let header = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned()));
        let mut reply = Reply { status: status.expect("a status line"), headers: lines.filter_map(header).collect(), body: String::new() };
        let body = match (reply.header("content-length"), reply.header("transfer-encoding")) {
            (Some(length), _) => self.read_exact(length.parse().expect("a number")).await,
            (None, Some(_)) => self.read_chunks().await,
            (None, None) if reply.header("connection") == Some("close") => self.read_end().await,
            (None, None) => Vec::new(),
        };
        reply.body = String::from_utf8(body).expect("test bodies are text");
        reply
    }

    /// Waits until the gateway has closed its side; what came before is returned.
    pub async fn read_end(&mut self) -> Vec<u8> {
        while self.fill().await {}
        std::mem::take(&mut self.input)
    }

    pub async fn read_to(&mut self, end: &[u8]) -> Vec<u8> {
        loop {
            if let Some(at) = self.input.windows(end.len()).position(|window| window == end) {
                return self.input.drain(..at + end.len()).collect();
            }
            assert!(self.fill().await, "the connection ended after {:?}", String::from_utf8_lossy(&self.input));
        }
    }

    pub async fn read_exact(&mut self, length: usize) -> Vec<u8> {
        while self.input.len() < length {
            assert!(self.fill().await, "the connection ended inside a body");
        }
        self.input.drain(..length).collect()
    }

    async fn read_chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let chunk = self.read_chunk().await;
            if chunk.is_empty() {
                return body;
            }
            body.extend(chunk);
        }
    }

    /// The data of the next chunk; empty for the last.
    pub async fn read_chunk(&mut self) -> Vec<u8> {
        let line = self.read_to(b"\r\n").await;
        let size = std::str::from_utf8(&line).ok().and_then(|line| usize::from_str_radix(line.trim(), 16).ok()).expect("a chunk size");
        let mut chunk = self.read_exact(size + 2).await;
        chunk.truncate(size);
        chunk
    }

    async fn fill(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        let read = soon("an answer or an end", self.stream.read(&mut buffer)).await.unwrap_or(0);
        self.input.extend_from_slice(&buffer[..read]);
        read > 0
    }
}
