//! From the documents of a request to objects that may be written: strict, all problems together. Owns the checks that need to know artifacts;
//! must never fetch one, and never know what is in the state (the writer holds wishes against that).

use std::{collections::BTreeMap, sync::Arc};

use api::v1::{API_VERSION, ArtifactFacts, ErrorDetail, KIND_APP};
use inspect::{InspectError, Inspection, offer};
use model::{
    app::App,
    id::{Digest, Index, Name},
    limits::{FILE_BYTES_MAX, FILES_BYTES_MAX},
    manifest::{self, Document},
    problem::Problem,
};
use serde_json::Value;

use crate::limits::DOCUMENTS_MAX;

/// What is known of an artifact: what it is, or why it is nothing.
pub type Facts = Arc<Result<Inspection, InspectError>>;

/// What a request asks for, right in itself.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// Its apps, in their order.
    pub apps: Vec<Checked>,
    /// Everything else, each with its place among the documents.
    pub values: Vec<(usize, Document)>,
}

impl Asked {
    /// Whether it asks for a Secret.
    pub fn has_secrets(&self) -> bool {
        self.values.iter().any(|(_, document)| matches!(document, Document::Secret(_)))
    }
}

/// An app that is right in itself.
#[derive(Debug, Clone)]
pub struct Checked {
    /// Its place among the documents of the request.
    pub number: usize,
    /// The app; its `resource_version` is what the write expects.
    pub app: App,
    /// What its components are; absent for one that a plan knows nothing of.
    pub facts: Vec<(Name, Option<Facts>)>,
    /// How many bytes a plan was told that artifacts have.
    pub told: Vec<(Digest, u64)>,
}

/// What is known of the artifacts that a request names.
#[derive(Debug, Clone, Default)]
pub struct Stored {
    /// What those are that are stored.
    pub facts: BTreeMap<Digest, Facts>,
    /// How many bytes they have.
    pub sizes: BTreeMap<Digest, u64>,
}

/// Where artifacts may come from.
#[derive(Debug, Clone, Copy)]
pub struct Sources<'a> {
    /// What is stored.
    pub stored: &'a Stored,
    /// What a plan was told beside that; `None` for an apply, which needs the bytes.
    pub told: Option<&'a [ArtifactFacts]>,
}

/// The documents of a request as far as they can be judged without artifacts.
#[derive(Debug, Clone)]
pub struct Request(Vec<Result<Document, Vec<Problem>>>);

/// Reads the documents of a request.
///
/// # Errors
/// E0408 when there are none, or too many.
pub fn read(documents: Vec<Value>) -> Result<Request, ErrorDetail> {
    if documents.is_empty() || documents.len() > DOCUMENTS_MAX {
        let message = format!("a request of {} documents: send 1 to {DOCUMENTS_MAX}", documents.len());
        return Err(ErrorDetail::new("E0408", message, ""));
    }
    Ok(Request(documents.into_iter().map(parse).collect()))
}

impl Request {
    /// The apps that could be read.
    pub fn apps(&self) -> impl Iterator<Item = &App> {
        self.0.iter().filter_map(|document| match document {
            Ok(Document::App(app)) => Some(app),
            _ => None,
        })
    }

    /// What the components of its apps are made of.
    pub fn components(&self) -> impl Iterator<Item = Digest> {
        self.apps().flat_map(|app| app.spec.components.values()).filter_map(|component| component.source.digest())
    }

    /// The files of its apps.
    pub fn files(&self) -> impl Iterator<Item = Digest> {
        self.apps()
            .flat_map(|app| app.spec.components.values())
            .flat_map(|component| &component.files)
            .filter_map(|file| file.source.digest())
    }

    /// Checks every document, and every artifact it names.
    ///
    /// # Errors
    /// Everything that is wrong with any of them.
    pub fn check(self, expect: Option<Index>, sources: Sources<'_>) -> Result<Asked, ErrorDetail> {
        let (mut asked, mut problems, mut names) = (Asked::default(), Vec::new(), BTreeMap::new());
        for (number, document) in self.0.into_iter().enumerate() {
            let document = match document {
                Ok(document) => document,
                Err(wrong) => {
                    problems.extend(wrong.into_iter().map(|problem| (number, problem)));
                    continue;
                }
            };
            let (kind, metadata) = (document.kind(), document.metadata());
            if names.insert((kind, metadata.namespace.clone(), metadata.name.clone()), number).is_some() {
                let message = format!("the {} `{}` stands here twice", kind.to_lowercase(), metadata.name);
                problems.push((number, Problem::new("E0104", message).at("metadata.name")));
            }
            match document {
                Document::App(mut app) => {
                    app.metadata.resource_version = app.metadata.resource_version.or(expect);
                    let facts = components(&app, sources, |problem| problems.push((number, problem)));
                    let told = sources.told.unwrap_or_default().iter().map(|facts| (facts.digest, facts.size)).collect();
                    asked.apps.push(Checked { number, app, facts, told });
                }
                other => asked.values.push((number, other)),
            }
        }
        if problems.is_empty() { Ok(asked) } else { Err(ErrorDetail::problems(problems)) }
    }
}

