//! `cargo xtask guests`: the sample apps as WebAssembly components. Owns the way from sources to `.wasm` files; must never touch the system outside
//! the user's own directories.

mod apt_sources;
mod debian;
mod languages;
mod toolchain;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::SystemTime,
};

use anyhow::{Context, Result, bail, ensure};

use crate::process;
use toolchain::{Origin, Toolchain};

/// The target of every guest.
const TARGET: &str = "wasm32-wasip2";

const USAGE: &str = "usage: cargo xtask guests [--toolchain rustup|debian | --languages] [NAME…]
  builds sample-apps/ for wasm32-wasip2 and prints the paths of the components
  --languages   build those in JavaScript and Python instead, with tools from npm and PyPI in the user's cache; skips what cannot be had
  --toolchain   use this compiler and build even when nothing changed; without it rustup's is tried first";

/// `cargo xtask guests …`: builds what is asked for and prints one path a line.
pub fn command(root: &Path, arguments: &[String]) -> Result<()> {
    let (wish, names) = parse(arguments)?;
    let built = match wish {
        Wish::Languages => languages::build(root, &names)?,
        Wish::Rust(origin) => build(root, &names, origin)?,
    };
    for path in built {
        println!("{}", path.display());
    }
    Ok(())
}

/// Builds every guest that is not fresh; returns the components.
///
/// # Errors
/// No compiler for the target could be had, or a guest does not compile.
pub fn run(root: &Path) -> Result<Vec<PathBuf>> {
    build(root, &[], None)
}

/// Which guests, and for those in Rust with which compiler.
enum Wish {
    Rust(Option<Origin>),
    Languages,
}

fn parse(arguments: &[String]) -> Result<(Wish, Vec<String>)> {
    let (mut wish, mut names) = (Wish::Rust(None), Vec::new());
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--toolchain" => match rest.next().map(String::as_str) {
                Some("rustup") => wish = Wish::Rust(Some(Origin::Rustup)),
                Some("debian") => wish = Wish::Rust(Some(Origin::Debian)),
                _ => bail!(USAGE),
            },
            "--languages" => wish = Wish::Languages,
            flag if flag.starts_with('-') => bail!(USAGE),
            name => names.push(name.to_owned()),
        }
    }
    Ok((wish, names))
}

fn build(root: &Path, names: &[String], origin: Option<Origin>) -> Result<Vec<PathBuf>> {
    let apps = root.join("sample-apps");
    let guests = select(&apps, names)?;
    let outputs: Vec<PathBuf> = guests.iter().map(|name| output(&apps, name)).collect();
    if origin.is_some() || !are_fresh(&apps, &outputs)? {
        let toolchain = Toolchain::find(origin)?;
        let start = SystemTime::now();
        compile(&apps, &guests, &toolchain)?;
        for output in &outputs {
            ensure!(output.is_file(), "the build went through, but {} is missing", output.display());
            // A source that is saved while the compiler runs is younger than this.
            fs::File::create(stamp(output))?.set_modified(start)?;
        }
    }
    Ok(outputs)
}

/// Where cargo puts the component of the guest `name`. A library's file has underscores where its package has hyphens; a program's has not.
fn output(apps: &Path, name: &str) -> PathBuf {
    let is_library = apps.join(name).join("src/lib.rs").is_file();
    let stem = if is_library { name.replace('-', "_") } else { name.to_owned() };
    apps.join(format!("target/{TARGET}/release/{stem}.wasm"))
}

