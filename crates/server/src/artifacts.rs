//! Artifact bytes on disk, named by digest. Owns writing aside, checking, flushing and renaming, so that a name always means its bytes;
//! must never know which app uses them.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use api::limits::ARTIFACT_BYTES_MAX;
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use inspect::{InspectError, Inspection};
use model::id::Digest;
use sha2::Digest as _;
use tokio::{
    io::{AsyncWrite, AsyncWriteExt},
    sync::Semaphore,
    time::timeout,
};

use crate::{
    api_error::ApiError,
    limits::{BODY_SILENCE_MAX, CACHED_MAX, UPLOAD_MAX, UPLOADS_MAX},
};

/// The artifacts of this server.
#[derive(Debug)]
pub(crate) struct Artifacts {
    directory: PathBuf,
    /// Bytes stored.
    bytes: AtomicU64,
    uploads: Semaphore,
    next_upload: AtomicU64,
    facts: Mutex<HashMap<Digest, Arc<Result<Inspection, InspectError>>>>,
}

/// An upload that did not become an artifact. Nothing of it is left.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UploadError {
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
    /// Too many at once.
    #[error("{UPLOADS_MAX} uploads are under way already")]
    Busy,
}

impl From<UploadError> for ApiError {
    fn from(error: UploadError) -> Self {
        let message = crate::api_error::chain(&error);
        match error {
            UploadError::TooLarge => Self::new("E0409", message, "strip debug information: `wasm-tools strip x.wasm -o y.wasm`"),
            UploadError::Mismatch { .. } => {
                Self::new("E0209", message, "the file changed while it was read, or on its way: upload it again")
            }
            UploadError::BrokenOff { .. } => Self::new("E0408", message, "upload it again"),
            UploadError::Storage(_) => Self::new("E0406", message, "free disk space under the data directory; nothing was changed"),
            UploadError::Busy => Self::new("E0407", message, "try again in a moment"),
        }
    }
}

impl Artifacts {
    /// The artifacts under `directory`; what an earlier process left half-written is removed.
    pub(crate) fn open(directory: &Path) -> io::Result<Self> {
        let aside = directory.join("tmp");
        fs::create_dir_all(&aside)?;
        for leftover in fs::read_dir(&aside)? {
            fs::remove_file(leftover?.path())?;
        }
        let mut bytes = 0;
        for entry in fs::read_dir(directory)? {
            let metadata = entry?.metadata()?;
            bytes += if metadata.is_file() { metadata.len() } else { 0 };
        }
        Ok(Self {
            directory: directory.to_owned(),
            bytes: AtomicU64::new(bytes),
            uploads: Semaphore::new(UPLOADS_MAX),
            next_upload: AtomicU64::new(1),
            facts: Mutex::default(),
        })
    }

    /// Bytes stored.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Where the bytes of `digest` are.
    pub(crate) fn path(&self, digest: &Digest) -> PathBuf {
        self.directory.join(format!("{}.wasm", digest.hex()))
    }

    /// How many bytes `digest` has; `None` when it is not here.
    pub(crate) fn size(&self, digest: &Digest) -> Option<u64> {
        fs::metadata(self.path(digest)).ok().map(|metadata| metadata.len())
    }

