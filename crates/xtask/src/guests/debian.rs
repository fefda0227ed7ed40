//! Debian's compiler for guests, for machines where rustup may not install a target. Owns `wasm-toolchain` in the user's cache, with an apt directory
//! of its own in it; must never install a package or change the machine's apt.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};

use super::{TARGET, apt_sources};
use crate::process;

/// The suite that carries a wasi-libc with this target; the package is the same for every architecture.
const LIBC_SUITE: &str = "sid";

/// The oldest compiler the guests accept, as in sample-apps/Cargo.toml.
const VERSION_MIN: (u32, u32) = (1, 95);

/// What unpacked packages hold.
#[derive(Debug)]
pub struct Unpacked {
    root: PathBuf,
    /// The compiler's version.
    pub version: String,
}

impl Unpacked {
    /// Reads what an earlier run has left.
    fn open(root: PathBuf) -> Result<Self> {
        let sources = only_entry(&root.join("usr/src"), |name| name.starts_with("rustc-"))?;
        let name = sources.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { version: name.trim_start_matches("rustc-").to_owned(), root })
    }

    /// The compiler.
    pub fn rustc(&self) -> PathBuf {
        self.root.join("usr/bin/rustc")
    }

    /// The source of the standard library.
    pub fn library_source(&self) -> PathBuf {
        self.root.join(format!("usr/src/rustc-{}/library", self.version))
    }

    /// The compiler's own shared libraries, with those this process was started with behind them.
    pub fn shared_libraries(&self) -> String {
        let own = only_entry(&self.root.join("usr/lib"), |name| name.ends_with("-linux-gnu")).unwrap_or_default();
        let inherited = std::env::var("LD_LIBRARY_PATH").unwrap_or_default();
        format!("{}:{inherited}", own.display()).trim_end_matches(':').to_owned()
    }
}

/// True when an earlier run has fetched and unpacked everything.
pub fn is_unpacked() -> bool {
    home().is_ok_and(|home| home.join("root").is_dir())
}

/// The unpacked packages, fetched when they are not in the cache.
///
/// # Errors
/// A tool or a mirror is missing, or a mirror has none of the packages.
pub fn unpack() -> Result<Unpacked> {
    let home = home()?;
    fs::create_dir_all(&home).with_context(|| format!("making {}", home.display()))?;
    let lock = fs::File::create(home.join("lock"))?;
    lock.lock().context("waiting for another build that fetches the same packages")?;
    let root = home.join("root");
    if !root.is_dir() {
        let fresh = home.join("root.partial");
        let _ = fs::remove_dir_all(&fresh);
        fetch(&home, &fresh)?;
        fs::rename(&fresh, &root)?;
    }
    Unpacked::open(root)
}

fn home() -> Result<PathBuf> {
    Ok(process::cache_directory()?.join("wasm-toolchain"))
}

fn fetch(home: &Path, root: &Path) -> Result<()> {
    for tool in ["apt-get", "apt-cache", "dpkg-deb"] {
        process::output(Command::new(tool).arg("--version")).with_context(|| format!("`{tool}` is needed to fetch Debian's packages"))?;
    }
    let apt = Apt::prepare(home)?;
    eprintln!("guests: reading the package lists of this machine's Debian mirror");
    process::output(apt.command("apt-get").arg("update"))?;
    let packages = apt.packages()?;
    eprintln!("guests: fetching {} (140 MB) into {}", packages.join(", "), home.display());
    let downloads = home.join("downloads");
    let _ = fs::remove_dir_all(&downloads);
    fs::create_dir_all(&downloads)?;
    process::output(apt.command("apt-get").arg("download").args(&packages).current_dir(&downloads))?;
    fs::create_dir_all(root)?;
    for package in fs::read_dir(&downloads)? {
        process::output(Command::new("dpkg-deb").arg("--extract").arg(package?.path()).arg(root))?;
    }
    fs::remove_dir_all(&downloads)?;
    arrange(root)
}

/// Keeps what is needed of `root` and puts the C library where the compiler looks for it.
fn arrange(root: &Path) -> Result<()> {
    let libc = root.join("usr/lib").join(TARGET);
    ensure!(libc.join("crt1-command.o").is_file(), "the package wasi-libc of {LIBC_SUITE} carries no {TARGET}");
    let expected = root.join("usr/lib/rustlib").join(TARGET).join("lib");
    fs::create_dir_all(&expected)?;
    std::os::unix::fs::symlink(Path::new("../../..").join(TARGET), expected.join("self-contained"))?;
    let sources = only_entry(&root.join("usr/src"), |name| name.starts_with("rustc-"))?;
    for entry in fs::read_dir(&sources)? {
        let path = entry?.path();
        // Half a gigabyte of compiler sources that no guest needs.
        if path.is_dir() && !path.ends_with("library") {
            fs::remove_dir_all(&path)?;
        }
    }
    Ok(())
}

fn only_entry(directory: &Path, wanted: impl Fn(&str) -> bool) -> Result<PathBuf> {
    let entries = fs::read_dir(directory).with_context(|| format!("listing {}", directory.display()))?;
    let found = entries.flatten().find(|entry| wanted(&entry.file_name().to_string_lossy()));
    Ok(found.with_context(|| format!("{} holds not what Debian's packages put there", directory.display()))?.path())
}

/// A private apt: its own sources, lists and state, the machine's proxies and keyrings.
struct Apt {
    config: PathBuf,
}