/// The guests to build: `names`, or every directory of `apps` with a manifest of cargo.
fn select(apps: &Path, names: &[String]) -> Result<Vec<String>> {
    let mut known = Vec::new();
    for entry in fs::read_dir(apps).with_context(|| format!("listing {}", apps.display()))? {
        let entry = entry?;
        if entry.path().join("Cargo.toml").is_file() {
            known.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    known.sort();
    if let Some(unknown) = names.iter().find(|name| !known.contains(name)) {
        bail!("there is no guest `{unknown}` in sample-apps/; there are {}", known.join(", "));
    }
    Ok(if names.is_empty() { known } else { names.to_vec() })
}

/// Runs cargo in `apps`. Flags meant for the host, such as `RUSTFLAGS`, do not reach the guests.
fn compile(apps: &Path, guests: &[String], toolchain: &Toolchain) -> Result<()> {
    eprintln!("guests: building {} with {}", guests.join(", "), toolchain.name());
    let mut command = Command::new(process::cargo());
    command.current_dir(apps).args(["build", "--release", "--locked", "--target", TARGET]);
    command.arg("--target-dir").arg(apps.join("target"));
    for guest in guests {
        command.args(["--package", guest]);
    }
    for host_only in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET", "CARGO_BUILD_RUSTFLAGS"] {
        command.env_remove(host_only);
    }
    toolchain.apply(&mut command);
    process::run(&mut command)
}

/// The file whose time says when the build of `output` began; cargo leaves an output alone that it would not change.
fn stamp(output: &Path) -> PathBuf {
    output.with_extension("built")
}

/// True when every output exists and no source changed since the build of any of them.
fn are_fresh(apps: &Path, outputs: &[PathBuf]) -> Result<bool> {
    let mut oldest = SystemTime::now();
    for output in outputs {
        match fs::metadata(stamp(output)).and_then(|metadata| metadata.modified()) {
            Ok(built) if output.is_file() => oldest = oldest.min(built),
            _ => return Ok(false),
        }
    }
    Ok(youngest_source(apps)? <= oldest)
}

fn youngest_source(directory: &Path) -> Result<SystemTime> {
    let mut youngest = SystemTime::UNIX_EPOCH;
    for entry in fs::read_dir(directory).with_context(|| format!("listing {}", directory.display()))? {
        let (path, kind) = entry.and_then(|entry| Ok((entry.path(), entry.file_type()?)))?;
        let is_source = path.extension().is_some_and(|extension| ["rs", "toml", "lock"].iter().any(|known| extension == *known));
        if kind.is_dir() && !path.ends_with("target") {
            youngest = youngest.max(youngest_source(&path)?);
        } else if kind.is_file() && is_source {
            youngest = youngest.max(fs::metadata(&path)?.modified()?);
        }
    }
    Ok(youngest)
}

#[cfg(test)]
mod tests {
    use std::{fs, time::Duration};

    use super::*;

    #[test]
    fn a_touched_source_makes_outputs_stale() {
        let apps = tempfile::tempdir().unwrap();
        let source = apps.path().join("hello/src/main.rs");
        fs::create_dir_all(source.parent().unwrap()).unwrap();
        fs::write(&source, "fn main() {}").unwrap();
        let output = apps.path().join("hello.wasm");
        assert!(!are_fresh(apps.path(), std::slice::from_ref(&output)).unwrap(), "a missing output is stale");
        fs::write(stamp(&output), "").unwrap();
        assert!(!are_fresh(apps.path(), std::slice::from_ref(&output)).unwrap(), "a stamp alone is no output");
        fs::write(&output, "").unwrap();
        assert!(are_fresh(apps.path(), std::slice::from_ref(&output)).unwrap());
        let later = SystemTime::now() + Duration::from_secs(5);
        fs::File::options().write(true).open(&source).unwrap().set_modified(later).unwrap();
        assert!(!are_fresh(apps.path(), &[output]).unwrap());
    }

    #[test]
    fn an_unknown_guest_is_named_together_with_the_known_ones() {
        let apps = tempfile::tempdir().unwrap();
        for name in ["hello", "echo"] {
            fs::create_dir(apps.path().join(name)).unwrap();
            fs::write(apps.path().join(name).join("Cargo.toml"), "").unwrap();
        }
        assert_eq!(select(apps.path(), &[]).unwrap(), ["echo", "hello"]);
        let error = select(apps.path(), &["helo".into()]).unwrap_err().to_string();
        assert_eq!(error, "there is no guest `helo` in sample-apps/; there are echo, hello");
    }
}
