//! One upload on its way: pieces into a file aside, counted and held against the digest. Owns why an upload fails; must never give a file its name.

use std::{fs, io, path::PathBuf};

use api::limits::ARTIFACT_BYTES_MAX;
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use model::id::Digest;
use sha2::Digest as _;
use tokio::{
    io::{AsyncWrite, AsyncWriteExt},
    time::timeout,
};

use crate::limits::{BODY_SILENCE_MAX, UPLOADS_MAX};

/// An upload that did not become an artifact. Nothing of it is left.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// More bytes than an artifact may have.
    #[error("the upload has more than the {ARTIFACT_BYTES_MAX} bytes an artifact may have")]
    TooLarge,
    /// The bytes are not those of the name.
    #[error("the bytes uploaded as {wanted} are {found}")]
    Mismatch {
        /// What was named.
        wanted: Digest,
        /// What came.
        found: Digest,
    },
    /// The sender stopped sending.
    #[error("the upload broke off: {message}")]
    BrokenOff {
        /// How.
        message: String,
    },
    /// The disk refuses.
    #[error("cannot store the artifact")]
    Storage(#[from] io::Error),
    /// Everything that is stored is needed.
    #[error("{count} artifacts with {bytes} bytes are stored, and a revision that is kept needs each of them")]
    Full {
        /// Artifacts.
        count: usize,
        /// Bytes of all of them.
        bytes: u64,
    },
    /// Too many at once.
    #[error("{UPLOADS_MAX} uploads are under way already")]
    Busy,
}

impl UploadError {
    /// `E0409` and the like.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLarge => "E0409",
            Self::Mismatch { .. } => "E0209",
            Self::BrokenOff { .. } => "E0408",
            Self::Storage(_) => "E0406",
            Self::Full { .. } => "E0405",
            Self::Busy => "E0407",
        }
    }

    /// The line that mends it.
    pub fn help(&self) -> &'static str {
        match self {
            Self::TooLarge => "strip debug information: `wasm-tools strip x.wasm -o y.wasm`",
            Self::Mismatch { .. } => "the file changed while it was read, or on its way: upload it again",
            Self::BrokenOff { .. } => "upload it again",
            Self::Storage(_) => "free disk space under the data directory; nothing was changed",
            Self::Full { .. } => "delete apps that are not needed any more, or start the server with a larger `--artifact-bytes`",
            Self::Busy => "try again in a moment",
        }
    }
}

/// A file that is written aside and goes unless it was renamed.
pub(crate) struct Aside(pub(crate) PathBuf);

impl Drop for Aside {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0) {
            tracing::warn!(path = %self.0.display(), error = %error, "what is left of an upload cannot be removed");
        }
    }
}

/// Writes the pieces into `sink` and holds them against `digest`. Returns how many bytes there were.
pub(crate) async fn receive<E: std::fmt::Display>(
    pieces: impl Stream<Item = Result<Bytes, E>>,
    digest: &Digest,
    sink: &mut (impl AsyncWrite + Unpin),
) -> Result<u64, UploadError> {
    let mut pieces = std::pin::pin!(pieces);
    let (mut size, mut hash) = (0u64, sha2::Sha256::new());
    let silent = |_| UploadError::BrokenOff { message: format!("nothing came for {} s", BODY_SILENCE_MAX.as_secs()) };
    while let Some(piece) = timeout(BODY_SILENCE_MAX, pieces.next()).await.map_err(silent)? {
        let piece = piece.map_err(|error| UploadError::BrokenOff { message: error.to_string() })?;
        size += piece.len() as u64;
        if size > ARTIFACT_BYTES_MAX {
            return Err(UploadError::TooLarge);
        }
        hash.update(&piece);
        sink.write_all(&piece).await?;
    }
    sink.flush().await?;
    let found = Digest(hash.finalize().into());
    if found == *digest { Ok(size) } else { Err(UploadError::Mismatch { wanted: *digest, found }) }
}