impl Apt {
    fn prepare(home: &Path) -> Result<Self> {
        let directory = home.join("apt");
        for part in ["state/lists/partial", "cache/archives/partial", "sources.list.d", "preferences.d"] {
            fs::create_dir_all(directory.join(part))?;
        }
        fs::write(directory.join("status"), "")?;
        fs::write(directory.join("sources.list.d/shoal.sources"), machine_sources(Path::new("/etc/apt"))?)?;
        // Everything but wasi-libc must come from the machine's own release, or it asks for a newer C library than the machine has.
        let preference = format!("Package: *\nPin: release n={LIBC_SUITE}\nPin-Priority: 100\n");
        fs::write(directory.join("preferences.d/shoal"), preference)?;
        let config = directory.join("apt.conf");
        fs::write(&config, configuration(&directory))?;
        Ok(Self { config })
    }

    fn command(&self, tool: &str) -> Command {
        let mut command = Command::new(tool);
        command.arg("--config-file").arg(&self.config).env("LC_ALL", "C");
        command
    }

    /// The names to download.
    fn packages(&self) -> Result<Vec<String>> {
        let version = self.field("rustc-web", "Version")?;
        ensure!(
            parse_version(&version) >= Some(VERSION_MIN),
            "this machine's Debian mirror carries rustc-web {version}, and guests need {}.{}; add the security archive to the apt sources",
            VERSION_MIN.0,
            VERSION_MIN.1
        );
        let library = self.dependency("libstd-rust-web-dev", "libstd-rust-web-")?;
        let llvm = self.dependency(&library, "libllvm")?;
        let names = ["rustc-web", &library, "libstd-rust-web-dev", "rust-web-src", &llvm, &format!("wasi-libc/{LIBC_SUITE}")];
        Ok(names.map(str::to_owned).to_vec())
    }

    fn field(&self, package: &str, name: &str) -> Result<String> {
        let missing = || format!("this machine's Debian mirror has no package `{package}`");
        let said = process::output(self.command("apt-cache").args(["show", "--no-all-versions", package])).with_context(missing)?;
        let value = said.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        Ok(value.with_context(missing)?.to_owned())
    }

    /// The package `package` depends on whose name is `prefix` and a number.
    fn dependency(&self, package: &str, prefix: &str) -> Result<String> {
        let depends = self.field(package, "Depends")?;
        let found = find_dependency(&depends, prefix);
        found.with_context(|| format!("the package `{package}` depends on no `{prefix}…`: {depends}"))
    }
}

fn find_dependency(depends: &str, prefix: &str) -> Option<String> {
    let names = depends.split([',', '|']).filter_map(|one| one.split_whitespace().next());
    let is_number = |rest: &str| rest.starts_with(|first: char| first.is_ascii_digit());
    names.filter(|name| name.strip_prefix(prefix).is_some_and(is_number)).map(str::to_owned).next()
}

fn parse_version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split(['.', '+', '~', '-']).map(|part| part.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

/// apt's configuration. The hooks are cleared because they work on the machine's own caches.
fn configuration(directory: &Path) -> String {
    let directory = directory.display();
    let cleared = [
        "APT::Update::Pre-Invoke",
        "APT::Update::Post-Invoke",
        "APT::Update::Post-Invoke-Success",
        "DPkg::Post-Invoke",
        "Acquire::IndexTargets::deb::DEP-11",
        "Acquire::IndexTargets::deb::CNF",
    ];
    let cleared: String = cleared.iter().map(|name| format!("#clear {name};\n")).collect();
    format!(
        "{cleared}Dir::Etc::SourceList \"/dev/null\";\nDir::Etc::SourceParts \"{directory}/sources.list.d\";\n\
         Dir::Etc::Preferences \"/dev/null\";\nDir::Etc::PreferencesParts \"{directory}/preferences.d\";\n\
         Dir::State \"{directory}/state\";\nDir::State::Status \"{directory}/status\";\nDir::Cache \"{directory}/cache\";\n\
         Acquire::Languages \"none\";\nAPT::Sandbox::User \"root\";\nAPT::Update::Error-Mode \"any\";\n"
    )
}

/// The machine's Debian sources and the suite of wasi-libc on the same mirror.
fn machine_sources(etc: &Path) -> Result<String> {
    let mut files = vec![etc.join("sources.list")];
    if let Ok(parts) = fs::read_dir(etc.join("sources.list.d")) {
        files.extend(parts.flatten().map(|entry| entry.path()));
    }
    files.sort();
    let mut entries = Vec::new();
    for file in &files {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        if name.ends_with(".list") || name.ends_with(".sources") {
            entries.extend(apt_sources::parse(&name, &fs::read_to_string(file).unwrap_or_default()));
        }
    }
    let Some(text) = apt_sources::with_second_suite(&entries, LIBC_SUITE) else {
        bail!("no file under {} names a mirror of Debian", etc.display());
    };
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbered_dependency_is_found() {
        let depends = "libc6 (>= 2.34), libllvm22 (>= 1:22), libllvm-doc | libstd-rust-web-dev, libstd-rust-web-1.96 (= 1.96.0+dfsg1-1)";
        assert_eq!(find_dependency(depends, "libllvm").as_deref(), Some("libllvm22"));
        assert_eq!(find_dependency(depends, "libstd-rust-web-").as_deref(), Some("libstd-rust-web-1.96"));
        assert_eq!(find_dependency(depends, "libclang"), None);
    }

    #[test]
    fn versions_compare_by_number() {
        assert!(parse_version("1.96.0+dfsg1-1~deb12u2") >= Some(VERSION_MIN));
        assert!(parse_version("1.100.0") >= Some(VERSION_MIN));
        assert!(parse_version("1.85.0+dfsg3-1~deb12u3") < Some(VERSION_MIN));
        assert!(parse_version("strange") < Some(VERSION_MIN));
    }
}
