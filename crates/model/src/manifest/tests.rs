//! What a manifest may hold and what is said about the rest, as tables of texts. Goal: every refusal names the place and the remedy, and all are told
//! together. Method: one `check` renders whatever is wrong, or prints the app as a manifest again.

use std::collections::BTreeMap;

use expect_test::{Expect, expect};

use super::*;
use crate::render::render;

fn vars(given: &[(&str, &str)]) -> BTreeMap<String, String> {
    given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// What parsing `text` with `given` says: the problems as the terminal shows them, or the apps as manifests.
fn outcome(text: &str, overlay: Option<&str>, given: &[(&str, &str)]) -> String {
    let overlays: Vec<File<'_>> = overlay.map(|text| File { name: "overlay.yaml", text }).into_iter().collect();
    let source = |file: &str| Some(if file == "overlay.yaml" { overlay.unwrap_or_default() } else { text }.to_owned());
    match merge_overlay(File { name: "app.yaml", text }, &overlays, &vars(given)) {
        Ok(parsed) => parsed.documents.iter().map(shown).collect::<Vec<_>>().join("---\n"),
        Err(problems) => render(&problems, source, false),
    }
}

fn shown(document: &Document) -> String {
    match document {
        Document::App(app) => to_yaml(app),
        Document::Config(config) => config_to_yaml(config),
        Document::Secret(secret) => format!("{secret:#?}\n"),
        Document::Namespace(namespace) => namespace_to_yaml(namespace),
    }
}

fn check(text: &str, expected: Expect) {
    expected.assert_eq(&outcome(text, None, &[]));
}

/// The app `hello` with `component` as its component `web`.
fn hello(component: &str) -> String {
    format!("apiVersion: shoal.dev/v1\nkind: App\nmetadata: {{name: hello}}\nspec:\n  components:\n    web: {component}\n")
}

/// The same, with `routes`.
fn routed(routes: &str) -> String {
    hello(&format!("{{source: ./hello.wasm, routes: {routes}}}"))
}

mod form;
mod later;
mod meaning;
mod objects;
mod properties;
mod refusals;
mod routes;
