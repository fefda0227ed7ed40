//! Connections that come in: the handshake, and who called. Owns its deadline and what went wrong in words; must never decide what a caller may do.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use rustls::{
    ServerConfig,
    server::{NoServerSessionStorage, danger::ClientCertVerifier},
    sign::SingleCertAndKey,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};
use tokio_rustls::TlsAcceptor;

use crate::{
    certificate::Side,
    clock::Clock,
    credentials::{Credentials, Identity},
    limits::{FAREWELL_BYTES_MAX, FAREWELL_MAX},
    members::Known,
    refusal::Refusal,
    tls::{self, Caller, Peer, Protocol, Stream, Time, Verifier},
    verify::{self, Shown},
};

/// Whether callers are asked for a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asks {
    /// Whoever has one shows it: a port for members and for those who join.
    Optionally,
    /// Nobody else is let in: a port for nodes.
    Always,
    /// Nobody: a port for users, whose browsers would ask which of their certificates to show.
    Never,
}

/// What somebody gets who speaks HTTP without TLS here.
const PLAIN_HTTP: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 55\r\nconnection: close\r\n\r\n\
this port speaks TLS: use https:// in place of http://\n";

/// What an [`Acceptor`] works with.
#[derive(Debug, Clone)]
pub struct AcceptorConfig {
    /// Who this node is.
    pub identity: Identity,
    /// Who the others are.
    pub known: Known,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Whether callers show certificates.
    pub asks: Asks,
    /// How long a handshake may take; [`crate::HANDSHAKE_MAX`] unless a test says otherwise.
    pub handshake_max: Duration,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// It was not over in time.
    #[error("the handshake with {from} was not over within {within:?}")]
    Late {
        /// Who called.
        from: SocketAddr,
        /// How long it could take.
        within: Duration,
    },
    /// Its certificate was refused.
    #[error("{from} was refused")]
    Refused {
        /// Who called.
        from: SocketAddr,
        /// Why.
        #[source]
        why: Refusal,
    },
    /// It refused us.
    #[error(
        "{from} refused this node's certificate ({alert}); it may pin the authority of another cluster, or one of the two clocks is wrong"
    )]
    RefusedUs {
        /// Who called.
        from: SocketAddr,
        /// The alert it sent.
        alert: String,
    },
    /// It speaks HTTP without TLS; it was told.
    #[error("{from} speaks plain HTTP on a port for TLS")]
    PlainHttp {
        /// Who called.
        from: SocketAddr,
    },
    /// What it sent is no TLS 1.3.
    #[error("{from} does not speak TLS 1.3 as nodes do")]
    NotTls {
        /// Who called.
        from: SocketAddr,
        /// What rustls says.
        source: io::Error,
    },
    /// It left.
    #[error("{from} left during the handshake")]
    Left {
        /// Who called.
        from: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// Our own key cannot be used.
    #[error("this node's TLS settings cannot be used")]
    Settings(#[source] rustls::Error),
}

/// A connection that came in.
#[derive(Debug)]
pub struct Accepted<S> {
    /// What is said over it is encrypted, and comes from `caller`.
    pub stream: Stream<S>,
    /// Who it is.
    pub caller: Caller,
    /// What is spoken.
    pub protocol: Protocol,
}

/// Takes connections in. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Acceptor(Arc<AcceptorConfig>);

impl Acceptor {
    /// One per port.
    pub fn new(config: AcceptorConfig) -> Self {
        Self(Arc::new(config))
    }

    /// The handshake with `from` on a TCP connection that was just accepted. Small messages are sent at once from then on, and who speaks plain HTTP is told.
    ///
    /// # Errors
    /// It was not over in time, or one side refused the other; see [`AcceptError`].
    pub async fn accept_tcp(&self, stream: TcpStream, from: SocketAddr) -> Result<Accepted<TcpStream>, AcceptError> {
        let within = self.0.handshake_max;
        let deadline = Instant::now() + within;
        let left = |source| AcceptError::Left { from, source };
        stream.set_nodelay(true).map_err(left)?;
        let mut first = [0];
        let read = timeout_at(deadline, stream.peek(&mut first)).await.map_err(|_| AcceptError::Late { from, within })?;
        // Every TLS connection begins with a 22, every HTTP/1 and HTTP/2 one with the capital letter of a method.
        if read.map_err(left)? == 1 && first[0].is_ascii_uppercase() {
            explain(stream).await;
            return Err(AcceptError::PlainHttp { from });
        }
        self.handshake(stream, from, deadline).await
    }

    /// The handshake with `from` on any connection that was just accepted.
    ///
    /// # Errors
    /// It was not over in time, or one side refused the other; see [`AcceptError`].
    pub async fn accept<S>(&self, stream: S, from: SocketAddr) -> Result<Accepted<S>, AcceptError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        self.handshake(stream, from, Instant::now() + self.0.handshake_max).await
    }

    async fn handshake<S>(&self, stream: S, from: SocketAddr, deadline: Instant) -> Result<Accepted<S>, AcceptError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let within = self.0.handshake_max;
        let verifier = Arc::new(self.verifier());
        let settings = self.settings(&self.0.identity.current(), verifier.clone()).map_err(AcceptError::Settings)?;
        let handshake = TlsAcceptor::from(Arc::new(settings)).accept(stream).into_fallible();
        let finished = timeout_at(deadline, handshake).await.map_err(|_| AcceptError::Late { from, within })?;
        let stream = match finished {
            Ok(stream) => stream,
            Err((error, stream)) => {
                farewell(stream).await;
                return Err(told(from, error, verifier.seen()));
            }
        };
        let caller = match verifier.seen() {
            Some(Ok(peer)) => Caller::Node(peer),
            Some(Err(why)) => return Err(AcceptError::Refused { from, why }),
            None => Caller::Anonymous,
        };
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(Protocol::Http2.alpn().as_slice());
        let protocol = if is_http2 { Protocol::Http2 } else { Protocol::Http1 };
        Ok(Accepted { stream: stream.into(), caller, protocol })
    }

    fn verifier(&self) -> Verifier<Peer> {
        let authorities = self.0.identity.current().authorities().clone();
        let known = self.0.known.current();
        let verifier = Verifier::new(self.0.clock.clone(), move |certificate, behind, now| {
            verify::judge(&authorities, &known, Shown { certificate, behind }, Side::Client, now).map(|judged| judged.peer)
        });
        if self.0.asks == Asks::Always { verifier } else { verifier.optional() }
    }

    fn settings(&self, credentials: &Credentials, verifier: Arc<dyn ClientCertVerifier>) -> Result<ServerConfig, rustls::Error> {
        let builder = ServerConfig::builder_with_details(tls::provider(), Arc::new(Time(self.0.clock.clone())))
            .with_protocol_versions(&[&rustls::version::TLS13])?;
        let builder = match self.0.asks {
            Asks::Never => builder.with_no_client_auth(),
            Asks::Always | Asks::Optionally => builder.with_client_cert_verifier(verifier),
        };
        let mut settings = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(credentials.certified())));
        settings.alpn_protocols = vec![Protocol::Http2.alpn(), Protocol::Http1.alpn()];
        // A resumed session shows no certificate, so a removed node would come back by it.
        settings.session_storage = Arc::new(NoServerSessionStorage {});
        settings.send_tls13_tickets = 0;
        Ok(settings)
    }
}

