//! `files` of a component: the files and directories a manifest names, one entry each in the end, read and digested. Owns what may be read and how much;
//! must never follow a link out of the manifest's directory, so that a manifest from elsewhere cannot carry one's own files away.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use api::v1::ArtifactFacts;
use model::{
    app::{Component, FileMount, Source},
    id::{Digest, Name},
    limits::{FILE_BYTES_MAX, FILES_BYTES_MAX, FILES_PER_COMPONENT_MAX},
    problem::Problem,
};

use super::{
    failure::io_words,
    sources::{Artifact, Artifacts},
    views::bytes,
};

/// Deepest directory below one that a manifest names: deeper ones are a mistake, or a loop of mounts.
const DEPTH_MAX: usize = 32;

/// Puts one entry per file in the place of every entry of `component` that names a file or directory beside the manifest in `directory`, and gives what
/// was read to `artifacts`.
///
/// # Errors
/// Every entry that cannot be used, E0212 each.
pub fn expand(component: &mut Component, name: &Name, directory: &Path, artifacts: &mut Artifacts) -> Result<(), Vec<Problem>> {
    if component.files.iter().all(|file| file.source.digest().is_some()) {
        return Ok(());
    }
    let told = |index: usize, message: String, help: &str| {
        let problem = Problem::new("E0212", format!("`files[{index}]` of component `{name}`: {message}"));
        problem.at(format!("spec.components.{name}.files[{index}].from")).label("cannot be used").help(help)
    };
    let mut reading = Reading { entries: BTreeMap::new(), found: Vec::new(), total: 0 };
    let mut problems = Vec::new();
    for (index, FileMount { source, to }) in component.files.iter().enumerate() {
        let read = match source {
            Source::Digest { .. } => reading.put(to.clone(), source.clone()),
            Source::File(from) => reading.read(from, to, directory),
        };
        if let Err(Unusable { message, help }) = read {
            problems.push(told(index, message, help));
            if reading.is_full() {
                break;
            }
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    component.files = reading.entries.into_iter().map(|(to, source)| FileMount { source, to }).collect();
    artifacts.extend(reading.found.into_iter().map(|artifact| (artifact.facts.digest, artifact)));
    Ok(())
}

/// The text of the file `from` beside the manifest in `directory`, of at most `bytes_max` bytes.
///
/// # Errors
/// Why it cannot be used, and what mends it.
pub fn text(from: &str, directory: &Path, bytes_max: usize) -> Result<String, (String, &'static str)> {
    let path: PathBuf = directory.join(from).components().collect();
    let read = || {
        let root = fs::canonicalize(directory).map_err(|error| unreadable(directory, &error))?;
        is_inside(&path, &root)?;
        let metadata = fs::metadata(&path).map_err(|error| unreadable(&path, &error))?;
        if !metadata.is_file() {
            return Err(unusable(&path, "is not a file".to_owned()));
        }
        if metadata.len() > bytes_max as u64 {
            return Err(unusable(&path, format!("has {}, and a value may have {}", bytes(metadata.len()), bytes(bytes_max as u64))));
        }
        let text = fs::read(&path).map_err(|error| unreadable(&path, &error))?;
        String::from_utf8(text).map_err(|_| unusable(&path, "is not UTF-8 text".to_owned()))
    };
    read().map_err(|Unusable { message, help }| (message, help))
}

/// Why an entry cannot be used, and what mends it.
struct Unusable {
    message: String,
    help: &'static str,
}

/// What was read so far of one component.
struct Reading {
    /// By the guest's path.
    entries: BTreeMap<String, Source>,
    found: Vec<Artifact>,
    total: u64,
}

impl Reading {
    fn is_full(&self) -> bool {
        self.total > FILES_BYTES_MAX.0 || self.entries.len() > FILES_PER_COMPONENT_MAX
    }

    /// The file or directory `from`, which the guest finds at `to`.
    fn read(&mut self, from: &str, to: &str, directory: &Path) -> Result<(), Unusable> {
        let path: PathBuf = directory.join(from).components().collect();
        let metadata = fs::metadata(&path).map_err(|error| unreadable(&path, &error))?;
        let root = fs::canonicalize(directory).map_err(|error| unreadable(directory, &error))?;
        if metadata.is_dir() {
            is_inside(&path, &root)?;
            return self.read_directory(&path, to.trim_end_matches('/'), &root, 0);
        }
        match path.file_name().and_then(|file| file.to_str()) {
            Some(file) if to.ends_with('/') => self.read_file(&path, format!("{to}{file}"), &root),
            _ => self.read_file(&path, to.to_owned(), &root),
        }
    }

    fn read_directory(&mut self, path: &Path, to: &str, root: &Path, depth: usize) -> Result<(), Unusable> {
        if depth > DEPTH_MAX {
            return Err(unusable(path, format!("is nested deeper than {DEPTH_MAX} directories")));
        }
        let listed = fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let mut entries = listed.map_err(|error| unreadable(path, &error))?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            let name = entry.file_name().into_string().map_err(|_| unusable(&path, "has a name that is not UTF-8".to_owned()))?;
            let kind = entry.file_type().map_err(|error| unreadable(&path, &error))?;
            let to = format!("{to}/{name}");
            if kind.is_dir() {
                self.read_directory(&path, &to, root, depth + 1)?;
            } else {
                self.read_file(&path, to, root)?;
            }
        }
        Ok(())
    }

    fn read_file(&mut self, path: &Path, to: String, root: &Path) -> Result<(), Unusable> {
        is_inside(path, root)?;
        let metadata = fs::metadata(path).map_err(|error| unreadable(path, &error))?;
        if !metadata.is_file() {
            // A link to a directory inside another one could lead in a circle.
            let what = if metadata.is_dir() { "is a link to a directory" } else { "is neither a file nor a directory" };
            return Err(unusable(path, what.to_owned()));
        }
        if metadata.len() > FILE_BYTES_MAX.0 {
            return Err(unusable(path, format!("has {}, and a file may have {FILE_BYTES_MAX}", bytes(metadata.len()))));
        }
        self.total += metadata.len();
        if self.total > FILES_BYTES_MAX.0 {
            return Err(unusable(path, format!("is too much: all files of a component may have {FILES_BYTES_MAX} together")));
        }
        let content = fs::read(path).map_err(|error| unreadable(path, &error))?;
        let digest = Digest::of(&content);
        let facts = ArtifactFacts { digest, size: metadata.len(), language: None, imports: Vec::new(), exports: Vec::new() };
        self.put(to, Source::Digest { digest, from: path.display().to_string() })?;
        self.found.push(Artifact { path: path.to_owned(), facts });
        Ok(())
    }

    fn put(&mut self, to: String, source: Source) -> Result<(), Unusable> {
        if self.entries.insert(to.clone(), source).is_some() {
            return Err(Unusable { message: format!("{to} is taken by another entry"), help: "give one of them another `to`" });
        }
        if self.entries.len() > FILES_PER_COMPONENT_MAX {
            let message = format!("a component may have {FILES_PER_COMPONENT_MAX} files");
            return Err(Unusable { message, help: "name a smaller directory, or build them into the component" });
        }
        Ok(())
    }
}

/// Whether `path` lies below `root` once its links are followed.
///
/// # Errors
/// A path that leads elsewhere, or cannot be followed.
fn is_inside(path: &Path, root: &Path) -> Result<(), Unusable> {
    let real = fs::canonicalize(path).map_err(|error| unreadable(path, &error))?;
    if real.starts_with(root) {
        return Ok(());
    }
    let message = format!("{} leads out of the manifest's directory", path.display());
    Err(Unusable { message, help: "copy it beside the manifest: an apply uploads only what lies there" })
}

fn unreadable(path: &Path, error: &io::Error) -> Unusable {
    Unusable { message: format!("cannot read {}: {}", path.display(), io_words(error)), help: "the path is relative to the manifest" }
}

fn unusable(path: &Path, what: String) -> Unusable {
    Unusable { message: format!("{} {what}", path.display()), help: "files are for configuration and small assets; leave it out" }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use expect_test::{Expect, expect};
    use model::manifest::{Document, parse};

    use super::*;

    /// A directory with some files, and a manifest's `files` in it.
    #[track_caller]
    fn check(files: &str, expected: Expect) {
        let place = tempfile::tempdir().expect("a temporary directory");
        let root = place.path().join("app");
        let write = |path: &str, text: &[u8]| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().expect("a file is in a directory")).expect("created");
            fs::write(path, text).expect("written");
        };
        write("a.conf", b"a");
        write("site/index.html", b"html");
        write("site/css/main.css", b"css");
        write("big/large", &vec![0; usize::try_from(FILE_BYTES_MAX.0).expect("small") + 1]);
        write("links/own", b"own");
        fs::write(place.path().join("outside"), b"secret").expect("written");
        symlink(root.join("a.conf"), root.join("links/inside")).expect("linked");
        symlink(place.path().join("outside"), root.join("out")).expect("linked");
        fs::create_dir(root.join("circle")).expect("created");
        symlink(root.join("circle"), root.join("circle/again")).expect("linked");
        let text = format!(
            "apiVersion: shoal.dev/v1\nkind: App\nmetadata: {{name: a}}\nspec: {{components: {{web: {{source: ./a.wasm, files: {files}}}}}}}\n"
        );
        let mut documents = parse(&text, "app.yaml", &BTreeMap::new()).expect("the manifest is right");
        let Document::App(app) = &mut documents[0] else { panic!("an app was read") };
        let (name, component) = app.spec.components.iter_mut().next().expect("one component");
        let mut artifacts = Artifacts::new();
        let lines: Vec<String> = match expand(component, name, &root, &mut artifacts) {
            Ok(()) => component.files.iter().map(|file| format!("{} {}\n", file.to, file.source.digest().expect("read").short())).collect(),
            Err(problems) => {
                assert!(artifacts.is_empty(), "what cannot be used is not uploaded");
                problems.iter().map(|problem| format!("{} {}\n  {}\n", problem.code, problem.message, problem.path)).collect()
            }
        };
        expected.assert_eq(&lines.concat().replace(&root.display().to_string(), "DIR"));
    }

    #[test]
    fn files_and_directories_become_one_entry_each() {
        check(
            "[{from: ./a.conf, to: /etc/app.conf}, {from: site, to: /www}, {from: a.conf, to: /etc/}]",
            expect![[r#"
            /etc/a.conf ca978112ca1b
            /etc/app.conf ca978112ca1b
            /www/css/main.css 36e64f19f57a
            /www/index.html e5e239560bc1
        "#]],
        );
        check(
            "[{from: ./site/, to: /}, {from: links, to: /links/}]",
            expect![[r#"
            /css/main.css 36e64f19f57a
            /index.html e5e239560bc1
            /links/inside ca978112ca1b
            /links/own 5b3975651c3c
        "#]],
        );
    }

    #[test]
    fn what_cannot_be_used_is_told_together() {
        check(
            "[{from: nothing, to: /a}, {from: big, to: /b}, {from: circle, to: /c}]",
            expect![[r#"
            E0212 `files[0]` of component `web`: cannot read DIR/nothing: no such file
              spec.components.web.files[0].from
            E0212 `files[1]` of component `web`: DIR/big/large has 16.0Mi, and a file may have 16Mi
              spec.components.web.files[1].from
            E0212 `files[2]` of component `web`: DIR/circle/again is a link to a directory
              spec.components.web.files[2].from
        "#]],
        );
        check(
            "[{from: out, to: /a}, {from: ../outside, to: /b}, {from: /etc/hostname, to: /c}, {from: .., to: /d}]",
            expect![[r#"
            E0212 `files[0]` of component `web`: DIR/out leads out of the manifest's directory
              spec.components.web.files[0].from
            E0212 `files[1]` of component `web`: DIR/../outside leads out of the manifest's directory
              spec.components.web.files[1].from
            E0212 `files[2]` of component `web`: /etc/hostname leads out of the manifest's directory
              spec.components.web.files[2].from
            E0212 `files[3]` of component `web`: DIR/.. leads out of the manifest's directory
              spec.components.web.files[3].from
        "#]],
        );
        check(
            "[{from: site, to: /www}, {from: a.conf, to: /www/index.html}]",
            expect![[r#"
            E0212 `files[1]` of component `web`: /www/index.html is taken by another entry
              spec.components.web.files[1].from
        "#]],
        );
    }
}
