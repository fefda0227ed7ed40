//! What the gateway says about each request when it is over. Owns the record's shape; must never know where records go.

use std::{net::IpAddr, time::SystemTime};

use http::{Method, StatusCode};
use model::id::{ComponentId, RevisionNumber};

use crate::trace::RequestTrace;

/// Where access records go. Called once per request at the end of its response body, on the request's own thread: it must not block.
pub trait AccessLog: Send + Sync + 'static {
    /// Takes one record. Borrowed, so that a log that drops or formats it copies nothing else.
    fn record(&self, record: &AccessRecord<'_>);
}

/// One finished request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessRecord<'a> {
    /// When the request head was complete.
    pub time: SystemTime,
    /// Its `X-Request-Id`.
    pub request_id: &'a str,
    /// Who it was routed to; `None` when no route matched or the request was refused before.
    pub component: Option<&'a ComponentId>,
    /// The revision that answered.
    pub revision: Option<RevisionNumber>,
    /// The ordinal of the instance that answered.
    pub instance: Option<u32>,
    /// The request's method.
    pub method: &'a Method,
    /// The Host it asked for, as sent; empty when it sent none.
    pub host: &'a str,
    /// The path without its query, cut at [`crate::limits::ACCESS_PATH_BYTES_MAX`].
    pub path: &'a str,
    /// `HTTP/1.0`, `HTTP/1.1` or `HTTP/2`.
    pub protocol: &'static str,
    /// `TLSv1.2` or `TLSv1.3`; `None` in the clear.
    pub tls: Option<&'static str>,
    /// Where it stood in its trace.
    pub trace: RequestTrace,
    /// What was answered; 499 when the client left before there was an answer.
    pub status: StatusCode,
    /// Bytes of the request body taken by the component.
    pub bytes_in: u64,
    /// Bytes of the response body handed to the connection.
    pub bytes_out: u64,
    /// Head complete to end of the response body, in microseconds.
    pub duration_us: u64,
    /// Who is connected to us: the client, or a proxy before us.
    pub peer: IpAddr,
    /// Why it failed: `E05xx` of the gateway, or what the bottom service said (`E03xx`); `None` when it did not.
    pub error: Option<&'static str>,
}

/// An access log that keeps nothing.
#[derive(Debug, Clone, Copy)]
pub struct NoAccessLog;

impl AccessLog for NoAccessLog {
    fn record(&self, _: &AccessRecord<'_>) {}
}
