//! Conversations with the real `shoal` binary, held in text files: what was typed, what it said, how it ended.
//!
//! Owns the format of these files and the place they run in. Must never need a server: what does belongs to the cluster tests.
//!
//! A conversation has `$ shoal …` lines, each followed by what came to stdout, then what came to stderr with `! ` before each line, then `exit N`
//! unless it is 0. Lines with `#` before the first command are a comment. `UPDATE_EXPECT=1` rewrites the answers; the diff is the review.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// An empty place with the fixtures in it, for one conversation.
pub struct Place {
    directory: tempfile::TempDir,
}

/// What one command said and how it ended.
#[derive(Debug)]
pub struct Said {
    /// Exit code.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Default for Place {
    fn default() -> Self {
        Self::new()
    }
}

impl Place {
    /// A new place: every file of `fixtures/`, with each `.wat` made into a `.wasm`.
    pub fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        copy(&root().join("fixtures"), directory.path());
        Self { directory }
    }

    /// Runs `shoal` with `arguments`, without a terminal and without any configuration from outside.
    pub fn shoal(&self, arguments: &[&str]) -> Said {
        let mut command = Command::new(binary());
        command.args(arguments).current_dir(self.directory.path()).stdin(Stdio::null());
        command.env("XDG_CONFIG_HOME", self.directory.path().join(".config"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("SHOAL_") {
                command.env_remove(name);
            }
        }
        let output = command.output().expect("shoal runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Said { code: output.status.code().unwrap_or(-1), out: text(&output.stdout), err: text(&output.stderr) }
    }
}

/// Holds the conversation in `golden/NAME.txt` again and compares.
///
/// # Panics
/// When an answer is another than the file says.
pub fn converse(name: &str) {
    let path = root().join("golden").join(format!("{name}.txt"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let place = Place::new();
    let head = text.lines().take_while(|line| !line.starts_with("$ ")).map(|line| format!("{line}\n"));
    let mut held: String = head.collect();
    for typed in text.lines().filter_map(|line| line.strip_prefix("$ shoal ")) {
        let words = split(typed);
        let said = place.shoal(&words.iter().map(String::as_str).collect::<Vec<_>>());
        held.push_str(&format!("$ shoal {typed}\n{}", said.transcript()));
    }
    expect_test::expect_file![path].assert_eq(&held);
}

impl Said {
    fn transcript(&self) -> String {
        let mut text: String = self.out.lines().map(|line| format!("{line}\n")).collect();
        text.extend(self.err.lines().map(|line| format!("! {line}").trim_end().to_owned() + "\n"));
        if self.code != 0 {
            text.push_str(&format!("exit {}\n", self.code));
        }
        text.push('\n');
        text
    }
}

/// Splits at spaces; single quotes hold words together.
fn split(typed: &str) -> Vec<String> {
    let parts = typed.split('\'').enumerate();
    let words =
        parts.flat_map(|(at, part)| if at % 2 == 1 { vec![part.to_owned()] } else { part.split_whitespace().map(str::to_owned).collect() });
    words.collect()
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("the fixtures are there") {
        let path = entry.expect("a readable directory").path();
        let target = to.join(path.file_name().expect("an entry has a name"));
        if path.is_dir() {
            fs::create_dir(&target).expect("a new directory");
            copy(&path, &target);
        } else if path.extension().is_some_and(|ending| ending == "wat") {
            let wasm = wat::parse_file(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            fs::write(target.with_extension("wasm"), wasm).expect("a file is written");
        } else {
            fs::copy(&path, &target).expect("a file is copied");
        }
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The `shoal` binary next to this test's own executable; panics with the command that builds it.
fn binary() -> PathBuf {
    let mut path = std::env::current_exe().expect("a test knows its own path");
    path.pop();
    if path.ends_with("deps") {
        path.pop();
    }
    path.push("shoal");
    assert!(path.is_file(), "{} is missing: run `cargo build --package shoal`", path.display());
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_a_shell_does() {
        assert_eq!(split("get apps -o 'custom columns' x"), ["get", "apps", "-o", "custom columns", "x"]);
    }
}