/// The object in `document`; an App where it does not say.
fn parse(mut document: Value) -> Result<Document, Vec<Problem>> {
    let Some(fields) = document.as_object_mut() else {
        return Err(vec![Problem::new("E0103", "a document is not a JSON object")]);
    };
    fields.remove("status");
    if let Some(found) = fields.remove("apiVersion").filter(|found| found != API_VERSION) {
        let problem = Problem::new("E0110", format!("a document says apiVersion {found}, and this server knows `{API_VERSION}`"));
        return Err(vec![problem.at("apiVersion")]);
    }
    let kind = fields.remove("kind").unwrap_or_else(|| KIND_APP.into());
    let read = match kind.as_str() {
        Some(KIND_APP) => manifest::from_canonical(document).map(Document::App),
        Some("Config") => manifest::config_from_canonical(document).map(Document::Config),
        Some("Secret") => manifest::secret_from_canonical(document).map(Document::Secret),
        Some("Namespace") => manifest::namespace_from_canonical(document).map(Document::Namespace),
        _ => {
            let problem =
                Problem::new("E0110", format!("a document says kind {kind}, and this server knows App, Config, Secret and Namespace"));
            return Err(vec![problem.at("kind")]);
        }
    };
    read.map_err(|problems| problems.0)
}

/// What the components of `app` are made of.
fn components(app: &App, sources: Sources<'_>, mut refuse: impl FnMut(Problem)) -> Vec<(Name, Option<Facts>)> {
    let mut known = Vec::new();
    for (name, component) in &app.spec.components {
        let at = format!("spec.components.{name}.source");
        let Some(digest) = component.source.digest() else {
            let problem = Problem::new("E0206", format!("the source of component `{name}` is a file, and a server reads none")).at(at);
            refuse(problem.help("upload the file, and send its digest"));
            continue;
        };
        let facts = facts(&digest, sources);
        match facts.as_deref() {
            Some(Ok(inspection)) => offer::unmet(inspection, component, name).into_iter().for_each(&mut refuse),
            Some(Err(error)) => refuse(error.problem(name)),
            None if sources.told.is_some() => {}
            None => {
                let message = format!("the source of component `{name}` is {digest}, which was never uploaded");
                refuse(
                    Problem::new("E0206", message).at(at).label("unknown artifact").help("name the file, so that `shoal apply` uploads it"),
                );
            }
        }
        known.push((name.clone(), facts));
        files(name, component, sources, &mut refuse);
    }
    known
}

/// Whether the files of a component are there, and not too large together. They are bytes: nobody looks into them.
fn files(name: &Name, component: &model::app::Component, sources: Sources<'_>, refuse: &mut impl FnMut(Problem)) {
    let mut total = 0;
    for (index, file) in component.files.iter().enumerate() {
        let at = format!("spec.components.{name}.files[{index}]");
        // What still names a file was refused with the rest of the form.
        let Some(digest) = file.source.digest() else { continue };
        let told = || sources.told.and_then(|told| told.iter().find(|facts| facts.digest == digest)).map(|facts| facts.size);
        match sources.stored.sizes.get(&digest).copied().or_else(told) {
            Some(size) => {
                total += size;
                if size > FILE_BYTES_MAX.0 {
                    let message = format!("`files[{index}]` of component `{name}` has {size} bytes, and at most {FILE_BYTES_MAX} fit");
                    refuse(Problem::new("E0212", message).at(at).label("too large").help("serve large data from outside the component"));
                }
            }
            None if sources.told.is_some() => {}
            None => {
                let message = format!("`files[{index}]` of component `{name}` is {digest}, which was never uploaded");
                refuse(
                    Problem::new("E0206", message).at(at).label("unknown artifact").help("name the file, so that `shoal apply` uploads it"),
                );
            }
        }
    }
    if total > FILES_BYTES_MAX.0 {
        let message = format!("the files of component `{name}` have {total} bytes together, and at most {FILES_BYTES_MAX} fit");
        let problem = Problem::new("E0212", message).at(format!("spec.components.{name}.files")).label("too large");
        refuse(problem.help("serve large data from outside the component"));
    }
}

fn facts(digest: &Digest, sources: Sources<'_>) -> Option<Facts> {
    let told = || sources.told.and_then(|told| told.iter().find(|facts| facts.digest == *digest));
    sources.stored.facts.get(digest).cloned().or_else(|| told().map(|facts| Arc::new(Ok(inspection(facts)))))
}

/// What a client read of an artifact, as if it had been read here. Only a plan believes it.
fn inspection(facts: &ArtifactFacts) -> Inspection {
    Inspection::told(facts.size, facts.digest, facts.language.clone(), &facts.imports, &facts.exports)
}
