//! Manifest text to apps and back. Owns the way from YAML to the canonical form: read, lay overlays over, put variables in, merge `defaults`, hold against
//! the tables, build, check. All problems are told together. Must never touch a file or a server: the caller brings the texts.

mod build;
mod check;
mod defaults;
mod document;
mod objects;
mod overlay;
mod places;
mod print;
mod vars;
mod walk;
mod words;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

pub use objects::{config_from_canonical, namespace_from_canonical, secret_from_canonical};
pub use places::Places;
pub use print::{config_to_value, config_to_yaml, namespace_to_value, namespace_to_yaml, to_value, to_yaml};

use crate::{
    app::{App, Metadata, Resources, Reuse},
    id::AppId,
    limits,
    object::{Config, Namespace, Secret},
    problem::{Problem, Problems},
    tree::Node,
    yaml,
};

/// A manifest file as the caller has it.
#[derive(Debug, Clone, Copy)]
pub struct File<'a> {
    /// What the user calls it; `-` for standard input.
    pub name: &'a str,
    /// Its text.
    pub text: &'a str,
}

/// One object a manifest asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Document {
    /// An app.
    App(App),
    /// Values several apps share.
    Config(Config),
    /// Values that are sealed.
    Secret(Secret),
    /// Quota and ceilings.
    Namespace(Namespace),
}

impl Document {
    /// Its kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::App(_) => "App",
            Self::Config(_) => "Config",
            Self::Secret(_) => "Secret",
            Self::Namespace(_) => "Namespace",
        }
    }

    /// Its metadata.
    pub fn metadata(&self) -> &Metadata {
        match self {
            Self::App(app) => &app.metadata,
            Self::Config(config) => &config.metadata,
            Self::Secret(secret) => &secret.metadata,
            Self::Namespace(namespace) => &namespace.metadata,
        }
    }

    /// The same, to fill in what a manifest leaves to whoever reads it.
    pub fn metadata_mut(&mut self) -> &mut Metadata {
        match self {
            Self::App(app) => &mut app.metadata,
            Self::Config(config) => &mut config.metadata,
            Self::Secret(secret) => &mut secret.metadata,
            Self::Namespace(namespace) => &mut namespace.metadata,
        }
    }

    /// Its canonical JSON, as a server takes it.
    pub fn to_canonical(&self) -> serde_json::Value {
        let form = match self {
            Self::App(app) => serde_json::to_value(app),
            Self::Config(config) => serde_json::to_value(config),
            Self::Secret(secret) => serde_json::to_value(secret),
            Self::Namespace(namespace) => serde_json::to_value(namespace),
        };
        let mut value = form.expect("a canonical form has string keys only");
        if !matches!(self, Self::App(_)) {
            value["kind"] = self.kind().into();
        }
        value
    }

    /// What tells it from every other object of its kind.
    fn id(&self) -> AppId {
        let Metadata { namespace, name, .. } = self.metadata();
        AppId { namespace: namespace.clone(), name: name.clone() }
    }
}

/// What a file holds.
#[derive(Debug, Clone)]
pub struct Parsed {
    /// Its documents in order.
    pub documents: Vec<Document>,
    /// Where the fields of each document stand, in the same order.
    pub places: Vec<Places>,
    /// The variables its documents declare, so that the caller can refuse a given one that nobody declares.
    pub vars: BTreeSet<String>,
}

/// The documents of `text`, which the user calls `file`, with `vars` in place of `${var.NAME}`.
///
/// # Errors
/// Everything that is wrong with the text, in its order.
pub fn parse(text: &str, file: &str, vars: &BTreeMap<String, String>) -> Result<Vec<Document>, Problems> {
    parse_with_places(text, file, vars).map(|parsed| parsed.documents)
}

/// The same as [`parse`], with the places of all fields, so that a later problem with a field path can be shown in the user's file.
///
/// # Errors
/// Everything that is wrong with the text, in its order.
pub fn parse_with_places(text: &str, file: &str, vars: &BTreeMap<String, String>) -> Result<Parsed, Problems> {
    merge_overlay(File { name: file, text }, &[], vars)
}

/// The documents of `base` with `overlays` laid over them; see [`merge_overlays`].
///
/// # Errors
/// Everything that is wrong with the texts, in their order.
pub fn merge_overlay(base: File<'_>, overlays: &[File<'_>], vars: &BTreeMap<String, String>) -> Result<Parsed, Problems> {
    merge_overlays(&[base], overlays, vars)
}

