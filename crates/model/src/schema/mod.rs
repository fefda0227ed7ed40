//! The manifest format for editors and readers: JSON Schema, `explain` and the reference page. Owns how the tables of `kinds` are shown; must never say
//! anything about a field that is not in them.

mod explain;
mod reference;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

pub use explain::explain;
pub use reference::reference_page;

use crate::{
    kinds::{API_VERSION, Field, KINDS, Kind, METADATA, Record, Shape, Standing},
    limits::PATH_BYTES_MAX,
};

/// The JSON Schema (2020-12) of all kinds a manifest may hold. Editors complete and check with it; the CLI itself reads the same tables.
pub fn json_schema() -> Value {
    let mut definitions = BTreeMap::new();
    define(&METADATA, &mut definitions);
    let written: Vec<&Kind> = KINDS.iter().filter(|kind| kind.standing != Standing::ReadOnly).collect();
    let branches: Vec<Value> = written
        .iter()
        .map(|kind| {
            define(kind.spec, &mut definitions);
            json!({
                "if": {"properties": {"kind": {"const": kind.name}}, "required": ["kind"]},
                "then": {"properties": {"spec": reference(kind.spec)}},
            })
        })
        .collect();
    let names: Vec<&str> = written.iter().map(|kind| kind.name).collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Shoal manifest",
        "type": "object",
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "additionalProperties": false,
        "properties": {
            "apiVersion": {"const": API_VERSION, "description": "The version of the manifest format."},
            "kind": {"enum": names, "description": "What the document declares."},
            "metadata": reference(&METADATA),
            "spec": {"type": "object", "description": "The wish."},
            "status": {"type": "object", "description": "What the cluster last said of the object; ignored when applied."},
        },
        "allOf": branches,
        "$defs": definitions,
    })
}

fn reference(record: &Record) -> Value {
    json!({"$ref": format!("#/$defs/{}", record.name)})
}

/// Adds `record` and whatever it holds to `definitions`.
fn define(record: &'static Record, definitions: &mut BTreeMap<String, Value>) {
    if definitions.contains_key(record.name) {
        return;
    }
    definitions.insert(record.name.to_owned(), Value::Null);
    let mut properties = Map::new();
    for field in record.fields {
        if let Some(inner) = field.shape.record() {
            define(inner, definitions);
        }
        if let Shape::Partial(inner) = field.shape {
            define_partial(inner, definitions);
        }
        properties.insert(field.name.to_owned(), property(field));
    }
    let required: Vec<&str> = record.fields.iter().filter(|field| field.required).map(|field| field.name).collect();
    let mut definition = json!({"type": "object", "description": record.text(), "additionalProperties": false, "properties": properties});
    if !required.is_empty() {
        definition["required"] = json!(required);
    }
    definitions.insert(record.name.to_owned(), definition);
}

/// The same record with nothing required, for `defaults`.
fn define_partial(record: &Record, definitions: &mut BTreeMap<String, Value>) {
    let properties: Map<String, Value> = record.fields.iter().map(|field| (field.name.to_owned(), property(field))).collect();
    let definition = json!({"type": "object", "description": record.text(), "additionalProperties": false, "properties": properties});
    definitions.insert(format!("{}Defaults", record.name), definition);
}

fn property(field: &Field) -> Value {
    let mut schema = shape(field.shape);
    let mut description = field.text();
    if field.later {
        description.push_str(" (not supported yet)");
    }
    schema["description"] = description.into();
    if let Some(default) = field.default {
        schema["default"] = match default.strip_prefix('[').and_then(|list| list.strip_suffix(']')) {
            Some(list) => list.split(", ").collect(),
            None => serde_json::from_str(default).unwrap_or_else(|_| default.into()),
        };
    }
    schema
}

/// Text that is, or holds, a variable may stand where a number or boolean is expected.
const VARIABLE: &str = r"\$\{var\.";

