//! Requests over the network as a client sends them: well-formed ones through hyper, odd ones byte by byte. Must never reuse a server's own types.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// An answer read to its end.
#[derive(Debug)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Headers.
    pub headers: http::HeaderMap,
    /// The whole body, as text.
    pub body: String,
}

impl Answer {
    /// A header as text; empty when absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// GET `path` from `address` under `host`, on a connection of its own.
pub async fn get(address: &str, host: &str, path: &str) -> anyhow::Result<Answer> {
    let request = Request::get(path).header("host", host).body(Full::new(Bytes::new()))?;
    send(address, request).await
}

/// Sends `request` to `address` on a connection of its own.
pub async fn send(address: &str, request: Request<Full<Bytes>>) -> anyhow::Result<Answer> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);
    let answer = read(sender.send_request(request).await?).await;
    driver.abort();
    answer
}

/// Reads an answer to its end.
pub async fn read(response: Response<hyper::body::Incoming>) -> anyhow::Result<Answer> {
    let (head, body) = response.into_parts();
    let body = body.collect().await?.to_bytes();
    Ok(Answer { status: head.status.as_u16(), headers: head.headers, body: String::from_utf8_lossy(&body).into_owned() })
}

/// Writes `bytes` as they are and returns everything the server says until it closes or `limit` bytes came.
pub async fn exchange(address: &str, bytes: &[u8], limit: usize) -> anyhow::Result<String> {
    let (mut reader, mut writer) = TcpStream::connect(address).await?.into_split();
    let (mut said, mut chunk) = (Vec::new(), [0; 4096]);
    // A server may refuse and close before it has read everything, and may answer while it still reads.
    let write = async {
        let _ = writer.write_all(bytes).await;
        std::future::pending::<()>().await;
    };
    let read = async {
        while said.len() < limit {
            match tokio::time::timeout(crate::DEADLINE, reader.read(&mut chunk)).await? {
                Ok(0) | Err(_) => break,
                Ok(count) => said.extend_from_slice(&chunk[..count]),
            }
        }
        anyhow::Ok(())
    };
    tokio::select! {
        () = write => {}
        ended = read => ended?,
    }
    Ok(String::from_utf8_lossy(&said).into_owned())
}
