//! Artifacts: is it here, take it, give it to a worker.

use std::{io, sync::Arc};

use api::limits::ARTIFACT_BYTES_MAX;
use artifacts::UploadError;
use axum::{
    Extension,
    body::{Body, BodyDataStream},
    extract::{Request, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use futures_util::StreamExt;
use model::id::Digest;
use tokio_util::io::ReaderStream;

use super::{node::Worker, peer::From};
use crate::{api_error::ApiError, core::Core, extract::IdPath, limits::REFUSED_READ_MAX, retention, spread};

/// Bytes read from disk at once.
const PIECE_BYTES: usize = 64 * 1024;

pub(crate) async fn head(State(core): State<Arc<Core>>, IdPath(digest): IdPath<Digest>) -> Result<Response, ApiError> {
    // Whoever asks is about to apply it.
    core.artifacts.touch(&digest);
    let size = core.artifacts.size(&digest).ok_or_else(|| unknown(&digest))?;
    Ok([(header::CONTENT_LENGTH, size.to_string()), (header::CONTENT_TYPE, "application/wasm".to_owned())].into_response())
}

pub(crate) async fn put(State(core): State<Arc<Core>>, IdPath(digest): IdPath<Digest>, request: Request) -> Result<StatusCode, ApiError> {
    let length = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > ARTIFACT_BYTES_MAX) {
        return Err(UploadError::TooLarge.into());
    }
    let mut pieces = request.into_body().into_data_stream();
    retention::sweep(&core).await;
    let stored = core.artifacts.store(&digest, &mut pieces).await;
    if stored.is_err() {
        read_to_end(&mut pieces).await;
    }
    stored?;
    Ok(StatusCode::CREATED)
}

/// Reads on after a refusal: a client that still sends when the connection closes sees a broken pipe instead of the reason.
async fn read_to_end(pieces: &mut BodyDataStream) {
    let rest = async {
        let mut bytes = 0;
        while let Some(Ok(piece)) = pieces.next().await {
            bytes += piece.len() as u64;
            if bytes > ARTIFACT_BYTES_MAX {
                return;
            }
        }
    };
    if tokio::time::timeout(REFUSED_READ_MAX, rest).await.is_err() {
        tracing::debug!("a refused upload goes on; its connection is closed");
    }
}

/// To a worker, of what its placements need; what lacks here another server has.
pub(crate) async fn get(
    State(core): State<Arc<Core>>,
    Extension(Worker(node)): Extension<Worker>,
    IdPath(digest): IdPath<Digest>,
) -> Result<Response, ApiError> {
    let state = core.state();
    let needs = tokio::task::spawn_blocking(move || state.needs(node, &digest)).await;
    // The revisions of everything that runs there are read for this.
    if !needs.unwrap_or(false) {
        // Another server may have told it of a placement that this one does not know yet: it asks again.
        let message = format!("artifact {digest} is nothing that {node} runs, as far as this server knows");
        return Err(ApiError::new("E0407", message, "a worker gets what it is assigned; it is tried again by itself"));
    }
    spread::bring(&core, &digest).await;
    send(&core, digest).await
}

/// To another server.
pub(crate) async fn give(
    State(core): State<Arc<Core>>,
    Extension(from): Extension<From>,
    IdPath(digest): IdPath<Digest>,
) -> Result<Response, ApiError> {
    from.server()?;
    send(&core, digest).await
}

/// From whichever server asks this one to have it.
pub(crate) async fn fetch(
    State(core): State<Arc<Core>>,
    Extension(from): Extension<From>,
    IdPath(digest): IdPath<Digest>,
) -> Result<StatusCode, ApiError> {
    let server = from.server()?;
    let failed = |why| ApiError::new("E0407", format!("artifact {digest} cannot be fetched from {}: {why}", server.node), "");
    spread::bring_from(&core, server.node.0, &digest).await.map_err(failed)?;
    Ok(StatusCode::CREATED)
}

async fn send(core: &Core, digest: Digest) -> Result<Response, ApiError> {
    let unreadable = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => unknown(&digest),
        _ => ApiError::new("E0406", format!("cannot read artifact {digest}: {error}"), ""),
    };
    let file = tokio::fs::File::open(core.artifacts.path(&digest)).await.map_err(unreadable)?;
    let size = file.metadata().await.map_err(unreadable)?.len();
    let headers = [(header::CONTENT_LENGTH, size.to_string()), (header::CONTENT_TYPE, "application/wasm".to_owned())];
    Ok((headers, Body::from_stream(ReaderStream::with_capacity(file, PIECE_BYTES))).into_response())
}

fn unknown(digest: &Digest) -> ApiError {
    let error = ApiError::new("E0206", format!("artifact {digest} is not here"), "upload it with `shoal apply`");
    error.status(StatusCode::NOT_FOUND)
}
