//! Channels over loopback: one connection for many, a new one when it breaks, and honest words about what may have arrived. Owns examples; must never sleep.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use hyper::{server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinSet,
};

use super::*;
use crate::{
    AcceptError, Acceptor, Asks, Caller, Credentials, Role,
    fixture::{Lab, Machine, members},
};

const HOUR: Duration = Duration::from_secs(3600);

/// A peer that answers what it is sent, and says what it saw.
struct Server {
    address: String,
    connections: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
    /// One message for each request that gets no answer.
    hanging: mpsc::UnboundedReceiver<()>,
    /// One sender for each request that is answered once it is told.
    held: mpsc::UnboundedReceiver<oneshot::Sender<()>>,
    refused: mpsc::UnboundedReceiver<AcceptError>,
    tasks: JoinSet<()>,
}

impl Server {
    /// Listens on a free port, or on that one.
    async fn start(acceptor: Acceptor, address: &str) -> Self {
        let listener = TcpListener::bind(address).await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let (hangs, hanging) = mpsc::unbounded_channel();
        let (holds, held) = mpsc::unbounded_channel();
        let (refuses, refused) = mpsc::unbounded_channel();
        let (connections, requests) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let mut tasks = JoinSet::new();
        let counters = (Arc::clone(&connections), Arc::clone(&requests));
        tasks.spawn(async move {
            let mut open = JoinSet::new();
            loop {
                let (stream, from) = listener.accept().await.expect("a connection");
                match acceptor.accept_tcp(stream, from).await {
                    Ok(accepted) => {
                        counters.0.fetch_add(1, Ordering::SeqCst);
                        assert!(matches!(accepted.caller, Caller::Node(_)));
                        open.spawn(serve(accepted.stream, Arc::clone(&counters.1), hangs.clone(), holds.clone()));
                    }
                    Err(error) => refuses.send(error).expect("somebody listens"),
                }
            }
        });
        Self { address, connections, requests, hanging, held, refused, tasks }
    }

    fn seen(&self) -> (usize, usize) {
        (self.connections.load(Ordering::SeqCst), self.requests.load(Ordering::SeqCst))
    }
}

async fn serve(
    stream: crate::Stream,
    requests: Arc<AtomicUsize>,
    hangs: mpsc::UnboundedSender<()>,
    holds: mpsc::UnboundedSender<oneshot::Sender<()>>,
) {
    let service = service_fn(move |request: Request<Incoming>| {
        requests.fetch_add(1, Ordering::SeqCst);
        let (hangs, holds) = (hangs.clone(), holds.clone());
        async move {
            if request.uri().path() == "/hang" {
                hangs.send(()).expect("somebody listens");
                std::future::pending::<()>().await;
            }
            if request.uri().path() == "/hold" {
                let (go_on, told) = oneshot::channel();
                holds.send(go_on).expect("somebody listens");
                told.await.expect("it is told");
            }
            let head = request.uri().to_string();
            let received = request.into_body().collect().await.expect("a body").to_bytes();
            Ok::<_, Infallible>(Response::new(body([head.into_bytes(), received.to_vec()].concat())))
        }
    });
    // How a connection ends is what the tests look at from the other side.
    let _ = http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
}

struct Pair {
    server: Machine,
    client: Machine,
    called: Credentials,
}

fn pair() -> Pair {
    let lab = Lab::new();
    let (one, seven) = (lab.node(1, Role::Server), lab.node(7, Role::Worker));
    let list = || members(20, &[&one, &seven]);
    Pair { server: Machine::new(&one, list()), client: Machine::new(&seven, list()), called: one.clone() }
}

impl Pair {
    fn channel(&self, to: &str) -> Channel {
        let expected = Expected::Node(self.called.identity());
        Channel::new(ChannelConfig { ping_every: HOUR, ..ChannelConfig::new(self.client.dialer(), to, expected) })
    }
}

fn get(path: &str) -> Request<Body> {
    Request::builder().uri(path).body(empty_body()).expect("a request")
}

async fn text(response: Response<Incoming>) -> String {
    String::from_utf8(response.into_body().collect().await.expect("a body").to_bytes().to_vec()).expect("text")
}

