//! The read-only files of guests, one directory for every list of them. Owns `worker/files`: laid out aside and renamed, gone when nothing assigned names
//! the list any more. Must never know what is in a file.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Component, Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use api::node::AssignedFile;
use model::id::Digest;

/// Directories and files may be read, by their owner too: nothing in them is ever changed.
const DIRECTORY_MODE: u32 = 0o555;
const FILE_MODE: u32 = 0o444;

/// The directories of this node. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Files {
    root: PathBuf,
    /// What stays when the rest is removed.
    wanted: Arc<Mutex<BTreeSet<String>>>,
    /// Numbers what is being laid out.
    next: Arc<AtomicU64>,
}

/// A list cannot be laid out.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// A path is not absolute and normal, or is a file and a directory at once.
    #[error("`{path}` is no place for a file")]
    Place {
        /// The path.
        path: String,
    },
    /// The disk says no.
    #[error("laying out {}", path.display())]
    Write {
        /// What was written.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl Files {
    /// The directories below `root`, which need not be there.
    pub fn new(root: PathBuf) -> Self {
        Self { root, wanted: Arc::default(), next: Arc::default() }
    }

    /// Where the files of `list` lie, or will; nothing when there are none.
    pub fn directory(&self, list: &[AssignedFile]) -> Option<PathBuf> {
        name(list).map(|name| self.root.join(name))
    }

    /// Whether they lie there, whole.
    pub fn has(&self, list: &[AssignedFile]) -> bool {
        self.directory(list).is_none_or(|directory| directory.is_dir())
    }

    /// Lays `list` out of the artifacts in `artifacts`. Blocks.
    ///
    /// # Errors
    /// A place is none, or the disk says no. Nothing is left behind.
    pub fn lay_out(&self, list: &[AssignedFile], artifacts: &BTreeMap<Digest, PathBuf>) -> Result<(), FilesError> {
        let Some(directory) = self.directory(list) else { return Ok(()) };
        let aside = self.root.join(format!(".{}", self.next.fetch_add(1, Relaxed)));
        remove(&aside).map_err(|source| FilesError::Write { path: aside.clone(), source })?;
        let laid_out = fill(&aside, list, artifacts).and_then(|()| {
            // Somebody else may have been faster with the same files.
            let renamed = fs::rename(&aside, &directory).or_else(|error| if directory.is_dir() { Ok(()) } else { Err(error) });
            // The name is on disk too before anybody counts on it: `has` asks for no more than the name.
            renamed.and_then(|()| sync(&self.root)).map_err(|source| FilesError::Write { path: directory.clone(), source })
        });
        if let Err(error) = remove(&aside) {
            tracing::warn!(path = %aside.display(), error = %error, "a directory stays behind");
        }
        laid_out
    }

    /// Says which lists stay.
    pub fn want<'a>(&self, lists: impl Iterator<Item = &'a [AssignedFile]>) {
        *self.wanted() = lists.filter_map(name).collect();
    }

    /// Removes the directories nobody wants. Blocks.
    pub fn sweep(&self) {
        let Ok(entries) = fs::read_dir(&self.root) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name();
            // What is wanted may change meanwhile; while this is held nothing that is wanted is removed.
            let wanted = self.wanted();
            let keep = name.to_str().is_some_and(|name| name.starts_with('.') || wanted.contains(name));
            if !keep && let Err(error) = remove(&entry.path()) {
                tracing::warn!(path = %entry.path().display(), error = %error, "files of a guest stay behind");
            }
        }
    }

    fn wanted(&self) -> MutexGuard<'_, BTreeSet<String>> {
        // The set is replaced whole.
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The name of a list: what it holds and where.
fn name(list: &[AssignedFile]) -> Option<String> {
    let text: String = list.iter().map(|file| format!("{} {}\n", file.digest.hex(), file.to)).collect();
    (!list.is_empty()).then(|| Digest::of(text.as_bytes()).hex())
}

