//! What the outgoing requests of all components of a node share: the sockets that are protected, the trusted roots, and the bounds of the whole node.
//! Owns those; must never know a component.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket},
    sync::{Arc, OnceLock},
};

use rustls::{ClientConfig, RootCertStore, client::Resumption};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use super::cluster::ClusterSockets;
use crate::limits;

/// Where the protocols of TLS connections are chosen from, best first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

pub(crate) struct HttpSurroundings {
    pub(super) cluster: Arc<ClusterSockets>,
    /// Connections of the node.
    pub(super) connections: Arc<Semaphore>,
    /// Names that are looked up at this moment.
    pub(super) lookups: Arc<Semaphore>,
    /// What is still read of a guest's request after it was refused.
    pub(super) tasks: TaskTracker,
    trust: OnceLock<Result<Arc<ClientConfig>, String>>,
}

impl HttpSurroundings {
    /// `cluster` are the sockets of the cluster itself.
    pub(crate) fn new(cluster: Arc<ClusterSockets>, tasks: TaskTracker) -> Self {
        Self {
            cluster,
            connections: Arc::new(Semaphore::new(limits::EGRESS_CONNECTIONS_OF_NODE_MAX)),
            lookups: Arc::new(Semaphore::new(limits::EGRESS_LOOKUPS_MAX)),
            tasks,
            trust: OnceLock::new(),
        }
    }

    /// How one component speaks TLS. Reads the trusted roots at the first call of the process: it blocks for some milliseconds.
    ///
    /// # Errors
    /// In words, when there is no way to speak TLS.
    pub(super) fn tls(&self) -> Result<Arc<ClientConfig>, String> {
        let shared = self.trust.get_or_init(|| client_config(roots()).map(Arc::new)).as_ref().map_err(Clone::clone)?;
        let mut own = ClientConfig::clone(shared);
        // Sessions are one component's: another one must not be recognized by them.
        own.resumption = Resumption::in_memory_sessions(limits::EGRESS_TLS_SESSIONS_MAX);
        Ok(Arc::new(own))
    }
}

#[cfg(test)]
impl HttpSurroundings {
    pub(super) fn trust_only(&self, roots: RootCertStore) {
        assert!(self.trust.set(client_config(roots).map(Arc::new)).is_ok(), "before the first connection");
    }
}

fn client_config(roots: RootCertStore) -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    Ok(config)
}

/// The roots of this machine, or of `SSL_CERT_FILE` and `SSL_CERT_DIR`; where there are none, those that browsers trust, as they were when this was built.
fn roots() -> RootCertStore {
    let native = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, ignored) = roots.add_parsable_certificates(native.certs);
    for error in &native.errors {
        tracing::warn!(error = %error, "trusted roots cannot be read");
    }
    if added == 0 {
        tracing::warn!(ignored, "no trusted roots on this machine; outgoing TLS trusts the built-in ones");
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    roots
}

/// Whether `address` is one of this machine: the kernel answers connections to those with the address itself, or lets a socket have it. Sends nothing.
pub(super) fn is_own(address: IpAddr) -> bool {
    let from = if address.is_ipv4() { IpAddr::from(Ipv4Addr::UNSPECIFIED) } else { IpAddr::from(Ipv6Addr::UNSPECIFIED) };
    let source = || {
        let socket = UdpSocket::bind((from, 0))?;
        socket.connect((address, 9))?;
        socket.local_addr()
    };
    // The second address of an interface answers with the first one. Where sockets may have any address (`ip_nonlocal_bind`), that says nothing: one of the
    // documentation range (RFC 5737, RFC 3849) is nobody's.
    let may_have = |address: IpAddr| UdpSocket::bind((address, 0)).is_ok();
    let nobody = if address.is_ipv4() { IpAddr::from([192, 0, 2, 1]) } else { IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]) };
    source().is_ok_and(|source| source.ip() == address) || may_have(address) && !may_have(nobody)
}
