//! From the documents of a request to objects that may be written: strict, all problems together. Owns the checks that need bytes; must never
//! know what is in the state (the writer holds wishes against that).

use std::{collections::BTreeMap, sync::Arc};

use api::v1::{API_VERSION, ArtifactFacts, KIND_APP};
use inspect::{InspectError, Inspection, offer};
use model::{
    app::App,
    id::{Digest, Index, Name},
    limits::{FILE_BYTES_MAX, FILES_BYTES_MAX},
    manifest::{self, Document},
    problem::Problem,
};
use serde_json::Value;

use crate::{api_error::ApiError, artifacts::Artifacts, limits::DOCUMENTS_MAX};

/// What is known of an artifact: what it is, or why it is nothing.
pub(crate) type Facts = Arc<Result<Inspection, InspectError>>;

/// What a request asks for, right in itself.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asked {
    /// Its apps, in their order.
    pub(crate) apps: Vec<Checked>,
    /// Everything else, each with its place among the documents.
    pub(crate) values: Vec<(usize, Document)>,
}

impl Asked {
    /// Whether it asks for a Secret.
    pub(crate) fn has_secrets(&self) -> bool {
        self.values.iter().any(|(_, document)| matches!(document, Document::Secret(_)))
    }
}

/// An app that is right in itself.
#[derive(Debug, Clone)]
pub(crate) struct Checked {
    /// Its place among the documents of the request.
    pub(crate) number: usize,
    /// The app; its `resource_version` is what the write expects.
    pub(crate) app: App,
    /// What its components are; absent for one that a plan knows nothing of.
    pub(crate) facts: Vec<(Name, Option<Facts>)>,
    /// How many bytes a plan was told that artifacts have.
    pub(crate) told: Vec<(Digest, u64)>,
}

/// Where artifacts may come from.
pub(crate) struct Sources<'a> {
    /// What is stored.
    pub(crate) artifacts: &'a Artifacts,
    /// What a plan was told beside that; `None` for an apply, which needs the bytes.
    pub(crate) told: Option<&'a [ArtifactFacts]>,
}

/// Checks every document, and every artifact it names.
pub(crate) async fn check(documents: Vec<Value>, expect: Option<Index>, sources: Sources<'_>) -> Result<Asked, ApiError> {
    if documents.is_empty() || documents.len() > DOCUMENTS_MAX {
        let message = format!("a request of {} documents: send 1 to {DOCUMENTS_MAX}", documents.len());
        return Err(ApiError::new("E0408", message, ""));
    }
    let (mut asked, mut problems, mut names) = (Asked::default(), Vec::new(), BTreeMap::new());
    for (number, document) in documents.into_iter().enumerate() {
        let document = match parse(document) {
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
                let facts = components(&app, &sources, |problem| problems.push((number, problem))).await?;
                let told = sources.told.unwrap_or_default().iter().map(|facts| (facts.digest, facts.size)).collect();
                asked.apps.push(Checked { number, app, facts, told });
            }
            other => asked.values.push((number, other)),
        }
    }
    if problems.is_empty() { Ok(asked) } else { Err(ApiError::problems(problems)) }
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
async fn components(app: &App, sources: &Sources<'_>, mut refuse: impl FnMut(Problem)) -> Result<Vec<(Name, Option<Facts>)>, ApiError> {
    let mut known = Vec::new();
    for (name, component) in &app.spec.components {
        let at = format!("spec.components.{name}.source");
        let Some(digest) = component.source.digest() else {
            let problem = Problem::new("E0206", format!("the source of component `{name}` is a file, and a server reads none")).at(at);
            refuse(problem.help("upload the file, and send its digest"));
            continue;
        };
        let facts = facts(&digest, sources).await?;
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
    Ok(known)
}

/// Whether the files of a component are there, and not too large together. They are bytes: nobody looks into them.
fn files(name: &Name, component: &model::app::Component, sources: &Sources<'_>, refuse: &mut impl FnMut(Problem)) {
    let mut total = 0;
    for (index, file) in component.files.iter().enumerate() {
        let at = format!("spec.components.{name}.files[{index}]");
        // What still names a file was refused with the rest of the form.
        let Some(digest) = file.source.digest() else { continue };
        let told = || sources.told.and_then(|told| told.iter().find(|facts| facts.digest == digest)).map(|facts| facts.size);
        sources.artifacts.touch(&digest);
        match sources.artifacts.size(&digest).or_else(told) {
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

async fn facts(digest: &Digest, sources: &Sources<'_>) -> Result<Option<Facts>, ApiError> {
    let stored = sources.artifacts.facts(digest).await;
    let stored = stored.map_err(|error| ApiError::new("E0406", format!("cannot read artifact {digest}: {error}"), ""))?;
    let told = || sources.told.and_then(|told| told.iter().find(|facts| facts.digest == *digest));
    Ok(stored.or_else(|| told().map(|facts| Arc::new(Ok(inspection(facts))))))
}

/// What a client read of an artifact, as if it had been read here. Only a plan believes it.
fn inspection(facts: &ArtifactFacts) -> Inspection {
    Inspection::told(facts.size, facts.digest, facts.language.clone(), &facts.imports, &facts.exports)
}