fn fill(directory: &Path, list: &[AssignedFile], artifacts: &BTreeMap<Digest, PathBuf>) -> Result<(), FilesError> {
    let write = |path: &Path| {
        let path = path.to_owned();
        move |source| FilesError::Write { path, source }
    };
    fs::create_dir_all(directory).map_err(write(directory))?;
    let mut directories = BTreeSet::from([directory.to_owned()]);
    for file in list {
        let inside = relative(&file.to).ok_or_else(|| FilesError::Place { path: file.to.clone() })?;
        let path = directory.join(&inside);
        let parents = inside.ancestors().skip(1).map(|parent| directory.join(parent));
        directories.extend(parents);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(|_| FilesError::Place { path: file.to.clone() })?;
        }
        let artifact = artifacts.get(&file.digest).ok_or_else(|| write(&path)(io::ErrorKind::NotFound.into()))?;
        if fs::symlink_metadata(&path).is_ok() {
            return Err(FilesError::Place { path: file.to.clone() });
        }
        fs::copy(artifact, &path).map_err(write(&path))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(FILE_MODE)).and_then(|()| sync(&path)).map_err(write(&path))?;
    }
    // The deepest first: a directory that is closed cannot be worked in, and what is in it is on disk before its name is.
    for path in directories.iter().rev() {
        fs::set_permissions(path, fs::Permissions::from_mode(DIRECTORY_MODE)).and_then(|()| sync(path)).map_err(write(path))?;
    }
    Ok(())
}

/// Returns once the file or directory at `path` is on disk: a power cut leaves all of a list or nothing of it.
fn sync(path: &Path) -> io::Result<()> {
    fs::File::open(path)?.sync_all()
}

/// `to` below the directory, when it is absolute and normal.
fn relative(to: &str) -> Option<PathBuf> {
    let path = Path::new(to.strip_prefix('/')?);
    let normal = path.components().all(|part| matches!(part, Component::Normal(_)));
    (normal && path.file_name().is_some() && !to.ends_with('/')).then(|| path.to_owned())
}

/// Removes a directory whose parts cannot be written to. What is not there is gone already.
fn remove(directory: &Path) -> io::Result<()> {
    match open_up(directory).and_then(|()| fs::remove_dir_all(directory)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

fn open_up(directory: &Path) -> io::Result<()> {
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755))?;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_up(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bench {
        files: Files,
        root: tempfile::TempDir,
    }

    impl Bench {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            Self { files: Files::new(root.path().join("files")), root }
        }

        fn lay_out(&self, list: &[(&str, &str)]) -> Result<PathBuf, FilesError> {
            let mut artifacts = BTreeMap::new();
            let assigned: Vec<_> = list
                .iter()
                .map(|(to, text)| {
                    let digest = Digest::of(text.as_bytes());
                    let path = self.root.path().join(digest.hex());
                    fs::write(&path, text).unwrap();
                    artifacts.insert(digest, path);
                    AssignedFile { digest, to: (*to).to_owned() }
                })
                .collect();
            self.files.lay_out(&assigned, &artifacts)?;
            assert!(self.files.has(&assigned));
            Ok(self.files.directory(&assigned).unwrap())
        }

        fn left(&self) -> usize {
            fs::read_dir(self.root.path().join("files")).unwrap().count()
        }
    }

    #[test]
    fn files_lie_where_the_list_says_and_cannot_be_written() {
        let bench = Bench::new();
        let list = [("/etc/app.toml", "one"), ("/etc/deep/er/b", "two"), ("/c", "one")];
        let directory = bench.lay_out(&list).unwrap();
        assert_eq!(bench.lay_out(&list).unwrap(), directory, "the same list has one directory");
        assert_eq!(fs::read_to_string(directory.join("etc/deep/er/b")).unwrap(), "two");
        for (path, mode) in [("", DIRECTORY_MODE), ("etc/deep", DIRECTORY_MODE), ("c", FILE_MODE)] {
            assert_eq!(fs::metadata(directory.join(path)).unwrap().permissions().mode() & 0o777, mode, "{path}");
        }
        assert_ne!(bench.lay_out(&[("/c", "one")]).unwrap(), directory);
        assert_eq!(bench.left(), 2, "nothing is left aside");
    }

    #[test]
    fn a_place_outside_is_refused_and_leaves_nothing() {
        let bench = Bench::new();
        for list in [&[("/../x", "")][..], &[("x", "")], &[("/a/../../x", "")], &[("/", "")], &[("/a/", "")], &[("/a", ""), ("/a/b", "")]] {
            assert!(matches!(bench.lay_out(list), Err(FilesError::Place { .. })), "{list:?}");
            assert_eq!(bench.left(), 0, "{list:?}");
        }
    }

    #[test]
    fn what_nobody_wants_is_removed() {
        let bench = Bench::new();
        let kept = [AssignedFile { digest: Digest::of(b"kept"), to: "/a/b".into() }];
        let (first, second) = (bench.lay_out(&[("/a/b", "kept")]).unwrap(), bench.lay_out(&[("/a/b", "gone")]).unwrap());
        bench.files.want([&kept[..], &[]].into_iter());
        bench.files.sweep();
        assert!(first.is_dir() && !second.exists());
        bench.files.want(std::iter::empty());
        bench.files.sweep();
        assert_eq!(bench.left(), 0);
    }
}
