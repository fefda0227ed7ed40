//! Outgoing TLS: who is believed, by which name, and which protocol is spoken.

use std::sync::atomic::Ordering::SeqCst;

use hyper_util::rt::TokioExecutor;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{RootCertStore, ServerConfig, pki_types::PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use super::*;

/// A server whose certificate, for `name`, is signed by an authority of its own. Returns that authority as the only root.
async fn server(name: &str, protocol: &'static [u8]) -> (SocketAddr, Arc<AtomicUsize>, RootCertStore) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let mut config = builder.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key).unwrap();
    config.alpn_protocols = vec![protocol.to_vec()];
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            count.fetch_add(1, SeqCst);
            let Ok(stream) = TlsAcceptor::from(Arc::new(config.clone())).accept(stream).await else { continue };
            tokio::spawn(async move {
                let service = service_fn(|request: Request<Incoming>| async move {
                    Ok::<_, Infallible>(text(&format!("{:?} host {:?}", request.version(), request.headers().get("host"))))
                });
                let io = TokioIo::new(stream);
                if protocol == b"h2" {
                    let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(io, service).await;
                } else {
                    let _ = hyper::server::conn::http1::Builder::new().serve_connection(io, service).await;
                }
            });
        }
    });
    (address, connections, roots)
}

/// A client that believes `roots` alone and may reach `address` over TLS by any name.
fn client(address: SocketAddr, roots: RootCertStore) -> Client {
    let surroundings = surroundings();
    surroundings.trust_only(roots);
    client_in(surroundings, &[format!("https://{address}")])
}

#[tokio::test]
async fn http_2_is_spoken_where_it_is_offered_over_one_connection() {
    let (address, connections, roots) = server("localhost", b"h2").await;
    let client = client(address, roots);
    let url = format!("https://localhost:{}/", address.port());
    let answers = tokio::join!(get(&client, &url), get(&client, &url), get(&client, &url));
    for answer in [answers.0, answers.1, answers.2] {
        assert_eq!(answer.unwrap(), "HTTP/2.0 host None");
    }
    get(&client, &url).await.unwrap();
    let made = connections.load(SeqCst);
    get(&client, &url).await.unwrap();
    assert_eq!(connections.load(SeqCst), made, "one that is open is shared");
}

#[tokio::test]
async fn http_1_is_spoken_elsewhere() {
    let (address, _, roots) = server("localhost", b"http/1.1").await;
    let url = format!("https://localhost:{}/", address.port());
    let host = format!("HTTP/1.1 host Some(\"localhost:{}\")", address.port());
    assert_eq!(get(&client(address, roots), &url).await.unwrap(), host);
}

#[tokio::test]
async fn a_certificate_must_be_signed_by_a_root_and_be_of_the_name_that_was_asked_for() {
    let (address, _, roots) = server("localhost", b"h2").await;
    let (_, _, others) = server("localhost", b"h2").await;
    let asked = format!("https://localhost:{}/", address.port());
    assert_eq!(get(&client(address, others), &asked).await.unwrap_err(), "TlsCertificateError");
    let by_address = format!("https://{address}/");
    assert_eq!(get(&client(address, roots), &by_address).await.unwrap_err(), "TlsCertificateError");
    let (address, _, roots) = server("127.0.0.1", b"h2").await;
    assert_eq!(get(&client(address, roots), &format!("https://{address}/")).await.unwrap(), "HTTP/2.0 host None");
}

#[tokio::test]
async fn what_is_no_tls_is_said_to_be_none() {
    let server = Server::hello().await;
    let client = client_of(&[format!("https://{}", server.address)]);
    assert_eq!(get(&client, &format!("https://{}/", server.address)).await.unwrap_err(), "TlsProtocolError");
}
