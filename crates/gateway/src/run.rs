//! Accepting and draining. Owns the accept loop, the cap on connections and the three steps of a drain: accept on, stop accepting, cut; must never read a
//! byte of a connection.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    net::TcpListener,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Cidr,
    access::AccessLog,
    connection::{Connection, serve},
    limits::{ACCEPT_PAUSE, Limits},
    live::Publisher,
    metrics::Metrics,
    stack::Bottom,
};

/// What all connections share.
pub(crate) struct Shared {
    pub(crate) publisher: Publisher,
    pub(crate) limits: Limits,
    pub(crate) trusted_proxies: Vec<Cidr>,
    pub(crate) own_spans: bool,
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

/// A gateway whose socket listens. [`Gateway::run`] is its life.
pub struct Gateway<S> {
    pub(crate) listener: TcpListener,
    pub(crate) bottom: S,
    pub(crate) shared: Arc<Shared>,
}

impl<S> std::fmt::Debug for Gateway<S> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Gateway").field("listener", &self.listener).finish_non_exhaustive()
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
        let Self { listener, bottom, shared } = self;
        let begun = async {
            tokio::select! {
                () = shutdown => {}
                () = shared.begin_drain.cancelled() => {}
            }
        };
        accept(&listener, &bottom, &shared, begun).await;
        let since = Instant::now();
        shared.begin_drain();
        tracing::info!(drain.min = ?shared.limits.drain_min, drain.max = ?shared.limits.drain_max, "gateway drains");
        if !shared.limits.drain_min.is_zero() {
            accept(&listener, &bottom, &shared, tokio::time::sleep(shared.limits.drain_min)).await;
        }
        // Closes our descriptor only; where the socket was inherited, whoever listens next finds in its queue what we have not accepted.
        drop(listener);
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

/// Accepts connections until `end`.
async fn accept<S: Bottom>(listener: &TcpListener, bottom: &S, shared: &Arc<Shared>, end: impl Future<Output = ()>) {
    let mut end = std::pin::pin!(end);
    let places = &shared.places;
    loop {
        tokio::select! {
            biased;
            () = &mut end => return,
            place = accept_one(listener, places) => {
                let Some((stream, peer, place)) = place else { continue };
                let connection = Arc::new(Connection::new(shared.clone(), peer));
                let served = serve(stream, connection, bottom.clone());
                let cut = shared.cut.clone();
                let open = shared.metrics.connection_opened();
                shared.tasks.spawn(async move {
                    let _ = cut.run_until_cancelled(served).await;
                    drop((place, open));
                });
            }
        }
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
                tracing::warn!(error = &error as &dyn std::error::Error, "accepting a connection failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
            None
        }
    }
}
