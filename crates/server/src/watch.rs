//! Watching objects: what the state's ring of changes holds, as server-sent events. Owns waking, bookmarks and the end of a watch; what changed is told by the
//! state, and how an object looks by `views`. Must never tell a watcher what its token does not let it read.

use std::{convert::Infallible, sync::Arc, time::Duration};

use api::v1::{ObjectEvent, Position};
use axum::response::sse::Event;
use futures_util::{Stream, stream};
use tokio::{sync::watch, time::timeout};
use views::watched::{Selection, event, told};
use wishes::caller::Caller;

use crate::{clock, core::Core};

/// What somebody wants to be told.
#[derive(Debug)]
pub(crate) struct Watch {
    /// Who; the watch ends with their token.
    pub(crate) caller: Caller,
    /// Of what.
    pub(crate) selection: Selection,
    /// From where on.
    pub(crate) at: Position,
    /// How long there may be nothing to tell until it is said that there is nothing.
    pub(crate) silence_max: Duration,
}

/// A watch that is open.
struct Watcher {
    core: Arc<Core>,
    caller: Caller,
    selection: Selection,
    silence_max: Duration,
    applied: watch::Receiver<u64>,
    at: Position,
    /// What is made and not sent yet, the next one last.
    made: Vec<ObjectEvent>,
    /// Whether anything, a bookmark too, was said since the watcher waited last.
    greeted: bool,
    ended: bool,
}

/// The events of `watch`, until the process stops, the token ends, or the watcher is too slow.
pub(crate) fn events(core: &Arc<Core>, watch: Watch) -> impl Stream<Item = ObjectEvent> + use<> {
    let applied = core.consensus.applied();
    let Watch { caller, selection, at, silence_max } = watch;
    let (core, made) = (core.clone(), Vec::new());
    let watcher = Watcher { core, caller, selection, silence_max, applied, at, made, greeted: false, ended: false };
    stream::unfold(watcher, |mut watcher| async move {
        let event = watcher.next().await?;
        Some((event, watcher))
    })
}

impl Watcher {
    async fn next(&mut self) -> Option<ObjectEvent> {
        loop {
            if let Some(event) = self.made.pop() {
                return Some(event);
            }
            if self.ended || !self.caller.holds(&self.core.state(), clock::now()) {
                return None;
            }
            self.applied.mark_unchanged();
            let state = self.core.state();
            match told(&state, self.at, &self.selection) {
                Err(oldest) => {
                    self.ended = true;
                    return Some(ObjectEvent::Compacted { oldest });
                }
                Ok((changes, at)) => {
                    self.at = at;
                    self.made = self.show(changes);
                    self.made.reverse();
                }
            }
            let caught_up = self.at.index >= state.index();
            if self.made.is_empty() && caught_up && (!self.greeted || !self.woken().await?) {
                self.greeted = true;
                return Some(ObjectEvent::Bookmark { at: self.at });
            }
        }
    }

    /// Waits for news: `false` when there were none for a while, none when the process stops.
    async fn woken(&mut self) -> Option<bool> {
        let changed = tokio::select! {
            biased;
            () = self.core.stop.cancelled() => return None,
            changed = timeout(self.silence_max, self.applied.changed()) => changed,
        };
        match changed {
            Ok(Ok(())) => Some(true),
            Ok(Err(_)) => None,
            Err(_) => Some(false),
        }
    }

    fn show(&self, changes: Vec<state::ObjectChange>) -> Vec<ObjectEvent> {
        if changes.is_empty() {
            return Vec::new();
        }
        let viewer = self.core.viewer();
        changes.into_iter().map(|change| event(&viewer, change)).collect()
    }
}

/// The event as it goes over the wire.
pub(crate) fn sent(event: &ObjectEvent) -> Result<Event, Infallible> {
    let (name, id) = match event {
        ObjectEvent::Added(change) => ("added", Some(change.at)),
        ObjectEvent::Modified(change) => ("modified", Some(change.at)),
        ObjectEvent::Deleted(change) => ("deleted", Some(change.at)),
        ObjectEvent::Bookmark { at } => ("bookmark", Some(*at)),
        ObjectEvent::Compacted { .. } => ("compacted", None),
    };
    let data = serde_json::to_string(event).expect("wire types have string keys only");
    let sent = Event::default().event(name).data(data);
    Ok(match id {
        Some(id) => sent.id(id.to_string()),
        None => sent,
    })
}