#[tokio::test]
async fn many_requests_share_one_connection() {
    let pair = pair();
    let server = Server::start(pair.server.acceptor(Asks::Always), "127.0.0.1:0").await;
    let channel = pair.channel(&server.address);
    let mut requests = JoinSet::new();
    for number in 0..50 {
        let channel = channel.clone();
        requests.spawn(async move {
            let request = Request::post(format!("/echo?{number}")).body(body(vec![b'x'; number])).expect("a request");
            let answer = channel.request(request, HOUR).await.expect("an answer");
            (number, text(answer).await)
        });
    }
    let name = pair.called.identity().name();
    while let Some(done) = requests.join_next().await {
        let (number, answer) = done.expect("no panic");
        assert_eq!(answer, format!("https://{name}/echo?{number}{}", "x".repeat(number)));
    }
    assert_eq!(server.seen(), (1, 50));
}

#[tokio::test]
async fn a_peer_that_comes_back_is_found_again() {
    let pair = pair();
    let acceptor = pair.server.acceptor(Asks::Always);
    let mut server = Server::start(acceptor.clone(), "127.0.0.1:0").await;
    let address = server.address.clone();
    let channel = pair.channel(&address);
    assert!(channel.request(get("/"), HOUR).await.is_ok());
    // It dies with a request under way.
    let hanging = tokio::spawn({
        let channel = channel.clone();
        async move { channel.request(get("/hang"), HOUR).await }
    });
    server.hanging.recv().await.expect("it arrived");
    server.tasks.shutdown().await;
    let broken = hanging.await.expect("no panic").expect_err("no answer");
    assert!(matches!(broken, ChannelError::Broken { .. }) && broken.sent() == Sent::Perhaps, "{broken:?}");
    let gone = channel.request(get("/"), HOUR).await.expect_err("nobody listens");
    assert!(matches!(gone, ChannelError::Unreachable { .. }) && gone.sent() == Sent::Never, "{gone:?}");
    assert_eq!(gone.to_string(), format!("cannot reach {address}"));
    let server = Server::start(acceptor, &address).await;
    assert!(channel.request(get("/"), HOUR).await.is_ok());
    assert_eq!(server.seen(), (1, 1));
}

#[tokio::test]
async fn who_was_removed_sends_nothing_and_is_told_why() {
    let pair = pair();
    let mut server = Server::start(pair.server.acceptor(Asks::Always), "127.0.0.1:0").await;
    pair.server.known.publish(members(20, &[&pair.called]));
    let channel = pair.channel(&server.address);
    let error = channel.request(get("/"), HOUR).await.expect_err("refused");
    assert_eq!(error.sent(), Sent::Never);
    let told = error.source().expect("a reason").to_string();
    assert_eq!(told, format!("{} refused this node: it says that this node was removed from the cluster", server.address));
    assert!(matches!(server.refused.recv().await, Some(AcceptError::Refused { .. })));
    assert_eq!(server.seen(), (0, 0));
    // It is taken back, and the same channel goes on.
    pair.server.known.publish(members(20, &[&pair.called, &pair.client.identity.current()]));
    assert!(channel.request(get("/"), HOUR).await.is_ok());
}

#[tokio::test]
async fn a_deadline_says_whether_the_request_may_have_arrived() {
    let pair = pair();
    let mut server = Server::start(pair.server.acceptor(Asks::Always), "127.0.0.1:0").await;
    let channel = pair.channel(&server.address);
    // Connects in the system's queue, and nobody takes it from there.
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let nowhere = pair.channel(&silent.local_addr().expect("an address").to_string());
    let early = nowhere.request(get("/"), Duration::from_millis(50)).await.expect_err("nobody answers");
    assert!(matches!(early, ChannelError::Late { .. }) && early.sent() == Sent::Never, "{early:?}");
    // Here there is a connection, so that all of the second is for the answer that never comes.
    assert!(channel.request(get("/"), HOUR).await.is_ok());
    let hanging = tokio::spawn({
        let channel = channel.clone();
        async move { channel.request(get("/hang"), Duration::from_secs(1)).await }
    });
    server.hanging.recv().await.expect("it arrived");
    let late = hanging.await.expect("no panic").expect_err("no answer");
    assert!(matches!(late, ChannelError::Late { .. }) && late.sent() == Sent::Perhaps, "{late:?}");
    assert_eq!(late.to_string(), format!("{} did not answer within 1s", server.address));
}

