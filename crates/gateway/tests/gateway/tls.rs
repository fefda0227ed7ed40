//! TLS over real sockets: which certificate answers, how sets are exchanged under open connections, and what happens to those who do not speak it.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use gateway::{CertificatePair, CertificateSet, KeyText, Limits};
use http::{Request, Response, Version};
use http_body_util::{BodyExt as _, Empty};
use hyper::{body::Incoming, client::conn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{ClientConfig, HandshakeKind, ProtocolVersion, RootCertStore, pki_types::ServerName};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::{mpsc, watch},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::support::{Bench, Raw, Stub, Wish, get, soon, until};

/// An authority that clients of a test trust.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names are names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority"))
    }

    pub fn pair(&self, name: &str, hosts: &[&str]) -> CertificatePair {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(hosts.iter().map(ToString::to_string).collect::<Vec<_>>()).expect("names");
        let chain = params.signed_by(&key, &self.0).expect("a certificate").pem();
        CertificatePair { name: name.to_owned(), chain, key: KeyText::new(key.serialize_pem()) }
    }

    /// A client's settings: TLS of these versions, offering these protocols.
    pub fn client(&self, versions: &[&'static rustls::SupportedProtocolVersion], protocols: &[&str]) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).expect("an authority");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).expect("versions");
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        Arc::new(config)
    }

    fn modern(&self, protocols: &[&str]) -> Arc<ClientConfig> {
        self.client(rustls::ALL_VERSIONS, protocols)
    }
}

fn set(pairs: &[CertificatePair]) -> Arc<CertificateSet> {
    let (set, broken) = CertificateSet::load(pairs);
    assert_eq!(broken, []);
    Arc::new(set)
}

/// A gateway with these certificates, and who may exchange them.
pub fn secure(pairs: &[CertificatePair], wish: Wish) -> (Bench, SocketAddr, watch::Sender<Arc<CertificateSet>>) {
    let (sender, certificates) = watch::channel(set(pairs));
    let bench = Bench::with(Wish { certificates: Some(certificates), ..wish });
    let https = bench.https.expect("there are certificates");
    (bench, https, sender)
}

pub async fn connect(https: SocketAddr, host: &str, client: &Arc<ClientConfig>) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = soon("a connection", TcpStream::connect(https)).await.expect("the gateway listens");
    let name = ServerName::try_from(host.to_owned()).expect("a name");
    soon("a handshake", TlsConnector::from(client.clone()).connect(name, stream)).await
}

async fn ask_h1(stream: TlsStream<TcpStream>, path: &str) -> Response<Incoming> {
    let (mut sender, connection) = conn::http1::handshake(TokioIo::new(stream)).await.expect("HTTP/1.1");
    tokio::spawn(connection);
    let request = Request::get(path).header("host", "hello.localhost").body(Empty::<Bytes>::new()).expect("a request");
    soon("a response", sender.send_request(request)).await.expect("a response")
}

async fn text(response: Response<Incoming>) -> String {
    let body = soon("a body", response.into_body().collect()).await.expect("a whole body");
    String::from_utf8(body.to_bytes().to_vec()).expect("text")
}

fn failures(bench: &Bench, reason: &str) -> Option<f64> {
    bench.metric(&format!("gateway_tls_handshake_failures_total{{reason=\"{reason}\"}}"))
}

#[tokio::test]
async fn each_name_gets_its_certificate_and_an_unknown_one_is_refused() {
    let authority = Authority::new();
    let pairs = [authority.pair("one", &["hello.localhost"]), authority.pair("wild", &["*.shop.localhost"])];
    let (bench, https, _certificates) = secure(&pairs, Wish::default());
    let client = authority.modern(&[]);
    for host in ["hello.localhost", "a.shop.localhost"] {
        connect(https, host, &client).await.expect("the certificate has the name");
    }
    let error = connect(https, "other.localhost", &client).await.expect_err("nobody has that name");
    assert!(error.to_string().contains("UnrecognisedName"), "{error}");
    // An address is no name: the first certificate by name is shown, and such a client does not like it.
    let error = connect(https, "127.0.0.1", &client).await.expect_err("no certificate has an address");
    assert!(error.to_string().contains("not valid for name"), "{error}");
    until("what failed is counted", || failures(&bench, "unknown_name") == Some(1.0) && failures(&bench, "client_refused") == Some(1.0))
        .await;
    let done = "gateway_tls_handshakes_total{version=\"TLSv1.3\",resumed=\"false\"}";
    assert_eq!(bench.metric(done), Some(2.0));
    let expiry = bench.metric("gateway_certificate_expiry_seconds{name=\"one\"}").expect("a certificate in use");
    assert!(expiry > 2e9, "{expiry}");
}