fn shape(shape: Shape) -> Value {
    match shape {
        Shape::Text => json!({"type": "string"}),
        Shape::Raw => json!({"type": ["string", "number", "boolean"]}),
        Shape::Name => json!({"type": "string", "maxLength": 63, "pattern": format!("^[a-z0-9]([-a-z0-9]*[a-z0-9])?$|{VARIABLE}")}),
        Shape::Source => json!({"type": "string", "minLength": 1, "maxLength": PATH_BYTES_MAX}),
        Shape::Egress => json!({"type": "string", "minLength": 1, "examples": ["https://api.example:443"]}),
        Shape::Boolean => json!({"type": ["boolean", "string"], "pattern": VARIABLE}),
        Shape::Integer { min, max: u64::MAX } => json!({"type": ["integer", "string"], "minimum": min, "pattern": VARIABLE}),
        Shape::Integer { min, max } => json!({"type": ["integer", "string"], "minimum": min, "maximum": max, "pattern": VARIABLE}),
        Shape::Duration => json!({"type": "string", "pattern": format!("^[0-9]+(ms|s|m|h|d)$|{VARIABLE}"), "examples": ["30s"]}),
        Shape::Size => {
            json!({"type": ["string", "integer"], "pattern": format!("^[0-9]+(Ki|Mi|Gi|Ti|k|M|G|T)?$|{VARIABLE}"), "examples": ["64Mi"]})
        }
        Shape::Cpu => {
            json!({"type": ["string", "number"], "pattern": format!("^[0-9]+(m|[.][0-9]{{1,3}})?$|{VARIABLE}"), "examples": ["250m"]})
        }
        Shape::Percent => json!({"type": "string", "pattern": format!("^[0-9]+ ?%$|{VARIABLE}"), "examples": ["20%"]}),
        Shape::CountOrPercent => json!({"type": ["integer", "string"], "minimum": 0, "pattern": format!("^[0-9]+ ?%$|{VARIABLE}")}),
        Shape::Word(words) => json!({"type": "string", "enum": words}),
        Shape::WordOr(words, record) => json!({"oneOf": [{"type": "string", "enum": words}, reference(record)]}),
        Shape::RawOr(record) => json!({"oneOf": [{"type": ["string", "number", "boolean"]}, reference(record)]}),
        Shape::Record(record) => reference(record),
        Shape::Partial(record) => json!({"$ref": format!("#/$defs/{}Defaults", record.name)}),
        Shape::Settings => json!({"type": "object", "additionalProperties": self::shape(Shape::Raw)}),
        Shape::Map(inner) => json!({"type": "object", "additionalProperties": self::shape(*inner)}),
        Shape::Names(inner) => {
            let names = json!({"maxLength": 63, "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"});
            json!({"type": "object", "propertyNames": names, "additionalProperties": self::shape(*inner)})
        }
        Shape::List(inner) => json!({"type": "array", "items": self::shape(*inner)}),
    }
}

/// What `field` holds, with lists and maps of records named by the record.
fn type_of(field: &Field) -> String {
    match (field.shape, field.shape.record()) {
        (Shape::List(_), Some(inner)) => format!("list of {}", inner.name),
        (shape, Some(inner)) if shape.is_map() => format!("map of {}", inner.name),
        (Shape::WordOr(words, inner), _) => format!("{}, or {}", words.join(", "), inner.name),
        (Shape::RawOr(inner), _) => format!("text, or {}", inner.name),
        (_, Some(inner)) => inner.name.to_owned(),
        (shape, None) => shape.called(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_refers_only_to_what_it_defines() {
        let schema = json_schema();
        let text = schema.to_string();
        let defined = schema["$defs"].as_object().expect("there are definitions");
        for reference in text.split("#/$defs/").skip(1) {
            let name = reference.split('"').next().expect("a reference is quoted");
            assert!(defined.get(name).is_some_and(Value::is_object), "{name} is not defined");
        }
        let component = &schema["$defs"]["Component"];
        assert_eq!(component["required"], json!(["source"]));
        assert_eq!(component["additionalProperties"], json!(false));
        assert_eq!(component["properties"]["routes"]["items"]["$ref"], "#/$defs/Route");
        assert!(schema["$defs"]["ComponentDefaults"].get("required").is_none());
    }

    #[test]
    fn every_default_has_the_shape_of_its_field() {
        fn visit(record: &'static Record, seen: &mut Vec<&'static str>) {
            if seen.contains(&record.name) {
                return;
            }
            seen.push(record.name);
            for field in record.fields {
                assert_eq!(field.default.is_some(), crate::manifest::has_default(field), "{}.{}", record.name, field.name);
                assert!(
                    !(field.required && field.default.is_some()),
                    "{}.{} cannot be left out and has a default",
                    record.name,
                    field.name
                );
                if let Some(inner) = field.shape.record() {
                    visit(inner, seen);
                }
            }
        }
        let mut seen = Vec::new();
        KINDS.iter().for_each(|kind| visit(kind.spec, &mut seen));
        assert!(seen.len() > 30, "the walk reached {seen:?}");
    }
}
