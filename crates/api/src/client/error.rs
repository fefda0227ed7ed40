//! What can go wrong with a call. Owns the distinction that matters to a caller: not reached, refused, or not understood.

use std::{io, path::PathBuf, time::Duration};

use http::StatusCode;
use transport::DialError;

use super::{Server, seconds, servers::IN_DOUBT};
use crate::v1::{ErrorBody, ErrorDetail};

/// A call that gave no answer one can use.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens there. Nothing was sent: safe to try again.
    #[error("cannot reach the server at {server}")]
    Unreachable {
        /// Where it was looked for.
        server: Server,
        /// Why not.
        source: io::Error,
    },
    /// Nobody listens at any of the servers. Nothing was sent: safe to try again.
    #[error("cannot reach any server: {}", each(.tried))]
    NoneReachable {
        /// One `Unreachable` for each.
        tried: Vec<ClientError>,
    },
    /// Whoever answers there could not show that it belongs to the cluster that was pinned. Nothing was sent.
    #[error("{server} is not a server of the cluster that was pinned")]
    Untrusted {
        /// Where it answered.
        server: Server,
        /// What it showed in place of that.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The connection broke before the whole answer came; the call may have had its effect.
    #[error("the server at {server} broke off")]
    Broken {
        /// Which server.
        server: Server,
        /// How.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No answer in time; the call may have had its effect.
    #[error("the server at {server} gave no answer within {}", seconds(*.after))]
    Deadline {
        /// Which server.
        server: Server,
        /// How long it was waited for.
        after: Duration,
    },
    /// A write broke off, or a server could not tell whether it was done, and no later try of it said; it may have been done.
    #[error("it is not known whether that was done")]
    InDoubt {
        /// The last try that left a doubt.
        source: Box<ClientError>,
    },
    /// The server says no.
    #[error("{}", .error.message)]
    Refused {
        /// The HTTP status.
        status: StatusCode,
        /// What it says.
        error: Box<ErrorDetail>,
    },
    /// The answer is not what this version expects.
    #[error("the server at {server} gave an answer that cannot be read")]
    Unreadable {
        /// Which server.
        server: Server,
        /// What is wrong with it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A local file cannot be read.
    #[error("cannot read {}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A local file is larger than any server takes.
    #[error("{} is {size} bytes; an artifact may have {max}", .path.display())]
    TooLarge {
        /// Which.
        path: PathBuf,
        /// Its size in bytes.
        size: u64,
        /// The most it may have.
        max: u64,
    },
    /// The address cannot be a server's.
    #[error("`{text}` is not a server: write https://HOST:PORT, http://HOST:PORT or unix:PATH")]
    Address {
        /// What was given.
        text: String,
    },
}

impl ClientError {
    /// The code of the error: the server's own, or the one for what happened on the way.
    pub fn code(&self) -> &str {
        match self {
            Self::Unreachable { .. } | Self::NoneReachable { .. } | Self::Broken { .. } | Self::Deadline { .. } => "E0605",
            Self::InDoubt { .. } => IN_DOUBT,
            Self::Untrusted { .. } => "E0610",
            Self::Refused { error, .. } => &error.code,
            Self::Unreadable { .. } | Self::Address { .. } => "E0408",
            Self::File { .. } => "E0207",
            Self::TooLarge { .. } => "E0208",
        }
    }

    /// Whether the call may have had its effect although there is no answer.
    pub(super) fn leaves_doubt(&self) -> bool {
        matches!(self, Self::Broken { .. } | Self::Deadline { .. })
    }

    /// Whether the same question may well be answered in a moment, or by another server.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::NoneReachable { .. } | Self::Broken { .. } | Self::Deadline { .. } => true,
            Self::Refused { status, .. } => *status == StatusCode::SERVICE_UNAVAILABLE,
            Self::InDoubt { .. }
            | Self::Untrusted { .. }
            | Self::Unreadable { .. }
            | Self::File { .. }
            | Self::TooLarge { .. }
            | Self::Address { .. } => false,
        }
    }

    /// A connection that did not come about, told apart by whether somebody else may be asked.
    pub(super) fn of_dial(server: &Server, error: DialError) -> Self {
        let unreachable = |source| Self::Unreachable { server: server.clone(), source };
        match error {
            DialError::Resolve { source, .. } | DialError::Connect { source, .. } | DialError::Left { source, .. } => unreachable(source),
            DialError::Late { .. } => unreachable(io::ErrorKind::TimedOut.into()),
            other => Self::Untrusted { server: server.clone(), source: Box::new(other) },
        }
    }

    pub(super) fn refused(server: &Server, status: StatusCode, body: &[u8]) -> Self {
        match serde_json::from_slice::<ErrorBody>(body) {
            Ok(body) => Self::Refused { status, error: Box::new(body.error) },
            Err(_) => Self::Unreadable { server: server.clone(), source: format!("status {status} without an error body").into() },
        }
    }
}

/// Every server with why it was not reached, in one line.
fn each(tried: &[ClientError]) -> String {
    let one = |error: &ClientError| match error {
        ClientError::Unreachable { server, source } => format!("{server} ({source})"),
        other => other.to_string(),
    };
    tried.iter().map(one).collect::<Vec<_>>().join(", ")
}
