//! OpenAPI schemas of the model's shapes that the wire carries as they are. Owns the descriptions; must never differ from the serde form (a test says so).

use utoipa::openapi::{
    ArrayBuilder, ObjectBuilder, RefOr, Schema,
    schema::{SchemaType, Type},
};

/// [`model::problem::Problem`].
pub(crate) fn problem() -> RefOr<Schema> {
    let span = object()
        .property("file", text("The file as the user named it."))
        .property("line", number("From 1."))
        .property("column", number("From 1, in characters."))
        .property("width", number("How many characters are marked."));
    let problem = object()
        .property("code", text("`E0204`; `shoal explain E0204` has a page."))
        .property("message", text("One sentence naming the attempt and the object."))
        .property("path", text("The field: `spec.components.web.routes[0].path`; empty for the whole document."))
        .property("label", text("What stands under the marked place."))
        .property("help", text("The line that mends it."))
        .property("span", span)
        .required("code")
        .required("message");
    RefOr::T(Schema::Object(problem.build()))
}

/// A list of [`model::problem::Problem`].
pub(crate) fn problems() -> RefOr<Schema> {
    RefOr::T(Schema::Array(ArrayBuilder::new().items(problem()).build()))
}

/// [`model::app::Metadata`].
pub(crate) fn metadata() -> RefOr<Schema> {
    let metadata = object()
        .property("name", text("The object's name."))
        .property("namespace", text("The namespace it lives in."))
        .property("labels", words("Words to select by."))
        .property("annotations", words("Words for tools."))
        .property("protected", ObjectBuilder::new().schema_type(SchemaType::Type(Type::Boolean)))
        .property("resourceVersion", number("When sent, the write happens only if the object still has this version."))
        .required("name")
        .required("namespace");
    RefOr::T(Schema::Object(metadata.build()))
}

fn object() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(SchemaType::Type(Type::Object))
}

fn text(description: &str) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(SchemaType::Type(Type::String)).description(Some(description))
}

fn number(description: &str) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(SchemaType::Type(Type::Integer)).description(Some(description))
}

fn words(description: &str) -> ObjectBuilder {
    object().additional_properties(Some(ObjectBuilder::new().schema_type(SchemaType::Type(Type::String)))).description(Some(description))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use model::{
        app::Metadata,
        id::Index,
        problem::{Problem, Span},
    };

    use super::*;

    fn check(schema: RefOr<Schema>, value: &serde_json::Value) {
        let schema = serde_json::to_value(schema).expect("a schema is JSON");
        let told: BTreeSet<_> = schema["properties"].as_object().expect("an object").keys().collect();
        let real: BTreeSet<_> = value.as_object().expect("an object").keys().collect();
        assert_eq!(told, real);
    }

    #[test]
    fn schemas_tell_the_fields_that_are_there() {
        let span = Span { file: "a".into(), line: 1, column: 1, width: 1 };
        let text = String::new;
        let told = Problem { code: text(), message: text(), path: text(), label: text(), help: text(), span: Some(span.clone()) };
        check(problem(), &serde_json::to_value(told).expect("plain data"));
        let metadata_value = Metadata {
            name: "a".parse().expect("a name"),
            namespace: "b".parse().expect("a name"),
            labels: Default::default(),
            annotations: Default::default(),
            protected: false,
            resource_version: Some(Index(1)),
        };
        check(metadata(), &serde_json::to_value(metadata_value).expect("plain data"));
    }
}
