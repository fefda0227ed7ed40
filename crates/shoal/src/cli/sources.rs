//! Components and their files on this machine: read, digested, inspected, and uploaded when the server lacks them. Owns the order of these steps;
//! what a component may import is `inspect`'s to know.

use std::{collections::BTreeMap, path::PathBuf};

use api::{limits::ARTIFACT_BYTES_MAX, v1::ArtifactFacts};
use model::{
    app::Source,
    id::{Digest, Name},
    problem::Problem,
};

use super::{
    documents::Documents,
    failure::{Failure, io_words},
    files,
    session::Session,
    views,
};

/// One file that was read.
#[derive(Debug, Clone)]
pub struct Artifact {
    /// Where it was read.
    pub path: PathBuf,
    /// What it says about itself.
    pub facts: ArtifactFacts,
}

/// The files of all documents by digest.
pub type Artifacts = BTreeMap<Digest, Artifact>;

/// Reads every source file and every file for a guest, puts its digest in its place in the documents, and checks what it imports.
///
/// # Errors
/// Every problem of every component together: E0201 to E0212 at the line of the component.
pub fn resolve(documents: &mut Documents) -> Result<Artifacts, Failure> {
    let mut artifacts = Artifacts::new();
    let mut problems = Vec::new();
    for index in 0..documents.loaded.len() {
        let number = documents.objects.len() + index;
        let loaded = &mut documents.loaded[index];
        for (name, component) in &mut loaded.app.spec.components {
            if let Err(wrong) = files::expand(component, name, &loaded.directory, &mut artifacts) {
                problems.extend(wrong.into_iter().map(|problem| (number, problem)));
            }
            let Source::File(file) = &component.source else { continue };
            // Without the `./` in the middle that joining leaves.
            let path: PathBuf = loaded.directory.join(file).components().collect();
            match read(&path, file, name) {
                Ok((artifact, unmet)) => {
                    let unmet = unmet(component, name);
                    problems.extend(unmet.into_iter().map(|problem| (number, problem)));
                    let digest = artifact.facts.digest;
                    component.source = Source::Digest { digest, from: file.clone() };
                    artifacts.insert(digest, artifact);
                }
                Err(problem) => problems.push((number, *problem)),
            }
        }
    }
    if problems.is_empty() { Ok(artifacts) } else { Err(documents.failure(problems)) }
}

/// Uploads what the server lacks; progress on a terminal. Returns how many bytes went over the wire.
///
/// # Errors
/// What the server refuses, and a connection that breaks.
pub async fn upload(artifacts: &Artifacts, session: &Session) -> Result<u64, Failure> {
    let client = session.client().await?;
    let mut sent_total = 0;
    for artifact in artifacts.values() {
        if client.has_artifact(&artifact.facts.digest).await? {
            continue;
        }
        let name = artifact.path.display();
        let total = artifact.facts.size;
        let (terminal, label) = (session.terminal.clone(), name.to_string());
        let progress = move |sent, all| terminal.live(&format!("uploading {label}  {}/{}", views::bytes(sent), views::bytes(all)));
        client.put_artifact(&artifact.facts.digest, &artifact.path, progress).await?;
        session.terminal.hint(format!("uploaded {name} ({}, {})", views::bytes(total), artifact.facts.digest.short()));
        sent_total += total;
    }
    Ok(sent_total)
}

/// The facts of all artifacts, for a plan.
pub fn facts(artifacts: &Artifacts) -> Vec<ArtifactFacts> {
    artifacts.values().map(|artifact| artifact.facts.clone()).collect()
}

type Unmet = Box<dyn Fn(&model::app::Component, &Name) -> Vec<Problem>>;

fn read(path: &std::path::Path, shown: &str, name: &Name) -> Result<(Artifact, Unmet), Box<Problem>> {
    let at = format!("spec.components.{name}.source");
    let unreadable = |error: std::io::Error| {
        let help = "build the component first, or correct the path: it is relative to the manifest";
        let message = format!("cannot read `{shown}`, the source of component `{name}`: {}", io_words(&error));
        Box::new(Problem::new("E0207", message).at(&at).label(io_words(&error)).help(help))
    };
    let size = std::fs::metadata(path).map_err(unreadable)?.len();
    if size > ARTIFACT_BYTES_MAX {
        let message =
            format!("`{shown}` has {}, more than the {} an artifact may have", views::bytes(size), views::bytes(ARTIFACT_BYTES_MAX));
        let problem = Problem::new("E0208", message).at(&at).label("too large");
        return Err(Box::new(problem.help("leave out debug information: `wasm-tools strip x.wasm -o y.wasm`")));
    }
    let bytes = std::fs::read(path).map_err(unreadable)?;
    let inspection = ::inspect::inspect(&bytes).map_err(|error| Box::new(error.problem(name)))?;
    let facts = ArtifactFacts {
        digest: inspection.digest,
        size: inspection.size,
        language: inspection.language.clone(),
        imports: inspection.imports.iter().map(ToString::to_string).collect(),
        exports: inspection.exports.iter().map(ToString::to_string).collect(),
    };
    let unmet: Unmet = Box::new(move |component, name| ::inspect::offer::unmet(&inspection, component, name));
    Ok((Artifact { path: path.to_owned(), facts }, unmet))
}
