//! Joining a cluster and asking where one stands in it, over a connection whose other end was checked already. Owns the one exchange; must never dial.

use std::time::Duration;

use http::{Method, Request, header};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};

use super::{
    ClientError, Server,
    connection::{self, full},
};
use crate::{
    limits::{JOIN_MAX, JSON_BYTES_MAX, STANDING_MAX},
    peer::{JOIN_PATH, JoinAnswer, JoinRequest, STANDING_PATH, StandingAnswer, StandingRequest},
};

/// Asks the server at the other end of `stream`, which was reached as `address`, to let a node in.
///
/// # Errors
/// It refuses, or gives no answer that can be read.
pub async fn join<S>(stream: S, address: &str, request: &JoinRequest) -> Result<JoinAnswer, ClientError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    ask(stream, address, JOIN_PATH, request, JOIN_MAX).await
}

/// Asks the server at the other end of `stream`, which was reached as `address`, what it knows of one.
///
/// # Errors
/// It refuses, or gives no answer that can be read in time.
pub async fn standing<S>(stream: S, address: &str, request: &StandingRequest) -> Result<StandingAnswer, ClientError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    ask(stream, address, STANDING_PATH, request, STANDING_MAX).await
}

async fn ask<S, A>(stream: S, address: &str, path: &str, request: &impl Serialize, within: Duration) -> Result<A, ClientError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A: DeserializeOwned,
{
    let server = Server::Http(address.to_owned());
    let broken = |source: hyper::Error| ClientError::Broken { server: server.clone(), source: Box::new(source) };
    let body = serde_json::to_vec(request).expect("wire types have string keys only");
    let head = Request::builder().method(Method::POST).uri(path).header(header::CONTENT_TYPE, "application/json");
    let request = head.header(header::HOST, address).body(full(body)).map_err(|_| ClientError::Address { text: address.to_owned() })?;
    let exchange = async {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let exchange = async {
            let (head, body) = sender.send_request(request).await.map_err(broken)?.into_parts();
            let bytes = connection::read_all(&server, body, JSON_BYTES_MAX).await?;
            if head.status.is_success() {
                connection::parse(&server, &bytes)
            } else {
                Err(ClientError::refused(&server, head.status, &bytes))
            }
        };
        tokio::pin!(exchange);
        tokio::select! {
            biased;
            answer = &mut exchange => answer,
            ended = connection => match ended {
                // The whole answer may be there already.
                Ok(()) => exchange.await,
                Err(error) => Err(broken(error)),
            },
        }
    };
    timeout(within, exchange).await.map_err(|_| ClientError::Deadline { server: server.clone(), after: within })?
}
