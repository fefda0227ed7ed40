//! The client against real listeners on this machine: TLS under a pinned authority, tokens, several servers, no leader, a download with its digest. Owns a
//! server that answers as told; every wait ends with an event.

use std::{
    collections::BTreeSet,
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use api::{
    client::{Client, ClientError, Server, Token},
    v1::{JoinRole, JoinTokenRequest},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use model::{
    id::{Digest, NodeId},
    quantity::Millis,
};
use serde_json::json;
use tokio::{net::TcpListener, task::JoinSet};
use transport::{
    Acceptor, AcceptorConfig, Asks, Authority, AuthorityDigest, Clock, ClusterId, Credentials, HANDSHAKE_MAX, Identity, Issue, KeyPair,
    Known, Members, NODE_LIFETIME, NodeIdentity, Role, SystemClock,
};

type Answer = Response<BoxBody<Bytes, Infallible>>;
type Handler = dyn Fn(Request<Incoming>) -> Answer + Send + Sync;

/// A server of a cluster; gone when dropped.
struct Fake {
    address: SocketAddr,
    authority: AuthorityDigest,
    _tasks: JoinSet<()>,
}

impl Fake {
    async fn start(handler: impl Fn(Request<Incoming>) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (acceptor, authority) = acceptor();
        let handler: Arc<Handler> = Arc::new(handler);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, from)) = listener.accept().await {
                let (acceptor, handler) = (acceptor.clone(), handler.clone());
                connections.spawn(async move {
                    // Whoever pins another authority leaves during the handshake.
                    let Ok(accepted) = acceptor.accept(stream, from).await else { return };
                    let service = service_fn(move |request| std::future::ready(Ok::<_, Infallible>(handler(request))));
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(accepted.stream), service).await;
                });
            }
        });
        Self { address, authority, _tasks: tasks }
    }

    fn server(&self) -> Server {
        self.pinned(self.authority)
    }

    fn pinned(&self, authority: AuthorityDigest) -> Server {
        Server::pinned(&format!("https://{}", self.address), authority).expect("an address")
    }
}

fn acceptor() -> (Acceptor, AuthorityDigest) {
    let now = SystemClock.now();
    let authority = Authority::create(ClusterId::random(), now).expect("an authority");
    let key = KeyPair::generate();
    let identity = NodeIdentity { cluster: authority.cluster(), node: NodeId(1), role: Role::Server };
    let issue = Issue { identity, key: &key.public(), names: &[], now, lifetime: NODE_LIFETIME };
    let certificate = authority.issue(&issue).expect("a certificate");
    let credentials = Credentials::new(key, &certificate, authority.certificate().clone()).expect("they belong together");
    let config = AcceptorConfig {
        identity: Identity::new(credentials),
        known: Known::new(Members::default()),
        clock: Arc::new(SystemClock),
        asks: Asks::Never,
        handshake_max: HANDSHAKE_MAX,
    };
    (Acceptor::new(config), authority.digest())
}

fn answer(status: StatusCode, body: &serde_json::Value) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body.to_string())).boxed());
    *answer.status_mut() = status;
    answer
}

fn no_leader() -> Answer {
    unavailable("E0422", "0")
}

/// An answer with this code that asks to be asked again after so many seconds.
fn unavailable(code: &str, seconds: &'static str) -> Answer {
    let mut answer = answer(StatusCode::SERVICE_UNAVAILABLE, &json!({"error": {"code": code, "message": "not now", "help": "try again"}}));
    answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(seconds));
    answer
}

/// Whoever shows the token is ana.
fn whoami(request: &Request<Incoming>) -> Answer {
    match request.headers().get(header::AUTHORIZATION) {
        Some(shown) if shown == "Bearer shoal_abc_def" => answer(StatusCode::OK, &json!({"name": "ana", "role": "admin"})),
        _ => answer(StatusCode::UNAUTHORIZED, &json!({"error": {"code": "E0423", "message": "this token is not known", "help": ""}})),
    }
}

fn token() -> Token {
    "shoal_abc_def".parse().expect("a token")
}

#[tokio::test]
async fn a_pinned_server_gets_the_token_and_another_gets_nothing() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    let fake = Fake::start(move |request| {
        counted.fetch_add(1, Ordering::SeqCst);
        whoami(&request)
    })
    .await;
    let known = Client::new(fake.server()).with_token(token());
    assert_eq!(known.whoami().await.expect("let in").name, "ana");
    let stranger = Client::new(fake.server()).whoami().await.expect_err("no token");
    assert_eq!(stranger.code(), "E0423");
    assert_eq!(asked.load(Ordering::SeqCst), 2);

    let other = Client::new(fake.pinned(AuthorityDigest::from_bytes([7; 32]))).with_token(token());
    let refused = other.whoami().await.expect_err("another cluster was pinned");
    assert!(matches!(refused, ClientError::Untrusted { .. }), "{refused:?}");
    assert_eq!((refused.code(), asked.load(Ordering::SeqCst)), ("E0610", 2), "it heard no request");

    let address = fake.address.to_string();
    let shown = transport::shown_authority(&address, Arc::new(SystemClock), Duration::from_secs(10)).await.expect("it shows its authority");
    assert_eq!(shown.digest(), fake.authority);
}

