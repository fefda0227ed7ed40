//! `cargo xtask guests --languages`: hello in JavaScript and Python. Owns the tools these need, pinned, in the user's cache, and how each is called; must
//! never fail for want of a tool: what cannot be built here is skipped aloud.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::SystemTime,
};

use anyhow::{Context, Result, bail};

use crate::process;

/// The JavaScript tools. jco 1.35.0 as published resolves a newer `preview2-shim` that opens no directory, so that every `--wit` fails.
const PACKAGE_JSON: &str = r#"{
  "private": true,
  "dependencies": { "@bytecodealliance/jco": "1.35.0", "@bytecodealliance/componentize-js": "0.23.0" },
  "overrides": { "@bytecodealliance/preview2-shim": "0.26.0" }
}
"#;

/// The Python tool.
const COMPONENTIZE_PY: &str = "componentize-py==0.25.1";

/// How a guest is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Engine {
    /// JavaScript on StarlingMonkey, WASI 0.2. It exports `wasi:http` 0.2.10 and nothing else, so the sample brings that release's interfaces.
    StarlingMonkey,
    /// JavaScript on QuickJS, WASI 0.3.
    QuickJs,
    /// CPython, for a world of this crate's interfaces.
    Python { wit_of: &'static str, world: &'static str },
}

/// Every guest, by its directory in sample-apps.
const GUESTS: [(&str, Engine); 4] = [
    ("hello-js", Engine::StarlingMonkey),
    ("hello-qjs", Engine::QuickJs),
    ("hello-py", Engine::Python { wit_of: "wasip2", world: "wasi:http/proxy@0.2.12" }),
    ("hello-py-p3", Engine::Python { wit_of: "wasip3", world: "wasi:http/service@0.3.2" }),
];

/// Builds the guests called `names`, or all; returns the components there are.
///
/// # Errors
/// A name is unknown, or a guest does not build although its tool is there.
pub fn build(root: &Path, names: &[String]) -> Result<Vec<PathBuf>> {
    let apps = root.join("sample-apps");
    let mut built = Vec::new();
    for (name, engine) in select(names)? {
        let output = apps.join("target/languages").join(format!("{name}.wasm"));
        if is_fresh(&apps.join(name), &output)? {
            built.push(output);
            continue;
        }
        match tool(engine) {
            Ok(tool) => {
                eprintln!("guests: building {name}");
                fs::create_dir_all(apps.join("target/languages"))?;
                componentize(&apps, name, engine, &tool, &output)?;
                built.push(output);
            }
            Err(missing) => eprintln!("SKIPPED: {name}: {missing:#}"),
        }
    }
    Ok(built)
}

fn select(names: &[String]) -> Result<Vec<(&'static str, Engine)>> {
    let known = || GUESTS.map(|(name, _)| name).join(", ");
    if let Some(unknown) = names.iter().find(|name| GUESTS.iter().all(|(known, _)| known != name)) {
        bail!("there is no guest `{unknown}` in another language; there are {}", known());
    }
    Ok(GUESTS.into_iter().filter(|(name, _)| names.is_empty() || names.iter().any(|wanted| wanted == name)).collect())
}

fn is_fresh(sources: &Path, output: &Path) -> Result<bool> {
    let Ok(built) = fs::metadata(output).and_then(|metadata| metadata.modified()) else { return Ok(false) };
    Ok(youngest(sources)? <= built)
}

fn youngest(path: &Path) -> Result<SystemTime> {
    let metadata = fs::metadata(path).with_context(|| format!("reading {}", path.display()))?;
    if !metadata.is_dir() {
        return Ok(metadata.modified()?);
    }
    let mut latest = SystemTime::UNIX_EPOCH;
    for entry in fs::read_dir(path)? {
        latest = latest.max(youngest(&entry?.path())?);
    }
    Ok(latest)
}

/// The program that makes components for `engine`, installed when it is not in the cache.
fn tool(engine: Engine) -> Result<PathBuf> {
    let home = process::cache_directory()?.join("languages");
    match engine {
        Engine::StarlingMonkey | Engine::QuickJs => javascript(&home.join("javascript")),
        Engine::Python { .. } => python(&home.join("python")),
    }
}

