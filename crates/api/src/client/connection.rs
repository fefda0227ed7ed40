//! One HTTP/1.1 connection per call, over a Unix socket or TCP. Owns dialing and reading whole answers; must never outlive the answer's body.

use std::{fmt, io, path::PathBuf, pin, str::FromStr, sync::Arc, task, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt, Empty, Full, Limited, combinators::UnsyncBoxBody};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    task::JoinHandle,
    time::timeout,
};
use transport::{AuthorityDigest, Pin, Protocol, SystemClock};

use super::{
    ClientError,
    found::{self, Found},
    known::Stale,
};
use crate::{limits::CONNECT_MAX, time::Time};

/// A request's body.
pub type Body = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Server {
    /// A Unix socket on this machine.
    Socket(PathBuf),
    /// `HOST:PORT`, without TLS.
    Http(String),
    /// `HOST:PORT` of a server of the cluster with this authority.
    Https(String, AuthorityDigest),
    /// Where one may be that nobody named: spoken to only when root or the user of this process runs it.
    Found(Found),
}

impl Server {
    /// Reads `https://HOST:PORT` of a cluster whose authority is known.
    ///
    /// # Errors
    /// It is written otherwise.
    pub fn pinned(text: &str, authority: AuthorityDigest) -> Result<Self, ClientError> {
        let found = text.strip_prefix("https://").and_then(host_and_port);
        found.map(|found| Self::Https(found, authority)).ok_or_else(|| ClientError::Address { text: text.to_owned() })
    }
}

/// `HOST:PORT` and nothing else.
fn host_and_port(text: &str) -> Option<String> {
    let text = text.trim_end_matches('/');
    let parsed: http::uri::Authority = text.parse().ok()?;
    let is_plain = parsed.port_u16().is_some() && !parsed.host().is_empty() && !text.contains('@');
    is_plain.then(|| text.to_owned())
}

impl FromStr for Server {
    type Err = ClientError;

    fn from_str(text: &str) -> Result<Self, ClientError> {
        let wrong = || ClientError::Address { text: text.to_owned() };
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(Self::Socket(path.strip_prefix("//").unwrap_or(path).into()));
        }
        host_and_port(text.strip_prefix("http://").unwrap_or(text)).map(Self::Http).ok_or_else(wrong)
    }
}

impl fmt::Display for Server {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => write!(out, "unix:{}", path.display()),
            Self::Http(authority) => write!(out, "http://{authority}"),
            Self::Https(authority, _) => write!(out, "https://{authority}"),
            Self::Found(found) => found.fmt(out),
        }
    }
}

/// A response body that keeps its connection going and ends it when dropped.
pub struct Tied {
    body: Incoming,
    _driver: Driver,
}

impl http_body::Body for Tied {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: pin::Pin<&mut Self>,
        context: &mut task::Context<'_>,
    ) -> task::Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        pin::Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

/// Beside an answer: the authority of whoever gave it, when the pinned one has been replaced and vouches for it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Followed(pub(super) AuthorityDigest);

/// The task that moves a connection's bytes.
struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// No body.
pub fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// The whole body at once.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

impl Server {
    /// Sends one request and returns the answer's head with its body to come. No deadline but the one on dialing: the caller sets it.
    ///
    /// # Errors
    /// `Unreachable` when nobody listens, `Broken` when the connection ends early.
    pub async fn send(&self, mut request: Request<Body>) -> Result<Response<Tied>, ClientError> {
        let host = match self {
            Self::Socket(_) | Self::Found(Found::Socket(_)) => "localhost",
            Self::Found(Found::Http(authority)) | Self::Http(authority) | Self::Https(authority, _) => authority.as_str(),
        };
        let host = HeaderValue::from_str(host).map_err(|_| ClientError::Address { text: host.to_owned() })?;
        request.headers_mut().insert(header::HOST, host);
        let broken = |source: hyper::Error| ClientError::Broken { server: self.clone(), source: Box::new(source) };
        let (mut sender, driver, followed) = self.dial().await?;
        let mut answer = sender.send_request(request).await.map_err(broken)?;
        if let Some(followed) = followed {
            answer.extensions_mut().insert(followed);
        }
        Ok(answer.map(|body| Tied { body, _driver: driver }))
    }

    async fn dial(&self) -> Result<(http1::SendRequest<Body>, Driver, Option<Followed>), ClientError> {
        let unreachable = |source: io::Error| ClientError::Unreachable { server: self.clone(), source };
        let late = |_| unreachable(io::ErrorKind::TimedOut.into());
        let mut followed = None;
        let (sender, driver) = match self {
            Self::Socket(path) => {
                self.start(timeout(CONNECT_MAX, UnixStream::connect(path)).await.map_err(late)?.map_err(unreachable)?).await
            }
            Self::Http(authority) => {
                let stream = timeout(CONNECT_MAX, TcpStream::connect(authority)).await.map_err(late)?.map_err(unreachable)?;
                stream.set_nodelay(true).map_err(unreachable)?;
                self.start(stream).await
            }
            Self::Found(Found::Socket(path)) => {
                let stream = timeout(CONNECT_MAX, UnixStream::connect(path)).await.map_err(late)?.map_err(unreachable)?;
                found::check_socket(&stream).map_err(unreachable)?;
                self.start(stream).await
            }
            Self::Found(Found::Http(authority)) => {
                let stream = timeout(CONNECT_MAX, TcpStream::connect(authority)).await.map_err(late)?.map_err(unreachable)?;
                stream.peer_addr().and_then(found::check_listener).map_err(unreachable)?;
                stream.set_nodelay(true).map_err(unreachable)?;
                self.start(stream).await
            }
            Self::Https(authority, pinned) => {
                let pin = Pin { authority: *pinned, clock: Arc::new(SystemClock), protocol: Protocol::Http1, connect_max: CONNECT_MAX };
                let dialed = transport::dial_pinned(authority, &pin).await.map_err(|error| ClientError::of_dial(self, error))?;
                followed = Some(dialed.authority.digest()).filter(|shown| shown != pinned).map(Followed);
                self.start(dialed.stream).await
            }
        }?;
        Ok((sender, driver, followed))
    }