#[tokio::test]
async fn http_1_and_http_2_are_agreed_on_and_the_component_is_told() {
    let authority = Authority::new();
    let (bench, https, _certificates) = secure(&[authority.pair("one", &["hello.localhost"])], Wish::default());
    let seen = text(ask_h1(connect(https, "hello.localhost", &authority.modern(&["http/1.1"])).await.expect("TLS"), "/see").await).await;
    assert!(seen.contains("\nx-forwarded-proto: https\n") && seen.ends_with("\nscheme https\n"), "{seen}");
    bench.log.wait_for_protocol("/see", "HTTP/1.1 TLSv1.3").await;

    let stream = connect(https, "hello.localhost", &authority.modern(&["h2", "http/1.1"])).await.expect("TLS");
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
    let (mut sender, connection) = conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("HTTP/2");
    tokio::spawn(connection);
    let request = Request::get("https://hello.localhost/see?2").version(Version::HTTP_2).body(Empty::<Bytes>::new()).expect("a request");
    let seen = text(soon("a response", sender.send_request(request)).await.expect("a response")).await;
    assert!(seen.contains("\nx-forwarded-proto: https\n") && seen.contains("\nhost: hello.localhost\n"), "{seen}");
    bench.log.wait_for_protocol("/see", "HTTP/2 TLSv1.3").await;

    let error = connect(https, "hello.localhost", &authority.modern(&["spdy/3"])).await.expect_err("no protocol in common");
    assert!(error.to_string().contains("NoApplicationProtocol"), "{error}");
    until("what failed is counted", || failures(&bench, "incompatible") == Some(1.0)).await;
    assert_eq!(bench.metric("gateway_connections_total{listener=\"https\"}"), Some(3.0));
}

#[tokio::test]
async fn tls_1_2_is_spoken_and_sessions_are_resumed() {
    let authority = Authority::new();
    let (bench, https, _certificates) = secure(&[authority.pair("one", &["hello.localhost"])], Wish::default());
    for (version, number) in [(&rustls::version::TLS12, ProtocolVersion::TLSv1_2), (&rustls::version::TLS13, ProtocolVersion::TLSv1_3)] {
        let client = authority.client(&[version], &[]);
        for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let stream = connect(https, "hello.localhost", &client).await.expect("TLS");
            assert_eq!((stream.get_ref().1.protocol_version(), stream.get_ref().1.handshake_kind()), (Some(number), Some(kind)));
            // Tickets of TLS 1.3 come with the first answer.
            assert_eq!(text(ask_h1(stream, "/").await).await, "hello\n");
        }
    }
    assert_eq!(bench.metric("gateway_tls_handshakes_total{version=\"TLSv1.2\",resumed=\"true\"}"), Some(1.0));
    assert_eq!(bench.metric("gateway_tls_handshakes_total{version=\"TLSv1.3\",resumed=\"true\"}"), Some(1.0));
}

#[tokio::test]
async fn a_new_set_holds_for_new_handshakes_and_streams_go_on() {
    let (old, new) = (Authority::new(), Authority::new());
    let (sender, frames) = mpsc::channel(1);
    let stub = Stub { frames: std::sync::Mutex::new(Some(frames)), ..Stub::default() };
    let (_bench, https, certificates) = secure(&[old.pair("one", &["hello.localhost"])], Wish { stub, ..Wish::default() });
    let stream = connect(https, "hello.localhost", &old.modern(&[])).await.expect("TLS");
    let mut body = ask_h1(stream, "/stream").await.into_body();
    let mut frame = async |text: &'static str| {
        sender.send(Bytes::from(text)).await.expect("the stub reads");
        let frame = soon("a frame", body.frame()).await.expect("no end").expect("no error");
        assert_eq!(frame.into_data().expect("data"), text);
    };
    frame("before").await;
    certificates.send_replace(set(&[new.pair("one", &["hello.localhost"])]));
    connect(https, "hello.localhost", &old.modern(&[])).await.expect_err("the old certificate is gone");
    connect(https, "hello.localhost", &new.modern(&[])).await.expect("the new one is in use");
    frame("after").await;
    certificates.send_replace(Arc::new(CertificateSet::default()));
    connect(https, "hello.localhost", &new.modern(&[])).await.expect_err("no certificate is left");
    frame("and on").await;
}

