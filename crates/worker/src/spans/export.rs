//! Bringing spans to the collector. Owns the connection, batches and the end; a batch the collector does not take is counted and gone. Must never hold up
//! whoever hands spans over.

use std::{
    io,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    sync::mpsc,
    time::{Instant, timeout},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{Span, SpanCounts, otlp, settings::Collector};
use crate::limits::{SPAN_ANSWER_BYTES_MAX, SPAN_BATCH_MAX, SPAN_SEND_MAX, SPAN_WAIT, SPANS_COMPLAIN_EVERY};

/// The task that sends spans.
#[derive(Debug)]
pub struct Exporter {
    collector: Collector,
    node: String,
    waiting: mpsc::Receiver<Span>,
    counts: Arc<SpanCounts>,
    connection: Option<Connection>,
    complained_at: Option<Instant>,
}

#[derive(Debug)]
struct Connection {
    sender: SendRequest<Full<Bytes>>,
    _driver: AbortOnDropHandle<()>,
}

/// A batch was not taken.
#[derive(Debug, thiserror::Error)]
enum SendError {
    #[error("cannot reach it")]
    Unreachable(#[from] io::Error),
    #[error("the exchange broke off")]
    Broken(#[from] hyper::Error),
    #[error("it answered {0}")]
    Refused(StatusCode),
    #[error("it gave no answer in time")]
    Late,
}

impl Exporter {
    pub(super) fn new(collector: Collector, node: String, waiting: mpsc::Receiver<Span>, counts: Arc<SpanCounts>) -> Self {
        Self { collector, node, waiting, counts, connection: None, complained_at: None }
    }

    /// Sends what comes until `stop`, then what still waits.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut batch = Vec::with_capacity(SPAN_BATCH_MAX);
        loop {
            let came = tokio::select! {
                came = self.waiting.recv_many(&mut batch, SPAN_BATCH_MAX) => came,
                () = stop.cancelled() => break,
            };
            if came == 0 {
                return;
            }
            self.gather(&mut batch, &stop).await;
            self.send(&mut batch).await;
        }
        self.waiting.close();
        while self.waiting.recv_many(&mut batch, SPAN_BATCH_MAX).await > 0 {
            self.send(&mut batch).await;
        }
    }

    /// Waits a moment for company, so that a quiet node sends few small requests and a busy one large ones.
    async fn gather(&mut self, batch: &mut Vec<Span>, stop: &CancellationToken) {
        let until = Instant::now() + SPAN_WAIT;
        while batch.len() < SPAN_BATCH_MAX {
            let room = SPAN_BATCH_MAX - batch.len();
            tokio::select! {
                came = self.waiting.recv_many(batch, room) => if came == 0 { return },
                () = tokio::time::sleep_until(until) => return,
                () = stop.cancelled() => return,
            }
        }
    }

    async fn send(&mut self, batch: &mut Vec<Span>) {
        let body: Bytes = otlp::request(batch, &self.node).into();
        let count = batch.len() as u64;
        batch.clear();
        let mut sent = self.bring(body.clone()).await;
        // The collector may have closed a connection nobody used for a while, or have been restarted.
        if matches!(sent, Err(SendError::Broken(_))) {
            self.connection = None;
            sent = self.bring(body).await;
        }
        match sent {
            Ok(()) => _ = self.counts.sent.fetch_add(count, Relaxed),
            Err(error) => {
                self.connection = None;
                self.counts.dropped.fetch_add(count, Relaxed);
                self.complain(&error);
            }
        }
    }

    async fn bring(&mut self, body: Bytes) -> Result<(), SendError> {
        timeout(SPAN_SEND_MAX, self.exchange(body)).await.unwrap_or(Err(SendError::Late))
    }

    async fn exchange(&mut self, body: Bytes) -> Result<(), SendError> {
        if self.connection.as_ref().is_none_or(|connection| connection.sender.is_closed()) {
            self.connection = Some(Connection::open(&self.collector).await?);
        }
        let connection = self.connection.as_mut().expect("it was opened above");
        connection.sender.ready().await?;
        let request = Request::post(&self.collector.path)
            .header(header::HOST, &self.collector.authority)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .expect("the collector's path was read from a URL");
        let response = connection.sender.send_request(request).await?;
        let status = response.status();
        // Read to its end, so that the connection can be used again; what it says is the collector's affair.
        if Limited::new(response.into_body(), SPAN_ANSWER_BYTES_MAX).collect().await.is_err() {
            self.connection = None;
        }
        if status.is_success() { Ok(()) } else { Err(SendError::Refused(status)) }
    }

    /// Says why, now and then.
    fn complain(&mut self, error: &SendError) {
        if self.complained_at.is_none_or(|at| at.elapsed() > SPANS_COMPLAIN_EVERY) {
            self.complained_at = Some(Instant::now());
            tracing::warn!(error = %crate::agent::chain(error), collector = %self.collector, "spans are lost");
        }
    }
}

impl Connection {
    async fn open(collector: &Collector) -> Result<Self, SendError> {
        let stream = TcpStream::connect(&collector.authority).await?;
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let driver = tokio::spawn(async move {
            // Whoever sends sees the same error.
            let _ = connection.await;
        });
        Ok(Self { sender, _driver: AbortOnDropHandle::new(driver) })
    }
}
