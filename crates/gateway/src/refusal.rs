//! Every reason the gateway answers for a component, as one closed list. Owns status, code, RFC 9209 error type and sentence of each; must never build a
//! response (`respond.rs` does) or hold a word of the guest.

use std::time::Duration;

use http::{HeaderValue, Method, StatusCode};

use crate::{
    path::PathError,
    stack::{CallError, CallErrorKind},
};

/// Why a request is not answered by its component.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("bad request: {0}")]
    BadRequest(#[from] BadRequest),
    #[error("the request target is longer than {} bytes", crate::limits::URI_BYTES_MAX)]
    UriTooLong,
    #[error("the request has more than {} header fields", crate::limits::HEADERS_MAX)]
    TooManyHeaders,
    #[error("the request head is longer than {} bytes", crate::limits::HEAD_BYTES_MAX)]
    HeadTooLarge,
    #[error("the request head did not arrive in time")]
    HeadTimeout,
    #[error("CONNECT is not supported")]
    Connect,
    #[error("no route for this host and path")]
    NoRoute,
    #[error("the method is not allowed here")]
    MethodNotAllowed(Vec<Method>),
    #[error("protocol upgrades (WebSocket) are not supported")]
    Upgrade,
    #[error("this address is answered over HTTPS only")]
    HttpsOnly { location: HeaderValue },
    #[error("the request body is larger than {max_bytes} bytes")]
    BodyTooLarge { max_bytes: u64 },
    #[error("no data of the request body for {after:?}")]
    BodyIdle { after: Duration },
    #[error("no instance of the component is ready; waited {} ms", waited.as_millis())]
    NoEndpoint { waited: Duration },
    #[error("as many requests wait for the component as may")]
    QueueFull,
    #[error("the component is overloaded: no turn within {} ms", waited.as_millis())]
    QueueWait { waited: Duration },
    #[error("this node is shutting down and no instance is left")]
    Draining,
    #[error("no response within {after:?}")]
    Timeout { after: Duration },
    #[error("the component failed")]
    Failed(#[source] CallError),
}

/// What makes a request ambiguous or malformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadRequest {
    #[error("the request line is malformed")]
    RequestLine,
    #[error("a header field name is malformed")]
    HeaderName,
    #[error("a header field has a control character")]
    ControlCharacter,
    #[error("a header field is folded over two lines")]
    FoldedHeader,
    #[error("a line ends without a carriage return")]
    BareLineFeed,
    #[error("Content-Length and Transfer-Encoding are both given")]
    TwoLengths,
    #[error("Content-Length is not one number")]
    ContentLength,
    #[error("Transfer-Encoding is not `chunked`")]
    TransferEncoding,
    #[error("HTTP/1.0 has no Transfer-Encoding")]
    TransferEncodingOn10,
    #[error("Host is missing")]
    NoHost,
    #[error("Host is given more than once")]
    TwoHosts,
    #[error("Host is not a host name")]
    Host,
    #[error("Host and the request target disagree")]
    HostDisagrees,
    #[error("the request target is not a path")]
    Target,
    #[error("{0}")]
    Path(#[from] PathError),
    #[error("a chunk of the body is malformed")]
    Chunk,
    #[error("Expect is not `100-continue`")]
    Expect,
}

/// What kept a request from its component, or the component from answering it. The words are labels of a metric, so the list is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    QueueFull,
    QueueWait,
    NoInstance,
    InstanceMemory,
    NoSandbox,
    Gone,
    Draining,
    Timeout,
    Failed,
}

impl Reason {
    pub(crate) const ALL: [Self; 9] = [
        Self::QueueFull,
        Self::QueueWait,
        Self::NoInstance,
        Self::InstanceMemory,
        Self::NoSandbox,
        Self::Gone,
        Self::Draining,
        Self::Timeout,
        Self::Failed,
    ];

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::QueueFull => "queue-full",
            Self::QueueWait => "queue-wait",
            Self::NoInstance => "no-instance",
            Self::InstanceMemory => "instance-memory",
            Self::NoSandbox => "no-sandbox",
            Self::Gone => "gone",
            Self::Draining => "draining",
            Self::Timeout => "timeout",
            Self::Failed => "failed",
        }
    }
}

