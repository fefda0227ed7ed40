//! One connection to the outside: resolve, judge, connect, speak TLS. Owns the way there; must never resolve a name twice or connect to an address that
//! was not judged.

use std::{
    io,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use model::egress::{Egress, Verdict};
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    net::TcpStream,
    runtime::Handle,
    sync::Semaphore,
    time::{Instant, timeout, timeout_at},
};
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;

use super::{
    cluster::AtPort,
    destination::{Denied, Destination},
    stream::EgressStream,
    surroundings::{HttpSurroundings, is_own},
};
use crate::limits;

/// Makes the connections of one component, each in a task of the node's main executor: whoever asks may be gone or slow.
#[derive(Clone)]
pub(super) struct Connector(Arc<Ways>);

struct Ways {
    egress: Arc<Egress>,
    surroundings: Arc<HttpSurroundings>,
    executor: Handle,
    connections: Arc<Semaphore>,
    tls: OnceLock<Arc<ClientConfig>>,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("the destination is denied")]
    Denied(Denied),
    #[error("the name cannot be resolved")]
    Lookup(#[source] io::Error),
    #[error("the name was not resolved in time")]
    LookupTimeout,
    #[error("the name has no address")]
    NoAddress,
    #[error("too many connections are open")]
    Limit,
    #[error("no connection in time")]
    Timeout,
    #[error("cannot connect")]
    Connect(#[source] io::Error),
    #[error("cannot speak TLS")]
    Tls(#[source] io::Error),
    #[error("cannot speak TLS: {0}")]
    NoTls(String),
    #[error("the connecting task ended")]
    Ended,
}

impl Connector {
    pub(super) fn new(egress: Arc<Egress>, surroundings: Arc<HttpSurroundings>, executor: Handle, connections: Arc<Semaphore>) -> Self {
        Self(Arc::new(Ways { egress, surroundings, executor, connections, tls: OnceLock::new() }))
    }
}

impl tower::Service<Uri> for Connector {
    type Response = EgressStream;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<EgressStream, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let ways = Arc::clone(&self.0);
        let executor = ways.executor.clone();
        Box::pin(async move {
            let connecting = async move {
                match timeout(limits::EGRESS_CONNECT_MAX, ways.connect(&uri)).await {
                    Ok(connected) => connected,
                    Err(_) => Err(ConnectError::Timeout),
                }
            };
            AbortOnDropHandle::new(executor.spawn(connecting)).await.unwrap_or(Err(ConnectError::Ended))
        })
    }
}

impl Ways {
    async fn connect(&self, uri: &Uri) -> Result<EgressStream, ConnectError> {
        let destination = Destination::of(uri).ok_or(ConnectError::NoAddress)?;
        let verdict = destination.decide(&self.egress);
        if verdict == Verdict::Denied {
            return Err(ConnectError::Denied(Denied::NoRule));
        }
        let addresses = match destination.address() {
            Some(address) => vec![address],
            None => self.look_up(&destination.host, destination.port).await?,
        };
        if addresses.is_empty() {
            return Err(ConnectError::NoAddress);
        }
        let cluster = self.cluster_at(destination.port).await;
        let judged = destination.judge(&verdict, &addresses, &cluster, is_own).map_err(ConnectError::Denied)?;
        let closed = |_| ConnectError::Limit;
        let own = Arc::clone(&self.connections).acquire_owned().await.map_err(closed)?;
        let of_node = Arc::clone(&self.surroundings.connections).acquire_owned().await.map_err(closed)?;
        let tcp = connect_one_of(&judged).await?;
        // Small requests and responses must not wait for each other's acknowledgements.
        tcp.set_nodelay(true).map_err(ConnectError::Connect)?;
        let permits = [own, of_node];
        if destination.scheme == model::egress::Scheme::Https {
            let name = server_name(&destination)?;
            let connector = TlsConnector::from(self.tls().await?);
            let tls = connector.connect(name, tcp).await.map_err(ConnectError::Tls)?;
            return Ok(EgressStream::tls(tls, permits));
        }
        Ok(EgressStream::plain(tcp, permits))
    }

    /// What is the cluster's at `port`. A name of it that leads nowhere leads no guest there either.
    async fn cluster_at(&self, port: u16) -> AtPort {
        let mut found = self.surroundings.cluster.at(port);
        for name in std::mem::take(&mut found.names) {
            let addresses = self.look_up(&name, port).await.unwrap_or_default();
            found.closed.extend(addresses.iter().map(IpAddr::to_canonical));
        }
        found
    }

    /// Asks the system, once.
    async fn look_up(&self, host: &str, port: u16) -> Result<Vec<IpAddr>, ConnectError> {
        let deadline = Instant::now() + limits::EGRESS_LOOKUP_MAX;
        let turn = timeout_at(deadline, Arc::clone(&self.surroundings.lookups).acquire_owned()).await;
        let turn = turn.map_err(|_| ConnectError::LookupTimeout)?.map_err(|_| ConnectError::Limit)?;
        let host = host.to_owned();
        let lookup = tokio::task::spawn_blocking(move || {
            // A lookup cannot be stopped: its turn ends when it does, not when nobody waits any more.
            let _turn = turn;
            let found = (host.as_str(), port).to_socket_addrs()?;
            Ok(found.map(|address| address.ip()).take(limits::EGRESS_ADDRESSES_MAX).collect())
        });
        match timeout_at(deadline, lookup).await {
            Ok(Ok(found)) => found.map_err(ConnectError::Lookup),
            Ok(Err(_)) => Err(ConnectError::Ended),
            Err(_) => Err(ConnectError::LookupTimeout),
        }
    }

    async fn tls(&self) -> Result<Arc<ClientConfig>, ConnectError> {
        if let Some(tls) = self.tls.get() {
            return Ok(Arc::clone(tls));
        }
        let surroundings = Arc::clone(&self.surroundings);
        let made = tokio::task::spawn_blocking(move || surroundings.tls()).await.map_err(|_| ConnectError::Ended)?;
        let made = made.map_err(ConnectError::NoTls)?;
        Ok(Arc::clone(self.tls.get_or_init(|| made)))
    }
}

/// Tries one after another. Each but the last has only a part of the time, so that one that is silent does not use it all up.
async fn connect_one_of(addresses: &[SocketAddr]) -> Result<TcpStream, ConnectError> {
    let mut failed = ConnectError::NoAddress;
    for (tried, address) in addresses.iter().enumerate() {
        let patience = if tried + 1 == addresses.len() {
            limits::EGRESS_CONNECT_MAX
        } else {
            Duration::min(limits::EGRESS_ADDRESS_PATIENCE, limits::EGRESS_CONNECT_MAX)
        };
        match timeout(patience, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => failed = ConnectError::Connect(error),
            Err(_) => failed = ConnectError::Timeout,
        }
    }
    Err(failed)
}

/// Who the certificate must belong to: the host as the guest wrote it, never what it resolved to.
fn server_name(destination: &Destination) -> Result<ServerName<'static>, ConnectError> {
    let host = destination.host.strip_suffix('.').unwrap_or(&destination.host);
    ServerName::try_from(host.to_owned()).map_err(|error| ConnectError::Tls(io::Error::other(error)))
}
