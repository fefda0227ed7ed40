//! The outgoing requests of one component: its pool of connections and its bounds. Owns a request from the guest's hands to the head of the response;
//! must never decide whether it may be sent.

use std::{
    pin::pin,
    sync::{Arc, OnceLock},
    time::Duration,
};

use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{
        self,
        connect::{CaptureConnection, capture_connection},
    },
    rt::TokioTimer,
};
use model::egress::Egress;
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep_until, timeout_at},
};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody};

use super::{
    bodies::{Download, Sent, Upload},
    connector::{ConnectError, Connector},
    destination::Denied,
    errors,
    surroundings::HttpSurroundings,
};
use crate::limits;

/// Made with the program, and costs next to nothing until the first request. The pool ends when the program does.
pub(super) struct Client {
    egress: Arc<Egress>,
    surroundings: Arc<HttpSurroundings>,
    /// The executor that programs are made on. Connections live there, whatever executor drives the guest that asked first.
    executor: Option<Handle>,
    in_flight: Arc<Semaphore>,
    connections: Arc<Semaphore>,
    pool: OnceLock<Pool>,
}

type Pool = legacy::Client<Connector, Upload>;

/// Why there is no response.
pub(super) enum Failure {
    /// Denied after its name was resolved.
    Denied(Denied),
    /// Anything else, for the guest, and in words for its log when somebody has to mend it.
    Failed(Error, Option<String>),
}

/// Runs the connections of a pool.
#[derive(Clone)]
struct Executor(Handle);

/// How long the phases of a request may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Patience {
    connect: Duration,
    first_byte: Duration,
    between_bytes: Duration,
}

impl Client {
    pub(super) fn new(egress: Arc<Egress>, surroundings: Arc<HttpSurroundings>) -> Self {
        Self {
            egress,
            surroundings,
            executor: Handle::try_current().ok(),
            in_flight: Arc::new(Semaphore::new(limits::EGRESS_IN_FLIGHT_MAX)),
            connections: Arc::new(Semaphore::new(limits::EGRESS_CONNECTIONS_MAX)),
            pool: OnceLock::new(),
        }
    }

    pub(super) fn egress(&self) -> &Egress {
        &self.egress
    }

    /// Sends `request` and waits for the head of its response. `of_sandbox` bounds what one sandbox has in flight; both bounds hold until the response's
    /// body is gone.
    pub(super) async fn send(
        &self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        of_sandbox: Arc<Semaphore>,
    ) -> Result<Response<WasiBody>, Failure> {
        let (head, body) = request.into_parts();
        let sent = Sent::new(body);
        let response = self.exchange(Request::from_parts(head, sent.upload()), &sent, Patience::of(options), of_sandbox).await;
        if response.is_err() {
            self.let_finish(sent);
        }
        response
    }

    /// Lets the guest write the rest of a request that goes nowhere, for a while, so that it learns why instead of seeing a broken pipe.
    pub(super) fn let_finish(&self, sent: Sent) {
        let rest = async { tokio::time::timeout(limits::DENIED_REQUEST_DRAIN, sent.drain()).await };
        self.surroundings.tasks.spawn_on(rest, &self.executor());
    }

    async fn exchange(
        &self,
        mut request: Request<Upload>,
        sent: &Sent,
        patience: Patience,
        of_sandbox: Arc<Semaphore>,
    ) -> Result<Response<WasiBody>, Failure> {
        let connect_by = Instant::now() + patience.connect;
        let permits = [turn(of_sandbox, connect_by).await?, turn(Arc::clone(&self.in_flight), connect_by).await?];
        let mut connection = capture_connection(&mut request);
        let mut response = pin!(self.pool().request(request));
        tokio::select! {
            biased;
            response = &mut response => return self.received(response, &connection, patience, permits),
            _ = connected(&mut connection) => {}
            () = sleep_until(connect_by) => return Err(Error::ConnectionTimeout.into()),
        }
        let connected_at = Instant::now();
        loop {
            let answer_by = patience.answer_by(connected_at, sent.moved_at());
            if answer_by <= Instant::now() {
                return Err(Error::ConnectionReadTimeout.into());
            }
            tokio::select! {
                biased;
                response = &mut response => return self.received(response, &connection, patience, permits),
                () = sleep_until(answer_by) => {}
            }
        }
    }

