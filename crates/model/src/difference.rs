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
    let value = |app: Option<&App>| app.map(to_value).unwrap_or(Value::Null);
    between_documents(value(before), value(after))
}

/// The same of two documents of any kind in the shape of a manifest; `Null` is none.
pub fn between_documents(before: Value, after: Value) -> Vec<Change> {
    let mut changes = Vec::new();
    walk("", &comparable(before), &comparable(after), &mut changes);
    changes
}

fn comparable(mut document: Value) -> Value {
    if let Some(fields) = document.as_object_mut() {
        fields.retain(|field, _| field == "metadata" || field == "spec");
        if let Some(metadata) = fields.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("resourceVersion");
        }
    }
    document
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use expect_test::{Expect, expect};

    use super::*;
    use crate::manifest::{Document, parse};

    fn app(component: &str) -> App {
        let text = format!("apiVersion: shoal.dev/v1\nkind: App\nmetadata: {{name: a}}\nspec: {{components: {{web: {component}}}}}\n");
        let documents = parse(&text, "app.yaml", &BTreeMap::new()).expect("the manifest is right");
        let Some(Document::App(app)) = documents.into_iter().next() else { panic!("there is one app") };
        app
    }

    fn check(before: Option<&str>, after: Option<&str>, expected: Expect) {
        let changes = between(before.map(app).as_ref(), after.map(app).as_ref());
        let lines: Vec<String> = changes
            .iter()
            .map(|Change { path, before, after }| {
                format!("{path}: {} -> {}\n", before.as_deref().unwrap_or("nothing"), after.as_deref().unwrap_or("nothing"))
            })
            .collect();
        expected.assert_eq(&lines.concat());
    }

    #[test]
    fn fields_are_compared_as_a_manifest_writes_them() {
        check(Some("{source: ./a.wasm}"), Some("{source: ./a.wasm, scale: {replicas: 1}, env: {}}"), expect![""]);
        check(
            Some("{source: ./a.wasm, args: [x], routes: [{host: a.localhost, timeout: 60s}], env: {OLD: 1, SAME: 2}}"),
            Some(
                "{source: ./b.wasm, args: [x, y], routes: [{host: a.localhost}, {host: b.localhost}], env: {NEW: 1, SAME: 2}, scale: {replicas: 3}}",
            ),
            expect![[r#"
                spec.components.web.args: [x] -> [x, y]
                spec.components.web.env.NEW: nothing -> 1
                spec.components.web.env.OLD: 1 -> nothing
                spec.components.web.routes[0].timeout: 1m -> nothing
                spec.components.web.routes[1].host: nothing -> b.localhost
                spec.components.web.routes[1].path: nothing -> /
                spec.components.web.scale.replicas: nothing -> 3
                spec.components.web.source: ./a.wasm -> ./b.wasm
            "#]],
        );
    }

    #[test]
    fn a_new_app_and_a_gone_one_differ_in_everything_they_say() {
        check(
            None,
            Some("{source: ./a.wasm}"),
            expect![[r#"
            metadata.name: nothing -> a
            spec.components.web.source: nothing -> ./a.wasm
        "#]],
        );
        check(
            Some("{source: ./a.wasm}"),
            None,
            expect![[r#"
            metadata.name: a -> nothing
            spec.components.web.source: ./a.wasm -> nothing
        "#]],
        );
        check(None, None, expect![""]);
    }
}
