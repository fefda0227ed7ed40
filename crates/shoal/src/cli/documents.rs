//! `-f`: manifests from files, directories and standard input, with their variables and overlays, all problems together.
//! Owns which files are read and how a field's path leads back to its place; the grammar is the model's.

use std::{
    collections::BTreeMap,
    io::Read,
    path::{Path, PathBuf},
};

use clap::Args;
use model::{
    app::App,
    id::Name,
    manifest::{self, Document, File, Parsed, Places},
    problem::{Problem, Problems},
};

use super::failure::{Exit, Failure, io_words};

/// Endings of the files a directory is searched for.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];

/// What every command that reads manifests takes.
#[derive(Debug, Clone, Args)]
pub struct FileArgs {
    /// A manifest, a directory of manifests, or - for standard input; may be given several times.
    #[arg(short = 'f', long = "file", value_name = "FILE|DIR|-")]
    pub files: Vec<PathBuf>,
    /// The value of a variable the manifest declares; may be given several times.
    #[arg(long = "var", value_name = "NAME=VALUE")]
    pub vars: Vec<String>,
    /// A file with one NAME=VALUE per line; empty lines and lines with # are skipped.
    #[arg(long = "var-file", value_name = "FILE")]
    pub var_files: Vec<PathBuf>,
    /// A manifest that is merged over every document of its kind and name: maps merge, lists replace.
    #[arg(long = "overlay", value_name = "FILE")]
    pub overlays: Vec<PathBuf>,
}

impl FileArgs {
    /// Just this one file.
    pub fn one(file: PathBuf) -> Self {
        Self { files: vec![file], vars: Vec::new(), var_files: Vec::new(), overlays: Vec::new() }
    }
}

/// Everything `-f` names, parsed.
#[derive(Debug, Clone, Default)]
pub struct Documents {
    /// Everything that is no app, in the order of the files and in them. Sent before the apps.
    pub objects: Vec<Object>,
    /// The apps, in the order of the files and in them.
    pub loaded: Vec<Loaded>,
    /// The text of every file by the name used in spans.
    pub texts: BTreeMap<String, String>,
}

/// A Config, a Secret or a Namespace and where it came from.
#[derive(Debug, Clone)]
pub struct Object {
    /// What it is.
    pub document: Document,
    /// What the files of its values are relative to.
    pub directory: PathBuf,
    places: Places,
}

/// One app and where it came from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The app.
    pub app: App,
    /// What relative sources are relative to.
    pub directory: PathBuf,
    places: Places,
}

impl Documents {
    /// Reads everything `args` names; documents that name no namespace land in `namespace` when there is one.
    ///
    /// # Errors
    /// Every problem of every document together; a file that cannot be read.
    pub fn load(args: &FileArgs, namespace: Option<&Name>) -> Result<Self, Failure> {
        if args.files.is_empty() {
            return Err(Failure::usage("no manifest was named", "give a file, a directory or - with -f"));
        }
        let vars = variables(args)?;
        let mut unread = Vec::new();
        let mut read_all = |paths: &[PathBuf]| -> Vec<(String, String)> {
            let text = |path: &PathBuf| match read(path) {
                Ok(text) => Some((shown(path), text)),
                Err(error) => {
                    unread.push(unreadable(path, &error));
                    None
                }
            };
            paths.iter().filter_map(text).collect()
        };
        let (bases, overlays) = (read_all(&manifest_files(&args.files)?), read_all(&args.overlays));
        if bases.is_empty() && unread.is_empty() {
            let names: Vec<String> = args.files.iter().map(|path| shown(path)).collect();
            return Err(Failure::sentence(
                Exit::Error,
                format!("no manifest in {}", names.join(", ")),
                "manifests end in .yaml, .yml or .json",
            ));
        }
        let parsed = match unread.is_empty() {
            true => manifest::merge_overlays(&files(&bases), &files(&overlays), &vars).and_then(|parsed| all_declared(&vars, parsed)),
            // What is missing might be what an overlay is for or what declares a variable: the rest is looked at by itself.
            false => {
                Err(unread.into_iter().chain(manifest::merge_overlays(&files(&bases), &[], &vars).err().into_iter().flatten()).collect())
            }
        };
        Self::of(parsed, bases.into_iter().chain(overlays).collect(), namespace)
    }

