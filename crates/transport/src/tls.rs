//! The settings of rustls for both sides, made anew for every connection, so that the next one has the newest certificate and list. Owns versions, protocols and
//! the way from a handshake to who called; must never decide whether a certificate is good.

use std::{
    fmt,
    sync::{Arc, LazyLock, OnceLock},
};

use model::id::Timestamp;
use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::danger::{ClientCertVerified, ClientCertVerifier},
    time_provider::TimeProvider,
};
use tokio::net::TcpStream;

use crate::{certificate::unix_time, clock::Clock, digest::KeyDigest, identity::NodeIdentity, refusal::Refusal};

/// A connection after its handshake, from either side.
pub type Stream<S = TcpStream> = tokio_rustls::TlsStream<S>;

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// Somebody without a certificate: a node that joins, or a user. What they may do is for a token to say.
    Anonymous,
    /// A node.
    Node(Peer),
}

/// A node that has shown who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Who it is.
    pub identity: NodeIdentity,
    /// The key it holds.
    pub key: KeyDigest,
}

/// What is spoken inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

impl Protocol {
    pub(crate) fn alpn(self) -> Vec<u8> {
        match self {
            Self::Http1 => b"http/1.1".to_vec(),
            Self::Http2 => b"h2".to_vec(),
        }
    }
}

/// What rustls computes with.
static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| Arc::new(rustls::crypto::ring::default_provider()));

pub(crate) fn provider() -> Arc<CryptoProvider> {
    PROVIDER.clone()
}

/// The alert that the other side sent, wherever in the chain of causes it stands.
pub(crate) fn alert_in(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(Error::AlertReceived(alert)) = error.downcast_ref() {
            return Some(format!("{alert:?}"));
        }
        // An I/O error shows its inner one's causes as its own, and hides the inner one.
        let inner = error.downcast_ref::<std::io::Error>().and_then(|error| error.get_ref());
        next = inner.map(|inner| inner as &(dyn std::error::Error + 'static)).or_else(|| error.source());
    }
    None
}

/// What an alert means to whoever runs the cluster: it is all that the other side tells.
pub(crate) fn told_by_alert(alert: &str) -> String {
    let means = match alert {
        "CertificateRevoked" => "it says that this node was removed from the cluster",
        "CertificateExpired" => {
            "it says that this node's certificate does not hold now, and it does not know this node as a member; are both clocks right?"
        }
        "UnknownCA" => "it belongs to another cluster, or has replaced the authority that signed this node's certificate",
        "AccessDenied" => "it knows this node by another key",
        "CertificateRequired" => "it speaks only to nodes, and this one showed no certificate",
        _ => return format!("it ended the handshake with the alert {alert}"),
    };
    means.to_owned()
}

/// A clock as rustls asks it.
#[derive(Debug)]
pub(crate) struct Time(pub(crate) Arc<dyn Clock>);

impl TimeProvider for Time {
    fn current_time(&self) -> Option<UnixTime> {
        Some(unix_time(self.0.now()))
    }
}

/// Judges the first certificate of a chain, with what came behind it.
type Judge<T> = dyn Fn(&CertificateDer<'_>, &[CertificateDer<'_>], Timestamp) -> Result<T, Refusal> + Send + Sync;

/// Judges what the other end of one connection shows, and keeps the judgment: rustls would pass on less.
pub(crate) struct Verifier<T> {
    judge: Box<Judge<T>>,
    clock: Arc<dyn Clock>,
    hints: Vec<DistinguishedName>,
    is_required: bool,
    seen: OnceLock<Result<T, Refusal>>,
}

impl<T: Clone> Verifier<T> {
    /// For one connection. `hints` are the names of authorities that a client is told of.
    pub(crate) fn new(
        clock: Arc<dyn Clock>,
        judge: impl Fn(&CertificateDer<'_>, &[CertificateDer<'_>], Timestamp) -> Result<T, Refusal> + Send + Sync + 'static,
    ) -> Self {
        Self { judge: Box::new(judge), clock, hints: Vec::new(), is_required: true, seen: OnceLock::new() }
    }

    /// The other end may do without a certificate.
    pub(crate) fn optional(self) -> Self {
        Self { is_required: false, ..self }
    }

    /// The judgment, once there was something to judge.
    pub(crate) fn seen(&self) -> Option<Result<T, Refusal>> {
        self.seen.get().cloned()
    }

    fn look(&self, first: &CertificateDer<'_>, others: &[CertificateDer<'_>]) -> Result<(), Error> {
        let judged = (self.judge)(first, others, self.clock.now());
        let result = judged.as_ref().map(|_| ()).map_err(Refusal::to_tls);
        // A handshake shows one certificate; a second judgment would not count.
        match self.seen.set(judged) {
            Ok(()) => result,
            Err(_) => Err(Error::General("a second certificate in one handshake".to_owned())),
        }
    }

    fn signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &PROVIDER.signature_verification_algorithms)
    }
}

impl<T> fmt::Debug for Verifier<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Verifier")
    }
}

/// Nodes speak TLS 1.3 only.
fn no_tls12() -> Error {
    Error::General("TLS 1.2 is not spoken between nodes".to_owned())
}

impl<T: Clone + Send + Sync + 'static> ServerCertVerifier for Verifier<T> {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.look(end_entity, intermediates).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}

impl<T: Clone + Send + Sync + 'static> ClientCertVerifier for Verifier<T> {
    fn client_auth_mandatory(&self) -> bool {
        self.is_required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.look(end_entity, intermediates).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}
