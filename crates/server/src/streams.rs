//! Streams of JSON lines made here: assignments, app status, events. Owns waking, keep-alives and the end; must never send the same line twice in a row.

use std::{convert::Infallible, sync::Arc};

use api::limits::KEEP_ALIVE;
use axum::{
    body::{Body, Bytes},
    http::{HeaderValue, header},
    response::Response,
};
use futures_util::stream;
use serde::Serialize;
use tokio::{sync::watch, time::timeout};

use crate::core::Core;

/// What a stream says next.
pub(crate) enum Next<L> {
    /// Nothing new.
    Nothing,
    /// These.
    Lines(Vec<L>),
    /// This, and then it ends.
    Last(L),
}

struct Source<F> {
    core: Arc<Core>,
    applied: watch::Receiver<u64>,
    reported: watch::Receiver<u64>,
    look: F,
    ended: bool,
}

/// A response that looks at once, and again whenever the state or a report changed, and sends what `look` says.
pub(crate) fn lines<L, F>(core: &Arc<Core>, look: F) -> Response
where
    L: Serialize,
    F: FnMut(&Arc<Core>) -> Next<L> + Send + 'static,
{
    let (mut applied, mut reported) = (core.consensus.applied(), core.live.changes());
    applied.mark_changed();
    reported.mark_changed();
    let source = Source { core: core.clone(), applied, reported, look, ended: false };
    let pieces = stream::unfold(source, |mut source| async move {
        let piece = source.next().await?;
        Some((Ok::<_, Infallible>(piece), source))
    });
    let mut response = Response::new(Body::from_stream(pieces));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    response
}

impl<F> Source<F> {
    async fn next<L: Serialize>(&mut self) -> Option<Bytes>
    where
        F: FnMut(&Arc<Core>) -> Next<L>,
    {
        while !self.ended {
            match timeout(KEEP_ALIVE, self.woken()).await {
                Ok(false) => return None,
                Ok(true) => {}
                Err(_) => return Some(Bytes::from_static(b"\n")),
            }
            let lines = match (self.look)(&self.core) {
                Next::Nothing => continue,
                Next::Lines(lines) => lines,
                Next::Last(line) => {
                    self.ended = true;
                    vec![line]
                }
            };
            if !lines.is_empty() {
                return Some(lines.iter().flat_map(line).collect());
            }
        }
        None
    }

    /// Whether something changed; `false` when the process stops.
    async fn woken(&mut self) -> bool {
        tokio::select! {
            biased;
            () = self.core.stop.cancelled() => false,
            changed = self.applied.changed() => changed.is_ok(),
            changed = self.reported.changed() => changed.is_ok(),
        }
    }
}

fn line(line: &impl Serialize) -> Vec<u8> {
    let mut text = serde_json::to_vec(line).expect("wire types have string keys only");
    text.push(b'\n');
    text
}