#[tokio::test]
async fn plain_http_and_silence_are_told_apart() {
    let authority = Authority::new();
    let limits = Limits { handshake_timeout: Duration::from_millis(50), ..Limits::standard() };
    let (bench, https, _certificates) = secure(&[authority.pair("one", &["hello.localhost"])], Wish { limits, ..Wish::default() });
    let mut plain = Raw::connect(https).await;
    plain.send(get("/")).await;
    let reply = plain.reply().await;
    assert_eq!(reply.verdict(), "400 E0507");
    assert!(reply.body.contains("https://"), "{reply:?}");
    let mut silent = Raw::connect(https).await;
    assert!(silent.read_end().await.is_empty());
    let mut noise = Raw::connect(https).await;
    noise.send([0xff; 64]).await;
    noise.read_end().await;
    drop(Raw::connect(https).await);
    let counted = || ["plain_http", "timeout", "malformed", "left"].iter().all(|reason| failures(&bench, reason) == Some(1.0));
    until("each is counted under its reason", counted).await;
    until("the end of all connections", || bench.metric("gateway_connections_open{listener=\"https\"}") == Some(0.0)).await;
}

/// The first words of a client that will say nothing more.
async fn greeting(client: &Arc<ClientConfig>) -> Vec<u8> {
    let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
    let name = ServerName::try_from("hello.localhost").expect("a name");
    let connector = TlsConnector::from(client.clone());
    let handshake = tokio::spawn(async move { connector.connect(name, ours).await.map(drop) });
    let mut words = vec![0; 16 * 1024];
    let count = theirs.read(&mut words).await.expect("a greeting");
    words.truncate(count);
    handshake.abort();
    words
}

#[tokio::test]
async fn handshakes_under_way_are_bounded_and_a_silent_client_holds_none() {
    let authority = Authority::new();
    let limits = Limits { handshakes_max: 1, handshake_timeout: Duration::from_millis(500), ..Limits::standard() };
    let (bench, https, _certificates) = secure(&[authority.pair("one", &["hello.localhost"])], Wish { limits, ..Wish::default() });
    let client = authority.modern(&[]);
    let _silent = Raw::connect(https).await;
    connect(https, "hello.localhost", &client).await.expect("who says nothing is in nobody's way");
    let mut half = TcpStream::connect(https).await.expect("the gateway listens");
    half.write_all(&greeting(&client).await).await.expect("the gateway reads");
    // The gateway's half is said: the only place is taken until the time of that one is over.
    let mut first = [0; 1];
    soon("the gateway's greeting", half.read_exact(&mut first)).await.expect("an answer");
    let late = connect(https, "hello.localhost", &client);
    late.await.expect("the place is free again once the half handshake has run out of time, which is before this one does");
    until("the half handshake is given up", || failures(&bench, "timeout") >= Some(1.0)).await;
}

#[tokio::test]
async fn a_drain_finishes_what_is_said_over_tls() {
    let authority = Authority::new();
    let stub = Stub { gate: Some(tokio::sync::Semaphore::new(0)), ..Stub::default() };
    let (bench, https, _certificates) = secure(&[authority.pair("one", &["hello.localhost"])], Wish { stub, ..Wish::default() });
    let stream = connect(https, "hello.localhost", &authority.modern(&[])).await.expect("TLS");
    let waiting = tokio::spawn(ask_h1(stream, "/wait"));
    until("a request in flight", || bench.calls() == 1).await;
    let _silent = Raw::connect(https).await;
    bench.handle.drain();
    bench.stub.gate.as_ref().expect("a gate").add_permits(1);
    let response = soon("the answer", waiting).await.expect("no panic");
    assert_eq!(response.headers().get("connection").map(|value| value.as_bytes()), Some(b"close".as_slice()));
    assert_eq!(text(response).await, "waited");
    assert_eq!(bench.stop().await.left, 0);
}
