//! Requests to one peer over one connection that is kept: HTTP/2 inside mutual TLS. Owns the handle, a deadline for each request, and whether one that failed may
//! have been sent; must never know what is asked, and never send a request twice that may have arrived.

mod owner;

use std::{
    error::Error,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{
    Request, Response, Uri,
    uri::{Authority, Scheme},
};
use http_body_util::{BodyExt, Empty, Full, combinators::UnsyncBoxBody};
use hyper::{body::Incoming, client::conn::http2::SendRequest};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    dial::{DialError, Dialer, Expected},
    identity::DOMAIN,
    limits::{ASKS_MAX, PING_EVERY, PING_MAX},
};

/// What a request carries.
pub type Body = UnsyncBoxBody<Bytes, Box<dyn Error + Send + Sync>>;

/// A body of these bytes.
pub fn body(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// No body.
pub fn empty_body() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// Whom a channel leads to, and how.
#[derive(Debug, Clone)]
pub struct ChannelConfig {
    /// Who calls. Its `connect_max` bounds each attempt to connect.
    pub dialer: Dialer,
    /// `host:port`.
    pub to: String,
    /// Who must answer.
    pub expected: Expected,
    /// A peer is asked for a sign of life this often, also while nothing is under way; [`crate::PING_EVERY`] unless there is a reason.
    pub ping_every: Duration,
    /// A peer that gives none for this long is given up, with every request to it; [`crate::PING_MAX`] unless there is a reason.
    pub ping_max: Duration,
}

impl ChannelConfig {
    /// With the usual signs of life.
    pub fn new(dialer: Dialer, to: impl Into<String>, expected: Expected) -> Self {
        Self { dialer, to: to.into(), expected, ping_every: PING_EVERY, ping_max: PING_MAX }
    }
}

/// Whether a request that failed may have reached its peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// Certainly not: it may be sent again, there or elsewhere.
    Never,
    /// Nobody knows.
    Perhaps,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// There is no connection.
    #[error("cannot reach {to}")]
    Unreachable {
        /// Whom it was for.
        to: String,
        /// Why; shared by all who waited for that attempt.
        source: Arc<DialError>,
    },
    /// There was no answer in time.
    #[error("{to} did not answer within {within:?}{}", if *sent == Sent::Never { ": there was no connection yet" } else { "" })]
    Late {
        /// Whom it was for.
        to: String,
        /// How long it could take.
        within: Duration,
        /// Whether it may have arrived.
        sent: Sent,
    },
    /// The connection broke, or the peer ended the request.
    #[error("the request to {to} was broken off")]
    Broken {
        /// Whom it was for.
        to: String,
        /// What the library says.
        source: hyper::Error,
        /// Whether it may have arrived.
        sent: Sent,
    },
    /// Whoever asked found something out meanwhile that made it pointless.
    #[error("the request to {to} was given up")]
    GivenUp {
        /// Whom it was for.
        to: String,
        /// Whether it may have arrived.
        sent: Sent,
    },
    /// The runtime stops.
    #[error("the channel to {to} is closed")]
    Closed {
        /// Whom it was for.
        to: String,
    },
}

impl ChannelError {
    /// Whether the request may have reached the peer.
    pub fn sent(&self) -> Sent {
        match self {
            Self::Unreachable { .. } | Self::Closed { .. } => Sent::Never,
            Self::Late { sent, .. } | Self::Broken { sent, .. } | Self::GivenUp { sent, .. } => *sent,
        }
    }
}

/// Who waits for a connection.
type Ask = oneshot::Sender<Result<SendRequest<Body>, Arc<DialError>>>;

/// One kept connection to one peer. Cheap to clone; the connection ends with the last handle. Lanes that must not wait for each other have a channel each.
///
/// The peer must speak first, as HTTP/2 servers do: one that looks at the client's first bytes to guess the protocol, rather than at [`crate::Accepted::protocol`],
/// would wait for us while we wait for it.
#[derive(Clone)]
pub struct Channel(Arc<Handle>);

struct Handle {
    to: String,
    authority: Authority,
    asks: mpsc::Sender<Ask>,
    _owner: AbortOnDropHandle<()>,
}

