//! Artifact bytes on enough servers: whatever is deployed lies on the disks of a majority before that is acknowledged, and every server brings what it lacks.
//! Owns bringing and counting; what lies where on disk is `artifacts`'. Must never believe bytes: they are checked against their digest on arrival.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex},
    time::Instant,
};

use api::{peer::ARTIFACTS_PATH, v1::Principal};
use axum::{body::Body, http::Request};
use futures_util::{StreamExt, stream::FuturesUnordered};
use http_body_util::BodyExt;
use model::{
    app::App,
    id::{Digest, NodeId},
    problem::chain,
};
use serde_json::Value;
use state::State;
use wishes::{
    documents::{self, Checked},
    principal,
};

use crate::{
    api_error::ApiError,
    core::Core,
    limits::{CACHED_MAX, SPREAD_KNOWN_FOR, SPREAD_MAX},
    peers::Lane,
    retention,
};

/// What was known to lie on a majority, and when; only saves asking. What nothing refers to is deleted sooner or later, so that old knowledge is none.
#[derive(Debug, Default)]
pub(crate) struct Spread(Mutex<BTreeMap<Digest, Instant>>);

impl Spread {
    fn is_known(&self, digest: &Digest, now: Instant) -> bool {
        let known = self.0.lock().expect("nothing panics while holding this");
        known.get(digest).is_some_and(|since| now.duration_since(*since) < SPREAD_KNOWN_FOR)
    }

    fn remember(&self, digest: Digest, now: Instant) {
        let mut known = self.0.lock().expect("nothing panics while holding this");
        if known.len() >= CACHED_MAX {
            known.clear();
        }
        known.insert(digest, now);
    }

    /// The members changed: what was enough may be so no longer.
    pub(crate) fn forget(&self) {
        self.0.lock().expect("nothing panics while holding this").clear();
    }
}

/// Brings what the apps of `documents` name and this server lacks: it may have been uploaded to another one. Only for apps that `principal` may touch: what
/// cannot be applied anyway moves no bytes.
pub(crate) async fn gather(core: &Arc<Core>, principal: &Principal, documents: &documents::Request) {
    let own = documents.apps().filter(|app| principal::within(principal, &app.metadata.namespace).is_ok());
    for digest in own.flat_map(App::artifacts).filter(|digest| core.artifacts.size(digest).is_none()).collect::<BTreeSet<_>>() {
        // What nobody has is refused with the rest of the documents, in the user's words.
        bring(core, &digest).await;
    }
}

/// Sees to it that everything `checked` refers to lies on a majority of the servers that vote.
///
/// # Errors
/// E0407 when too few of them answer in time.
pub(crate) async fn spread(core: &Arc<Core>, checked: &[Checked]) -> Result<(), ApiError> {
    let voters: Vec<u64> = core.consensus.membership().borrow().voters.iter().map(|peer| peer.id).collect();
    let others: Vec<u64> = voters.iter().copied().filter(|id| *id != core.node.0).collect();
    // With this server itself: of 3 voters one other is enough, of 5 two.
    let needed = voters.len() / 2;
    for digest in checked.iter().flat_map(|one| one.app.artifacts()).collect::<BTreeSet<_>>() {
        let begin = Instant::now();
        if needed > 0 && !core.spread.is_known(&digest, begin) {
            copy(core, digest, &others, needed).await?;
            core.spread.remember(digest, begin);
        }
    }
    Ok(())
}

/// Has `needed` of `others` fetch `digest` from here; the rest goes on by itself.
async fn copy(core: &Arc<Core>, digest: Digest, others: &[u64], needed: usize) -> Result<(), ApiError> {
    let mut copies: FuturesUnordered<_> = others.iter().map(|other| ask_to_fetch(core, *other, digest)).collect();
    let (mut there, mut reasons) = (0, Vec::new());
    while let Some((other, outcome)) = copies.next().await {
        match outcome {
            Ok(()) => there += 1,
            Err(why) => reasons.push(format!("{}: {why}", NodeId(other))),
        }
        if there >= needed {
            return Ok(());
        }
    }
    let message = format!("artifact {digest} lies on {} of the servers, and a majority must have it: {}", there + 1, reasons.join("; "));
    Err(ApiError::new("E0407", message, "nothing was changed; `shoal member list` shows which servers answer"))
}

