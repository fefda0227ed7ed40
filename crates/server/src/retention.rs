//! When artifacts go: looked at now and then, and before an upload that would not fit. Owns what counts as a reference; removing is `artifacts.rs`'s.
//! Must never count less than what an undo needs: every kept revision refers to all it names.

use std::{collections::HashSet, sync::Arc, time::SystemTime};

use model::id::Digest;
use state::State;
use tokio::time::{MissedTickBehavior, interval};

use crate::{core::Core, limits::ARTIFACT_SWEEP_EVERY};

/// What every digest starts with.
const MARK: &str = "sha256:";

/// Looks until the process stops.
pub(crate) async fn run(core: Arc<Core>) {
    let mut ticks = interval(ARTIFACT_SWEEP_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = core.stop.cancelled() => return,
            _ = ticks.tick() => sweep(&core).await,
        }
    }
}

/// Removes what is too much and nobody needs.
pub(crate) async fn sweep(core: &Arc<Core>) {
    if !core.artifacts.is_full() {
        return;
    }
    let core = core.clone();
    let swept = tokio::task::spawn_blocking(move || {
        let referenced = referenced(&core.state());
        core.artifacts.sweep(|digest| referenced.contains(digest), SystemTime::now())
    });
    match swept.await {
        Ok(Ok(0)) => tracing::warn!("the artifacts are at their bound, and all of them are needed"),
        Ok(Ok(removed)) => tracing::info!(artifacts.removed = removed, "artifacts that no kept revision names are removed"),
        Ok(Err(error)) => tracing::error!(error = %error, "artifacts cannot be removed"),
        Err(error) => tracing::error!(error = %error, "artifacts cannot be removed"),
    }
}

/// Every digest that a kept revision names anywhere: components, files, and whatever else a manifest may name one day.
pub(crate) fn referenced(state: &State) -> HashSet<Digest> {
    state.all_revisions().flat_map(|revision| digests_in(&revision.frozen.canonical)).collect()
}

/// Every digest that stands in `text`.
pub(crate) fn digests_in(text: &str) -> impl Iterator<Item = Digest> {
    let ends = |at: usize| at + MARK.len() + 2 * size_of::<Digest>();
    text.match_indices(MARK).filter_map(move |(at, _)| text.get(at..ends(at))?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_digest_in_a_text_is_found() {
        let (one, two) = (Digest::of(b"one"), Digest::of(b"two"));
        let text =
            format!(r#"{{"source":{{"digest":"{one}","from":"{one}"}},"files":["{two}"],"env":{{"A":"sha256:abc"}},"end":"sha256:"}}"#);
        assert_eq!(digests_in(&text).collect::<HashSet<_>>(), HashSet::from([one, two]));
    }
}