impl Refusal {
    /// `E05xx`, or `E03xx` where the node itself has no room; `shoal explain` has a page.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::NoRoute => "E0501",
            Self::MethodNotAllowed(_) | Self::Connect => "E0502",
            Self::NoEndpoint { .. } => "E0503",
            Self::QueueFull | Self::QueueWait { .. } => "E0504",
            Self::Timeout { .. } => "E0505",
            Self::BodyTooLarge { .. } => "E0506",
            Self::BadRequest(_) => "E0507",
            Self::Upgrade => "E0508",
            Self::UriTooLong | Self::TooManyHeaders | Self::HeadTooLarge => "E0509",
            Self::BodyIdle { .. } | Self::HeadTimeout => "E0511",
            Self::Draining => "E0512",
            Self::HttpsOnly { .. } => "E0514",
            Self::Failed(error) => match error.kind {
                CallErrorKind::Failed => "E0510",
                CallErrorKind::Timeout => "E0505",
                // Its own word is exact, and says nothing of the guest.
                CallErrorKind::Overloaded => error.code,
                CallErrorKind::Gone => "E0503",
            },
        }
    }

    /// The code for the access log: what the bottom service said is more exact than what the client is told.
    pub(crate) fn logged_code(&self) -> &'static str {
        match self {
            Self::Failed(error) => error.code,
            other => other.code(),
        }
    }

    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest(BadRequest::Expect) => StatusCode::EXPECTATION_FAILED,
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::UriTooLong => StatusCode::URI_TOO_LONG,
            Self::TooManyHeaders | Self::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::HeadTimeout | Self::BodyIdle { .. } => StatusCode::REQUEST_TIMEOUT,
            Self::Connect | Self::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::NoRoute => StatusCode::NOT_FOUND,
            // Keeps method and body, which 301 does not.
            Self::HttpsOnly { .. } => StatusCode::PERMANENT_REDIRECT,
            Self::Upgrade => StatusCode::NOT_IMPLEMENTED,
            Self::BodyTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::NoEndpoint { .. } | Self::QueueFull | Self::QueueWait { .. } | Self::Draining => StatusCode::SERVICE_UNAVAILABLE,
            Self::Timeout { .. } => StatusCode::GATEWAY_TIMEOUT,
            Self::Failed(error) => match error.kind {
                CallErrorKind::Failed => StatusCode::INTERNAL_SERVER_ERROR,
                CallErrorKind::Timeout => StatusCode::GATEWAY_TIMEOUT,
                CallErrorKind::Overloaded | CallErrorKind::Gone => StatusCode::SERVICE_UNAVAILABLE,
            },
        }
    }

    /// The error type of RFC 9209, section 2.3; a redirection is no error.
    pub(crate) fn proxy_error(&self) -> Option<&'static str> {
        Some(match self.status() {
            StatusCode::PERMANENT_REDIRECT => return None,
            StatusCode::NOT_FOUND => "destination_not_found",
            StatusCode::GATEWAY_TIMEOUT => "http_response_timeout",
            StatusCode::INTERNAL_SERVER_ERROR => "http_response_incomplete",
            StatusCode::SERVICE_UNAVAILABLE => match self.reason() {
                Some(Reason::QueueFull | Reason::QueueWait | Reason::InstanceMemory | Reason::NoSandbox) => "connection_limit_reached",
                _ => "destination_unavailable",
            },
            _ => "http_request_error",
        })
    }

    /// What kept it from its component; `None` for what the request itself did wrong.
    pub(crate) fn reason(&self) -> Option<Reason> {
        Some(match self {
            Self::QueueFull => Reason::QueueFull,
            Self::QueueWait { .. } => Reason::QueueWait,
            Self::NoEndpoint { .. } => Reason::NoInstance,
            Self::Draining => Reason::Draining,
            Self::Timeout { .. } => Reason::Timeout,
            Self::Failed(error) => match error.kind {
                CallErrorKind::Failed => Reason::Failed,
                CallErrorKind::Timeout => Reason::Timeout,
                CallErrorKind::Overloaded if error.code == "E0311" => Reason::InstanceMemory,
                CallErrorKind::Overloaded => Reason::NoSandbox,
                CallErrorKind::Gone => Reason::Gone,
            },
            _ => return None,
        })
    }

    /// The code as `Proxy-Status` gives it; where one code stands for two reasons, the reason with it.
    pub(crate) fn details(&self) -> String {
        match self.reason() {
            Some(reason @ (Reason::QueueFull | Reason::QueueWait)) => format!("{} {}", self.code(), reason.word()),
            _ => self.code().to_owned(),
        }
    }

    /// Where a client should not try again on this connection: what follows on it cannot be trusted, or is a body nobody reads.
    pub(crate) fn closes(&self) -> bool {
        let unreadable =
            matches!(self, Self::BadRequest(_) | Self::UriTooLong | Self::TooManyHeaders | Self::HeadTooLarge | Self::HeadTimeout);
        let unread = matches!(self, Self::Connect | Self::Upgrade | Self::BodyTooLarge { .. } | Self::BodyIdle { .. } | Self::Draining);
        // What comes next should not come this way either.
        unreadable || unread || matches!(self, Self::HttpsOnly { .. })
    }

    /// `Retry-After` in seconds, where trying again makes sense.
    pub(crate) fn retry_after(&self) -> Option<HeaderValue> {
        (self.status() == StatusCode::SERVICE_UNAVAILABLE).then(|| HeaderValue::from_static("1"))
    }

    /// What the client is told. A failed component's client learns nothing of the guest.
    pub(crate) fn sentence(&self) -> Option<String> {
        match self {
            Self::Failed(CallError { kind: CallErrorKind::Failed, .. }) => None,
            Self::Failed(CallError { kind: CallErrorKind::Overloaded, code, .. }) => {
                let title = model::codes::find(code).map_or("no room", |known| known.title);
                Some(format!("overloaded: {title}"))
            }
            Self::Failed(error) => Some(error.kind.sentence().to_owned()),
            other => Some(other.to_string()),
        }
    }
}