fn told(from: SocketAddr, source: io::Error, seen: Option<Result<Peer, Refusal>>) -> AcceptError {
    if let Some(Err(why)) = seen {
        return AcceptError::Refused { from, why };
    }
    match source.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::AlertReceived(alert)) => AcceptError::RefusedUs { from, alert: format!("{alert:?}") },
        Some(rustls::Error::NoCertificatesPresented) => AcceptError::Refused { from, why: Refusal::NoCertificate },
        Some(_) => AcceptError::NotTls { from, source },
        None => AcceptError::Left { from, source },
    }
}

/// Tells a client that speaks plain HTTP what is wrong, as far as it listens.
async fn explain(mut stream: TcpStream) {
    // A client that is gone need not know.
    let _ = timeout(FAREWELL_MAX, stream.write_all(PLAIN_HTTP)).await;
    farewell(stream).await;
}

/// Closes so that the other side can still read the alert: a socket that is closed with bytes unread takes back what it sent.
async fn farewell<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) {
    let said = async {
        stream.shutdown().await?;
        let mut buffer = [0; 4096];
        let mut left = FAREWELL_BYTES_MAX;
        while left > 0 {
            match stream.read(&mut buffer).await? {
                0 => break,
                read => left = left.saturating_sub(read),
            }
        }
        io::Result::Ok(())
    };
    // Whether they heard it or not, it is over.
    let _ = timeout(FAREWELL_MAX, said).await;
}
