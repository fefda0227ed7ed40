//! Forming a cluster, joining one and asking where one stands in it, over a connection whose other end was checked already. Owns the one exchange; must never dial,
//! and never know what a proof proves.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, header, response::Parts};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};

use super::{
    ClientError, Server,
    connection::{self, Body, full},
};
use crate::{
    limits::{FORM_MAX, JOIN_MAX, JSON_BYTES_MAX, STANDING_MAX},
    peer::{FORM_PATH, JOIN_PATH, JoinAnswer, JoinRequest, PROOF_HEADER, STANDING_PATH, StandingAnswer, StandingRequest},
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

/// A message with what proves who it is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proven {
    /// JSON.
    pub body: Vec<u8>,
    /// As it goes into [`PROOF_HEADER`]; empty when there is none.
    pub proof: String,
}

/// Asks the machine at the other end of `stream`, which was reached as `address`, how it stands: it is to form a cluster too, as far as is known.
///
/// # Errors
/// It refuses, or gives no answer in time. Nobody has looked at the proof of the answer.
pub async fn form<S>(stream: S, address: &str, question: Proven) -> Result<Proven, ClientError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let wrong = |_| ClientError::Address { text: address.to_owned() };
    let mut request = post(address, FORM_PATH, question.body)?;
    request.headers_mut().insert(PROOF_HEADER, HeaderValue::from_str(&question.proof).map_err(wrong)?);
    let (head, body) = exchange(stream, address, request, FORM_MAX).await?;
    let proof = head.headers.get(PROOF_HEADER).and_then(|proof| proof.to_str().ok()).unwrap_or_default().to_owned();
    Ok(Proven { body: body.to_vec(), proof })
}

async fn ask<S, A>(stream: S, address: &str, path: &str, request: &impl Serialize, within: Duration) -> Result<A, ClientError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A: DeserializeOwned,
{
    let body = serde_json::to_vec(request).expect("wire types have string keys only");
    let (_, bytes) = exchange(stream, address, post(address, path, body)?, within).await?;
    connection::parse(&Server::Http(address.to_owned()), &bytes)
}

fn post(address: &str, path: &str, body: Vec<u8>) -> Result<Request<Body>, ClientError> {
    let head = Request::builder().method(Method::POST).uri(path).header(header::CONTENT_TYPE, "application/json");
    head.header(header::HOST, address).body(full(body)).map_err(|_| ClientError::Address { text: address.to_owned() })
}

/// Sends one request and reads the whole answer, unless it is a refusal.
async fn exchange<S>(stream: S, address: &str, request: Request<Body>, within: Duration) -> Result<(Parts, Bytes), ClientError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let server = Server::Http(address.to_owned());
    let broken = |source: hyper::Error| ClientError::Broken { server: server.clone(), source: Box::new(source) };
    let exchange = async {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let exchange = async {
            let (head, body) = sender.send_request(request).await.map_err(broken)?.into_parts();
            let bytes = connection::read_all(&server, body, JSON_BYTES_MAX).await?;
            if head.status.is_success() { Ok((head, bytes)) } else { Err(ClientError::refused(&server, head.status, &bytes)) }
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