/// The documents of all files of `bases` with `overlays` laid over them, first to last: maps are merged key by key, lists and values are replaced, and
/// an overlay's document goes to the document with its kind and name, in whichever file that is. Places lead to the file that said it last;
/// [`Places::file`] names the file a document began in.
///
/// # Errors
/// Everything that is wrong with the texts, in their order, and an overlay's document that fits none or several.
pub fn merge_overlays(bases: &[File<'_>], overlays: &[File<'_>], vars: &BTreeMap<String, String>) -> Result<Parsed, Problems> {
    let (mut trees, mut problems) = (Vec::new(), Vec::new());
    for file in bases {
        let read = yaml::read(file.text, file.name);
        if read.documents.is_empty() && read.problems.is_empty() {
            let problem = Problem::new("E0101", format!("{} holds no document", file.name));
            problems.push(problem.help("a manifest starts with   apiVersion: shoal.dev/v1"));
        }
        trees.extend(read.documents);
        problems.extend(read.problems);
    }
    let whole = problems.is_empty();
    for file in overlays {
        let over = yaml::read(file.text, file.name);
        problems.extend(over.problems);
        // A document that could not be read might be the one an overlay is for.
        let mut homeless = Vec::new();
        overlay::lay(&mut trees, over.documents, &mut homeless);
        problems.extend(homeless.into_iter().filter(|_| whole));
    }
    let files: Vec<&str> = bases.iter().chain(overlays).map(|file| file.name).collect();
    finish(trees, &files, vars, problems)
}

/// The resources of a component that says nothing about them.
pub(crate) fn default_resources() -> Resources {
    build::resources(&serde_json::Value::Null)
}

/// The reuse of a component that says nothing about it.
pub(crate) fn default_reuse() -> Reuse {
    build::reuse(&serde_json::Value::Null)
}

/// Whether the table's default of `field` is a value of its shape.
#[cfg(test)]
pub(crate) fn has_default(field: &'static crate::kinds::Field) -> bool {
    defaults::default_of(field).is_some()
}

fn finish(trees: Vec<Node>, files: &[&str], vars: &BTreeMap<String, String>, mut problems: Vec<Problem>) -> Result<Parsed, Problems> {
    let mut parsed = Parsed { documents: Vec::new(), places: Vec::new(), vars: BTreeSet::new() };
    let mut names = BTreeMap::new();
    for mut tree in trees {
        let outcome = document::read(&mut tree, vars, &mut problems);
        parsed.vars.extend(outcome.vars);
        if let Some(document) = outcome.asked {
            let places = Places::of(&tree);
            let span = places.span("metadata.name");
            if let Some(line) = names.insert((document.kind(), document.id()), span.as_ref().map_or(0, |span| span.line)) {
                let message = format!("the {} `{}` stands here twice", document.kind(), document.id());
                let problem = Problem::new("E0104", message).at("metadata.name").label(format!("first named on line {line}")).span(span);
                problems.push(problem.help("give one of them another name"));
            }
            parsed.documents.push(document);
            parsed.places.push(places);
        }
    }
    // Whole-file problems first, then in the order of the files and in them.
    let file = |name: &str| files.iter().position(|file| *file == name);
    problems.sort_by_key(|problem| problem.span.as_ref().map(|span| (file(&span.file), span.line, span.column)));
    let cut = problems.len().saturating_sub(limits::PROBLEMS_MAX);
    if cut > 0 {
        problems.truncate(limits::PROBLEMS_MAX);
        problems.push(Problem::new("E0108", format!("{cut} more problems are not shown")).help("mend those above first"));
    }
    Problems(problems).or(parsed)
}

/// The app in canonical JSON, as [`to_value`] or serde write it, held against the same rules as a manifest. For the server, which reads no YAML.
///
/// # Errors
/// Everything that is wrong with it; the paths are those of the manifest.
pub fn from_canonical(value: serde_json::Value) -> Result<App, Problems> {
    let app: App = serde_json::from_value(value).map_err(|error| {
        let message = format!("the body is not an App in canonical form: {error}");
        Problems::from(Problem::new("E0103", message).help("send what `shoal apply` sends: every default filled in, quantities as numbers"))
    })?;
    Problems(check::canonical(&app)).or(app)
}
