//! What `shoal dev` works on: a manifest or a bare component, what must be watched for it, what must be built when something changes,
//! and which of its apps were applied. Owns this bookkeeping; does nothing by itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use model::{
    app::Source,
    id::{AppId, ComponentId, Digest, Name},
};

use super::{build::Work, watch::Changes, watch::Subject};
use crate::cli::{
    Documents, FileArgs, Wishes,
    failure::{Exit, Failure},
    session::Session,
    temporary,
    terminal::Terminal,
};

/// The manifest that is taken when none is named.
const DEFAULT_MANIFEST: &str = "app.yaml";

/// What is worked on.
#[derive(Debug)]
pub struct Project {
    file: PathBuf,
    vars: Vec<String>,
    /// As last read; empty until the manifest could be read.
    documents: Documents,
    built: BTreeMap<ComponentId, Work>,
    /// The components as last read.
    digests: BTreeMap<ComponentId, (PathBuf, Digest)>,
    applied: BTreeSet<AppId>,
    shown: BTreeSet<AppId>,
}

impl Project {
    /// The project in `file`, or in ./app.yaml when there is one; none when there is nothing to work on.
    ///
    /// # Errors
    /// A file that does not exist.
    pub fn find(file: Option<PathBuf>, vars: Vec<String>) -> Result<Option<Self>, Failure> {
        let file = match file {
            Some(file) if !file.is_file() => {
                return Err(Failure::sentence(
                    Exit::Error,
                    format!("there is no file {}", file.display()),
                    "name a manifest or a component",
                ));
            }
            Some(file) => file,
            None if Path::new(DEFAULT_MANIFEST).is_file() => DEFAULT_MANIFEST.into(),
            None => return Ok(None),
        };
        let mut project = Self {
            file,
            vars,
            documents: Documents::default(),
            built: BTreeMap::new(),
            digests: BTreeMap::new(),
            applied: BTreeSet::new(),
            shown: BTreeSet::new(),
        };
        // A manifest that cannot be read yet is told when it is applied; until then only the file itself is watched.
        project.documents = project.load(None).unwrap_or_default();
        Ok(Some(project))
    }

    /// Reads the manifest and the components again.
    ///
    /// # Errors
    /// Every problem of every document and component together.
    pub fn wishes(&mut self, session: &Session) -> Result<Wishes, Failure> {
        self.documents = self.load(session.globals.namespace.as_ref())?;
        let wishes = Wishes::of(self.documents.clone())?;
        self.digests = digests(&wishes);
        Ok(wishes)
    }

    /// Whether `changes` are more than a component written again with the bytes it had: what our own builds do.
    pub fn is_news(&self, changes: &Changes) -> bool {
        let same = |id: &ComponentId| {
            let known = self.digests.get(id);
            known.is_some_and(|(path, digest)| std::fs::read(path).is_ok_and(|bytes| Digest::of(&bytes) == *digest))
        };
        changes.manifest || !changes.sources.is_empty() || !changes.components.iter().all(same)
    }

    /// What must be watched, as the manifest was last read.
    pub fn watched(&self) -> Vec<(Subject, PathBuf)> {
        let mut watched = vec![(Subject::Manifest, self.file.clone())];
        for loaded in &self.documents.loaded {
            for (name, component) in &loaded.app.spec.components {
                let id = loaded.app.id().component(name.clone());
                if let Source::File(file) = &component.source {
                    watched.push((Subject::Component(id.clone()), loaded.directory.join(file)));
                }
                if let Some(build) = &component.build {
                    let directory = loaded.directory.join(&build.dir);
                    watched.extend(build.watch.iter().map(|path| (Subject::Sources(id.clone()), directory.join(path))));
                }
            }
        }
        watched
    }

    /// The builds to run: those whose sources changed, and those that are new or different since they last ran.
    pub fn due_builds(&mut self, changes: &Changes) -> Vec<(ComponentId, Work)> {
        if changes.manifest
            && let Ok(documents) = self.load(None)
        {
            self.documents = documents;
        }
        let mut builds = Vec::new();
        for loaded in &self.documents.loaded {
            for (name, component) in &loaded.app.spec.components {
                let Some(build) = &component.build else { continue };
                let id = loaded.app.id().component(name.clone());
                let work = Work { command: build.command.clone(), directory: loaded.directory.join(&build.dir) };
                if changes.sources.contains(&id) || self.built.get(&id) != Some(&work) {
                    builds.push((id.clone(), work.clone()));
                    self.built.insert(id, work);
                }
            }
        }
        builds
    }

