//! Doors with real sockets: who gives way to whom. Nothing here waits for luck: what must end is waited for.

use axum::routing::get;
use hyper::StatusCode;
use model::id::NodeId;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};
use tokio_util::task::AbortOnDropHandle;
use transport::{
    AcceptorConfig, Asks, Authority, AuthorityDigest, Channel, ChannelConfig, Clock, ClusterId, Credentials, Dialer, Expected, Identity,
    Issue, KeyPair, Known, Members, NODE_LIFETIME, NodeIdentity, Pin, Role, SystemClock, dial_pinned,
};

use super::*;

const DEADLINE: Duration = Duration::from_secs(20);
const FOREVER: Duration = Duration::from_secs(24 * 3600);

/// A door that answers everybody behind it with 200.
struct Open {
    address: SocketAddr,
    authority: AuthorityDigest,
    node: Identity,
    _task: AbortOnDropHandle<()>,
}

impl Open {
    async fn new(kind: Kind, patience: Duration) -> Self {
        let (cluster, now) = (ClusterId::random(), SystemClock.now());
        let authority = Authority::create(cluster, now).expect("an authority");
        let of = |node, role| {
            let key = KeyPair::generate();
            let issue = Issue {
                identity: NodeIdentity { cluster, node: NodeId(node), role },
                key: &key.public(),
                names: &[],
                now,
                lifetime: NODE_LIFETIME,
            };
            let certificate = authority.issue(&issue).expect("a certificate");
            Identity::new(Credentials::new(key, &certificate, authority.certificate().clone()).expect("a pair"))
        };
        let acceptor = Acceptor::new(AcceptorConfig {
            identity: of(1, Role::Server),
            known: Known::new(Members::default()),
            clock: Arc::new(SystemClock),
            asks: Asks::Optionally,
            handshake_max: FOREVER,
        });
        let bounds = Bounds { connections: 16, strangers: 2, handshakes: 2, patience };
        let door = Door { acceptor, router: Router::new().route("/", get(|| async { "in" })), kind, bounds };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let task = AbortOnDropHandle::new(tokio::spawn(door.serve(listener, CancellationToken::new())));
        Self { address, authority: authority.certificate().digest(), node: of(2, Role::Worker), _task: task }
    }

    /// A connection of somebody without a certificate.
    async fn stranger(&self) -> transport::Stream {
        let pin = Pin { authority: self.authority, clock: Arc::new(SystemClock), protocol: Protocol::Http1, connect_max: DEADLINE };
        dial_pinned(&self.address.to_string(), &pin).await.expect("a handshake").stream
    }

    /// The way of a node.
    fn node(&self) -> Channel {
        let known = Known::new(Members::default());
        let dialer = Dialer { identity: self.node.clone(), known, clock: Arc::new(SystemClock), connect_max: DEADLINE };
        Channel::new(ChannelConfig::new(dialer, self.address.to_string(), Expected::AnyServer))
    }
}

async fn ended(stream: &mut (impl tokio::io::AsyncRead + Unpin), what: &str) {
    // Whether it is closed or reset is all the same.
    let _ = timeout(DEADLINE, stream.read_to_end(&mut Vec::new())).await.unwrap_or_else(|_| panic!("{what} is never closed"));
}

/// The first line of the answer; all of it is read, so that the next one begins where this one ended.
async fn answered(stream: &mut transport::Stream) -> String {
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("it reads");
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\nin") {
        let byte = timeout(DEADLINE, stream.read_u8()).await.expect("in time").expect("an answer");
        answer.push(byte);
    }
    String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned()
}

async fn asked(channel: &Channel) -> StatusCode {
    let request = hyper::Request::get("/").body(transport::empty_body()).expect("a request");
    channel.request(request, DEADLINE).await.expect("an answer").status()
}

#[tokio::test]
async fn the_oldest_handshake_gives_way() {
    let open = Open::new(Kind::Peer, FOREVER).await;
    let silent = async || TcpStream::connect(open.address).await.expect("it listens");
    let (mut first, _second, _third) = (silent().await, silent().await, silent().await);
    ended(&mut first, "the oldest handshake").await;
    assert_eq!(answered(&mut open.stranger().await).await, "HTTP/1.1 200 OK");
    assert_eq!(asked(&open.node()).await, StatusCode::OK, "and members come in too");
}

#[tokio::test]
async fn strangers_give_way_to_newer_ones_and_nodes_stay() {
    let open = Open::new(Kind::Peer, FOREVER).await;
    let node = open.node();
    assert_eq!(asked(&node).await, StatusCode::OK);
    let mut first = open.stranger().await;
    assert_eq!(answered(&mut first).await, "HTTP/1.1 200 OK", "a stranger is answered and stays one");
    let (mut second, mut third) = (open.stranger().await, open.stranger().await);
    assert_eq!(answered(&mut second).await, "HTTP/1.1 200 OK");
    assert_eq!(answered(&mut third).await, "HTTP/1.1 200 OK");
    ended(&mut first, "the oldest stranger").await;
    assert_eq!(asked(&node).await, StatusCode::OK);
    assert_eq!(answered(&mut third).await, "HTTP/1.1 200 OK", "the newest are still here");
}

#[tokio::test]
async fn a_stranger_goes_when_its_time_is_over_and_a_node_does_not() {
    for kind in [Kind::Api, Kind::Peer] {
        let open = Open::new(kind, Duration::ZERO).await;
        ended(&mut open.stranger().await, "a stranger").await;
        if kind == Kind::Peer {
            assert_eq!(asked(&open.node()).await, StatusCode::OK);
        }
    }
}
