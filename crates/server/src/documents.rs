//! From the documents of a request to apps that may be written: strict, all problems together. Owns the checks that need bytes; must never
//! know what is in the state (the writer holds wishes against that).

use std::{collections::BTreeSet, sync::Arc};

use api::v1::{API_VERSION, ArtifactFacts, KIND_APP};
use inspect::{InspectError, Inspection, offer};
use model::{
    app::{App, Component},
    id::{Digest, Index, Name},
    limits::{FILE_BYTES_MAX, FILES_BYTES_MAX},
    problem::Problem,
};
use serde_json::Value;

use crate::{api_error::ApiError, artifacts::Artifacts, limits::DOCUMENTS_MAX};

/// What is known of an artifact: what it is, or why it is nothing.
pub(crate) type Facts = Arc<Result<Inspection, InspectError>>;

/// A document that is right in itself.
#[derive(Debug, Clone)]
pub(crate) struct Checked {
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
pub(crate) async fn check(documents: Vec<Value>, expect: Option<Index>, sources: Sources<'_>) -> Result<Vec<Checked>, ApiError> {
    if documents.is_empty() || documents.len() > DOCUMENTS_MAX {
        let message = format!("a request of {} documents: send 1 to {DOCUMENTS_MAX}", documents.len());
        return Err(ApiError::new("E0408", message, ""));
    }
    let (mut checked, mut problems, mut names) = (Vec::new(), Vec::new(), BTreeSet::new());
    for (number, document) in documents.into_iter().enumerate() {
        match parse(document, expect) {
            Ok(app) => {
                if !names.insert(app.id()) {
                    let message = format!("the app `{}` stands here twice", app.id());
                    problems.push((number, Problem::new("E0104", message).at("metadata.name")));
                }
                let facts = components(&app, &sources, |problem| problems.push((number, problem))).await?;
                let told = sources.told.unwrap_or_default().iter().map(|facts| (facts.digest, facts.size)).collect();
                checked.push(Checked { app, facts, told });
            }
            Err(wrong) => problems.extend(wrong.into_iter().map(|problem| (number, problem))),
        }
    }
    if problems.is_empty() { Ok(checked) } else { Err(ApiError::problems(problems)) }
}

/// The app in `document`.
fn parse(mut document: Value, expect: Option<Index>) -> Result<App, Vec<Problem>> {
    let Some(fields) = document.as_object_mut() else {
        return Err(vec![Problem::new("E0103", "a document is not a JSON object")]);
    };
    fields.remove("status");
    for (field, expected) in [("apiVersion", API_VERSION), ("kind", KIND_APP)] {
        if let Some(found) = fields.remove(field).filter(|found| found != expected) {
            let problem = Problem::new("E0110", format!("a document says {field} {found}, and this server knows `{expected}`"));
            return Err(vec![problem.at(field)]);
        }
    }
    let mut app = model::manifest::from_canonical(document).map_err(|problems| problems.0)?;
    app.metadata.resource_version = app.metadata.resource_version.or(expect);
    Ok(app)
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
        later(name, component).into_iter().for_each(&mut refuse);
        known.push((name.clone(), facts));
        files(name, component, sources, &mut refuse);
    }
    Ok(known)
}

/// What a manifest may name and no node does yet: it is refused rather than left out in silence.
fn later(name: &Name, component: &Component) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut refuse = |field: &str, what: &str| {
        let problem = Problem::new("E0107", format!("{what} of component `{name}` is not supported yet"));
        problems.push(problem.at(format!("spec.components.{name}.{field}")).help("leave it out; `config` and `env` take plain values"));
    };
    if component.config_from.is_some() {
        refuse("config", "a Config object for `config`");
    }
    if !component.secrets.is_empty() {
        refuse("secrets", "`secrets`");
    }
    for (number, route) in component.routes.iter().enumerate() {
        if route.tls.is_some() {
            refuse(&format!("routes[{number}].tls"), "`tls`");
        }
    }
    problems
}

/// Whether the files of a component are there, and not too large together. They are bytes: nobody looks into them.
fn files(name: &Name, component: &Component, sources: &Sources<'_>, refuse: &mut impl FnMut(Problem)) {
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
