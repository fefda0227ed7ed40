//! Streams of JSON lines made here: assignments, app status, events. Owns waking, keep-alives and the end; must never send the same line twice in a row.

use std::{
    convert::Infallible,
    sync::Arc,
    time::{Duration, Instant},
};

use api::limits::KEEP_ALIVE;
use axum::{
    body::{Body, Bytes},
    http::{HeaderValue, header},
    response::Response,
};
use futures_util::stream;
use serde::Serialize;
use tokio::{sync::watch, time::timeout};

use crate::{
    core::Core,
    limits::{LOOK_CHEAP, LOOK_REST, LOOK_REST_MAX},
};

/// The content type of lines of JSON.
pub(crate) const LINES: &str = "application/x-ndjson";

/// What a stream says next.
pub(crate) enum Next<L> {
    /// Nothing new.
    Nothing,
    /// These.
    Lines(Vec<L>),
    /// These, and more of the same as soon as they are taken.
    Begun(Vec<L>),
    /// This, and then it ends.
    Last(L),
}

/// What a stream is woken by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wakes {
    /// A new state.
    State,
    /// That, and what workers say.
    StateAndReports,
}

struct Source<F> {
    core: Arc<Core>,
    applied: watch::Receiver<u64>,
    /// Absent when reports do not matter.
    reported: Option<watch::Receiver<u64>>,
    look: F,
    begun: bool,
    ended: bool,
    /// How long the next look waits, so that dear looks do not take the whole processor.
    rest: Duration,
}

/// A response that looks at once, and again whenever the state or a report changed, and sends what `look` says.
pub(crate) fn lines<L, F>(core: &Arc<Core>, wakes: Wakes, look: F) -> Response
where
    L: Serialize,
    F: FnMut(&Arc<Core>) -> Next<L> + Send + 'static,
{
    let mut applied = core.consensus.applied();
    applied.mark_changed();
    let reported = (wakes == Wakes::StateAndReports).then(|| core.live.changes());
    let source = Source { core: core.clone(), applied, reported, look, begun: false, ended: false, rest: Duration::ZERO };
    let pieces = stream::unfold(source, |mut source| async move {
        let piece = source.next().await?;
        Some((Ok::<_, Infallible>(piece), source))
    });
    let mut response = Response::new(Body::from_stream(pieces));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(LINES));
    response
}

impl<F> Source<F> {
    async fn next<L: Serialize>(&mut self) -> Option<Bytes>
    where
        F: FnMut(&Arc<Core>) -> Next<L>,
    {
        while !self.ended {
            if !std::mem::take(&mut self.begun) {
                match timeout(KEEP_ALIVE, self.woken()).await {
                    Ok(false) => return None,
                    Ok(true) => {}
                    Err(_) => return Some(Bytes::from_static(b"\n")),
                }
            }
            let begin = Instant::now();
            let next = (self.look)(&self.core);
            self.rest = if begin.elapsed() > LOOK_CHEAP { (begin.elapsed() * LOOK_REST).min(LOOK_REST_MAX) } else { Duration::ZERO };
            let lines = match next {
                Next::Nothing => continue,
                Next::Lines(lines) => lines,
                Next::Begun(lines) => {
                    self.begun = true;
                    lines
                }
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
        if !self.rest.is_zero() {
            tokio::time::sleep(self.rest).await;
        }
        let reported = &mut self.reported;
        let reported = async {
            match reported {
                Some(reported) => reported.changed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.core.stop.cancelled() => false,
            changed = self.applied.changed() => changed.is_ok(),
            changed = reported => changed.is_ok(),
        }
    }
}

fn line(line: &impl Serialize) -> Vec<u8> {
    let mut text = serde_json::to_vec(line).expect("wire types have string keys only");
    text.push(b'\n');
    text
}
