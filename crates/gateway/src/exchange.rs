//! One request and its answer, from head to the last byte. Owns what layers and bodies of the same request share; must never decide anything.

use std::{
    net::IpAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    task::Context,
    time::{Duration, SystemTime},
};

use futures_util::task::AtomicWaker;
use http::{HeaderValue, Method, Uri, Version};
use tokio::time::Instant;

use crate::{
    connection::Connection,
    queue::ComponentState,
    refusal::{BadRequest, Refusal},
    request_id::RequestId,
    stack::Target,
    trace::{self, RequestTrace},
};

/// What the layers and bodies of one request share.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) id: RequestId,
    /// When the head was complete, to measure by.
    pub(crate) started: Instant,
    /// The same, to tell.
    pub(crate) time: SystemTime,
    pub(crate) connection: Arc<Connection>,
    pub(crate) method: Method,
    /// As sent, for the access log.
    pub(crate) uri: Uri,
    /// As sent, for the access log.
    pub(crate) host: Option<HeaderValue>,
    pub(crate) version: Version,
    /// What the client would like to read.
    pub(crate) accept: Option<HeaderValue>,
    pub(crate) trace: RequestTrace,
    /// Bytes of the request body passed on.
    pub(crate) bytes_in: AtomicU64,
    /// Who the request was routed to.
    pub(crate) component: OnceLock<Arc<ComponentState>>,
    /// Who was picked to answer.
    pub(crate) target: OnceLock<Arc<Target>>,
    body_fault: AtomicU8,
    body_fault_waker: AtomicWaker,
}

/// What went wrong with the request body while it streamed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum BodyFault {
    /// Larger than the route allows.
    TooLarge = 1,
    /// No data for too long.
    Idle = 2,
    /// Not framed as HTTP says.
    Malformed = 3,
}

impl Exchange {
    pub(crate) fn new(id: RequestId, time: SystemTime, connection: Arc<Connection>, request: &http::request::Parts) -> Self {
        let trace = trace::of(&request.headers, &id, connection.gateway.own_spans);
        Self {
            id,
            version: request.version,
            accept: request.headers.get(http::header::ACCEPT).cloned(),
            trace,
            started: Instant::now(),
            time,
            connection,
            method: request.method.clone(),
            uri: request.uri.clone(),
            host: request.headers.get(http::header::HOST).cloned(),
            bytes_in: AtomicU64::new(0),
            component: OnceLock::new(),
            target: OnceLock::new(),
            body_fault: AtomicU8::new(0),
            body_fault_waker: AtomicWaker::new(),
        }
    }

    pub(crate) fn peer(&self) -> IpAddr {
        self.connection.peer.ip()
    }

    /// The host for the access log.
    pub(crate) fn host_text(&self) -> &str {
        self.host.as_ref().and_then(|host| host.to_str().ok()).or_else(|| self.uri.host()).unwrap_or_default()
    }

    /// The protocol for the access log.
    pub(crate) fn protocol(&self) -> &'static str {
        match self.version {
            Version::HTTP_10 => "HTTP/1.0",
            Version::HTTP_2 => "HTTP/2",
            _ => "HTTP/1.1",
        }
    }

    /// Notes the first fault and wakes whoever waits for the answer: the gateway answers, whatever the component makes of its broken body.
    pub(crate) fn fail_body(&self, fault: BodyFault) {
        if self.body_fault.compare_exchange(0, fault as u8, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            self.body_fault_waker.wake();
        }
    }

    /// The fault so far, as the answer it calls for.
    pub(crate) fn body_refusal(&self, max_bytes: u64, idle: Duration) -> Option<Refusal> {
        match self.body_fault.load(Ordering::Acquire) {
            1 => Some(Refusal::BodyTooLarge { max_bytes }),
            2 => Some(Refusal::BodyIdle { after: idle }),
            3 => Some(BadRequest::Chunk.into()),
            _ => None,
        }
    }

    /// Has the task woken by the first fault.
    pub(crate) fn watch_body(&self, cx: &Context<'_>) {
        self.body_fault_waker.register(cx.waker());
    }
}
