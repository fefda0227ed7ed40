//! The API's description, made from a table of operations and the wire types' schemas. Owns the document's form; must never list a path itself.

use http::Method;
use serde_json::{Map, Value, json};
use utoipa::{
    ToSchema,
    openapi::{RefOr, Schema},
};

use crate::v1;

/// A wire type: its name, its schema, and those it refers to.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    name: fn() -> String,
    schema: fn() -> RefOr<Schema>,
    others: fn(&mut Vec<(String, RefOr<Schema>)>),
}

/// The shape of `T`.
pub fn shape<T: ToSchema>() -> Shape {
    Shape { name: || T::name().into_owned(), schema: T::schema, others: T::schemas }
}

/// What a body holds.
#[derive(Debug, Clone, Copy)]
pub enum Content {
    /// Nothing.
    Nothing,
    /// One JSON value.
    Json(Shape),
    /// A [`v1::List`] of these.
    List(Shape),
    /// JSON values, one a line, as they come.
    Lines(Shape),
    /// JSON values as the data of server-sent events, as they come.
    Events(Shape),
    /// The bytes of an artifact.
    Bytes,
    /// Anything else that can be read.
    Text,
}

/// One thing that can be asked.
#[derive(Debug, Clone)]
pub struct Operation {
    /// Its method.
    pub method: Method,
    /// Its path, with `{names}`.
    pub path: &'static str,
    /// What it does, in a line.
    pub summary: &'static str,
    /// What its query may hold.
    pub query: Option<Shape>,
    /// What is sent.
    pub request: Content,
    /// What is answered.
    pub answer: Content,
}

/// The whole document.
pub fn document<'a>(operations: impl IntoIterator<Item = &'a Operation>) -> Value {
    let mut schemas = Map::new();
    let error = Content::Json(shape::<v1::ErrorBody>());
    let mut paths = Map::new();
    for asked in operations {
        let mut described = json!({"summary": asked.summary, "operationId": operation_id(asked), "parameters": parameters(asked)});
        if let Some(shape) = asked.query {
            // Its fields are parameters; what they refer to is listed.
            let mut all = Vec::new();
            (shape.others)(&mut all);
            put(all, &mut schemas);
        }
        if let Some(content) = content(&asked.request, &mut schemas) {
            described["requestBody"] = json!({"required": true, "content": content});
        }
        let mut answer = json!({"description": "Done."});
        if let Some(content) = content(&asked.answer, &mut schemas) {
            answer["content"] = content;
        }
        let refused = json!({"description": "Not done, and why.", "content": content(&error, &mut schemas)});
        described["responses"] = json!({"2XX": answer, "default": refused});
        let path = paths.entry(asked.path).or_insert_with(|| json!({}));
        path[asked.method.as_str().to_lowercase()] = described;
    }
    json!({
        "openapi": "3.1.0",
        "info": {"title": "Shoal", "version": env!("CARGO_PKG_VERSION"), "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"}},
        "paths": paths,
        "components": {"schemas": schemas},
    })
}

fn operation_id(asked: &Operation) -> String {
    let path = asked.path.replace(['{', '}'], "");
    let words = path.split(['/', '.']).filter(|word| !word.is_empty());
    words.fold(asked.method.as_str().to_lowercase(), |id, word| format!("{id}-{word}"))
}

fn content(content: &Content, schemas: &mut Map<String, Value>) -> Option<Value> {
    let (kind, schema) = match content {
        Content::Nothing => return None,
        Content::Json(shape) => ("application/json", refer(*shape, schemas)),
        Content::List(shape) => ("application/json", list(*shape, schemas)),
        Content::Lines(shape) => ("application/x-ndjson", refer(*shape, schemas)),
        Content::Events(shape) => ("text/event-stream", refer(*shape, schemas)),
        Content::Bytes => ("application/wasm", json!({"type": "string", "format": "binary"})),
        Content::Text => ("text/plain", json!({"type": "string"})),
    };
    Some(json!({kind: {"schema": schema}}))
}

/// A reference to the shape, which is listed with everything it refers to.
fn refer(shape: Shape, schemas: &mut Map<String, Value>) -> Value {
    let name = (shape.name)();
    let mut all = vec![(name.clone(), (shape.schema)())];
    (shape.others)(&mut all);
    put(all, schemas);
    json!({"$ref": format!("#/components/schemas/{name}")})
}

fn put(all: Vec<(String, RefOr<Schema>)>, schemas: &mut Map<String, Value>) {
    for (name, schema) in all {
        schemas.entry(name).or_insert_with(|| serde_json::to_value(schema).expect("a schema is JSON"));
    }
}

/// A reference to the list of the shape: utoipa gives every instance of a generic type the same name.
fn list(shape: Shape, schemas: &mut Map<String, Value>) -> Value {
    let name = format!("{}List", (shape.name)());
    let version = json!({"type": "integer", "minimum": 0, "description": "The log index it was read at."});
    let properties = json!({"resourceVersion": version, "items": {"type": "array", "items": refer(shape, schemas)}});
    let schema = json!({"type": "object", "required": ["resourceVersion", "items"], "properties": properties});
    schemas.entry(name.clone()).or_insert(schema);
    json!({"$ref": format!("#/components/schemas/{name}")})
}

/// Names in the path, and the fields of the query.
fn parameters(asked: &Operation) -> Vec<Value> {
    let names = asked.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let mut parameters: Vec<_> =
        names.map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}})).collect();
    let query = asked.query.map(|shape| serde_json::to_value((shape.schema)()).expect("a schema is JSON"));
    let fields = query.as_ref().and_then(|schema| schema["properties"].as_object());
    for (name, schema) in fields.into_iter().flatten() {
        let mut schema = schema.clone();
        let description = schema.as_object_mut().and_then(|schema| schema.remove("description"));
        parameters.push(json!({"name": name, "in": "query", "required": false, "description": description, "schema": schema}));
    }
    parameters
}
