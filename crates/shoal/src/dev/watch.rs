//! Files that change: which of the watched things a path belongs to, and one answer for a burst of changes. Owns the debouncing;
//! what follows from a change, the loop decides.

use std::{
    collections::BTreeSet,
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use model::id::ComponentId;
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher, event::ModifyKind};
use tokio::{sync::watch, time::Instant};

/// A burst is over when nothing changed for this long: editors and linkers write in several steps.
const QUIET: Duration = Duration::from_millis(80);
/// A burst that does not end is answered after this long all the same.
const BURST_MAX: Duration = Duration::from_secs(2);

/// What a watched path means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// The manifest.
    Manifest,
    /// The .wasm of a component.
    Component(ComponentId),
    /// What a component is built from: a file, or a directory with everything in it.
    Sources(ComponentId),
}

/// What changed since the last look.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// The manifest.
    pub manifest: bool,
    /// The .wasm of these components.
    pub components: BTreeSet<ComponentId>,
    /// The sources of these components.
    pub sources: BTreeSet<ComponentId>,
}

impl Changes {
    /// As if the manifest had just appeared.
    pub fn everything() -> Self {
        Self { manifest: true, ..Self::default() }
    }

    fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn note(&mut self, subject: &Subject) {
        match subject {
            Subject::Manifest => self.manifest = true,
            Subject::Component(name) => drop(self.components.insert(name.clone())),
            Subject::Sources(name) => drop(self.sources.insert(name.clone())),
        }
    }
}

impl fmt::Display for Changes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if self.manifest {
            parts.push("manifest".to_owned());
        }
        parts.extend(self.components.iter().map(|name| format!("component {name}")));
        parts.extend(self.sources.iter().map(|name| format!("sources of {name}")));
        out.write_str(&parts.join(", "))
    }
}

/// Watches until dropped.
pub struct Watch {
    changes: watch::Receiver<Changes>,
    noted: watch::Sender<Changes>,
    _watcher: RecommendedWatcher,
}

impl Watch {
    /// Watches every path of `subjects`: what exists, and the directories in which the rest may appear.
    ///
    /// # Errors
    /// When the system cannot watch any more files; the error says which limit.
    pub fn start(subjects: &[(Subject, PathBuf)]) -> anyhow::Result<Self> {
        let (sender, changes) = watch::channel(Changes::default());
        let subjects: Vec<(Subject, PathBuf)> = subjects.iter().map(|(subject, path)| (subject.clone(), absolute(path))).collect();
        let places = places(&subjects);
        let noted = sender.clone();
        let handler = move |event: notify::Result<notify::Event>| {
            let Ok(event) = event else { return };
            if is_change(&event.kind) {
                let touched: Vec<&Subject> = event.paths.iter().flat_map(|path| touched(path, &subjects)).collect();
                if !touched.is_empty() {
                    sender.send_modify(|changes| touched.into_iter().for_each(|subject| changes.note(subject)));
                }
            }
        };
        let mut watcher = notify::recommended_watcher(handler).context("watching files")?;
        for (directory, mode) in places {
            let hint = "is fs.inotify.max_user_watches too low?";
            watcher.watch(&directory, mode).with_context(|| format!("watching {} ({hint})", directory.display()))?;
        }
        Ok(Self { changes, noted, _watcher: watcher })
    }

    /// Waits for a change and for the burst it belongs to to end; everything since the start of the watch or the last answer counts.
    pub async fn changed(&mut self) -> Changes {
        if self.changes.wait_for(|changes| !changes.is_empty()).await.is_err() {
            // `self` holds a sender, so this does not happen.
            return std::future::pending().await;
        }
        let end = Instant::now() + BURST_MAX;
        self.changes.mark_unchanged();
        while Instant::now() < end {
            match tokio::time::timeout(QUIET, self.changes.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => break,
            }
        }
        self.noted.send_replace(Changes::default())
    }
}

/// Reading is no change, and neither is what only touches times or rights.
fn is_change(kind: &EventKind) -> bool {
    match kind {
        EventKind::Create(_) | EventKind::Remove(_) | EventKind::Any => true,
        EventKind::Modify(what) => !matches!(what, ModifyKind::Metadata(_)),
        EventKind::Access(_) | EventKind::Other => false,
    }
}

