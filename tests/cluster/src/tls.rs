//! Certificates for tests and clients that trust them. Must never skip the check of a certificate: what answers must be what was asked for.

use std::{fs, path::Path, sync::Arc};

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::raw::{self, Answer};

/// An authority that a test's clients trust.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl Authority {
    /// A new one; nobody else trusts it.
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names are names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority"))
    }

    /// Writes `HOST.crt` and `HOST.key` into `directory`.
    pub fn write(&self, directory: &Path, host: &str) {
        let (chain, key) = self.issue(&[host], 2100);
        fs::write(directory.join(format!("{host}.crt")), chain).expect("the directory is writable");
        fs::write(directory.join(format!("{host}.key")), key).expect("the directory is writable");
    }

    /// The chain and the key of a certificate for `hosts` that ends with the beginning of `year`, as PEM.
    pub fn issue(&self, hosts: &[&str], year: i32) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(hosts.iter().map(ToString::to_string).collect::<Vec<_>>()).expect("names");
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        (params.signed_by(&key, &self.0).expect("a certificate").pem(), key.serialize_pem())
    }

    /// The settings of a client that trusts this authority alone and offers `protocols` by ALPN.
    pub fn client(&self, protocols: &[&str]) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).expect("an authority");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        Arc::new(config)
    }
}

/// A TLS connection to `address` that asks for `host`.
pub async fn connect(address: &str, host: &str, client: &Arc<ClientConfig>) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(host.to_owned()).map_err(std::io::Error::other)?;
    let shake = async { TlsConnector::from(client.clone()).connect(name, TcpStream::connect(address).await?).await };
    tokio::time::timeout(crate::DEADLINE, shake).await?
}

/// Sends one request by HTTP/1.1.
pub async fn send_h1(stream: TlsStream<TcpStream>, mut request: Request<Full<Bytes>>) -> anyhow::Result<Answer> {
    *request.uri_mut() = request.uri().path().parse()?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);
    let answer = raw::read(sender.send_request(request).await?).await;
    driver.abort();
    answer
}

/// Sends one request by HTTP/2.
pub async fn send_h2(stream: TlsStream<TcpStream>, mut request: Request<Full<Bytes>>) -> anyhow::Result<Answer> {
    request.headers_mut().remove("host");
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);
    let answer = raw::read(sender.send_request(request).await?).await;
    driver.abort();
    answer
}