    /// The documents of one text that stands in no file; its sources are relative to the current directory.
    ///
    /// # Errors
    /// Every problem of the text together.
    pub fn of_text(text: String, shown: String, namespace: Option<&Name>) -> Result<Self, Failure> {
        let parsed = manifest::parse_with_places(&text, &shown, &BTreeMap::new());
        let mut documents = Self::of(parsed, BTreeMap::from([(shown, text)]), namespace)?;
        documents.loaded.iter_mut().for_each(|loaded| loaded.directory = PathBuf::from("."));
        documents.objects.iter_mut().for_each(|object| object.directory = PathBuf::from("."));
        Ok(documents)
    }

    fn of(parsed: Result<Parsed, Problems>, texts: BTreeMap<String, String>, namespace: Option<&Name>) -> Result<Self, Failure> {
        let parsed = match parsed {
            Ok(parsed) => parsed,
            Err(problems) => return Err(Failure::all(problems, texts)),
        };
        let (mut loaded, mut objects) = (Vec::new(), Vec::new());
        for (mut document, places) in parsed.documents.into_iter().zip(parsed.places) {
            // A Namespace lies in none.
            let own = places.is_written("metadata.namespace") || matches!(document, Document::Namespace(_));
            if let Some(namespace) = namespace.filter(|_| !own) {
                document.metadata_mut().namespace = namespace.clone();
            }
            let directory = directory_of(Path::new(places.file()));
            match document {
                Document::App(app) => loaded.push(Loaded { app, directory, places }),
                document => objects.push(Object { document, directory, places }),
            }
        }
        Ok(Self { objects, loaded, texts })
    }

    /// The canonical JSON of everything, as it is sent: what is no app first.
    pub fn canonical(&self) -> Vec<serde_json::Value> {
        let objects = self.objects.iter().map(|object| object.document.to_canonical());
        objects.chain(self.loaded.iter().map(|loaded| Document::App(loaded.app.clone()).to_canonical())).collect()
    }

    /// A failure with every problem at its place in the user's file.
    pub fn failure(&self, problems: Vec<(usize, Problem)>) -> Failure {
        let placed = problems.into_iter().map(|(document, problem)| self.place(document, problem));
        Failure::all(placed.collect(), self.texts.clone())
    }

    /// `problem` at the place in the user's file that its path leads to.
    pub fn place(&self, document: usize, problem: Problem) -> Problem {
        let objects = self.objects.iter().map(|object| &object.places);
        match objects.chain(self.loaded.iter().map(|loaded| &loaded.places)).nth(document) {
            Some(places) => places.locate(problem),
            None => problem,
        }
    }
}

fn files(texts: &[(String, String)]) -> Vec<File<'_>> {
    texts.iter().map(|(name, text)| File { name, text }).collect()
}

/// A variable that no manifest declares is a typing error, not a wish.
fn all_declared(vars: &BTreeMap<String, String>, parsed: Parsed) -> Result<Parsed, Problems> {
    let undeclared = vars.keys().filter(|name| !parsed.vars.contains(*name)).map(|name| {
        let problem = Problem::new("E0111", format!("no manifest declares the variable `{name}`"));
        problem.help(format!("leave it out, or declare it   spec: {{vars: {{{name}: {{default: VALUE}}}}}}"))
    });
    undeclared.collect::<Problems>().or(parsed)
}

fn variables(args: &FileArgs) -> Result<BTreeMap<String, String>, Failure> {
    let mut vars = BTreeMap::new();
    for path in &args.var_files {
        for (number, line) in read(path).map_err(|error| Failure::of(unreadable(path, &error)))?.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (name, value) = line.split_once('=').ok_or_else(|| {
                Failure::sentence(Exit::Error, format!("{}:{}: `{line}` is not NAME=VALUE", path.display(), number + 1), "")
            })?;
            vars.insert(name.trim().to_owned(), value.trim().to_owned());
        }
    }
    for pair in &args.vars {
        let (name, value) =
            pair.split_once('=').ok_or_else(|| Failure::usage(format!("`--var {pair}` has no value"), "write it as --var NAME=VALUE"))?;
        vars.insert(name.to_owned(), value.to_owned());
    }
    Ok(vars)
}

/// The files to read: a directory stands for the manifests directly in it, in order of name.
fn manifest_files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let entries = std::fs::read_dir(path).and_then(Iterator::collect::<std::io::Result<Vec<_>>>);
        let mut found: Vec<PathBuf> =
            entries.map_err(|error| Failure::of(unreadable(path, &error)))?.into_iter().map(|entry| entry.path()).collect();
        found.retain(|path| path.is_file() && path.extension().is_some_and(|ending| ENDINGS.iter().any(|known| ending == *known)));
        found.sort();
        files.extend(found);
    }
    Ok(files)
}