    /// What `digest` is; `None` when it is not here. Read once, then remembered.
    pub(crate) async fn facts(&self, digest: &Digest) -> io::Result<Option<Arc<Result<Inspection, InspectError>>>> {
        if let Some(known) = self.facts.lock().expect("nothing panics while holding the facts").get(digest) {
            return Ok(Some(known.clone()));
        }
        let path = self.path(digest);
        let read = tokio::task::spawn_blocking(move || match fs::read(path) {
            Ok(bytes) => Ok(Some(Arc::new(inspect::inspect(&bytes)))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        });
        let Some(facts) = read.await.map_err(io::Error::other)?? else { return Ok(None) };
        let mut known = self.facts.lock().expect("nothing panics while holding the facts");
        if known.len() >= CACHED_MAX {
            known.clear();
        }
        known.insert(*digest, facts.clone());
        Ok(Some(facts))
    }

    /// Stores what comes as `digest`. When this returns without an error the bytes are on disk under that name.
    pub(crate) async fn store<E>(&self, digest: &Digest, pieces: impl Stream<Item = Result<Bytes, E>>) -> Result<(), UploadError>
    where
        E: std::fmt::Display,
    {
        let _permit = self.uploads.try_acquire().map_err(|_| UploadError::Busy)?;
        let number = self.next_upload.fetch_add(1, Ordering::Relaxed);
        let aside = Aside(self.directory.join("tmp").join(format!("{}.{number}", digest.hex())));
        let mut file = tokio::fs::File::create(&aside.0).await?;
        let late = |_| UploadError::BrokenOff { message: format!("it is not whole after {} s", UPLOAD_MAX.as_secs()) };
        let size = timeout(UPLOAD_MAX, receive(pieces, digest, &mut file)).await.map_err(late)??;
        file.sync_all().await?;
        drop(file);
        let replaced = self.size(digest).unwrap_or(0);
        tokio::fs::rename(&aside.0, self.path(digest)).await?;
        std::mem::forget(aside);
        self.bytes.fetch_add(size.saturating_sub(replaced), Ordering::Relaxed);
        // The name must survive a crash too, before anybody is told that it is there.
        tokio::fs::File::open(&self.directory).await?.sync_all().await?;
        Ok(())
    }
}

/// A file that is written aside and goes unless it was renamed.
struct Aside(PathBuf);

impl Drop for Aside {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0) {
            tracing::warn!(path = %self.0.display(), error = %error, "what is left of an upload cannot be removed");
        }
    }
}

/// Writes the pieces into `sink` and holds them against `digest`. Returns how many bytes there were.
async fn receive<E: std::fmt::Display>(
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

/// Whether the disk, or the part of it that is ours, is full.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    type Piece = Result<Bytes, io::Error>;

    async fn check(name: &[u8], pieces: Vec<Piece>, expected: Result<(), &str>) {
        let directory = tempfile::tempdir().expect("a directory");
        let artifacts = Artifacts::open(directory.path()).expect("an empty directory");
        let digest = Digest::of(name);
        let stored = artifacts.store(&digest, stream::iter(pieces)).await;
        assert_eq!(artifacts.size(&digest).is_some(), stored.is_ok(), "a name is there exactly when its bytes are");
        let code = stored.map_err(|error| ApiError::from(error).into_code());
        assert_eq!(code, expected.map_err(str::to_owned));
        let left = fs::read_dir(directory.path().join("tmp")).expect("the place aside").count();
        assert_eq!(left, 0, "nothing is left aside");
    }

    #[tokio::test]
    async fn an_upload_is_stored_whole_or_not_at_all() {
        let piece = |text: &'static str| Ok(Bytes::from(text));
        check(b"wasm", vec![piece("wa"), piece("sm")], Ok(())).await;
        check(b"wasm", vec![piece("wa")], Err("E0209")).await;
        check(b"wasm", vec![piece("wa"), Err(io::ErrorKind::ConnectionReset.into())], Err("E0408")).await;
        let mebibyte = Bytes::from(vec![0; 1024 * 1024]);
        check(b"wasm", (0..=256).map(|_| Ok(mebibyte.clone())).collect(), Err("E0409")).await;
    }

    #[tokio::test]
    async fn a_full_disk_is_told_as_such() {
        let mut full = tokio::fs::File::options().write(true).open("/dev/full").await.expect("Linux has one");
        let pieces = stream::iter([Ok::<_, io::Error>(Bytes::from_static(b"wasm"))]);
        let error = receive(pieces, &Digest::of(b"wasm"), &mut full).await.expect_err("nothing fits there");
        assert!(matches!(&error, UploadError::Storage(error) if is_full(error)), "{error:?}");
        assert_eq!(ApiError::from(error).into_code(), "E0406");
    }

    #[test]
    fn what_a_crash_left_is_removed() {
        let directory = tempfile::tempdir().expect("a directory");
        fs::create_dir(directory.path().join("tmp")).expect("a fresh directory");
        fs::write(directory.path().join("tmp/half"), "ha").expect("a fresh directory");
        Artifacts::open(directory.path()).expect("a directory of ours");
        assert!(!directory.path().join("tmp/half").exists());
    }
}
