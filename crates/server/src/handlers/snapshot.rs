//! The whole cluster as one file. Owns what goes in and that it is sent as it is read; the file's layout is `backup`'s, and the state in it consensus'.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    sync::Arc,
    time::Duration,
};

use api::v1::SnapshotQuery;
use axum::{
    Extension,
    body::Body,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use backup::{About, Kind, Writer};
use bytes::Bytes;
use doors::via::Via;
use founding::machine::Machine;
use futures_util::stream;
use model::id::Digest;
use tokio::{
    runtime::Handle,
    sync::{
        Semaphore,
        mpsc::{self, error::SendTimeoutError},
    },
};
use wishes::caller::Caller;

use crate::{
    api_error::ApiError,
    clock,
    core::Core,
    extract::Query,
    handlers::peer,
    limits::{SNAPSHOT_MISSING_MAX, SNAPSHOT_PIECE_BYTES, SNAPSHOT_PIECES_MAX, SNAPSHOT_SILENCE_MAX, SNAPSHOTS_SENT_MAX},
    spread,
};

/// A slow reader holds a thread: only so many at once.
static SENDING: Semaphore = Semaphore::const_new(SNAPSHOTS_SENT_MAX);

pub(crate) async fn save(
    State(core): State<Arc<Core>>,
    (Extension(caller), Extension(via)): (Extension<Caller>, Extension<Via>),
    Query(query): Query<SnapshotQuery>,
) -> Result<Response, ApiError> {
    if query.keys && (caller.by_token || via != Via::Socket) {
        let help = "run it on a server, as the user the server runs as, with   --data-dir DIR   or save without --with-keys";
        let refused =
            ApiError::new("E0421", "the cluster's key goes only to the owner of a server's data directory, over its socket", help);
        return Err(refused.status(StatusCode::FORBIDDEN));
    }
    if query.keys {
        peer::tell_of_key(&core).await?;
    }
    let permit = SENDING.try_acquire().map_err(|_| ApiError::new("E0407", "other snapshots are being sent", "try again in a moment"))?;
    let frozen =
        core.consensus.frozen().ok_or_else(|| ApiError::new("E0407", "there is nothing in the log yet", "try again in a moment"))?;
    let artifacts = if query.artifacts { bring(&core, &frozen).await } else { Found::default() };
    let (pieces, sent) = mpsc::channel(SNAPSHOT_PIECES_MAX);
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || {
        let _permit = permit;
        let told = pieces.clone();
        if let Err(error) = write(&core, &frozen, &query, &artifacts, Outward { pieces, runtime, patience: SNAPSHOT_SILENCE_MAX }) {
            tracing::warn!(error = %error, "a snapshot was broken off");
            // Whoever reads it sees that it is torn: by this, or, when nothing more can be sent, by its end.
            let _ = told.try_send(Err(error));
        }
    });
    let body = Body::from_stream(stream::unfold(sent, async |mut sent: mpsc::Receiver<io::Result<Bytes>>| {
        sent.recv().await.map(|piece| (piece, sent))
    }));
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], body).into_response())
}

/// The artifacts that kept revisions name.
#[derive(Debug, Default)]
struct Found {
    here: Vec<Digest>,
    /// On no server that answers: one lost artifact is no reason to save nothing.
    missing: Vec<Digest>,
}

async fn bring(core: &Arc<Core>, frozen: &consensus::Frozen<Machine>) -> Found {
    let mut found = Found::default();
    let state = frozen.machine().0.clone();
    // Every kept revision is read for this.
    let named = tokio::task::spawn_blocking(move || state.artifacts()).await.unwrap_or_default();
    for digest in named {
        if spread::bring(core, &digest).await { found.here.push(digest) } else { found.missing.push(digest) }
    }
    if !found.missing.is_empty() {
        tracing::warn!(artifacts.missing = found.missing.len(), "a snapshot lacks artifacts that no server has");
    }
    found
}

fn write(core: &Core, frozen: &consensus::Frozen<Machine>, query: &SnapshotQuery, artifacts: &Found, out: Outward) -> io::Result<()> {
    let about = About {
        format: backup::FORMAT,
        cluster: core.settings.cluster.to_string(),
        index: frozen.index(),
        state_hash: Digest(frozen.machine().0.hash()),
        saved_at: clock::now().0,
        release: env!("CARGO_PKG_VERSION").to_owned(),
        artifacts: query.artifacts.then_some(artifacts.here.len() as u64),
        missing: artifacts.missing.iter().copied().take(SNAPSHOT_MISSING_MAX).collect(),
        with_keys: query.keys,
    };
    let mut writer = Writer::begin(BufWriter::with_capacity(SNAPSHOT_PIECE_BYTES, out), &about)?;
    if query.keys {
        writer.part(&Kind::Key, core.cluster_key.to_bytes().as_slice())?;
    }
    writer.stream(&Kind::State, |part| frozen.write(part))?;
    for digest in &artifacts.here {
        writer.part(&Kind::Artifact(*digest), File::open(core.artifacts.path(digest))?)?;
    }
    writer.finish().map(drop)
}

/// Where pieces go on their way to a caller.
struct Outward {
    pieces: mpsc::Sender<io::Result<Bytes>>,
    runtime: Handle,
    /// How long a caller may take none.
    patience: Duration,
}

impl Write for Outward {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = self.pieces.send_timeout(Ok(Bytes::copy_from_slice(bytes)), self.patience);
        self.runtime.block_on(piece).map_err(|error| match error {
            SendTimeoutError::Timeout(_) => io::Error::new(io::ErrorKind::TimedOut, "whoever asked for it takes nothing any more"),
            SendTimeoutError::Closed(_) => io::ErrorKind::BrokenPipe.into(),
        })?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: whoever stops reading gives the thread back, and what was sent ends torn.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_reader_that_takes_nothing_is_left() {
        let (pieces, mut sent) = mpsc::channel(1);
        let outward = |pieces| Outward { pieces, runtime: Handle::current(), patience: Duration::from_millis(1) };
        let mut slow = outward(pieces);
        let told = tokio::task::spawn_blocking(move || (slow.write(b"first"), slow.write(b"second"))).await.expect("it ends");
        assert_eq!((told.0.ok(), told.1.map_err(|error| error.kind())), (Some(5), Err(io::ErrorKind::TimedOut)));
        assert_eq!(sent.recv().await.and_then(Result::ok).as_deref(), Some(b"first".as_slice()));
        assert!(sent.recv().await.is_none(), "and then it ends");

        let (pieces, sent) = mpsc::channel(1);
        let mut gone = outward(pieces);
        drop(sent);
        let told = tokio::task::spawn_blocking(move || gone.write(b"first")).await.expect("it ends");
        assert_eq!(told.map_err(|error| error.kind()), Err(io::ErrorKind::BrokenPipe));
    }
}