fn touched<'a>(path: &'a Path, subjects: &'a [(Subject, PathBuf)]) -> impl Iterator<Item = &'a Subject> {
    subjects
        .iter()
        .filter(move |(subject, watched)| match subject {
            Subject::Manifest | Subject::Component(_) => path == watched,
            Subject::Sources(_) => path.starts_with(watched),
        })
        .map(|(subject, _)| subject)
}

/// The directories to watch. A file is watched through its directory, because editors replace files; a directory that is not there yet,
/// through the nearest one that is.
fn places(subjects: &[(Subject, PathBuf)]) -> Vec<(PathBuf, RecursiveMode)> {
    let mut places: Vec<(PathBuf, RecursiveMode)> = Vec::new();
    for (subject, path) in subjects {
        let (directory, mode) = if matches!(subject, Subject::Sources(_)) && path.is_dir() {
            (path.clone(), RecursiveMode::Recursive)
        } else {
            let existing = path.ancestors().skip(1).find(|directory| directory.is_dir());
            (existing.unwrap_or(Path::new("/")).to_owned(), RecursiveMode::NonRecursive)
        };
        match places.iter_mut().find(|(known, _)| *known == directory) {
            Some((_, known)) if mode == RecursiveMode::Recursive => *known = mode,
            Some(_) => {}
            None => places.push((directory, mode)),
        }
    }
    places
}

/// The path without `.` and `..` and links, as far as it exists: the form events come in.
fn absolute(path: &Path) -> PathBuf {
    if let Ok(real) = path.canonicalize() {
        return real;
    }
    match (path.parent().map(Path::to_owned), path.file_name()) {
        (Some(parent), Some(name)) if !parent.as_os_str().is_empty() => absolute(&parent).join(name),
        (_, Some(name)) => std::env::current_dir().unwrap_or_default().join(name),
        _ => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn web() -> ComponentId {
        "hello/web".parse().expect("a component")
    }

    async fn seen_after(subjects: &[(Subject, PathBuf)], change: impl FnOnce()) -> Changes {
        let mut watch = Watch::start(subjects).expect("files can be watched");
        change();
        tokio::time::timeout(Duration::from_secs(20), watch.changed()).await.expect("the change is seen")
    }

    #[tokio::test]
    async fn changes_are_told_apart_and_told_once() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let at = |path: &str| directory.path().join(path);
        std::fs::create_dir_all(at("src/deep")).expect("made");
        std::fs::write(at("app.yaml"), "1").expect("written");
        let subjects =
            [(Subject::Manifest, at("app.yaml")), (Subject::Component(web()), at("out/a.wasm")), (Subject::Sources(web()), at("./src"))];
        let changes = seen_after(&subjects, || std::fs::write(at("app.yaml"), "2").expect("written")).await;
        assert_eq!(changes.to_string(), "manifest");
        let changes = seen_after(&subjects, || {
            std::fs::write(at("new.yaml"), "3").expect("written");
            std::fs::rename(at("new.yaml"), at("app.yaml")).expect("renamed, as editors do");
            std::fs::write(at("src/deep/main.rs"), "fn main() {}").expect("written");
        })
        .await;
        assert_eq!(changes.to_string(), "manifest, sources of hello/web");
        std::fs::create_dir(at("out")).expect("made");
        let changes = seen_after(&subjects, || std::fs::write(at("out/a.wasm"), "code").expect("written")).await;
        assert_eq!(changes.to_string(), "component hello/web");
    }

    #[test]
    fn reading_is_no_change() {
        use notify::event::{AccessKind, CreateKind, DataChange, MetadataKind};
        for (kind, change) in [
            (EventKind::Create(CreateKind::File), true),
            (EventKind::Modify(ModifyKind::Data(DataChange::Content)), true),
            (EventKind::Modify(ModifyKind::Metadata(MetadataKind::AccessTime)), false),
            (EventKind::Access(AccessKind::Read), false),
        ] {
            assert_eq!(is_change(&kind), change, "{kind:?}");
        }
    }
}
