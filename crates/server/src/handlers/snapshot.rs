//! The whole state as one file. Owns writing it aside and sending it with its digest; what is in it, and how it is checked, is consensus'.

use std::{
    fs,
    io::{self, Write},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::{
    body::Body,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use model::id::Digest;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use tokio_util::io::ReaderStream;
use utoipa::ToSchema;

use crate::{api_error::ApiError, core::Core, extract::Query};

/// Numbers the files that are being sent.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// What a snapshot is to hold.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Extent {
    /// The artifacts too.
    #[serde(default)]
    artifacts: bool,
}

pub(crate) async fn save(State(core): State<Arc<Core>>, Query(Extent { artifacts }): Query<Extent>) -> Result<Response, ApiError> {
    if artifacts {
        let help = "save without --with-artifacts, and keep what you applied from beside it";
        return Err(ApiError::new("E0107", "a snapshot with artifacts is not supported yet", help));
    }
    let path = core.settings.data.join("control").join(format!("export-{}", NEXT.fetch_add(1, Ordering::Relaxed)));
    let failed = |error: io::Error| {
        ApiError::new("E0406", format!("the snapshot cannot be written: {error}"), "free disk space under the data directory")
    };
    let written = tokio::task::spawn_blocking(move || export(&core, path)).await;
    let (file, size, digest) = written.map_err(|error| failed(io::Error::other(error)))?.map_err(failed)?;
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_LENGTH, size.to_string()),
        (header::HeaderName::from_static(api::client::DIGEST_HEADER), digest.hex()),
    ];
    Ok((headers, Body::from_stream(ReaderStream::new(tokio::fs::File::from_std(file)))).into_response())
}

/// Writes the state into a file that has no name any more when this returns.
fn export(core: &Core, path: PathBuf) -> io::Result<(fs::File, u64, Digest)> {
    let file = fs::File::create(&path)?;
    let named = Named(path);
    let mut out = Summed { file, sum: Sha256::new() };
    core.consensus.export(&mut out)?;
    let file = fs::File::open(&named.0)?;
    let size = file.metadata()?.len();
    Ok((file, size, Digest(out.sum.finalize().into())))
}

/// A file that loses its name with this value.
struct Named(PathBuf);

impl Drop for Named {
    fn drop(&mut self) {
        // What is left lies aside and is overwritten by the next one of its number.
        let _ = fs::remove_file(&self.0);
    }
}

/// A file and the digest of what was written to it.
struct Summed {
    file: fs::File,
    sum: Sha256,
}

impl Write for Summed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.sum.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
