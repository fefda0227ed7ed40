//! Accepting and draining. Owns the accept loop, the cap on connections and the three steps of a drain: accept on, stop accepting, cut; must never read a
//! byte of a connection.

use std::{
    convert::Infallible,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use certificates::CertificateSet;
use tokio::{
    net::TcpListener,
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Cidr,
    access::AccessLog,
    connection::{Connection, serve_plain, serve_tls},
    https::Ports,
    limits::{ACCEPT_PAUSE, Limits},
    live::Publisher,
    metrics::{DoorKind, Metrics},
    stack::Bottom,
    tls::Tls,
    trace::Sampling,
};

/// What all connections share.
pub(crate) struct Shared {
    pub(crate) publisher: Publisher,
    /// Where it listens, when it speaks TLS.
    pub(crate) ports: Option<Ports>,
    /// The certificates in use, when it speaks TLS.
    pub(crate) certificates: Option<watch::Receiver<Arc<CertificateSet>>>,
    /// That routes want TLS where there is none was said.
    pub(crate) told_of_no_tls: AtomicBool,
    pub(crate) limits: Limits,
    pub(crate) trusted_proxies: Vec<Cidr>,
    pub(crate) own_spans: Option<Sampling>,
    pub(crate) access_log: Arc<dyn AccessLog>,
    pub(crate) metrics: Metrics,
    /// Shutdown was asked for; read by every response.
    pub(crate) draining: AtomicBool,
    /// The same, to wait for.
    pub(crate) begin_drain: CancellationToken,
    /// No further connections are accepted: those that are open finish.
    pub(crate) drain: CancellationToken,
    /// Whatever still runs ends now.
    pub(crate) cut: CancellationToken,
    pub(crate) tasks: TaskTracker,
    /// One per connection that may be open.
    pub(crate) places: Arc<Semaphore>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Shared").field("draining", &self.draining).finish_non_exhaustive()
    }
}

impl Shared {
    /// From now on answers close their connections, and requests without any endpoint are not held.
    pub(crate) fn begin_drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
        self.begin_drain.cancel();
        self.publisher.wake();
    }
}

/// A listening socket, and what is spoken there.
pub(crate) struct Door {
    pub(crate) listener: TcpListener,
    pub(crate) tls: Option<Arc<Tls>>,
}

/// A gateway whose sockets listen. [`Gateway::run`] is its life.
pub struct Gateway<S> {
    pub(crate) doors: Vec<Door>,
    pub(crate) bottom: S,
    pub(crate) shared: Arc<Shared>,
}

impl<S> std::fmt::Debug for Gateway<S> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Gateway").field("doors", &self.doors.len()).finish_non_exhaustive()
    }
}

/// How a drain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Connections and HTTP/2 streams that were cut after `drain_max`; zero when all finished.
    pub left: usize,
    /// From the wish to the end.
    pub took: Duration,
}

impl<S: Bottom> Gateway<S> {
    /// Serves until `shutdown` is ready or [`crate::Handle::drain`] is called, then drains: accepts on for `drain_min`, stops accepting and finishes
    /// what runs, cuts what is left after `drain_max`.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Drained {
        let Self { doors, bottom, shared } = self;
        let begun = async {
            tokio::select! {
                () = shutdown => {}
                () = shared.begin_drain.cancelled() => {}
            }
        };
        accept_all(&doors, &bottom, &shared, begun).await;
        let since = Instant::now();
        shared.begin_drain();
        tracing::info!(drain.min = ?shared.limits.drain_min, drain.max = ?shared.limits.drain_max, "gateway drains");
        if !shared.limits.drain_min.is_zero() {
            accept_all(&doors, &bottom, &shared, tokio::time::sleep(shared.limits.drain_min)).await;
        }
        // Closes our descriptors only; where a socket was inherited, whoever listens next finds in its queue what we have not accepted.
        drop(doors);
        shared.drain.cancel();
        shared.tasks.close();
        let left = match tokio::time::timeout_at(since + shared.limits.drain_max, shared.tasks.wait()).await {
            Ok(()) => 0,
            Err(_) => shared.tasks.len(),
        };
        shared.cut.cancel();
        shared.tasks.wait().await;
        let drained = Drained { left, took: since.elapsed() };
        tracing::info!(drain.left = drained.left, drain.took = ?drained.took, "gateway drained");
        drained
    }
}

/// Accepts connections at every door until `end`.
async fn accept_all<S: Bottom>(doors: &[Door], bottom: &S, shared: &Arc<Shared>, end: impl Future<Output = ()>) {
    let accepts = futures_util::future::join_all(doors.iter().map(|door| accept(door, bottom, shared)));
    tokio::select! {
        biased;
        () = end => {}
        _ = accepts => {}
    }
}

/// Accepts connections for ever.
async fn accept<S: Bottom>(door: &Door, bottom: &S, shared: &Arc<Shared>) -> Infallible {
    let kind = if door.tls.is_some() { DoorKind::Https } else { DoorKind::Http };
    loop {
        let Some((stream, peer, place)) = accept_one(&door.listener, &shared.places).await else { continue };
        let (bottom, tls, gateway) = (bottom.clone(), door.tls.clone(), shared.clone());
        let open = shared.metrics.connection_opened(kind);
        shared.tasks.spawn(async move {
            let served = async {
                match tls {
                    None => serve_plain(stream, Connection::new(gateway.clone(), peer), bottom).await,
                    Some(tls) => serve_tls(stream, &tls, Connection::new(gateway.clone(), peer), bottom).await,
                }
            };
            let _ = gateway.cut.run_until_cancelled(served).await;
            drop((place, open));
        });
    }
}

/// The next connection, once there is a place for it.
async fn accept_one(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> Option<(tokio::net::TcpStream, std::net::SocketAddr, OwnedSemaphorePermit)> {
    let place = places.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => Some((stream, peer, place)),
        Err(error) => {
            // A client that left in the queue is its own affair; the rest (no descriptors, no memory) would fail again at once.
            if error.kind() != std::io::ErrorKind::ConnectionAborted {
                // EINVAL: the node stops, and its listener was shut down.
                if error.kind() != std::io::ErrorKind::InvalidInput {
                    tracing::warn!(error = &error as &dyn std::error::Error, "accepting a connection failed");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
            None
        }
    }
}
