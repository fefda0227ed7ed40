//! `shoal plan`: what an apply would do, and a file that applies exactly that. Owns the file's shape; the answer is the server's.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use api::v1::{PlanAnswer, PlanRequest};
use clap::Args;
use model::{
    id::{AppId, Digest, Index},
    manifest::Document,
    problem::Problem,
};
use serde::{Deserialize, Serialize};

use super::{
    apply::Wishes,
    documents::FileArgs,
    failure::{Exit, Failure, Outcome},
    plan_text,
    session::Session,
    sources::{self, Artifact},
    terminal::Ink,
};

/// The shape of the file; another number is refused.
const PLAN_FILE_VERSION: u32 = 1;

/// What `shoal plan` takes.
#[derive(Debug, Args)]
pub struct PlanArgs {
    #[command(flatten)]
    files: FileArgs,
    /// Write the plan to a file, for `apply --plan`.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Print the answer as JSON.
    #[arg(short, long, value_name = "FORMAT", value_parser = ["json"])]
    output: Option<String>,
}

/// A plan set aside: what to write, and the version each app must still have.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlanFile {
    version: u32,
    /// The log index it was made on.
    index: Index,
    documents: Vec<serde_json::Value>,
    sources: BTreeMap<Digest, PathBuf>,
}

/// Plans and prints.
pub async fn run(args: PlanArgs, session: &Session) -> Outcome {
    let wishes = Wishes::load(&args.files, session)?;
    let answer = ask(&wishes, session).await?;
    let terminal = &session.terminal;
    if args.output.is_some() {
        terminal.data(serde_json::to_string_pretty(&answer).expect("an answer has string keys only"));
    } else {
        terminal.data(plan_text::plan(&answer, terminal.out_color));
    }
    for warning in answer.objects.iter().flat_map(|object| &object.warnings) {
        terminal.hint(format!("{}: {}", terminal.err(Ink::Moving, "warning"), warning.message));
    }
    if let Some(path) = &args.out {
        if wishes.documents.objects.iter().any(|object| matches!(object.document, Document::Secret(_))) {
            let message = "a plan file holds no values of secrets, and the manifests have some";
            return Err(Failure::sentence(Exit::Error, message, "apply the Secrets by themselves first, and plan the rest"));
        }
        PlanFile::of(&wishes, &answer).write(path)?;
        terminal.hint(format!("next: shoal apply --plan {}", path.display()));
    } else if let ([object], true) = (answer.objects.as_slice(), answer.has_changes()) {
        terminal.hint(format!("next: shoal apply --check-index {} -f …", object.version));
    }
    Ok(if answer.has_changes() { Exit::Changes } else { Exit::Done })
}

/// Asks the server what an apply of `wishes` would do.
///
/// # Errors
/// What the server refuses, at its place in the user's files.
pub async fn ask(wishes: &Wishes, session: &Session) -> Result<PlanAnswer, Failure> {
    let request = PlanRequest { documents: wishes.canonical.clone(), expect: wishes.expect, artifacts: sources::facts(&wishes.artifacts) };
    session.client().await?.plan(&request).await.map_err(|error| wishes.failure(error))
}

impl PlanFile {
    fn of(wishes: &Wishes, answer: &PlanAnswer) -> Self {
        let mut documents = wishes.canonical.clone();
        for document in &mut documents {
            let version = version_of(document, answer);
            document["metadata"]["resourceVersion"] = serde_json::json!(version);
        }
        let absolute = |artifact: &Artifact| std::path::absolute(&artifact.path).unwrap_or_else(|_| artifact.path.clone());
        let sources = wishes.artifacts.iter().map(|(digest, artifact)| (*digest, absolute(artifact))).collect();
        Self { version: PLAN_FILE_VERSION, index: answer.index, documents, sources }
    }

    fn write(&self, path: &Path) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(self).expect("a plan has string keys only");
        std::fs::write(path, text + "\n")
            .map_err(|error| Failure::sentence(Exit::Error, format!("cannot write {}: {error}", path.display()), ""))
    }

    /// Reads a file that `plan --out` wrote.
    ///
    /// # Errors
    /// A file that cannot be read or is no plan of this version.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let told = |what: String, help: &str| Failure::sentence(Exit::Error, format!("{}: {what}", path.display()), help);
        let text = std::fs::read_to_string(path).map_err(|error| told(format!("cannot read it: {error}"), ""))?;
        let file: Self =
            serde_json::from_str(&text).map_err(|error| told(format!("not a plan: {error}"), "write one with `shoal plan --out`"))?;
        let known = file.version == PLAN_FILE_VERSION;
        if known { Ok(file) } else { Err(told(format!("a plan of version {}", file.version), "write it again with this version of shoal")) }
    }

    /// What the plan wishes for, with the files it was made from.
    ///
    /// # Errors
    /// E0207 for a file that is gone, E0209 for one that changed since.
    pub fn wishes(self) -> Result<Wishes, Failure> {
        let mut wishes = Wishes { canonical: self.documents, ..Wishes::default() };
        for (digest, path) in self.sources {
            let shown = path.display();
            let bytes = std::fs::read(&path).map_err(|error| {
                Failure::of(Problem::new("E0207", format!("cannot read `{shown}`, a component of the plan: {error}")).help("plan again"))
            })?;
            if Digest::of(&bytes) != digest {
                let message = format!("`{shown}` is not the component that was planned: it changed since");
                return Err(Failure::of(Problem::new("E0209", message).help("plan again")));
            }
            let size = bytes.len() as u64;
            let facts = api::v1::ArtifactFacts { digest, size, language: None, imports: Vec::new(), exports: Vec::new() };
            wishes.artifacts.insert(digest, Artifact { path, facts });
        }
        Ok(wishes)
    }
}

/// The version that what `document` is about had when it was planned.
fn version_of(document: &serde_json::Value, answer: &PlanAnswer) -> Option<Index> {
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let (namespace, name) = (text(&document["metadata"]["namespace"]), text(&document["metadata"]["name"]));
    let id: AppId = format!("{namespace}/{name}").parse().ok()?;
    match document["kind"].as_str() {
        None | Some("App") => answer.objects.iter().find(|object| object.app == id).map(|object| object.version),
        Some(kind) => answer.values.iter().find(|value| value.kind == kind && value.name == id.to_string()).map(|value| value.version),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_refused_when_its_component_changed() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (wasm, plan) = (directory.path().join("a.wasm"), directory.path().join("p.json"));
        std::fs::write(&wasm, b"one").expect("written");
        let sources = BTreeMap::from([(Digest::of(b"one"), wasm.clone())]);
        PlanFile { version: 1, index: Index(3), documents: Vec::new(), sources }.write(&plan).expect("written");
        assert!(PlanFile::read(&plan).and_then(PlanFile::wishes).is_ok());
        std::fs::write(&wasm, b"two").expect("written");
        let failure = PlanFile::read(&plan).and_then(PlanFile::wishes).expect_err("another component");
        assert!(failure.render(false).contains("E0209"), "{}", failure.render(false));
        std::fs::write(&plan, r#"{"version": 9, "index": 1, "documents": [], "sources": {}}"#).expect("written");
        assert!(PlanFile::read(&plan).is_err());
    }
}
