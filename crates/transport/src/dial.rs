//! Connections that go out: whom we mean to call, and whether it was they who answered. Owns connecting, its deadline and what went wrong in words; must never
//! retry: that is for whoever keeps the connection.

use std::{
    fmt, io,
    sync::Arc,
    time::{Duration, Instant},
};

use rustls::{
    ClientConfig,
    client::{Resumption, danger::ServerCertVerifier},
    pki_types::ServerName,
    sign::SingleCertAndKey,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
    time::timeout,
};
use tokio_rustls::TlsConnector;

use crate::{
    certificate::Side,
    clock::Clock,
    credentials::{Credentials, Identity},
    identity::{ClusterId, DOMAIN, NodeIdentity, Role, any_server_name},
    members::Known,
    refusal::Refusal,
    tls::{self, Peer, Protocol, Stream, Time, Verifier},
    verify::{self, Shown},
};

/// Whom we mean to call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// This one and no other.
    Node(NodeIdentity),
    /// Whichever server of our cluster is there.
    AnyServer,
}

impl Expected {
    pub(crate) fn name(&self, cluster: ClusterId) -> String {
        match self {
            Self::Node(identity) => identity.name(),
            Self::AnyServer => any_server_name(cluster),
        }
    }

    pub(crate) fn check(&self, peer: Peer) -> Result<Peer, Refusal> {
        let is_expected = match self {
            Self::Node(identity) => *identity == peer.identity,
            Self::AnyServer => peer.identity.role == Role::Server,
        };
        let unexpected = || Refusal::Unexpected { expected: self.to_string(), found: peer.identity };
        if is_expected { Ok(peer) } else { Err(unexpected()) }
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(identity) => identity.fmt(out),
            Self::AnyServer => out.write_str("a server"),
        }
    }
}

/// Why there is no connection. In no case was anything of a request sent.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The name leads nowhere.
    #[error("cannot find the address of {to}")]
    Resolve {
        /// Whom we called.
        to: String,
        /// What the system says.
        source: io::Error,
    },
    /// Nobody listens there, or nothing leads there.
    #[error("cannot connect to {to}")]
    Connect {
        /// Whom we called.
        to: String,
        /// What the system says.
        source: io::Error,
    },
    /// It was not over in time.
    #[error("{to} did not finish a connection within {within:?}")]
    Late {
        /// Whom we called.
        to: String,
        /// How long it could take.
        within: Duration,
    },
    /// What answered is not whom we called.
    #[error("{to} was refused")]
    Refused {
        /// Whom we called.
        to: String,
        /// Why.
        #[source]
        why: Refusal,
    },
    /// It refused us.
    #[error("{to} refused this node: {}", tls::told_by_alert(alert))]
    RefusedUs {
        /// Whom we called.
        to: String,
        /// The alert it sent.
        alert: String,
    },
    /// What answered is no TLS 1.3.
    #[error("{to} does not speak TLS 1.3 as nodes do; is it the right port?")]
    NotTls {
        /// Whom we called.
        to: String,
        /// What rustls says.
        source: io::Error,
    },
    /// It hung up.
    #[error("{to} hung up during the handshake")]
    Left {
        /// Whom we called.
        to: String,
        /// What the system says.
        source: io::Error,
    },
    /// Our own key cannot be used.
    #[error("this node's TLS settings cannot be used")]
    Settings(#[source] rustls::Error),
}

/// Calls other nodes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Dialer {
    /// Who this node is.
    pub identity: Identity,
    /// Who the others are.
    pub known: Known,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// How long connecting and the handshake may take together; [`crate::HANDSHAKE_MAX`] at most.
    pub connect_max: Duration,
}

impl Dialer {
    /// Calls `to` (`host:port`), and makes sure that who answers is whom we expect.
    ///
    /// With TLS 1.3 the caller is done before the other side has looked at its certificate: a refusal of *this* node shows at the first read.
    ///
    /// # Errors
    /// Nobody answers in time, or somebody else does; see [`DialError`].
    pub async fn dial(&self, to: &str, expected: Expected, protocol: Protocol) -> Result<(Stream, Peer), DialError> {
        let within = self.connect_max;
        let dialed = async {
            let stream = connect(to, within).await?;
            self.secure(stream, to, expected, protocol).await
        };
        timeout(within, dialed).await.map_err(|_| DialError::Late { to: to.to_owned(), within })?
    }