    async fn start<S>(&self, stream: S) -> Result<(http1::SendRequest<Body>, Driver), ClientError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let broken = |source: hyper::Error| ClientError::Broken { server: self.clone(), source: Box::new(source) };
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let driver = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(error = %error, "connection ended with an error");
            }
        });
        Ok((sender, Driver(driver)))
    }
}

/// Sends a request and reads the whole answer, at most `bytes_max`, within `deadline`.
pub(super) async fn exchange(
    server: &Server,
    method: Method,
    path: &str,
    body: Option<Vec<u8>>,
    deadline: Duration,
    bytes_max: usize,
) -> Result<(StatusCode, Bytes), ClientError> {
    let request = request(server, method, path, body.map(Bytes::from))?;
    answer(server, request, deadline, bytes_max).await.map(|answer| (answer.status, answer.bytes))
}

/// A whole answer and what its head says that calls look at.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// When the server asks to be asked again.
    pub(super) retry_after: Option<Duration>,
    /// The server's clock.
    pub(super) date: Option<Time>,
    /// Its authority, when that is not the pinned one any more.
    pub(super) followed: Option<AuthorityDigest>,
    /// That it was read on one server alone.
    pub(super) stale: Option<Stale>,
    pub(super) bytes: Bytes,
}

/// Sends `request` and reads the whole answer, at most `bytes_max`, within `deadline`.
pub(super) async fn answer(server: &Server, request: Request<Body>, deadline: Duration, bytes_max: usize) -> Result<Answer, ClientError> {
    let exchange = async {
        let (head, body) = server.send(request).await?.into_parts();
        let text = |name: header::HeaderName| head.headers.get(name).and_then(|value| value.to_str().ok());
        let retry_after = text(header::RETRY_AFTER).and_then(|text| text.parse().ok()).map(Duration::from_secs);
        let date = text(header::DATE).and_then(Time::of_http_date);
        let followed = head.extensions.get().map(|Followed(shown)| *shown);
        let stale = Stale::of(&head.headers);
        Ok(Answer { status: head.status, retry_after, date, followed, stale, bytes: read(server, body, bytes_max).await? })
    };
    timeout(deadline, exchange).await.map_err(|_| ClientError::Deadline { server: server.clone(), after: deadline })?
}

/// A request with a JSON body or none.
pub(super) fn request(server: &Server, method: Method, path: &str, body: Option<Bytes>) -> Result<Request<Body>, ClientError> {
    let builder = Request::builder().method(method).uri(path);
    let request = match body {
        Some(json) => builder.header(header::CONTENT_TYPE, "application/json").body(full(json)),
        None => builder.body(empty()),
    };
    request.map_err(|_| ClientError::Address { text: format!("{server}{path}") })
}

/// The whole body, at most `bytes_max`.
pub(super) async fn read(server: &Server, body: Tied, bytes_max: usize) -> Result<Bytes, ClientError> {
    read_all(server, body, bytes_max).await
}

/// The same of any body.
pub(super) async fn read_all<B>(server: &Server, body: B, bytes_max: usize) -> Result<Bytes, ClientError>
where
    B: http_body::Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
{
    let whole = Limited::new(body, bytes_max).collect().await;
    Ok(whole.map_err(|source| ClientError::Broken { server: server.clone(), source })?.to_bytes())
}

/// The answer in `bytes`.
pub(super) fn parse<A: DeserializeOwned>(server: &Server, bytes: &[u8]) -> Result<A, ClientError> {
    serde_json::from_slice(bytes).map_err(|source| ClientError::Unreadable { server: server.clone(), source: Box::new(source) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_users_write_them() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(text.parse::<Server>().ok().map(|server| server.to_string()).as_deref(), expected, "{text}");
        };
        check("http://127.0.0.1:7070", Some("http://127.0.0.1:7070"));
        check("http://[::1]:7070/", Some("http://[::1]:7070"));
        check("localhost:7070", Some("http://localhost:7070"));
        check("unix:/run/shoal/api.sock", Some("unix:/run/shoal/api.sock"));
        check("unix:///run/shoal/api.sock", Some("unix:/run/shoal/api.sock"));
        check("https://example.com", None);
        check("https://example.com:7070", None);
        check("localhost", None);
        check(":7070", None);
        check("user@host:7070", None);
        check("", None);
    }

    #[test]
    fn an_encrypted_address_needs_the_authority() {
        let pin = AuthorityDigest::from_bytes([7; 32]);
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(Server::pinned(text, pin).ok().map(|server| server.to_string()).as_deref(), expected, "{text}");
        };
        check("https://10.0.0.1:7070/", Some("https://10.0.0.1:7070"));
        check("https://[::1]:7070", Some("https://[::1]:7070"));
        check("http://10.0.0.1:7070", None);
        check("10.0.0.1:7070", None);
        check("https://10.0.0.1", None);
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_unreachable() {
        let directory = tempfile::tempdir().expect("a directory");
        let server = Server::Socket(directory.path().join("none.sock"));
        let error = exchange(&server, Method::GET, "/healthz", None, Duration::from_secs(5), 1024).await.expect_err("nobody listens");
        assert!(matches!(error, ClientError::Unreachable { .. }), "{error:?}");
    }
}
