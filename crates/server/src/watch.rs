//! Watching objects: what the state's ring of changes holds, as server-sent events. Owns waking, bookmarks and the end of a watch; what changed is told by the
//! state, and how an object looks by `views`. Must never tell a watcher what its token does not let it read.

use std::{convert::Infallible, sync::Arc};

use api::{
    limits::KEEP_ALIVE,
    v1::{ApiRole, ObjectChange, ObjectEvent, Position, Principal},
};
use axum::response::sse::Event;
use futures_util::{Stream, stream};
use model::id::{Index, Name};
use serde_json::{Value, json};
use state::{ObjectKey, Op, State};
use tokio::{sync::watch, time::timeout};

use crate::{admit::Caller, clock, core::Core, handlers::values, limits::WATCH_EVENTS_MAX, views::Viewer};

/// What a watcher wants to hear of, and may.
#[derive(Debug, Clone)]
pub(crate) struct Selection {
    /// Only these kinds; all when empty.
    pub(crate) kinds: Vec<String>,
    /// Only objects of this namespace.
    pub(crate) namespace: Option<Name>,
    /// Who watches.
    pub(crate) principal: Principal,
}

impl Selection {
    /// Whether the watcher is told of `object`.
    fn wants(&self, object: &ObjectKey) -> bool {
        let kind = self.kinds.is_empty() || self.kinds.iter().any(|kind| kind == object.kind());
        let within = match (&self.namespace, namespace(object)) {
            (None, _) => true,
            (Some(wanted), Some(found)) => wanted == found,
            // Nodes and the cluster are everybody's.
            (Some(_), None) => true,
        };
        let secret = matches!(object, ObjectKey::JoinToken(_) | ObjectKey::ApiToken(_));
        kind && within && (!secret || (self.principal.role >= ApiRole::Admin && self.principal.namespace.is_none()))
    }
}

/// The namespace an object lives in; a Namespace lives in itself.
fn namespace(object: &ObjectKey) -> Option<&Name> {
    match object {
        ObjectKey::Cluster | ObjectKey::Node(..) | ObjectKey::JoinToken(_) | ObjectKey::ApiToken(_) => None,
        ObjectKey::App(app) | ObjectKey::Revision(app, _) => Some(&app.namespace),
        ObjectKey::Placement(_, instance) => Some(&instance.component.app.namespace),
        ObjectKey::Config(id) | ObjectKey::Secret(id) => Some(&id.namespace),
        ObjectKey::Namespace(name) => Some(name),
    }
}

/// A watch that is open.
struct Watcher {
    core: Arc<Core>,
    caller: Caller,
    selection: Selection,
    applied: watch::Receiver<u64>,
    at: Position,
    /// What is made and not sent yet, the next one last.
    made: Vec<ObjectEvent>,
    /// Whether anything, a bookmark too, was said since the watcher waited last.
    greeted: bool,
    ended: bool,
}

/// The events from `at` on, until the process stops, the token ends, or the watcher is too slow.
pub(crate) fn events(
    core: &Arc<Core>,
    caller: Caller,
    selection: Selection,
    at: Position,
) -> impl Stream<Item = Result<Event, Infallible>> + use<> {
    let applied = core.consensus.applied();
    let watcher = Watcher { core: core.clone(), caller, selection, applied, at, made: Vec::new(), greeted: false, ended: false };
    stream::unfold(watcher, |mut watcher| async move {
        let event = watcher.next().await?;
        Some((Ok(sent(&event)), watcher))
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
            changed = timeout(KEEP_ALIVE, self.applied.changed()) => changed,
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

/// What is to be told after `at`, a part of it when there is much, and the position behind that.
fn told(state: &State, at: Position, selection: &Selection) -> Result<(Vec<state::ObjectChange>, Position), Index> {
    // Of an entry of which a part was seen, the rest is wanted.
    let from = if at.within.is_some() { Index(at.index.0.saturating_sub(1)) } else { at.index };
    let changes = state.changes_after(from).map_err(|compacted| compacted.oldest)?;
    let (mut wanted, mut behind) = (Vec::new(), None);
    for change in changes.filter(|change| at.is_before(change.index, change.number)) {
        if wanted.len() == WATCH_EVENTS_MAX {
            return Ok((wanted, behind.unwrap_or(at)));
        }
        behind = Some(Position { index: change.index, within: Some(change.number) });
        if selection.wants(&change.object) {
            wanted.push(change.clone());
        }
    }
    // A server may be behind what the watcher has seen elsewhere: then it waits.
    Ok((wanted, at.max(Position::after(state.index()))))
}

fn event(viewer: &Viewer, change: state::ObjectChange) -> ObjectEvent {
    let state::ObjectChange { index, number, object, op } = change;
    let shown = (op != Op::Deleted).then(|| view(viewer, &object)).flatten();
    let told = ObjectChange {
        at: Position { index, within: Some(number) },
        kind: object.kind().to_owned(),
        namespace: namespace(&object).cloned(),
        name: name(&object),
        object: shown,
    };
    match op {
        Op::Added => ObjectEvent::Added(told),
        Op::Modified => ObjectEvent::Modified(told),
        Op::Deleted => ObjectEvent::Deleted(told),
    }
}

/// The object's name without its namespace, which is told beside it.
fn name(object: &ObjectKey) -> String {
    match object {
        ObjectKey::App(app) => app.name.to_string(),
        ObjectKey::Config(id) | ObjectKey::Secret(id) => id.name.to_string(),
        ObjectKey::Revision(app, number) => format!("{}.{number}", app.name),
        ObjectKey::Placement(_, instance) => {
            let component = &instance.component;
            format!("{}/{}.{}", component.app.name, component.component, instance.ordinal)
        }
        other => other.to_string(),
    }
}

/// The object as its list shows it; none for those that have no list of their own, and for what is gone by now.
fn view(viewer: &Viewer, object: &ObjectKey) -> Option<Value> {
    let state = &viewer.state;
    match object {
        ObjectKey::App(app) => viewer.app(app).map(|view| json!(view)),
        ObjectKey::Revision(app, number) => {
            let revisions = viewer.revisions(state.app(app)?);
            revisions.into_iter().find(|view| view.number == *number).map(|view| json!(view))
        }
        ObjectKey::Placement(id, _) => state.placement(*id).map(|placement| json!(viewer.instance(placement))),
        ObjectKey::Node(id, _) => state.node(*id).map(|node| json!(viewer.node(node))),
        ObjectKey::Config(id) => state.config(id).map(|config| json!(values::config_view(config))),
        ObjectKey::Secret(id) => state.secret(id).map(|secret| json!(values::secret_view(secret))),
        ObjectKey::Namespace(name) => state.namespace(name).map(|namespace| json!(values::namespace_view(namespace))),
        ObjectKey::Cluster | ObjectKey::JoinToken(_) | ObjectKey::ApiToken(_) => None,
    }
}

/// The event as it goes over the wire.
fn sent(event: &ObjectEvent) -> Event {
    let (name, id) = match event {
        ObjectEvent::Added(change) => ("added", Some(change.at)),
        ObjectEvent::Modified(change) => ("modified", Some(change.at)),
        ObjectEvent::Deleted(change) => ("deleted", Some(change.at)),
        ObjectEvent::Bookmark { at } => ("bookmark", Some(*at)),
        ObjectEvent::Compacted { .. } => ("compacted", None),
    };
    let data = serde_json::to_string(event).expect("wire types have string keys only");
    let sent = Event::default().event(name).data(data);
    match id {
        Some(id) => sent.id(id.to_string()),
        None => sent,
    }
}
