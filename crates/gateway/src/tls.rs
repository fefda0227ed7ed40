//! TLS towards clients: one listener, as many certificates as there are names, exchanged while connections live. Owns the handshake and the settings of
//! rustls; must never read a file or know what is said inside.

use std::{
    io,
    net::TcpListener,
    sync::{Arc, OnceLock},
    time::Duration,
};

use certificates::CertificateSet;
use rustls::{
    HandshakeKind, ProtocolVersion, ServerConfig,
    server::{Acceptor, ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::{
    io::AsyncWriteExt as _,
    net::TcpStream,
    sync::{Semaphore, watch},
    time::{Instant, timeout_at},
};
use tokio_rustls::{LazyConfigAcceptor, StartHandshake, server::TlsStream};

use crate::{config::BindError, limits::Limits};

/// Where clients speak TLS, and with which certificates.
#[derive(Debug)]
pub struct TlsConfig {
    /// Where clients connect; HTTP/1.1 and HTTP/2 by ALPN.
    pub listener: TcpListener,
    /// The certificates in use. A new set holds from the next handshake on; connections that are open stay.
    pub certificates: watch::Receiver<Arc<CertificateSet>>,
    /// Where clients reach the listener, when something in front of it maps another port onto it: what requests without TLS are sent to.
    pub advertised_port: Option<u16>,
}

/// The fatal alert `unrecognized_name` (RFC 6066, section 3) in a record of its own: rustls would say `access_denied`, which no client explains.
const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

/// What somebody gets who speaks HTTP without TLS here.
const PLAIN_HTTP: &[u8] = b"HTTP/1.1 400 Bad Request\r\nproxy-status: shoal; error=http_request_error; details=\"E0507\"\r\n\
content-type: text/plain; charset=utf-8\r\ncontent-length: 59\r\nconnection: close\r\n\r\n\
E0507: this port speaks TLS: use https:// in place of http\n";

/// Why there was no handshake. The words are labels of a metric, so the list is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HandshakeFault {
    /// It was not over in time.
    Timeout,
    /// The client left before it was over.
    Left,
    /// The client speaks HTTP without TLS.
    PlainHttp,
    /// What the client sent is no TLS, or breaks its rules.
    Malformed,
    /// No version, cipher or protocol in common.
    Incompatible,
    /// No certificate has the name the client asks for.
    UnknownName,
    /// The client does not like what it was shown, such as a certificate it does not trust.
    ClientRefused,
    /// As many handshakes as may be under way were under way all the time.
    Busy,
}

impl HandshakeFault {
    pub(crate) const ALL: [Self; 8] = [
        Self::Timeout,
        Self::Left,
        Self::PlainHttp,
        Self::Malformed,
        Self::Incompatible,
        Self::UnknownName,
        Self::ClientRefused,
        Self::Busy,
    ];

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Left => "left",
            Self::PlainHttp => "plain_http",
            Self::Malformed => "malformed",
            Self::Incompatible => "incompatible",
            Self::UnknownName => "unknown_name",
            Self::ClientRefused => "client_refused",
            Self::Busy => "busy",
        }
    }

    fn of(error: &io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::AlertReceived(_)) => Self::ClientRefused,
            Some(rustls::Error::PeerIncompatible(_) | rustls::Error::NoApplicationProtocol) => Self::Incompatible,
            Some(_) => Self::Malformed,
            None => Self::Left,
        }
    }
}

/// A connection after its handshake.
#[derive(Debug)]
pub(crate) struct Secured {
    pub(crate) stream: TlsStream<TcpStream>,
    /// The client chose HTTP/2.
    pub(crate) is_h2: bool,
    /// `TLSv1.2` or `TLSv1.3`.
    pub(crate) version: &'static str,
    /// By a ticket of an earlier one.
    pub(crate) resumed: bool,
}

/// Makes connections of sockets.
pub(crate) struct Tls {
    config: Arc<ServerConfig>,
    certificates: watch::Receiver<Arc<CertificateSet>>,
    /// One per handshake that may be under way.
    places: Semaphore,
    timeout: Duration,
}

