//! What a watcher is told of the state's ring of changes: which of them, from where, and how each object looks. Must never tell a watcher what its token does not
//! let it read.

use api::v1::{ApiRole, ObjectChange, ObjectEvent, Position, Principal};
use model::id::{Index, Name};
use serde_json::{Value, json};
use state::{ObjectKey, Op, State};

use crate::{limits::WATCH_EVENTS_MAX, values, viewer::Viewer};

/// What a watcher wants to hear of, and may.
#[derive(Debug, Clone)]
pub struct Selection {
    /// Only these kinds; all when empty.
    pub kinds: Vec<String>,
    /// Only objects of this namespace.
    pub namespace: Option<Name>,
    /// Who watches.
    pub principal: Principal,
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

/// What is to be told after `at`, a part of it when there is much, and the position behind that.
///
/// # Errors
/// The oldest position from which it still could be told.
pub fn told(state: &State, at: Position, selection: &Selection) -> Result<(Vec<state::ObjectChange>, Position), Index> {
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

/// The change as a watcher is told it, with the object as it is now.
pub fn event(viewer: &Viewer, change: state::ObjectChange) -> ObjectEvent {
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
        ObjectKey::Config(id) => state.config(id).map(|config| json!(values::config(config))),
        ObjectKey::Secret(id) => state.secret(id).map(|secret| json!(values::secret(secret, (viewer.certificate)(secret)))),
        ObjectKey::Namespace(name) => state.namespace(name).map(|namespace| json!(values::namespace(namespace))),
        ObjectKey::Cluster | ObjectKey::JoinToken(_) | ObjectKey::ApiToken(_) => None,
    }
}
