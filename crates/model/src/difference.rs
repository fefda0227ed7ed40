//! What changed between two apps, field by field, in the paths and the spelling of a manifest. Owns the comparison; must never decide what a change means.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{app::App, manifest::to_value};

/// One field that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// `spec.components.web.scale.replicas`
    pub path: String,
    /// What it was, as a manifest writes it; nothing when it was not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// What it is; nothing when it is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// Every field in which `before` and `after` differ, in the order of their paths. A new app differs in everything it says; what holds its default on
/// both sides is not told. The version of the object is no difference.
pub fn between(before: Option<&App>, after: Option<&App>) -> Vec<Change> {
    let value = |app: Option<&App>| app.map(comparable).unwrap_or(Value::Null);
    let mut changes = Vec::new();
    walk("", &value(before), &value(after), &mut changes);
    changes
}

fn comparable(app: &App) -> Value {
    let mut app = app.clone();
    app.metadata.resource_version = None;
    let mut value = to_value(&app);
    let fields = value.as_object_mut().expect("a document is a map");
    fields.retain(|field, _| field == "metadata" || field == "spec");
    value
}

fn walk(path: &str, before: &Value, after: &Value, changes: &mut Vec<Change>) {
    if before == after {
        return;
    }
    match (before, after) {
        (Value::Object(_) | Value::Null, Value::Object(_) | Value::Null) => {
            let keys: BTreeSet<&String> =
                [before, after].into_iter().filter_map(Value::as_object).flat_map(|fields| fields.keys()).collect();
            for key in keys {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                walk(&path, &before[key.as_str()], &after[key.as_str()], changes);
            }
        }
        // Lists of maps are compared item by item; a list of values is one value.
        (Value::Array(_) | Value::Null, Value::Array(_) | Value::Null) if holds_maps(before) || holds_maps(after) => {
            let count = [before, after].into_iter().filter_map(Value::as_array).map(Vec::len).max().unwrap_or(0);
            for index in 0..count {
                walk(&format!("{path}[{index}]"), &before[index], &after[index], changes);
            }
        }
        _ => changes.push(Change { path: path.to_owned(), before: shown(before), after: shown(after) }),
    }
}

fn holds_maps(value: &Value) -> bool {
    value.as_array().is_some_and(|items| items.iter().any(Value::is_object))
}

fn shown(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        Value::Array(items) => Some(format!("[{}]", items.iter().filter_map(shown).collect::<Vec<_>>().join(", "))),
        other => Some(other.to_string()),
    }
}