fn javascript(home: &Path) -> Result<PathBuf> {
    let tool = home.join("node_modules/.bin/jco");
    if !tool.is_file() || fs::read_to_string(home.join("package.json")).unwrap_or_default() != PACKAGE_JSON {
        process::output(Command::new("npm").arg("--version")).context("npm is needed: install Node.js 20 or later")?;
        fs::create_dir_all(home)?;
        fs::write(home.join("package.json"), PACKAGE_JSON)?;
        eprintln!("guests: installing jco (385 MB) into {}", home.display());
        let installed = process::output(Command::new("npm").args(["install", "--no-audit", "--no-fund"]).current_dir(home));
        if let Err(error) = installed {
            let _ = fs::remove_file(home.join("package.json"));
            return Err(error.context("npm could not install jco"));
        }
    }
    Ok(tool)
}

fn python(home: &Path) -> Result<PathBuf> {
    // A directory per version, so that another pin installs anew.
    let home = home.join(COMPONENTIZE_PY.replace("==", "-"));
    let tool = home.join("bin/componentize-py");
    if !tool.is_file() {
        process::output(Command::new("python3").args(["-m", "venv"]).arg(&home)).context("python3 with its module venv is needed")?;
        eprintln!("guests: installing {COMPONENTIZE_PY} (118 MB) into {}", home.display());
        let pip = home.join("bin/pip");
        process::output(Command::new(pip).args(["install", "--quiet", COMPONENTIZE_PY]))
            .context("pip could not install componentize-py")?;
    }
    Ok(tool)
}

fn componentize(apps: &Path, name: &str, engine: Engine, tool: &Path, output: &Path) -> Result<()> {
    let mut command = Command::new(tool);
    command.current_dir(apps.join(name));
    match engine {
        Engine::StarlingMonkey => jco(&mut command, Path::new("wit"), output),
        Engine::QuickJs => {
            let wit = apps.join("target/languages").join(format!("{name}-wit"));
            gather(&apps.join(name).join("wit"), &wit_of(apps, "wasip3")?, &wit)?;
            jco(command.args(["--backend", "qjs"]), &wit, output);
        }
        Engine::Python { wit_of: package, world } => {
            command.arg("-d").arg(wit_of(apps, package)?).args(["-w", world, "componentize", "app", "-o"]).arg(output);
        }
    }
    process::output(&mut command).map(drop)
}

fn jco(command: &mut Command, wit: &Path, output: &Path) {
    command.args(["componentize", "app.js", "--world-name", "hello", "--wit"]).arg(wit).arg("-o").arg(output);
}

/// The interfaces that the newest release of `package` among the guests' dependencies is made for.
fn wit_of(apps: &Path, package: &str) -> Result<PathBuf> {
    let said = process::output(Command::new(process::cargo()).args(["metadata", "--format-version", "1", "--locked"]).current_dir(apps))?;
    let metadata: serde_json::Value = serde_json::from_str(&said).context("reading what `cargo metadata` prints")?;
    let packages = metadata["packages"].as_array().context("`cargo metadata` lists packages")?;
    let ours = packages.iter().filter(|found| found["name"] == package);
    let newest = ours.max_by_key(|found| found["version"].as_str().unwrap_or_default().to_owned());
    let manifest = newest.and_then(|found| found["manifest_path"].as_str());
    Ok(Path::new(manifest.with_context(|| format!("no guest depends on {package}"))?).with_file_name("wit"))
}

/// Puts the world in `world` and what it refers to, which lies in `interfaces`, into one directory.
fn gather(world: &Path, interfaces: &Path, into: &Path) -> Result<()> {
    let _ = fs::remove_dir_all(into);
    for (from, to) in [(world.to_path_buf(), into.to_path_buf()), (interfaces.join("deps"), into.join("deps"))] {
        fs::create_dir_all(&to)?;
        for entry in fs::read_dir(&from).with_context(|| format!("listing {}", from.display()))? {
            let path = entry?.path();
            if path.extension() == Some(OsStr::new("wit")) {
                fs::copy(&path, to.join(path.file_name().unwrap_or_default()))?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_guest_has_its_sources_and_a_manifest() {
        let apps = process::root().join("sample-apps");
        for (name, engine) in GUESTS {
            let source = if matches!(engine, Engine::Python { .. }) { "app.py" } else { "app.js" };
            assert!(apps.join(name).join(source).is_file() && apps.join(name).join("app.yaml").is_file(), "{name}");
        }
    }

    #[test]
    fn an_unknown_name_is_told_the_known_ones() {
        assert_eq!(select(&[]).unwrap().len(), GUESTS.len());
        let error = select(&["hello-go".to_owned()]).unwrap_err().to_string();
        assert!(error.contains("hello-go") && error.contains("hello-py-p3"), "{error}");
    }
}