fn read(path: &Path) -> std::io::Result<String> {
    if path.as_os_str() != "-" {
        return std::fs::read_to_string(path);
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).map(|_| text)
}

fn unreadable(path: &Path, error: &std::io::Error) -> Problem {
    Problem::new("E0207", format!("cannot read {}: {}", shown(path), io_words(error)))
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn directory_of(path: &Path) -> PathBuf {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELLO: &str = "apiVersion: shoal.dev/v1\nkind: App\nmetadata: {name: hello}\nspec:\n  components:\n    web:\n      source: ./hello.wasm\n      \
                         routes: [{host: hello.localhost}]\n";

    fn load(files: &[(&str, &str)], change: impl FnOnce(&mut FileArgs)) -> Result<Documents, String> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        for (name, text) in files {
            std::fs::write(directory.path().join(name), text).expect("a file is written");
        }
        let mut args = FileArgs::one(directory.path().to_owned());
        change(&mut args);
        let root = directory.path().display().to_string();
        Documents::load(&args, None).map_err(|failure| failure.render(false).replace(&root, "DIR"))
    }

    #[test]
    fn a_directory_stands_for_its_manifests_in_order_of_name() {
        let documents =
            load(&[("b.yaml", HELLO), ("a.yml", &HELLO.replace("name: hello", "name: first")), ("notes.txt", "x")], |_| ()).expect("two");
        let names: Vec<String> = documents.loaded.iter().map(|loaded| loaded.app.id().to_string()).collect();
        assert_eq!(names, ["first", "hello"]);
    }

    #[test]
    fn problems_of_all_files_are_told_together() {
        let told = load(&[("a.yaml", &HELLO.replace("routes", "rotues")), ("b.yaml", &HELLO.replace("host", "hots"))], |_| ())
            .expect_err("two problems");
        assert!(told.contains("DIR/a.yaml:8:7") && told.contains("DIR/b.yaml:8:"), "{told}");
    }

    #[test]
    fn a_manifest_that_cannot_be_read_is_told_with_the_rest() {
        let told = load(&[("a.yaml", &HELLO.replace("routes", "rotues"))], |args| {
            args.files.insert(0, args.files[0].join("nothing.yaml"));
        })
        .expect_err("two problems");
        assert!(told.contains("error[E0207]: cannot read DIR/nothing.yaml") && told.contains("DIR/a.yaml:8:7"), "{told}");
    }

    #[test]
    fn the_same_app_twice_is_refused() {
        let told = load(&[("a.yaml", HELLO), ("b.yaml", HELLO)], |_| ()).expect_err("a double");
        assert!(told.contains("E0104") && told.contains("DIR/b.yaml:3:18"), "{told}");
    }

    #[test]
    fn a_text_without_a_file_is_relative_to_the_current_directory() {
        let documents = Documents::of_text(HELLO.to_owned(), "(the app of a/b.wasm)".to_owned(), None).expect("one app");
        assert_eq!(documents.loaded[0].directory, Path::new("."));
    }

    #[test]
    fn variables_need_a_value() {
        assert!(load(&[("a.yaml", HELLO)], |args| args.vars.push("host".to_owned())).is_err());
    }

    #[test]
    fn a_namespace_is_filled_in_where_none_is_written() {
        let team: Name = "team".parse().expect("a name");
        let directory = tempfile::tempdir().expect("a temporary directory");
        std::fs::write(directory.path().join("a.yaml"), HELLO).expect("written");
        std::fs::write(directory.path().join("b.yaml"), HELLO.replace("{name: hello}", "{name: b, namespace: own}")).expect("written");
        let documents = Documents::load(&FileArgs::one(directory.path().to_owned()), Some(&team)).expect("two");
        let ids: Vec<String> = documents.loaded.iter().map(|loaded| loaded.app.id().to_string()).collect();
        assert_eq!(ids, ["team/hello", "own/b"]);
    }

    #[test]
    fn a_variable_nobody_declares_is_refused() {
        let told = load(&[("a.yaml", HELLO)], |args| args.vars.push("hots=x".to_owned())).expect_err("undeclared");
        assert!(told.starts_with("error[E0111]"), "{told}");
    }
}
