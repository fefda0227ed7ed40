//! A file that comes from a server piece by piece. Owns the silence that ends it and the digest it is checked against; must never hold the whole file.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};
use http_body_util::BodyExt;
use model::id::Digest;
use tokio::time::timeout;

use super::{Client, ClientError, Server, Tied, connection, query};
use crate::limits::{CALL_MAX, JSON_BYTES_MAX, STREAM_SILENCE_MAX};
use crate::v1::SnapshotQuery;

/// Header or trailer with the SHA-256 of the whole body in hex, with or without `sha256:`.
pub const DIGEST_HEADER: &str = "x-shoal-sha256";

/// A body as it comes. Dropping it ends the call.
pub struct Download {
    server: Server,
    body: Tied,
    size: Option<u64>,
    digest: Option<Digest>,
}

impl Download {
    /// How many bytes will come, when the server said so.
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// The digest of the whole as the server tells it; often known only after the last piece.
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// The next piece; `None` after the last.
    ///
    /// # Errors
    /// `Deadline` when nothing came for too long, `Broken` when the connection ends before the body.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        loop {
            let silent = |_| ClientError::Deadline { server: self.server.clone(), after: STREAM_SILENCE_MAX };
            let frame = match timeout(STREAM_SILENCE_MAX, self.body.frame()).await.map_err(silent)? {
                None => return Ok(None),
                Some(Err(source)) => return Err(ClientError::Broken { server: self.server.clone(), source: Box::new(source) }),
                Some(Ok(frame)) => frame,
            };
            match frame.into_data() {
                Ok(data) if data.is_empty() => {}
                Ok(data) => return Ok(Some(data)),
                Err(frame) => {
                    if let Some(told) = frame.trailers_ref().and_then(told_digest) {
                        self.digest = Some(told);
                    }
                }
            }
        }
    }
}

impl Client {
    /// The whole state as one file, opaque here; with what `query` asks for besides.
    ///
    /// # Errors
    /// Those of a call.
    pub async fn snapshot(&self, query: &SnapshotQuery) -> Result<Download, ClientError> {
        let path = query::append("/v1/snapshot", query);
        self.servers.first(|server| self.download(server, &path)).await
    }

    async fn download(&self, server: Server, path: &str) -> Result<Download, ClientError> {
        let mut request = self.signed(connection::request(&server, Method::GET, path, None)?);
        // Without it no server sends trailers.
        request.headers_mut().insert(header::TE, HeaderValue::from_static("trailers"));
        let late = |_| ClientError::Deadline { server: server.clone(), after: CALL_MAX };
        let (head, body) = timeout(CALL_MAX, server.send(request)).await.map_err(late)??.into_parts();
        if !head.status.is_success() {
            let whole = timeout(CALL_MAX, connection::read(&server, body, JSON_BYTES_MAX)).await.map_err(late)??;
            return Err(ClientError::refused(&server, head.status, &whole));
        }
        let size = head.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        Ok(Download { server, body, size, digest: told_digest(&head.headers) })
    }
}

fn told_digest(headers: &HeaderMap) -> Option<Digest> {
    let text = headers.get(DIGEST_HEADER)?.to_str().ok()?.trim();
    let hex = text.strip_prefix("sha256:").unwrap_or(text);
    format!("sha256:{hex}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_read_with_and_without_its_kind() {
        let digest = Digest::of(b"all");
        for text in [digest.to_string(), digest.hex()] {
            let mut headers = HeaderMap::new();
            headers.insert(DIGEST_HEADER, text.parse().expect("a header"));
            assert_eq!(told_digest(&headers), Some(digest), "{text}");
        }
        assert_eq!(told_digest(&HeaderMap::new()), None);
    }
}
