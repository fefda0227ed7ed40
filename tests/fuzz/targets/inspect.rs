//! Any bytes as a component: they are read or refused, and whatever was read can be held against what the host offers. Must never compile anything.
#![no_main]

use std::collections::BTreeMap;

use inspect::{Inspection, inspect, offer};
use libfuzzer_sys::fuzz_target;
use model::{
    app::Component,
    id::Name,
    manifest::{self, Document},
};

fuzz_target!(|bytes: &[u8]| {
    match inspect(bytes) {
        Ok(inspection) => judge(&inspection),
        Err(error) => assert!(!error.to_string().is_empty(), "a refusal says why"),
    }
});

fn judge(inspection: &Inspection) {
    let (name, component) = component();
    for problem in offer::unmet(inspection, &component, &name) {
        assert!(!problem.message.is_empty() && problem.code.starts_with('E'), "{problem:?}");
    }
    for name in inspection.imports.iter().filter_map(inspect::Import::interface) {
        assert!(!name.package.is_empty(), "{name:?}");
    }
}

/// The smallest component of a manifest.
fn component() -> (Name, Component) {
    let text = "apiVersion: shoal.dev/v1\nkind: App\nmetadata: {name: a}\nspec: {components: {web: {source: ./a.wasm}}}\n";
    let documents = manifest::parse(text, "app.yaml", &BTreeMap::new()).expect("it is a manifest");
    let Some(Document::App(app)) = documents.into_iter().next() else { unreachable!("it holds an app") };
    app.spec.components.into_iter().next().expect("it has a component")
}
