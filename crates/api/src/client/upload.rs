//! Uploading an artifact. Owns reading the file in pieces and telling how far it is; must never hold the whole file.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures_util::stream;
use http::{Method, Request, header};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use model::id::Digest;
use tokio::{fs::File, io::AsyncReadExt, time::timeout};

use super::{Body, ClientError, Server, Token, connection};
use crate::limits::{ARTIFACT_BYTES_MAX, CALL_MAX, JSON_BYTES_MAX, UPLOAD_BYTES_PER_SECOND_MIN};

/// Bytes read and sent at once: enough to keep a disk and a socket busy, little enough to tell progress by.
const PIECE_BYTES: usize = 64 * 1024;

/// Hears bytes sent and bytes in all. Shared, so that another server can be tried with it.
pub(super) type Progress = Arc<Mutex<dyn FnMut(u64, u64) + Send>>;

/// Uploads the file at `path` as `digest`.
pub(super) async fn put_artifact(
    server: &Server,
    token: Option<&Token>,
    digest: &Digest,
    path: &Path,
    progress: Progress,
) -> Result<(), ClientError> {
    let unreadable = |source| ClientError::File { path: path.to_owned(), source };
    let file = File::open(path).await.map_err(unreadable)?;
    let size = file.metadata().await.map_err(unreadable)?.len();
    if size > ARTIFACT_BYTES_MAX {
        return Err(ClientError::TooLarge { path: path.to_owned(), size, max: ARTIFACT_BYTES_MAX });
    }
    let uri = format!("/v1/artifacts/{digest}");
    let mut request = Request::builder()
        .method(Method::PUT)
        .uri(&uri)
        .header(header::CONTENT_TYPE, "application/wasm")
        .header(header::CONTENT_LENGTH, size)
        .body(pieces(file, size, progress))
        .map_err(|_| ClientError::Address { text: format!("{server}{uri}") })?;
    if let Some(token) = token {
        token.sign(request.headers_mut());
    }
    let deadline = CALL_MAX + Duration::from_secs(size / UPLOAD_BYTES_PER_SECOND_MIN);
    let exchange = async {
        let (head, body) = server.send(request).await?.into_parts();
        let bytes = connection::read(server, body, JSON_BYTES_MAX).await?;
        if head.status.is_success() { Ok(()) } else { Err(ClientError::refused(server, head.status, &bytes)) }
    };
    timeout(deadline, exchange).await.map_err(|_| ClientError::Deadline { server: server.clone(), after: deadline })?
}

/// The file as a body. One that shrinks meanwhile ends the upload early, which the server tells by the digest.
fn pieces(file: File, size: u64, progress: Progress) -> Body {
    let stream = stream::unfold((file, progress, 0u64), move |(mut file, progress, sent)| async move {
        let mut piece = vec![0; PIECE_BYTES.min(usize::try_from(size - sent).unwrap_or(PIECE_BYTES))];
        match file.read(&mut piece).await {
            Ok(0) => None,
            Ok(count) => {
                piece.truncate(count);
                let sent = sent + count as u64;
                progress.lock().unwrap_or_else(PoisonError::into_inner)(sent, size);
                Some((Ok(Frame::data(Bytes::from(piece))), (file, progress, sent)))
            }
            Err(error) => Some((Err(error.into()), (file, progress, sent))),
        }
    });
    StreamBody::new(stream).boxed_unsync()
}
