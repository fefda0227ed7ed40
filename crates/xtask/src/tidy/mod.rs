//! `cargo xtask tidy`: the rules of the repository as a program. Owns walking the tree and telling offences; each rule is a pure function of the
//! files it is given, and must never mend what it finds.

mod code;
mod layers;
mod links;
mod mask;
mod sizes;
mod words;

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use crate::process;

/// One broken rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Offence {
    /// Relative to the root of the repository.
    pub path: String,
    /// From 1; 0 for the whole file.
    pub line: usize,
    /// The rule's name.
    pub rule: &'static str,
    /// What was found, and what would be right.
    pub message: String,
}

impl fmt::Display for Offence {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(out, "{}: {}: {}", self.path, self.rule, self.message),
            line => write!(out, "{}:{line}: {}: {}", self.path, self.rule, self.message),
        }
    }
}

/// One text file of the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Relative to the root, with `/`.
    pub path: String,
    /// Its text.
    pub text: String,
}

/// Prints every offence.
///
/// # Errors
/// There is at least one offence, or the tree cannot be read.
pub fn run(root: &Path) -> Result<()> {
    let files = read_tree(root)?;
    let metadata = process::output(Command::new(process::cargo()).args(["metadata", "--format-version", "1"]).current_dir(root))?;
    let metadata = serde_json::from_str(&metadata).context("reading what `cargo metadata` prints")?;
    let mut offences = layers::check(&layers::Graph::read(&metadata)?);
    offences.extend(code::check(&files));
    offences.extend(sizes::check(&files));
    offences.extend(words::check(&files));
    offences.extend(links::check(&files, |path| root.join(path).exists()));
    offences.sort();
    for offence in &offences {
        println!("{offence}");
    }
    ensure!(offences.is_empty(), "{} rules broken in {} files", offences.len(), files.len());
    println!("tidy: {} files keep the rules", files.len());
    Ok(())
}

/// Every text file that belongs to the repository.
fn read_tree(root: &Path) -> Result<Vec<File>> {
    let mut files = Vec::new();
    let mut directories = vec![root.to_path_buf()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).with_context(|| format!("listing {}", directory.display()))? {
            let (path, kind) = entry.and_then(|entry| Ok((entry.path(), entry.file_type()?)))?;
            if kind.is_dir() && !is_foreign(&path) {
                directories.push(path);
            } else if kind.is_file() && !is_foreign(&path) {
                // What is not UTF-8 is not text: no rule is about it.
                let Ok(text) = fs::read_to_string(&path) else { continue };
                files.push(File { path: relative(root, &path), text });
            }
        }
    }
    files.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(files)
}

/// True for what is built, downloaded or generated.
fn is_foreign(path: &Path) -> bool {
    let foreign = ["target", ".git", ".shoal", "node_modules", "Cargo.lock", "LICENSE"];
    path.file_name().is_some_and(|name| foreign.iter().any(|foreign| name == *foreign))
}

fn relative(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).map(PathBuf::from).unwrap_or_default().to_string_lossy().replace('\\', "/")
}

/// The line, from 1, on which byte `offset` of `text` stands.
fn line_at(text: &str, offset: usize) -> usize {
    text.as_bytes()[..offset].iter().filter(|&&byte| byte == b'\n').count() + 1
}

#[cfg(test)]
fn told(offences: &[Offence]) -> String {
    offences.iter().map(|offence| format!("{offence}\n")).collect()
}