    /// The handshake over a stream that leads to `to`, without a deadline of its own.
    ///
    /// # Errors
    /// Somebody else answers; see [`DialError`].
    pub async fn secure<S>(&self, stream: S, to: &str, expected: Expected, protocol: Protocol) -> Result<(Stream<S>, Peer), DialError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let credentials = self.identity.current();
        let authorities = credentials.authorities().clone();
        let name = expected.name(authorities.cluster());
        let known = self.known.current();
        let verifier = Verifier::new(self.clock.clone(), move |certificate, behind, now| {
            let judged = verify::judge(&authorities, &known, Shown { certificate, behind }, Side::Server, now);
            judged.and_then(|judged| expected.check(judged.peer))
        });
        handshake(stream, to, &name, Offer { protocol, clock: self.clock.clone(), credentials: Some(credentials) }, verifier).await
    }
}

/// What a client brings along.
pub(crate) struct Offer {
    pub(crate) protocol: Protocol,
    pub(crate) clock: Arc<dyn Clock>,
    /// None for who has no certificate yet.
    pub(crate) credentials: Option<Credentials>,
}

/// A TCP connection to the first address of `to` that takes it.
pub(crate) async fn connect(to: &str, within: Duration) -> Result<TcpStream, DialError> {
    let started = Instant::now();
    let addresses = lookup_host(to).await.map_err(|source| DialError::Resolve { to: to.to_owned(), source })?;
    let addresses: Vec<_> = addresses.collect();
    let mut last = io::Error::other("the name has no address");
    for (at, address) in addresses.iter().enumerate() {
        // An address that swallows everything leaves the others their share.
        let left = u32::try_from(addresses.len() - at).unwrap_or(u32::MAX);
        let share = within.saturating_sub(started.elapsed()) / left;
        match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Messages are small and each is waited for.
                stream.set_nodelay(true).map_err(|source| DialError::Connect { to: to.to_owned(), source })?;
                return Ok(stream);
            }
            Ok(Err(error)) => last = error,
            Err(_) => last = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(DialError::Connect { to: to.to_owned(), source: last })
}

/// A handshake as a client, and what the verifier saw.
pub(crate) async fn handshake<S, T>(
    stream: S,
    to: &str,
    name: &str,
    offer: Offer,
    verifier: Verifier<T>,
) -> Result<(Stream<S>, T), DialError>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: Clone + Send + Sync + 'static,
{
    let verifier = Arc::new(verifier);
    let settings = settings(offer, verifier.clone()).map_err(DialError::Settings)?;
    let name = ServerName::try_from(name.to_owned()).or_else(|_| ServerName::try_from(DOMAIN.to_owned()));
    let name = name.map_err(|_| DialError::Settings(rustls::Error::General("no server name".to_owned())))?;
    let connected = TlsConnector::from(Arc::new(settings)).connect(name, stream).await;
    let to = to.to_owned();
    match (connected, verifier.seen()) {
        (_, Some(Err(why))) => Err(DialError::Refused { to, why }),
        (Ok(stream), Some(Ok(seen))) => Ok((stream.into(), seen)),
        (Ok(_), None) => Err(DialError::Refused { to, why: Refusal::NoCertificate }),
        (Err(source), _) => Err(match (tls::alert_in(&source), source.get_ref()) {
            (Some(alert), _) => DialError::RefusedUs { to, alert },
            (None, Some(inner)) if inner.is::<rustls::Error>() => DialError::NotTls { to, source },
            (None, _) => DialError::Left { to, source },
        }),
    }
}

fn settings(offer: Offer, verifier: Arc<dyn ServerCertVerifier>) -> Result<ClientConfig, rustls::Error> {
    let builder = ClientConfig::builder_with_details(tls::provider(), Arc::new(Time(offer.clock)))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut settings = match offer.credentials {
        Some(credentials) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(credentials.certified()))),
        None => builder.with_no_client_auth(),
    };
    settings.alpn_protocols = vec![offer.protocol.alpn()];
    // A resumed session shows no certificate, so it would be that of yesterday's list of members.
    settings.resumption = Resumption::disabled();
    Ok(settings)
}