    fn received(
        &self,
        response: Result<Response<Incoming>, legacy::Error>,
        connection: &CaptureConnection,
        patience: Patience,
        permits: [OwnedSemaphorePermit; 2],
    ) -> Result<Response<WasiBody>, Failure> {
        let response = response.map_err(|error| Failure::of(&error))?;
        // Idle connections must not keep a component from other destinations.
        if self.connections.available_permits() < limits::EGRESS_CONNECTIONS_MAX / 2
            && let Some(connection) = &*connection.connection_metadata()
        {
            connection.poison();
        }
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Err(Error::HttpUpgradeFailed.into());
        }
        let head_bytes: usize = response.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        if head_bytes > limits::HEADER_BYTES_MAX {
            return Err(Error::HttpResponseHeaderSectionSize(u32::try_from(head_bytes).ok()).into());
        }
        Ok(response.map(|body| Download::new(body, patience.between_bytes, permits).boxed_unsync()))
    }

    fn pool(&self) -> &Pool {
        self.pool.get_or_init(|| {
            let executor = self.executor();
            let (egress, surroundings) = (Arc::clone(&self.egress), Arc::clone(&self.surroundings));
            let connector = Connector::new(egress, surroundings, executor.clone(), Arc::clone(&self.connections));
            legacy::Client::builder(Executor(executor))
                .pool_timer(TokioTimer::new())
                .timer(TokioTimer::new())
                .pool_idle_timeout(limits::EGRESS_IDLE_MAX)
                .pool_max_idle_per_host(limits::EGRESS_IDLE_CONNECTIONS_MAX)
                .http1_max_buf_size(limits::EGRESS_BUFFER_BYTES_MAX)
                .http2_max_header_list_size(limits::HEADER_BYTES_MAX as u32)
                .http2_initial_stream_window_size(limits::EGRESS_STREAM_WINDOW_BYTES)
                .http2_initial_connection_window_size(limits::EGRESS_CONNECTION_WINDOW_BYTES)
                .http2_max_send_buf_size(limits::EGRESS_BUFFER_BYTES_MAX)
                .http2_keep_alive_interval(limits::EGRESS_PING)
                .http2_keep_alive_timeout(limits::EGRESS_PING)
                .build(connector)
        })
    }

    fn executor(&self) -> Handle {
        self.executor.clone().unwrap_or_else(Handle::current)
    }
}

/// Waits for one of a few places.
async fn turn(places: Arc<Semaphore>, by: Instant) -> Result<OwnedSemaphorePermit, Failure> {
    match timeout_at(by, places.acquire_owned()).await {
        Ok(Ok(place)) => Ok(place),
        Ok(Err(_)) | Err(_) => Err(Error::ConnectionLimitReached.into()),
    }
}

/// Waits until a connection has taken the request; for ever, when none does.
async fn connected(connection: &mut CaptureConnection) {
    if connection.wait_for_connection_metadata().await.is_none() {
        std::future::pending().await
    }
}

impl Patience {
    fn of(options: Option<RequestOptions>) -> Self {
        let options = options.unwrap_or_default();
        Self {
            connect: options.connect_timeout.unwrap_or(limits::EGRESS_CONNECT_DEFAULT).min(limits::EGRESS_CONNECT_MAX),
            first_byte: options.first_byte_timeout.unwrap_or(limits::EGRESS_SILENCE_DEFAULT).min(limits::EGRESS_SILENCE_MAX),
            between_bytes: options.between_bytes_timeout.unwrap_or(limits::EGRESS_SILENCE_DEFAULT).min(limits::EGRESS_SILENCE_MAX),
        }
    }

    /// Until when the response must begin. The other side thinks only while nothing is being sent to it.
    fn answer_by(self, connected_at: Instant, sent_at: Instant) -> Instant {
        connected_at.max(sent_at) + self.first_byte
    }
}

impl Failure {
    fn of(error: &legacy::Error) -> Self {
        match errors::find::<ConnectError>(error) {
            Some(ConnectError::Denied(denied)) => Self::Denied(denied.clone()),
            Some(connect @ (ConnectError::Tls(_) | ConnectError::NoTls(_))) => {
                let cause = std::error::Error::source(connect).map(|cause| format!(": {cause}")).unwrap_or_default();
                Self::Failed(errors::of_connect(connect), Some(format!("{connect}{cause}")))
            }
            _ => Self::Failed(errors::of_request(error), None),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Failed(error, None)
    }
}

impl<F> hyper::rt::Executor<F> for Executor
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, future: F) {
        self.0.spawn(future);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_may_be_less_patient_but_not_more() {
        let second = Duration::from_secs(1);
        let check = |asked: Option<Duration>, connect, silence| {
            let options = RequestOptions { connect_timeout: asked, first_byte_timeout: asked, between_bytes_timeout: asked };
            assert_eq!(Patience::of(Some(options)), Patience { connect, first_byte: silence, between_bytes: silence });
        };
        check(None, limits::EGRESS_CONNECT_DEFAULT, limits::EGRESS_SILENCE_DEFAULT);
        check(Some(second), second, second);
        check(Some(Duration::ZERO), Duration::ZERO, Duration::ZERO);
        check(Some(Duration::MAX), limits::EGRESS_CONNECT_MAX, limits::EGRESS_SILENCE_MAX);
    }

    #[test]
    fn silence_counts_from_the_connection_or_the_last_piece_sent() {
        let (begin, second) = (Instant::now(), Duration::from_secs(1));
        let patience = Patience { connect: second, first_byte: 5 * second, between_bytes: second };
        assert_eq!(patience.answer_by(begin, begin), begin + 5 * second);
        assert_eq!(patience.answer_by(begin, begin + 30 * second), begin + 35 * second, "a long upload is not silence");
        assert_eq!(patience.answer_by(begin + 2 * second, begin), begin + 7 * second, "nor is a slow connection");
    }
}
