//! How a gateway is made and held. Owns [`Config::bind`] and the [`Handle`]; must never serve anything.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use http::Method;
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Cidr,
    access::AccessLog,
    https::Ports,
    limits::Limits,
    live::Publisher,
    metrics::Metrics,
    run::{Door, Gateway, Shared},
    stack::Bottom,
    table::RoutingTable,
    tls::{Tls, TlsConfig},
    trace::Sampling,
    why::{self, WhyAnswer},
};

/// Everything a gateway is made of.
pub struct Config<S> {
    /// Where clients connect; HTTP/1.1 and HTTP/2 with prior knowledge on one port.
    pub listener: TcpListener,
    /// Where they speak TLS, when they may.
    pub tls: Option<TlsConfig>,
    /// What answers for an instance.
    pub bottom: S,
    /// Whose forwarding headers and request ids are believed.
    pub trusted_proxies: Vec<Cidr>,
    /// The limits.
    pub limits: Limits,
    /// Each request gets a span of the gateway's own, between the client's and the component's: somebody records these, of this share of traces.
    pub own_spans: Option<Sampling>,
    /// Where finished requests are told.
    pub access_log: Arc<dyn AccessLog>,
    /// Where they are counted; registered by the caller.
    pub metrics: Metrics,
}

impl<S> std::fmt::Debug for Config<S> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Config").field("listener", &self.listener).field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// Why a gateway cannot start.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The socket cannot be used.
    #[error("taking over the gateway's listening socket")]
    Listener(#[source] io::Error),
    /// The TLS library refuses its settings, or has no random numbers.
    #[error("setting up TLS")]
    Tls(#[source] rustls::Error),
}

impl<S: Bottom> Config<S> {
    /// Takes over the sockets. Must be called inside a tokio runtime. Until a table is published every request is answered 404.
    pub fn bind(self) -> Result<(Gateway<S>, Handle), BindError> {
        let address = self.listener.local_addr().map_err(BindError::Listener)?;
        let mut doors = vec![Door { listener: listen(self.listener)?, tls: None }];
        let (mut ports, mut in_use) = (None, None);
        if let Some(TlsConfig { listener, certificates, advertised_port }) = self.tls {
            let https = listener.local_addr().map_err(BindError::Listener)?.port();
            ports = Some(Ports { http: address.port(), https, advertised: advertised_port });
            in_use = Some(certificates.clone());
            self.metrics.watch_certificates(certificates.clone());
            doors.push(Door { listener: listen(listener)?, tls: Some(Arc::new(Tls::new(certificates, &self.limits)?)) });
        }
        let shared = Arc::new(Shared {
            publisher: Publisher::new(self.metrics.clone()),
            ports,
            certificates: in_use,
            told_of_no_tls: AtomicBool::new(false),
            places: Arc::new(Semaphore::new(self.limits.connections_max)),
            limits: self.limits,
            trusted_proxies: self.trusted_proxies,
            own_spans: self.own_spans,
            access_log: self.access_log,
            metrics: self.metrics,
            draining: AtomicBool::new(false),
            begin_drain: CancellationToken::new(),
            drain: CancellationToken::new(),
            cut: CancellationToken::new(),
            tasks: TaskTracker::new(),
        });
        let handle = Handle { shared: shared.clone(), address };
        Ok((Gateway { doors, bottom: self.bottom, shared }, handle))
    }
}

fn listen(listener: TcpListener) -> Result<tokio::net::TcpListener, BindError> {
    listener.set_nonblocking(true).map_err(BindError::Listener)?;
    tokio::net::TcpListener::from_std(listener).map_err(BindError::Listener)
}

/// Steers a gateway. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle {
    pub(crate) shared: Arc<Shared>,
    address: SocketAddr,
}

impl Handle {
    /// Puts `table` in use at once and as a whole. Requests under way finish with the old one; held requests look at the new one. In-flight counts of
    /// instances both tables name (by component, revision and ordinal) go on.
    pub fn publish(&self, table: Arc<RoutingTable>) {
        if table.wants_tls && self.shared.ports.is_none() && !self.shared.told_of_no_tls.swap(true, Ordering::Relaxed) {
            tracing::warn!(help = "start the node with --https", "routes want TLS and this node speaks none: it answers them in the clear");
        }
        self.shared.publisher.publish(table);
    }

    /// Begins the drain that ends [`Gateway::run`]. Calling it again changes nothing.
    pub fn drain(&self) {
        self.shared.begin_drain();
    }

    /// Who would answer `method url`, and why: host, route, revision, endpoints, queue.
    pub fn why(&self, method: &Method, url: &str) -> WhyAnswer {
        let certificates = self.shared.certificates.as_ref().map(|certificates| certificates.borrow().clone());
        let tls = self.shared.ports.zip(certificates.as_deref()).map(|(ports, certificates)| why::Tls { ports, certificates });
        why::why(&self.shared.publisher.live(), tls, method, url)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Requests at one instance right now, also when the table in use names it no longer: what a worker looks at before it stops an instance.
    pub fn in_flight(&self, target: &crate::Target) -> u32 {
        self.shared.publisher.in_flight(target)
    }

    /// What was counted at one instance; none when neither the table in use nor a request under way knows it.
    pub fn read(&self, target: &crate::Target) -> Option<crate::EndpointReading> {
        self.shared.publisher.read(target)
    }
}