async fn ask_to_fetch(core: &Arc<Core>, other: u64, digest: Digest) -> (u64, Result<(), String>) {
    let request = Request::post(format!("{ARTIFACTS_PATH}/{digest}")).body(Body::empty()).expect("a digest is a path");
    let answer = core.peers.json::<Value>(other, Lane::Bytes, request, SPREAD_MAX).await;
    (other, answer.map(drop).map_err(|error| error.message().to_owned()))
}

/// Brings `digest` from whichever other server has it; says whether it is here afterwards.
pub(crate) async fn bring(core: &Arc<Core>, digest: &Digest) -> bool {
    if core.artifacts.touch(digest) {
        return true;
    }
    let servers: Vec<u64> = core.state().servers().map(|node| node.id.0).filter(|id| *id != core.node.0).collect();
    for server in servers {
        match bring_from(core, server, digest).await {
            Ok(()) => return true,
            Err(why) => tracing::debug!(node.id = server, artifact = %digest, error = why, "a server does not give an artifact"),
        }
    }
    false
}

/// Brings `digest` from `server`.
///
/// # Errors
/// Why not, in words.
pub(crate) async fn bring_from(core: &Arc<Core>, server: u64, digest: &Digest) -> Result<(), String> {
    if core.artifacts.touch(digest) {
        return Ok(());
    }
    retention::sweep(core).await;
    let request = Request::get(format!("{ARTIFACTS_PATH}/{digest}")).body(Body::empty()).expect("a digest is a path");
    let answer = core.peers.request(server, Lane::Bytes, request, SPREAD_MAX).await.map_err(|error| chain(&error))?;
    if !answer.status().is_success() {
        return Err(format!("status {}", answer.status()));
    }
    core.artifacts.store(digest, answer.into_body().into_data_stream()).await.map_err(|error| chain(&error))
}

/// Brings everything that is referred to and lacks here, whenever that may have changed, until the process stops.
pub(crate) async fn keep(core: Arc<Core>) {
    let mut applied = core.consensus.applied();
    let mut seen = None;
    loop {
        let revisions = newest_revisions(&core.state());
        if seen != Some(revisions) {
            let state = core.state();
            // Every kept revision is read for this.
            let Ok(referenced) = tokio::task::spawn_blocking(move || state.artifacts()).await else { return };
            let mut lacking = false;
            for digest in referenced.iter().filter(|digest| core.artifacts.size(digest).is_none()) {
                lacking |= !bring(&core, digest).await;
            }
            // What nobody has now somebody may have later: a server that was away comes back.
            seen = (!lacking).then_some(revisions);
        }
        tokio::select! {
            () = core.stop.cancelled() => return,
            changed = applied.changed() => if changed.is_err() { return },
            // Whoever comes back with it writes nothing.
            () = tokio::time::sleep(crate::limits::SPREAD_RETRY), if seen.is_none() => {}
        }
        tokio::time::sleep(crate::limits::SPREAD_REST).await;
    }
}

/// Another value, but for one chance in many, whenever there is another revision.
fn newest_revisions(state: &State) -> u64 {
    let mut hasher = DefaultHasher::new();
    state.apps().for_each(|app| (&app.id, app.newest, app.created_at).hash(&mut hasher));
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_on_a_majority_is_not_known_for_ever() {
        let (spread, begin, digest) = (Spread::default(), Instant::now(), Digest([1; 32]));
        assert!(!spread.is_known(&digest, begin));
        spread.remember(digest, begin);
        assert!(spread.is_known(&digest, begin + SPREAD_KNOWN_FOR / 2));
        assert!(!spread.is_known(&digest, begin + SPREAD_KNOWN_FOR));
        spread.forget();
        assert!(!spread.is_known(&digest, begin));
    }
}