impl Channel {
    /// Nothing is connected before the first request. Must be called inside a tokio runtime.
    pub fn new(config: ChannelConfig) -> Self {
        let (asks, asked) = mpsc::channel(ASKS_MAX);
        let cluster = config.dialer.identity.current().identity().cluster;
        let name = config.expected.name(cluster);
        let authority = Authority::try_from(name).unwrap_or_else(|_| Authority::from_static(DOMAIN));
        let to = config.to.clone();
        let owner = AbortOnDropHandle::new(tokio::spawn(owner::own(config, asked)));
        Self(Arc::new(Handle { to, authority, asks, _owner: owner }))
    }

    /// Where it leads, `host:port`.
    pub fn to(&self) -> &str {
        &self.0.to
    }

    /// Sends a request, of whose address only path and query count, and waits for the head of the answer; connects first where there is no connection. Who drops
    /// this future, or the answer's body, ends the request at the peer.
    ///
    /// # Errors
    /// There is no answer `within` that time, or none will come; [`ChannelError::sent`] says whether the request may have arrived.
    pub async fn request(&self, request: Request<Body>, within: Duration) -> Result<Response<Incoming>, ChannelError> {
        self.request_unless(request, within, std::future::pending(), Duration::ZERO).await
    }

    /// As [`Self::request`], but gives up once `pointless` ends: at once what is not sent yet, after `grace` what the peer may have and be about to answer.
    ///
    /// # Errors
    /// The same, and that it was given up.
    pub async fn request_unless(
        &self,
        request: Request<Body>,
        within: Duration,
        pointless: impl Future<Output = ()>,
        grace: Duration,
    ) -> Result<Response<Incoming>, ChannelError> {
        let may_have_come = AtomicBool::new(false);
        let sent = || if may_have_come.load(Ordering::Relaxed) { Sent::Perhaps } else { Sent::Never };
        let finished = {
            let attempt = timeout(within, self.attempt(request, &may_have_come));
            tokio::pin!(attempt);
            tokio::select! {
                biased;
                finished = &mut attempt => Some(finished),
                () = pointless => match sent() {
                    Sent::Never => None,
                    Sent::Perhaps => timeout(grace, attempt).await.ok(),
                },
            }
        };
        match finished {
            Some(Ok(answered)) => answered,
            Some(Err(_)) => Err(ChannelError::Late { to: self.0.to.clone(), within, sent: sent() }),
            None => Err(ChannelError::GivenUp { to: self.0.to.clone(), sent: sent() }),
        }
    }

    async fn attempt(&self, mut request: Request<Body>, may_have_come: &AtomicBool) -> Result<Response<Incoming>, ChannelError> {
        self.address(&mut request);
        let mut is_first = true;
        loop {
            let mut connection = self.connection().await?;
            may_have_come.store(true, Ordering::Relaxed);
            let mut failed = match connection.try_send_request(request).await {
                Ok(response) => return Ok(response),
                Err(failed) => failed,
            };
            // A request that comes back was queued on a connection that had just ended.
            let unsent = failed.take_message();
            let sent = if unsent.is_some() { Sent::Never } else { Sent::Perhaps };
            may_have_come.store(sent == Sent::Perhaps, Ordering::Relaxed);
            match unsent {
                Some(unsent) if is_first => request = unsent,
                _ => return Err(ChannelError::Broken { to: self.0.to.clone(), source: failed.into_error(), sent }),
            }
            is_first = false;
        }
    }

    async fn connection(&self) -> Result<SendRequest<Body>, ChannelError> {
        let closed = || ChannelError::Closed { to: self.0.to.clone() };
        let (ask, answer) = oneshot::channel();
        self.0.asks.send(ask).await.map_err(|_| closed())?;
        let answer = answer.await.map_err(|_| closed())?;
        answer.map_err(|source| ChannelError::Unreachable { to: self.0.to.clone(), source })
    }

    /// HTTP/2 wants a whole address; the peer knows who it is.
    fn address(&self, request: &mut Request<Body>) {
        let mut parts = std::mem::take(request.uri_mut()).into_parts();
        parts.scheme = Some(Scheme::HTTPS);
        parts.authority = Some(self.0.authority.clone());
        parts.path_and_query.get_or_insert(http::uri::PathAndQuery::from_static("/"));
        *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Channel({})", self.0.to)
    }
}

#[cfg(test)]
mod tests;