    /// Notes which apps were applied, and says which are no longer in the manifest.
    pub fn applied(&mut self, apps: impl Iterator<Item = AppId>, terminal: &Terminal) {
        let now: BTreeSet<AppId> = apps.collect();
        for gone in self.applied.difference(&now) {
            terminal.hint(format!(
                "app/{gone} is no longer in {} and keeps running; next: shoal delete app {}",
                self.file.display(),
                gone.name
            ));
        }
        self.applied = now;
    }

    /// The applied apps whose log is not shown yet.
    pub fn newly_applied(&mut self) -> Vec<AppId> {
        let new: Vec<AppId> = self.applied.difference(&self.shown).cloned().collect();
        self.shown.extend(new.iter().cloned());
        new
    }

    fn load(&self, namespace: Option<&Name>) -> Result<Documents, Failure> {
        if self.file.extension().is_some_and(|ending| ending == "wasm") {
            let text = temporary::manifest(&temporary::name_of(&self.file), &self.file);
            return Documents::of_text(text, format!("(the app of {})", self.file.display()), namespace);
        }
        let args = FileArgs { vars: self.vars.clone(), ..FileArgs::one(self.file.clone()) };
        Documents::load(&args, namespace)
    }
}

fn digests(wishes: &Wishes) -> BTreeMap<ComponentId, (PathBuf, Digest)> {
    let loaded = wishes.documents.loaded.iter();
    let components = loaded
        .flat_map(|loaded| loaded.app.spec.components.iter().map(|(name, component)| (loaded.app.id().component(name.clone()), component)));
    let found = components.filter_map(|(id, component)| {
        let artifact = wishes.artifacts.get(&component.source.digest()?)?;
        Some((id, (artifact.path.clone(), artifact.facts.digest)))
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = "apiVersion: shoal.dev/v1\nkind: App\nmetadata: {name: hello}\nspec:\n  components:\n    web:\n      source: ./out/hello.wasm\n      \
                            build: {command: make, dir: guest, watch: [src, Makefile]}\n      routes: [{host: hello.localhost}]\n";

    fn project() -> (tempfile::TempDir, Project) {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = directory.path().join("app.yaml");
        std::fs::write(&file, MANIFEST).expect("written");
        let project = Project::find(Some(file), Vec::new()).expect("a file").expect("a project");
        (directory, project)
    }

    #[test]
    fn manifest_component_and_sources_are_watched() {
        let (directory, project) = project();
        let web: ComponentId = "hello/web".parse().expect("a component");
        let at = |path: &str| directory.path().join(path);
        assert_eq!(
            project.watched(),
            [
                (Subject::Manifest, at("app.yaml")),
                (Subject::Component(web.clone()), at("./out/hello.wasm")),
                (Subject::Sources(web.clone()), at("guest/src")),
                (Subject::Sources(web), at("guest/Makefile")),
            ]
        );
    }

    #[test]
    fn a_build_runs_first_and_then_when_its_sources_or_its_command_change() {
        let (directory, mut project) = project();
        let web: ComponentId = "hello/web".parse().expect("a component");
        let only = |sources: bool, manifest: bool| Changes {
            manifest,
            components: BTreeSet::new(),
            sources: sources.then(|| web.clone()).into_iter().collect(),
        };
        assert_eq!(project.due_builds(&Changes::everything()).len(), 1);
        assert_eq!(project.due_builds(&only(false, true)).len(), 0);
        assert_eq!(project.due_builds(&only(true, false)).len(), 1);
        std::fs::write(directory.path().join("app.yaml"), MANIFEST.replace("make", "just")).expect("written");
        assert_eq!(project.due_builds(&only(false, true)).first().map(|(_, work)| work.command.clone()).as_deref(), Some("just"));
    }

    #[test]
    fn a_file_that_is_not_there_is_told_at_once() {
        assert!(Project::find(Some("no/such/app.yaml".into()), Vec::new()).is_err());
    }
}