#[tokio::test]
async fn a_server_that_is_gone_is_passed_over_and_remembered() {
    let fake = Fake::start(|request| whoami(&request)).await;
    let gone = TcpListener::bind("127.0.0.1:0").await.expect("a free port").local_addr().expect("bound");
    let gone = Server::pinned(&format!("https://{gone}"), fake.authority).expect("an address");
    let client = Client::of(vec![gone.clone(), fake.server()]).with_token(token());
    assert_eq!(client.server(), &gone);
    assert_eq!(client.whoami().await.expect("the second answers").name, "ana");
    assert_eq!(client.server(), &fake.server());
}

#[tokio::test]
async fn whoever_may_not_ask_for_an_artifact_is_told_why() {
    let unknown =
        || answer(StatusCode::UNAUTHORIZED, &json!({"error": {"code": "E0423", "message": "this token is not known", "help": ""}}));
    let revoked = Fake::start(move |request: Request<Incoming>| match request.uri().path() {
        "/v1/whoami" => unknown(),
        _ => answer(StatusCode::UNAUTHORIZED, &json!(null)),
    })
    .await;
    let digest = Digest::of(b"artifact");
    let client = Client::of(vec![revoked.server()]).with_token(token());
    assert_eq!(client.has_artifact(&digest).await.expect_err("the token is revoked").code(), "E0423");
    let viewer = Fake::start(|request: Request<Incoming>| match request.uri().path() {
        "/v1/whoami" => whoami(&request),
        _ => answer(StatusCode::FORBIDDEN, &json!(null)),
    })
    .await;
    let told = Client::of(vec![viewer.server()]).with_token(token()).has_artifact(&digest).await.expect_err("it may only read");
    assert_eq!(told.code(), "E0421");
}

#[tokio::test]
async fn without_a_leader_a_patient_client_asks_again_and_another_is_told() {
    let asked = Arc::new(AtomicUsize::new(0));
    let (counted, keys) = (asked.clone(), Arc::new(Mutex::new(BTreeSet::new())));
    let seen = keys.clone();
    let fake = Fake::start(move |request| {
        seen.lock().expect("nobody failed").insert(request.headers()["idempotency-key"].clone().as_bytes().to_vec());
        match counted.fetch_add(1, Ordering::SeqCst) % 3 {
            2 => answer(StatusCode::OK, &json!({"index": 7})),
            _ => no_leader(),
        }
    })
    .await;
    let patient = Client::new(fake.server()).with_patience(Duration::from_secs(30));
    assert_eq!(patient.revoke_token("k3v9").await.expect("in the end").index.0, 7);
    assert_eq!((asked.load(Ordering::SeqCst), keys.lock().expect("nobody failed").len()), (3, 1), "three tries of one write");
    let told = Client::new(fake.server()).revoke_token("k3v9").await.expect_err("no patience");
    assert_eq!((told.code(), asked.load(Ordering::SeqCst)), ("E0422", 4));
}

/// A server that hears requests and breaks off. Returns where it is and the keys it heard.
async fn deaf() -> (Server, Arc<Mutex<BTreeSet<Vec<u8>>>>, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let server: Server = format!("http://{}", listener.local_addr().expect("bound")).parse().expect("an address");
    let keys = Arc::<Mutex<BTreeSet<Vec<u8>>>>::default();
    let (heard, mut tasks) = (keys.clone(), JoinSet::new());
    tasks.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let heard = heard.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                let key = request.headers().get("idempotency-key").map(|key| key.as_bytes().to_vec());
                heard.lock().expect("nobody failed").extend(key);
                std::future::ready(Err::<Answer, _>(std::io::Error::other("gone")))
            });
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        }
    });
    (server, keys, tasks)
}

#[tokio::test]
async fn a_write_that_broke_off_is_sent_to_another_server_under_the_same_key() {
    let (deaf, keys, _tasks) = deaf().await;
    let seen = keys.clone();
    let fake = Fake::start(move |request| {
        seen.lock().expect("nobody failed").insert(request.headers()["idempotency-key"].as_bytes().to_vec());
        answer(StatusCode::OK, &json!({"index": 7}))
    })
    .await;
    let patient = Client::of(vec![deaf.clone(), fake.server()]).with_patience(Duration::from_secs(30));
    assert_eq!(patient.revoke_token("k3v9").await.expect("the second answers").index.0, 7);
    assert_eq!(keys.lock().expect("nobody failed").len(), 1, "both heard one and the same write");
    let doubtful = Client::new(deaf.clone()).revoke_token("k3v9").await.expect_err("nobody knows");
    assert!(matches!(doubtful, ClientError::InDoubt { .. }) && doubtful.code() == "E0431", "{doubtful:?}");
    let token = JoinTokenRequest { role: JoinRole::Worker, ttl: Millis(1_000), uses: None, note: String::new() };
    let secret = Client::of(vec![deaf.clone(), fake.server()]).with_patience(Duration::from_secs(30)).create_join_token(&token).await;
    let secret = secret.expect_err("a second one would be made");
    assert!(matches!(secret, ClientError::InDoubt { .. }), "{secret:?}");
    let question = Client::new(deaf).whoami().await.expect_err("it broke off");
    assert!(matches!(question, ClientError::Broken { .. }), "a question is in no doubt: {question:?}");
}

