//! Any text as a manifest: it is read or refused with problems that can be shown, and what is read prints to a manifest that reads as the same app.
//! A zero byte in the input begins an overlay. Must never touch a file.
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use model::{
    manifest::{self, Document, File},
    render,
};

fuzz_target!(|text: &str| {
    let (base, overlay) = text.split_once('\0').unwrap_or((text, ""));
    let overlays: &[File<'_>] = if overlay.is_empty() { &[] } else { &[File { name: "overlay.yaml", text: overlay }] };
    let vars = BTreeMap::from([("tag".to_owned(), "1".to_owned())]);
    match manifest::merge_overlay(File { name: "app.yaml", text: base }, overlays, &vars) {
        Ok(parsed) => parsed.documents.iter().for_each(prints_as_it_reads),
        Err(problems) => {
            assert!(!problems.is_empty(), "a refusal says why");
            let source = |name: &str| Some(if name == "app.yaml" { base } else { overlay }.to_owned());
            assert!(render::render(&problems, source, true).starts_with('\u{1b}'));
        }
    }
});

fn prints_as_it_reads(document: &Document) {
    let Document::App(app) = document;
    let printed = manifest::to_yaml(app);
    let again = manifest::parse(&printed, "printed.yaml", &BTreeMap::new());
    assert_eq!(again.as_deref().ok(), Some(std::slice::from_ref(document)), "{printed}\n{again:?}");
}
