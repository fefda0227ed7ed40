//! The manifest format for editors and readers: JSON Schema and `explain`. Owns how the tables of `kinds` are shown; must never say anything about a field
//! that is not in them.

use std::{collections::BTreeMap, fmt::Write as _};

use serde_json::{Map, Value, json};

use crate::{
    kinds::{self, API_VERSION, Field, KINDS, Kind, METADATA, Record, Shape, Standing},
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
        schema["default"] = serde_json::from_str(default).unwrap_or_else(|_| default.into());
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

/// What stands at a path of the format: `app`, `app.spec.components.scale`. Names of components and the like may be left out.
/// Nothing when there is no such kind or field.
pub fn explain(path: &str) -> Option<String> {
    let mut segments = path.split('.').filter(|segment| !segment.is_empty());
    let kind = kinds::find(segments.next()?.trim_end_matches('s'))?;
    let mut at = Place { path: kind.name.to_lowercase(), record: None, field: None };
    let mut rest: Vec<&str> = segments.map(|segment| segment.split('[').next().unwrap_or(segment)).collect();
    rest.reverse();
    match rest.pop() {
        None => return Some(explain_kind(kind)),
        Some("spec") => at.record = Some(kind.spec),
        Some("metadata") => at.record = Some(&METADATA),
        Some(_) => return None,
    }
    let top = if at.record.is_some_and(|record| std::ptr::eq(record, &METADATA)) { "metadata" } else { "spec" };
    at.path = format!("{}.{top}", at.path);
    while let Some(segment) = rest.pop() {
        at.step(segment)?;
    }
    Some(at.text())
}

/// A place in the format.
struct Place {
    path: String,
    record: Option<&'static Record>,
    field: Option<&'static Field>,
}

impl Place {
    /// Goes one segment down: a field, or the free name of an entry of a map.
    fn step(&mut self, segment: &str) -> Option<()> {
        let record = self.record?;
        if let Some(field) = record.field(segment) {
            self.path = format!("{}.{segment}", self.path);
            self.field = Some(field);
            self.record = field.shape.record();
            return Some(());
        }
        self.field.filter(|field| field.shape.is_map()).map(|_| ())
    }

    fn text(&self) -> String {
        let mut out = String::new();
        let _ = writeln!(out, "{}", self.path);
        if let Some(field) = self.field {
            let _ = writeln!(out, "\n  {}\n", field.text());
            let _ = writeln!(out, "  type:     {}", field.shape.called());
            if field.required {
                let _ = writeln!(out, "  required");
            }
            if let Some(default) = field.default {
                let _ = writeln!(out, "  default:  {default}");
            }
            if field.later {
                let _ = writeln!(out, "  not supported yet: only its default is accepted");
            }
        } else if let Some(record) = self.record {
            let _ = writeln!(out, "\n  {}", record.text());
        }
        if let Some(record) = self.record {
            fields(&mut out, record);
        }
        out
    }
}

fn explain_kind(kind: &Kind) -> String {
    let mut out = format!("{} ({API_VERSION})\n\n  {}\n", kind.name, kind.doc);
    match kind.standing {
        Standing::Built => {}
        Standing::Later => out.push_str("\n  not supported yet\n"),
        Standing::ReadOnly => out.push_str("\n  read-only: the cluster writes it\n"),
    }
    for (name, record) in [("metadata", &METADATA), ("spec", kind.spec)] {
        if !record.fields.is_empty() {
            let _ = writeln!(out, "\n{name}: {}", record.text());
            fields(&mut out, record);
        }
    }
    out
}

fn fields(out: &mut String, record: &Record) {
    let width = record.fields.iter().map(|field| field.name.len()).max().unwrap_or(0);
    let _ = writeln!(out, "\nfields");
    for field in record.fields {
        let mut notes = Vec::new();
        if field.required {
            notes.push("required".to_owned());
        }
        notes.extend(field.default.map(|default| format!("[{default}]")));
        if field.later {
            notes.push("(not supported yet)".to_owned());
        }
        let notes = if notes.is_empty() { String::new() } else { format!(" {}", notes.join(" ")) };
        let _ = writeln!(out, "  {:width$}  {}{notes}", field.name, field.text());
    }
}