#[tokio::test]
async fn what_became_pointless_is_given_up_and_says_whether_it_may_have_arrived() {
    let pair = pair();
    let mut server = Server::start(pair.server.acceptor(Asks::Always), "127.0.0.1:0").await;
    let channel = pair.channel(&server.address);
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let nowhere = pair.channel(&silent.local_addr().expect("an address").to_string());
    let early = nowhere.request_unless(get("/"), HOUR, async {}, HOUR).await.expect_err("given up");
    assert!(matches!(early, ChannelError::GivenUp { .. }) && early.sent() == Sent::Never, "{early:?}");
    let (gone, pointless) = oneshot::channel::<()>();
    let hanging =
        tokio::spawn(async move { channel.request_unless(get("/hang"), HOUR, async { drop(pointless.await) }, Duration::ZERO).await });
    server.hanging.recv().await.expect("it arrived");
    drop(gone);
    let late = hanging.await.expect("no panic").expect_err("given up");
    assert!(matches!(late, ChannelError::GivenUp { .. }) && late.sent() == Sent::Perhaps, "{late:?}");
}

#[tokio::test]
async fn a_peer_that_may_have_it_is_given_the_grace_to_answer() {
    let pair = pair();
    let mut server = Server::start(pair.server.acceptor(Asks::Always), "127.0.0.1:0").await;
    let channel = pair.channel(&server.address);
    let (gone, pointless) = oneshot::channel::<()>();
    let asked = tokio::spawn(async move { channel.request_unless(get("/hold"), HOUR, async { drop(pointless.await) }, HOUR).await });
    let go_on = server.held.recv().await.expect("it arrived");
    drop(gone);
    go_on.send(()).expect("it waits");
    assert!(asked.await.expect("no panic").is_ok());
}

#[tokio::test]
async fn a_peer_that_says_nothing_any_more_is_given_up() {
    let pair = pair();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let acceptor = pair.server.acceptor(Asks::Always);
    let expected = Expected::Node(pair.called.identity());
    let life = Duration::from_millis(200);
    let config = ChannelConfig::new(pair.client.dialer(), &address, expected);
    let channel = Channel::new(ChannelConfig { ping_every: life, ping_max: life, ..config });
    let request = tokio::spawn(async move { channel.request(get("/"), HOUR).await });
    let (stream, from) = listener.accept().await.expect("a connection");
    let mut accepted = acceptor.accept(stream, from).await.expect("a member");
    // HTTP/2's empty SETTINGS frame, and then silence.
    accepted.stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.expect("sent");
    accepted.stream.flush().await.expect("sent");
    let mut first = [0; 24];
    accepted.stream.read_exact(&mut first).await.expect("HTTP/2's first words");
    assert!(first.starts_with(b"PRI * HTTP/2.0"));
    let broken = request.await.expect("no panic").expect_err("no answer");
    assert!(matches!(broken, ChannelError::Broken { .. }) && broken.sent() == Sent::Perhaps, "{broken:?}");
}

#[tokio::test]
async fn the_connection_ends_with_the_last_handle() {
    let pair = pair();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let acceptor = pair.server.acceptor(Asks::Always);
    let channel = pair.channel(&address);
    let request = tokio::spawn(async move { channel.request(get("/"), HOUR).await });
    let (stream, from) = listener.accept().await.expect("a connection");
    let mut accepted = acceptor.accept(stream, from).await.expect("a member");
    accepted.stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.expect("sent");
    request.abort();
    assert!(request.await.expect_err("aborted").is_cancelled());
    // However it ends: with a farewell or without.
    let mut rest = Vec::new();
    let _ = accepted.stream.read_to_end(&mut rest).await;
}
