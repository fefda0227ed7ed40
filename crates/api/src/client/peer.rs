//! Joining a cluster, over a connection whose other end was checked already. Owns the one exchange; must never dial.

use http::{Method, Request, header};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};

use super::{
    ClientError, Server,
    connection::{self, full},
};
use crate::{
    limits::{JOIN_MAX, JSON_BYTES_MAX},
    peer::{JOIN_PATH, JoinAnswer, JoinRequest},
};

/// Asks the server at the other end of `stream`, which was reached as `address`, to let a node in.
///
/// # Errors
/// It refuses, or gives no answer that can be read.
pub async fn join<S>(stream: S, address: &str, request: &JoinRequest) -> Result<JoinAnswer, ClientError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let server = Server::Http(address.to_owned());
    let broken = |source: hyper::Error| ClientError::Broken { server: server.clone(), source: Box::new(source) };
    let body = serde_json::to_vec(request).expect("wire types have string keys only");
    let head = Request::builder().method(Method::POST).uri(JOIN_PATH).header(header::CONTENT_TYPE, "application/json");
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
    timeout(JOIN_MAX, exchange).await.map_err(|_| ClientError::Deadline { server: server.clone(), after: JOIN_MAX })?
}