/// A server that answers a write with these in turn. Returns the keys it heard, in order.
async fn saying(answers: impl Fn(usize) -> Answer + Send + Sync + 'static) -> (Fake, Arc<Mutex<Vec<Vec<u8>>>>) {
    let keys = Arc::<Mutex<Vec<Vec<u8>>>>::default();
    let heard = keys.clone();
    let fake = Fake::start(move |request| {
        let mut heard = heard.lock().expect("nobody failed");
        heard.push(request.headers()["idempotency-key"].as_bytes().to_vec());
        answers(heard.len())
    })
    .await;
    (fake, keys)
}

#[tokio::test]
async fn a_write_in_doubt_is_sent_again_under_the_same_key() {
    let (fake, keys) = saying(|tries| match tries {
        1 => unavailable("E0431", "0"),
        2 => no_leader(),
        _ => answer(StatusCode::OK, &json!({"index": 7})),
    })
    .await;
    let patient = Client::new(fake.server()).with_patience(Duration::from_secs(30));
    assert_eq!(patient.revoke_token("k3v9").await.expect("in the end").index.0, 7);
    let mut keys = keys.lock().expect("nobody failed").clone();
    assert_eq!(keys.len(), 3, "three tries");
    keys.dedup();
    assert_eq!(keys.len(), 1, "of one write");
}

#[tokio::test]
async fn a_write_in_doubt_stays_so_until_a_server_knows() {
    let (doubtful, _) = saying(|_| unavailable("E0431", "0")).await;
    let told = Client::new(doubtful.server()).revoke_token("k3v9").await.expect_err("no patience");
    assert!(matches!(told, ClientError::InDoubt { .. }) && told.code() == "E0431", "{told:?}");

    // Neither a server without a leader nor one that is too busy knows what came of the first try.
    for later in ["E0422", "E0407"] {
        let (fake, keys) = saying(move |tries| if tries == 1 { unavailable("E0431", "0") } else { unavailable(later, "3600") }).await;
        let patient = Client::new(fake.server()).with_patience(Duration::from_secs(30));
        let told = patient.revoke_token("k3v9").await.expect_err("too long to wait");
        assert!(matches!(told, ClientError::InDoubt { .. }), "{later}: {told:?}");
        assert_eq!(keys.lock().expect("nobody failed").len(), 2);
    }

    // What is refused is not in doubt, whoever asks twice.
    let refused = || answer(StatusCode::NOT_FOUND, &json!({"error": {"code": "E0402", "message": "there is none", "help": ""}}));
    let (fake, _) = saying(move |tries| if tries == 1 { unavailable("E0431", "0") } else { refused() }).await;
    let told = Client::new(fake.server()).with_patience(Duration::from_secs(30)).revoke_token("k3v9").await.expect_err("refused");
    assert_eq!(told.code(), "E0402");
}

#[tokio::test]
async fn a_snapshot_comes_with_its_digest_behind_it() {
    const CONTENT: &[u8] = b"the whole state";
    let fake = Fake::start(|request| {
        assert_eq!(request.uri(), "/v1/snapshot?artifacts=true");
        let mut trailers = HeaderMap::new();
        trailers.insert("x-shoal-sha256", Digest::of(CONTENT).hex().parse().expect("a header"));
        let pieces = CONTENT.chunks(4).map(|piece| Frame::data(Bytes::from_static(piece))).chain([Frame::trailers(trailers)]);
        let body = StreamBody::new(futures_util::stream::iter(pieces.map(Ok).collect::<Vec<_>>()));
        let mut answer = Response::new(BodyExt::boxed(body));
        answer.headers_mut().insert(header::TRAILER, HeaderValue::from_static("x-shoal-sha256"));
        answer
    })
    .await;
    let mut download =
        Client::new(fake.server()).snapshot(&api::v1::SnapshotQuery { artifacts: true, keys: false }).await.expect("it begins");
    let mut whole = Vec::new();
    while let Some(piece) = download.next().await.expect("it goes on") {
        whole.extend_from_slice(&piece);
    }
    assert_eq!((whole.as_slice(), download.digest()), (CONTENT, Some(Digest::of(CONTENT))));
}

#[tokio::test]
async fn a_server_tells_its_clock() {
    let version = json!({"version": "0.1.0", "node": "one", "api": ["v1"], "artifactBytesMax": 1});
    let fake = Fake::start(move |_| answer(StatusCode::OK, &version)).await;
    let (_, date) = Client::new(fake.server()).version_and_date().await.unwrap_or_else(|error| panic!("{error:?}"));
    let apart = date.expect("hyper writes it").millis().abs_diff(SystemClock.now().0);
    assert!(apart < 60_000, "{apart} ms");
}