impl Tls {
    pub(crate) fn new(certificates: watch::Receiver<Arc<CertificateSet>>, limits: &Limits) -> Result<Self, BindError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let resolver = Arc::new(Current { certificates: certificates.clone() });
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(BindError::Tls)?
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config.ticketer = tickets().map_err(BindError::Tls)?;
        Ok(Self {
            config: Arc::new(config),
            certificates,
            places: Semaphore::new(limits.handshakes_max),
            timeout: limits.handshake_timeout,
        })
    }

    /// The handshake, within its time. What the client must be told when there is none was told to it.
    pub(crate) async fn accept(&self, stream: TcpStream) -> Result<Secured, HandshakeFault> {
        let deadline = Instant::now() + self.timeout;
        let late = |_| HandshakeFault::Timeout;
        let start = timeout_at(deadline, greet(stream)).await.map_err(late)??;
        // From here on it costs processor time. A client that has not sent its greeting costs a socket only, and is counted with those.
        let place = timeout_at(deadline, self.places.acquire()).await;
        let _place = place.ok().and_then(Result::ok).ok_or(HandshakeFault::Busy)?;
        if self.certificates.borrow().find(start.client_hello().server_name()).is_none() {
            return Err(refuse(start, deadline).await);
        }
        let stream = timeout_at(deadline, start.into_stream(self.config.clone())).await.map_err(late)?;
        let stream = stream.map_err(|error| HandshakeFault::of(&error))?;
        let (_, session) = stream.get_ref();
        let is_h2 = session.alpn_protocol() == Some(b"h2");
        let version = if session.protocol_version() == Some(ProtocolVersion::TLSv1_2) { "TLSv1.2" } else { "TLSv1.3" };
        let resumed = session.handshake_kind() == Some(HandshakeKind::Resumed);
        Ok(Secured { stream, is_h2, version, resumed })
    }
}

/// One source of tickets per process: a session goes on at any listener and after any change of certificates, and its name is looked up again.
fn tickets() -> Result<Arc<dyn rustls::server::ProducesTickets>, rustls::Error> {
    static TICKETS: OnceLock<Arc<dyn rustls::server::ProducesTickets>> = OnceLock::new();
    if let Some(tickets) = TICKETS.get() {
        return Ok(tickets.clone());
    }
    let tickets = rustls::crypto::ring::Ticketer::new()?;
    Ok(TICKETS.get_or_init(|| tickets).clone())
}

/// Reads the client's greeting.
async fn greet(stream: TcpStream) -> Result<StartHandshake<TcpStream>, HandshakeFault> {
    let mut first = [0; 1];
    let count = stream.peek(&mut first).await.map_err(|_| HandshakeFault::Left)?;
    if count == 0 {
        return Err(HandshakeFault::Left);
    }
    if first[0].is_ascii_uppercase() {
        return Err(explain(stream).await);
    }
    LazyConfigAcceptor::new(Acceptor::default(), stream).await.map_err(|error| HandshakeFault::of(&error))
}

/// Tells a client that speaks plain HTTP what is wrong, as far as it listens.
async fn explain(mut stream: TcpStream) -> HandshakeFault {
    // Read first: closing a socket with unread bytes resets it, and the words are lost.
    let mut request = [0; 4096];
    let _ = stream.try_read(&mut request);
    let _ = stream.write_all(PLAIN_HTTP).await;
    let _ = stream.shutdown().await;
    HandshakeFault::PlainHttp
}

/// Tells a client that nobody here has the name it wants.
async fn refuse(start: StartHandshake<TcpStream>, deadline: Instant) -> HandshakeFault {
    let mut stream = start.io;
    let say = async {
        stream.write_all(&UNRECOGNIZED_NAME).await?;
        stream.shutdown().await
    };
    // A client that is gone or does not listen need not know.
    let _ = timeout_at(deadline, say).await;
    HandshakeFault::UnknownName
}

/// The certificates as they are when rustls asks.
struct Current {
    certificates: watch::Receiver<Arc<CertificateSet>>,
}

impl ResolvesServerCert for Current {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.certificates.borrow().find(hello.server_name()).cloned()
    }
}

impl std::fmt::Debug for Current {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Current").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_to_plain_http_is_as_long_as_it_says() {
        let text = std::str::from_utf8(PLAIN_HTTP).expect("ASCII");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{}", body.len());
    }

    #[test]
    fn every_fault_has_a_word_of_its_own() {
        let mut words = HandshakeFault::ALL.map(HandshakeFault::word);
        words.sort_unstable();
        assert!(words.windows(2).all(|pair| pair[0] != pair[1]));
        let broken = |error| io::Error::new(io::ErrorKind::InvalidData, error);
        let untrusted = broken(rustls::Error::AlertReceived(rustls::AlertDescription::UnknownCA));
        assert_eq!(HandshakeFault::of(&untrusted), HandshakeFault::ClientRefused);
        assert_eq!(HandshakeFault::of(&broken(rustls::Error::NoApplicationProtocol)), HandshakeFault::Incompatible);
        assert_eq!(HandshakeFault::of(&broken(rustls::Error::DecryptError)), HandshakeFault::Malformed);
        assert_eq!(HandshakeFault::of(&io::ErrorKind::UnexpectedEof.into()), HandshakeFault::Left);
    }
}
